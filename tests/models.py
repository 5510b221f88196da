"""Small models and tokenizers for the tests: random weights, seeded, built in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from rmbench.checkpoint.identity import locate

PAD, BOS, EOS = 0, 1, 2
SPECIAL: Final = ("<pad>", "<s>", "</s>", "<unk>")
LETTERS: Final = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY: Final = len(SPECIAL) + len(LETTERS)
POSITIONS: Final = 128

CHAT: Final = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}</s>{% endfor %}"
)

# Weights this wide make rewards differ by far more than the tolerance they are compared with.
SHAPE: Final = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    "num_labels": 1,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "initializer_range": 0.2,
}
GPT2_SHAPE: Final = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": POSITIONS,
    "vocab_size": VOCABULARY,
    "num_labels": 1,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "initializer_range": 0.2,
}
GROUPED: Final = {"num_key_value_heads": 2}
KINDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "llama": ("LlamaConfig", SHAPE | GROUPED),
    "qwen2": ("Qwen2Config", SHAPE | GROUPED),
    "mistral": ("MistralConfig", SHAPE | GROUPED | {"sliding_window": 8}),
    "gemma2": ("Gemma2Config", SHAPE | GROUPED | {"head_dim": 8, "sliding_window": 8}),
    "gpt2": ("GPT2Config", GPT2_SHAPE),
    "bert": ("BertConfig", SHAPE),
    "roberta": ("RobertaConfig", SHAPE),
    "modernbert": (
        "ModernBertConfig",
        SHAPE
        | {
            "cls_token_id": BOS,
            "sep_token_id": EOS,
            "global_attn_every_n_layers": 2,
            "local_attention": 8,
        },
    ),
}


def config(kind: str, **changes: Any) -> Any:
    """Return the configuration of a two-layer model with one logit."""
    name, shape = KINDS[kind]
    return getattr(transformers, name)(**(shape | changes))


def classifier(kind: str, **changes: Any) -> Any:
    """Return a sequence classifier with random weights, always the same ones."""
    torch.manual_seed(0)
    made = config(kind, **changes)
    # SDPA knows no soft cap: transformers 4 takes it all the same where nobody says otherwise.
    eager = getattr(made, "attn_logit_softcapping", None) is not None
    chosen = {"attn_implementation": "eager"} if eager else {}
    return AutoModelForSequenceClassification.from_config(made, **chosen).eval()


def build(kind: type[Any], settings: Any) -> Any:
    """Return a model of a class of one's own with random weights, always the same ones."""
    torch.manual_seed(0)
    return kind(settings).eval()


def tokenizer(*, template: str | None = CHAT, adds_bos: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer of single bytes; with ``adds_bos`` its post-processor writes ``<s>``."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *LETTERS])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", BOS)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    fast.chat_template = template
    return fast


def save(folder: Path, model: Any, words: PreTrainedTokenizerFast | None = None) -> Path:
    """Write a model and its tokenizer as the Hub has them, and return the folder."""
    model.save_pretrained(folder)
    (tokenizer() if words is None else words).save_pretrained(folder)
    return folder


def lone_reward(model: Any, ids: Any) -> float:
    """Return the truth: the model's own forward on one sequence, unpadded."""
    tokens = torch.as_tensor([list(map(int, ids))])
    with torch.inference_mode():
        return float(model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0, 0])


def with_tiny_words(folder: Path, kind: Any, *, positions: int, **changes: Any) -> str:
    """Save a small Llama of a class of transformers with the small model's tokenizer.

    Args:
        folder: is made.
        kind: the class, such as ``LlamaForCausalLM``.
        positions: the longest text.
        changes: ``seed``, ``special`` (further special tokens), and values of the configuration.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(locate("tiny")[0])
    if special := changes.pop("special", None):
        tokenizer.add_special_tokens({"additional_special_tokens": special})
    torch.manual_seed(changes.pop("seed", 0))
    shape = SHAPE | {"num_attention_heads": 2, "max_position_embeddings": positions}
    shape |= {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": None}
    config = transformers.LlamaConfig(**shape | {"eos_token_id": 4} | changes)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
