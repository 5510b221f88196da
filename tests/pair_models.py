"""A small pairwise model, laid out as PairRM's authors do."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import DebertaV2Config, DebertaV2Model, PreTrainedTokenizerFast

MARKS = ("<|source|>", "<|candidate1|>", "<|candidate2|>")
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *MARKS, *"abcdefghijklmnopqrstuvwxyz"]
HIDDEN = 32


def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    core.add_special_tokens(list(MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


def pair_model(*, positions: int = 128) -> tuple[Any, torch.nn.Sequential]:
    """Return backbone and head, with random weights."""
    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.2,
        pad_token_id=0,
        architectures=["DebertaV2PairRM"],
    )
    head = torch.nn.Sequential(
        torch.nn.Dropout(),
        torch.nn.Linear(2 * HIDDEN, HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Dropout(),
        torch.nn.Linear(HIDDEN, 1),
    )
    return DebertaV2Model(config).eval(), head.eval()


def save_pair_model(path: Path, parts: tuple[Any, torch.nn.Sequential]) -> None:
    """Write a folder as PairRM's authors lay it out."""
    path.mkdir(exist_ok=True)
    backbone, head = parts
    tensors = {f"pretrained_model.{k}": v.contiguous() for k, v in backbone.state_dict().items()}
    tensors |= {f"head_layer.{k}": v.contiguous() for k, v in head.state_dict().items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    backbone.config.architectures = ["DebertaV2PairRM"]
    backbone.config.save_pretrained(path)
    tokenizer().save_pretrained(path)
