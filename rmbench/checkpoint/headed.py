"""A backbone with the reward head that stands beside it in the weights, loaded together."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from rmbench.checkpoint.explain import foreign
from rmbench.checkpoint.head import FoundHead, Headed, Layer, build_head, find_layers, find_parts
from rmbench.checkpoint.loading import build_skeleton, check_loading, from_pretrained, some
from rmbench.checkpoint.opening import Checkpoint
from rmbench.checkpoint.stored import Stored, read_header
from rmbench.checkpoint.text_findings import PROBE, encode_one
from rmbench.errors import ScorerError

__all__ = ["StoredWeights", "load_headed", "prefix_mapping", "refuse_without_head"]

VALUE_HEAD: Final = "value_head.safetensors"
"""Where TRL's and LLaMA-Factory's trainers put a head beside a language model."""
LM_HEAD: Final = "lm_head"
CAUSAL: Final = 0.05
"""Largest move of a token's state by a token behind it, as a share of its size: rounding."""


def load_headed(checkpoint: Checkpoint, stored: Stored, *, dtype: str) -> Any:
    """Return a backbone and its head, in eval mode.

    Args:
        checkpoint: the model; its reader says what its files do not.
        stored: the headers of its weights.
        dtype: of the backbone; the head computes in float32.

    Raises:
        ScorerError: there is no such head, or it is not known how it computes.
    """
    if not stored.tensors:
        raise ScorerError(
            f"{checkpoint.place}: pickle does not tell its weights before it is loaded, so no head"
            " can be found in it; convert the weights to safetensors"
        )
    pooling = checkpoint.stated.get("pooling", "last")
    if checkpoint.reader.backbone is not None and pooling != "last":
        raise ScorerError(
            f"{checkpoint.place}: config.json has pooling {pooling}, and a head is read at one"
            " token; give the model with its code and --trust-remote-code, or as file:FILE.py:NAME"
        )
    if checkpoint.reader.layers == (LM_HEAD,):
        network = _rows_of_lm_head(checkpoint, dtype)
    else:
        network = _with_found_head(checkpoint, stored, dtype)
    _check_causal(checkpoint, network.eval())
    return network


def _with_found_head(checkpoint: Checkpoint, stored: Stored, dtype: str) -> Any:
    skeleton = build_skeleton(checkpoint, loader=AutoModel)
    found = find_parts(skeleton, stored)
    if found is None:
        raise ScorerError(
            f"{checkpoint.place}: the weights of {type(skeleton).__name__}, which config.json"
            " means, are not among those of the files; fix config.json, or copy it from the"
            " original model"
        )
    layers, homes = _choose(checkpoint, stored, found)
    backbone, loading = from_pretrained(
        checkpoint, AutoModel, dtype=dtype, **prefix_mapping(skeleton, found.prefix)
    )
    known = found.layers if checkpoint.reader.layers else layers  # those left out were told
    taken = {f"{layer.name}.{kind}" for layer in known for kind in ("weight", "bias")}
    heads = taken | {name for name in found.others if _is_normaliser(name)}
    strange = {name for name in loading["unexpected_keys"] if str(name) not in heads}
    missing = [name for name in loading["missing_keys"] if ".pooler." not in f".{name}"]
    check_loading(
        dict(loading) | {"unexpected_keys": strange, "missing_keys": missing}, checkpoint.place
    )
    weights = StoredWeights(checkpoint.place, homes)
    head = build_head(weights, layers, checkpoint.reader.activation)
    network = Headed(backbone, head, checkpoint.reader.place)
    network.described = ", ".join(layer.shown for layer in layers)
    return network


def refuse_without_head(checkpoint: Checkpoint, stored: Stored) -> None:
    """Refuse weights among which nothing can be a head, by their names and shapes alone.

    Raises:
        ScorerError: nothing can.
    """
    found = find_parts(build_skeleton(checkpoint, loader=AutoModel), stored)
    if found is not None and not found.layers and not found.others:
        raise ScorerError(f"{checkpoint.place}: {_no_head(checkpoint, [], [])}")


def prefix_mapping(skeleton: Any, prefix: str) -> dict[str, Any]:
    """Return how transformers finds the backbone's names behind a prefix that is not its own."""
    if prefix in ("", f"{skeleton.base_model_prefix}."):
        return {}
    return {"key_mapping": {f"^{re.escape(prefix)}": ""}}


def _is_normaliser(name: str) -> bool:
    """Whether a weight belongs to what spreads rewards evenly, which moves none past another."""
    return re.search(r"(^|\.)normalizer\.", name) is not None


def _choose(
    checkpoint: Checkpoint, stored: Stored, found: FoundHead
) -> tuple[Sequence[Layer], Mapping[str, Path]]:
    """Return the layers of the head, and the file of each of their weights.

    Raises:
        ScorerError: it is not known which they are, or how they are put together.
    """
    reader, place = checkpoint.reader, checkpoint.place
    layers: Sequence[Layer] = found.layers
    others, homes = found.others, dict(stored.homes)
    beside = checkpoint.folder / (reader.file or VALUE_HEAD)
    if reader.file is not None or (not layers and beside.is_file()):
        if not beside.is_file():
            raise ScorerError(f"{place}: {reader.path} names {beside.name}, which is not there")
        layers, others = find_layers(tensors := read_header(beside))
        homes = dict.fromkeys(tensors, beside)
    if reader.layers:
        layers = _stated(reader.layers, layers, place)
    elif stated := checkpoint.stated.get("value_head_prefix"):  # OpenRLHF names its head so
        layers = [layer for layer in layers if layer.name == stated] or layers
    odd = [name for name in others if not _is_normaliser(name)]
    if not layers or odd:
        raise ScorerError(f"{place}: {_no_head(checkpoint, layers, odd)}")
    if len(layers) > 1 and not (reader.layers and _is_chain(layers)):
        raise ScorerError(f"{place}: {_several(layers)}")
    return layers, homes


def _stated(names: Sequence[str], layers: Sequence[Layer], place: str) -> list[Layer]:
    known = {layer.name: layer for layer in layers}
    lacking = [name for name in names if name not in known]
    if lacking:
        shown = ", ".join(layer.shown for layer in layers) or "none"
        raise ScorerError(
            f"{place}: the weights have no linear layer {lacking[0]} beside the backbone; they"
            f" have {shown}"
        )
    return [known[name] for name in names]


def _is_chain(layers: Sequence[Layer]) -> bool:
    return all(a.outputs == b.inputs for a, b in pairwise(layers))


def _no_head(checkpoint: Checkpoint, layers: Sequence[Layer], odd: Sequence[str]) -> str:
    named = ", ".join(checkpoint.config.architectures or ["unknown"])
    if odd:
        seen = some([*(layer.name for layer in layers), *odd])
        return (
            f"its weights hold {seen} beside the backbone ({named}), more than linear layers: it"
            " needs the class that it was trained with; give the model with its code and"
            " --trust-remote-code"
        )
    return (
        f"its architecture is {named}, not a sequence classifier, and its weights hold no reward"
        " head; give a reward model, or a file for --reader that names rows of lm_head"
    )


def _several(layers: Sequence[Layer]) -> str:
    shown = ", ".join(layer.shown for layer in layers)
    if _is_chain(layers):
        return (
            f"its head is a chain of linear layers, {shown}, and the files do not say what stands"
            " between them; state layers and activation in a file for --reader"
        )
    return (
        f"its weights hold several heads, {shown}; state the layers of the one that is the reward"
        " in a file for --reader"
    )


class StoredWeights(Mapping[str, torch.Tensor]):
    """Stored weights by name, each read when it is asked for."""

    def __init__(self, place: str, homes: Mapping[str, Path]) -> None:
        self._place = place
        self._homes = homes

    def __getitem__(self, name: str) -> torch.Tensor:
        from safetensors import safe_open

        with foreign(self._place, "model"), safe_open(self._homes[name], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)


# --- rows of a language model's head --------------------------------------------------------------


def _rows_of_lm_head(checkpoint: Checkpoint, dtype: str) -> Any:
    """Return a language model whose reward is a sum of its logits, with the rows as its head.

    Raises:
        ScorerError: no rows are stated, or the logits are more than one product.
    """
    weights = _row_weights(checkpoint)
    model, loading = from_pretrained(checkpoint, AutoModelForCausalLM, dtype=dtype)
    check_loading(loading, checkpoint.place)
    with foreign(checkpoint.place, "model"):
        output = model.get_output_embeddings()
        row = nn.Linear(output.in_features, 1, bias=False, device=output.weight.device)
        numbers, factors = list(weights), torch.tensor([list(weights.values())])  # (1, rows)
        with torch.no_grad():
            row.weight.copy_(factors.to(row.weight) @ output.weight[numbers].float())
        row.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
        backbone = getattr(model, model.base_model_prefix)
        network = Headed(backbone, row.requires_grad_(False), checkpoint.reader.place).eval()
        _check_rows(checkpoint, model.eval(), network, weights)
    return network


def _row_weights(checkpoint: Checkpoint) -> dict[int, float]:
    reader, tokenizer = checkpoint.reader, checkpoint.tokenizer
    weights = dict(reader.rows)
    for token, weight in reader.tokens.items():
        with foreign(checkpoint.place, "tokenizer"):
            ids = tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ScorerError(
                f"{reader.path}: {token!r} is {len(ids)} tokens of this tokenizer, {list(ids)[:8]};"
                " name one token, or its number in [rows]"
            )
        weights[ids[0]] = weights.get(ids[0], 0.0) + weight
    size = checkpoint.config.get_text_config().vocab_size
    if not weights or max(weights) >= size:
        raise ScorerError(
            f"{reader.path}: lm_head has {size} rows; state the weight of one or more of them in"
            " [rows] or [tokens]"
        )
    return weights


def _check_rows(
    checkpoint: Checkpoint, model: Any, network: Any, weights: Mapping[int, float]
) -> None:
    """Refuse rows whose product is not the model's own logits: a soft cap or a scale behind it.

    Raises:
        ScorerError: they differ on a short conversation.
    """
    ids = encode_one(PROBE, checkpoint.template, checkpoint.tokenizer)
    tokens = torch.tensor([ids], device=model.device)
    place = max(0, len(ids) + checkpoint.reader.place)
    with torch.inference_mode():
        logits = model(input_ids=tokens).logits[0, place].float()
        reward = float(network(input_ids=tokens).logits)
    truth = sum(float(logits[number]) * weight for number, weight in weights.items())
    size = sum(abs(float(logits[number]) * weight) for number, weight in weights.items())
    if abs(truth - reward) > CAUSAL * max(size, 1e-3):
        raise ScorerError(
            f"{checkpoint.place}: the rows of lm_head give {reward:.4g} where the model's own"
            f" logits give {truth:.4g}: it caps or scales them after the product, which a reader"
            " cannot state"
        )


def _check_causal(checkpoint: Checkpoint, network: Any) -> None:
    """Refuse a backbone in which a token sees those behind it: its last token means nothing.

    Raises:
        ScorerError: it is no decoder.
    """
    ids = encode_one(PROBE, checkpoint.template, checkpoint.tokenizer)
    tokens = torch.tensor([ids[:32]], device=network.device)
    with foreign(checkpoint.place, "model"), torch.inference_mode():
        whole = network.backbone(input_ids=tokens).last_hidden_state[0].float()
        part = network.backbone(input_ids=tokens[:, :-1]).last_hidden_state[0].float()
    moved = (whole[: len(part)] - part).norm(dim=-1) / part.norm(dim=-1).clamp(min=1e-6)
    if len(part) and float(moved.max()) > CAUSAL:
        raise ScorerError(
            f"{checkpoint.place}: a head beside {type(network.backbone).__name__}, which is no"
            " decoder, so that it is not known what the head reads; give a sequence classifier of"
            " transformers, or the model with its code and --trust-remote-code"
        )
