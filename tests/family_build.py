"""Tiny folders in the layouts of the Hub, each with its reward computed in plain PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import family_code
import models
import torch
import transformers
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]
Turns = Sequence[Mapping[str, str]]
Truth = Callable[[Turns], Any]
"""The conversation → its reward, or the rewards of its steps."""
Preferred = Callable[[str, str, str], float]
"""Prompt and two responses → the probability of the first."""
WIDTH = 32


def matrix(rows: int, columns: int = WIDTH, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) / 3


SCORE, SECOND, BIAS = matrix(1), matrix(1, seed=2), torch.tensor([0.25])
INNER, INNER_BIAS = matrix(WIDTH, seed=3), matrix(1, seed=4)[0]
CHAIN: Weights = {"score.0.weight": INNER, "score.0.bias": INNER_BIAS}
CHAIN |= {"score.2.weight": SCORE, "score.2.bias": BIAS}


def write(folder: Path, weights: Weights, name: str = "model") -> None:
    whole = {key: tensor.detach().clone().contiguous() for key, tensor in weights.items()}
    save_file(whole, folder / f"{name}.safetensors", metadata={"format": "pt"})


def state(folder: Path, **stated: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | stated))


def save(
    folder: Path,
    head: Weights,
    *,
    prefix: str = "model.",
    kind: str = "llama",
    lm_head: bool = False,
    **stated: Any,
) -> Any:
    """Write a backbone and a head as a trainer does; returns the backbone."""
    settings = models.config(kind, num_labels=2)
    backbone = models.build(transformers.AutoModel.from_config, settings)
    settings.save_pretrained(folder)
    state(folder, **stated)
    models.tokenizer().save_pretrained(folder)
    weights = {f"{prefix}{name}": x for name, x in backbone.state_dict().items()} | head
    if lm_head:
        weights["lm_head.weight"] = matrix(models.VOCABULARY, seed=9)
    write(folder, weights)
    return backbone


# --- plain computations ---------------------------------------------------------------------------


def encode(folder: Path, turns: Turns) -> list[int]:
    words = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    text = words.apply_chat_template(list(turns), tokenize=False)
    return list(words(text, add_special_tokens=False)["input_ids"])


def states(backbone: Any, ids: Sequence[int]) -> torch.Tensor:
    """Return the states of all tokens, (T, WIDTH), of one unpadded forward."""
    tokens = torch.tensor([list(ids)])
    with torch.inference_mode():
        mask = torch.ones_like(tokens)
        hidden: torch.Tensor = backbone(tokens, attention_mask=mask).last_hidden_state
    return hidden[0].clone()


def at(backbone: Any, folder: Path, reward: Callable[..., Any], *, place: int = -1) -> Truth:
    """Return what computes a reward from the state of one token."""
    return lambda turns: float(reward(states(backbone, encode(folder, turns))[place]))


def linear(weight: torch.Tensor, bias: float = 0.0) -> Callable[..., Any]:
    return lambda hidden: hidden @ weight[0] + bias


def two_layers(hidden: torch.Tensor) -> Any:
    return torch.relu(hidden @ INNER.T + INNER_BIAS) @ SCORE[0] + BIAS


# --- builders: each writes a folder, and returns what computes its reward -----------------------


def classifier(kind: str, weights: Sequence[float] = (1.0,), **changes: Any) -> Any:
    """A classifier of transformers; of several outputs the reward is a weighted sum."""

    def build(folder: Path) -> Truth:
        model = models.classifier(kind, num_labels=len(weights), **changes)
        models.save(folder, model)
        return lone(model, folder, weights)

    return build


def lone(model: Any, folder: Path, weights: Sequence[float] = (1.0,)) -> Truth:
    def truth(turns: Turns) -> float:
        tokens = torch.tensor([encode(folder, turns)])
        with torch.inference_mode():
            logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0]
        return sum(float(x) * weight for x, weight in zip(logits, weights, strict=True))

    return truth


def of_class(config: str, **shape: Any) -> Any:
    """A classifier of another type, by the name of its configuration."""

    def build(folder: Path) -> Truth:
        settings = getattr(transformers, config)(**shape)
        loader = transformers.AutoModelForSequenceClassification.from_config
        model = models.build(loader, settings)
        models.save(folder, model)
        return lone(model, folder)

    return build


def head(weights: Weights, reward: Any = None, *, place: int = -1, **stated: Any) -> Any:
    """A backbone and a head, as ``save`` writes them."""

    def build(folder: Path) -> Truth:
        backbone = save(folder, weights, **stated)
        return at(backbone, folder, reward or linear(SCORE), place=place)

    return build


def of_type(config: str, **shape: Any) -> Any:
    """A head beside a type of model for which transformers has no classifier."""

    def build(folder: Path) -> Truth:
        settings = getattr(transformers, config)(**shape)
        backbone = models.build(transformers.AutoModel.from_config, settings)
        settings.architectures = ["RewardModel"]
        settings.save_pretrained(folder)
        models.tokenizer().save_pretrained(folder)
        named = {f"model.{name}": x for name, x in backbone.state_dict().items()}
        write(folder, named | {"score.weight": SCORE})
        return at(backbone, folder, linear(SCORE))

    return build


def value_head_file(folder: Path) -> Truth:
    backbone = save(folder, {}, architectures=["LlamaForCausalLM"], lm_head=True)
    write(folder, {"v_head.summary.weight": SCORE, "v_head.summary.bias": BIAS}, "value_head")
    return at(backbone, folder, linear(SCORE, 0.25))


def appended(folder: Path) -> Truth:
    words = models.tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|reserved_special_token_1|>"]})
    settings = models.config("llama", num_labels=2, vocab_size=len(words))
    backbone = models.build(transformers.AutoModel.from_config, settings)
    settings.architectures = ["AtheneForSequenceClassification"]
    settings.save_pretrained(folder)
    words.save_pretrained(folder)
    named = {f"model.{name}": x for name, x in backbone.state_dict().items()}
    write(folder, named | {"v_head.weight": SCORE})
    last = len(words) - 1
    return lambda turns: float(states(backbone, [*encode(folder, turns), last])[-1] @ SCORE[0])


def other_type(folder: Path) -> Truth:
    """A type of model of its own over a known decoder: OpenAssistant's Pythia."""
    shape = models.SHAPE | {"model_type": "gpt_neox_reward_model", "pooling": "last"}
    settings = transformers.GPTNeoXConfig(**models.SHAPE)
    backbone = models.build(transformers.GPTNeoXModel, settings)
    settings.save_pretrained(folder)
    state(folder, architectures=["GPTNeoXRewardModel"], **shape)
    models.tokenizer().save_pretrained(folder)
    named = {f"gpt_neox.{name}": x for name, x in backbone.state_dict().items()}
    write(folder, named | {"out_proj.weight": SCORE, "out_proj.bias": BIAS})
    return at(backbone, folder, linear(SCORE, 0.25))


def lm_rows(rows: Mapping[str, float]) -> Any:
    """A language model whose reward is a sum of its logits, by token; rows 0 for an empty text."""

    def build(folder: Path) -> Truth:
        model = models.build(transformers.LlamaForCausalLM, models.config("llama", num_labels=2))
        words = models.tokenizer()
        words.add_tokens([token for token in rows if token])
        model.resize_token_embeddings(len(words), mean_resizing=False)
        models.save(folder, model, words)
        weights = torch.zeros(len(words))
        for token, weight in rows.items():
            weights[words.convert_tokens_to_ids(token) if token else 0] = weight
        head = (weights @ model.lm_head.weight.detach())[None]
        return at(model.model, folder, linear(head))

    return build


def coded(name: str, auto: str, reward: Any, **stated: Any) -> Any:
    """A folder with code of its own; ``reward`` has its model, the ids and the states."""

    def build(folder: Path) -> Truth:
        is_new = "InternLM2" in name
        config = family_code.InternLM2Config if is_new else transformers.LlamaConfig
        settings = config(**models.SHAPE, **models.GROUPED)
        model = models.build(getattr(family_code, name), settings)
        for parameter in model.parameters():  # what is not drawn by the library
            if not parameter.any():
                parameter.data.normal_(std=0.2)
        models.save(folder, model)
        shutil.copy(family_code.__file__, folder / "modeling_own.py")
        mapped = {auto: f"modeling_own.{name}"}
        if is_new:
            mapped["AutoConfig"] = "modeling_own.InternLM2Config"
        state(folder, auto_map=mapped, **stated)

        def truth(turns: Turns) -> Any:
            ids = encode(folder, turns) + ([models.BOS] if is_new else [])
            with torch.inference_mode():
                return reward(model, ids, states(model.model, ids))

        return truth

    return build
