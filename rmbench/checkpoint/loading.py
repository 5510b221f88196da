"""A model as transformers loads it: under which class, and whether all weights have their place."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification

from rmbench.checkpoint.config_findings import wants_eager
from rmbench.checkpoint.explain import first_line, foreign
from rmbench.checkpoint.head import is_spare
from rmbench.checkpoint.opening import Checkpoint
from rmbench.checkpoint.stored import Stored
from rmbench.errors import ScorerError, enclosed

__all__ = [
    "build_skeleton",
    "check_loading",
    "check_size",
    "choose_class",
    "from_pretrained",
    "has_classifier",
    "leftover",
    "some",
]

# The classes of auto_map that can give a reward, the likeliest first.
_MAPPED: Final = (
    "AutoModelForSequenceClassification",
    "AutoModel",
    "AutoModelForTokenClassification",
    "AutoModelForCausalLM",
)
MOST_SPARE: Final = 50_000_000
"""So many numbers may a model have beyond those that are stored: buffers, tied weights."""


def choose_class(config: Any) -> Any:
    """Return transformers' loader of the class that a model's rewards come from.

    For a type of model without a classifier it is that of the backbone. What auto_map names is the
    model's own; its code is trusted by the time this is called.
    """
    mapped = getattr(config, "auto_map", None) or {}
    name = next((name for name in _MAPPED if name in mapped), None)
    if name is not None:
        return getattr(transformers, name)
    return AutoModelForSequenceClassification if has_classifier(config) else AutoModel


def has_classifier(config: Any) -> bool:
    """Whether transformers has a sequence classifier for the type of model."""
    return type(config) in AutoModelForSequenceClassification._model_mapping


def build_skeleton(checkpoint: Checkpoint, config: Any = None, *, loader: Any = None) -> Any:
    """Return a model of a configuration without memory for its weights.

    Args:
        checkpoint: the model.
        config: another configuration than the model's.
        loader: another class of transformers than that of ``choose_class``.

    Raises:
        ScorerError: transformers cannot build it.
    """
    settings = checkpoint.config if config is None else config
    with foreign(checkpoint.place, "model"), torch.device("meta"):
        return (loader or choose_class(settings)).from_config(
            settings, trust_remote_code=checkpoint.options.trust_remote_code
        )


def check_size(checkpoint: Checkpoint, stored: Stored, skeleton: Any) -> None:
    """Refuse a configuration that means far more weights than are stored, before they take memory.

    Raises:
        ScorerError: it does.
    """
    if not stored.tensors or getattr(checkpoint.config, "quantization_config", None) is not None:
        return
    meant = sum(parameter.numel() for parameter in skeleton.parameters())
    meant += sum(buffer.numel() for buffer in skeleton.buffers())
    if meant > 2 * stored.size + MOST_SPARE:
        raise ScorerError(
            f"{checkpoint.place}: config.json implies {meant:,} weights where the files hold"
            f" {stored.size:,}; fix config.json, or copy it from the original model"
        )


def from_pretrained(
    checkpoint: Checkpoint, loader: Any, *, dtype: str, **extra: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Return a model as transformers loads it, and what it says about its weights.

    Raises:
        ScorerError: it cannot be loaded.
    """
    options, config = checkpoint.options, checkpoint.config
    attention = options.attention or ("eager" if wants_eager(config) else None)
    if attention is not None:
        extra["attn_implementation"] = attention
    if options.device_map is not None:
        extra["device_map"] = options.device_map
    # Else transformers asks a service on the Hub to convert pickle weights, and loads what comes.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    with foreign(checkpoint.place, "model"), enclosed_attention(checkpoint):
        network, loading = loader.from_pretrained(
            checkpoint.where,
            config=config,
            trust_remote_code=options.trust_remote_code,
            dtype=getattr(torch, dtype),
            use_safetensors=None if options.trust_pickle else True,
            ignore_mismatched_sizes=True,  # check_loading refuses them, and says which
            output_loading_info=True,
            **extra,
        )
    return network, loading


def enclosed_attention(checkpoint: Checkpoint) -> Any:
    """Return an enclosure that tells what --attention has to do with a failure."""
    asked, place = checkpoint.options.attention, checkpoint.place

    def explain(error: BaseException) -> Any:
        if asked is not None and ("attn_impl" in str(error) or "Attention" in str(error)):
            return ScorerError(
                f"{place}: --attention {asked} cannot be used: {first_line(error)}; give sdpa or"
                " eager, or leave it out"
            )
        raise error

    return enclosed(explain)


def leftover(names: Iterable[str]) -> list[str]:
    """Return the weights among ``names`` that no model may leave unused."""
    return sorted(name for name in map(str, names) if not is_spare(name))


def check_loading(loading: Mapping[str, Any], place: str) -> None:
    """Refuse a model of which any weight would be drawn at random, or left out.

    Args:
        loading: transformers' ``output_loading_info``.
        place: what messages call the model.

    Raises:
        ScorerError: the checkpoint lacks weights, has more of them, or has them in another shape.
    """
    missing = sorted(map(str, loading["missing_keys"]))
    unused = leftover(loading["unexpected_keys"])
    if missing:
        spare = sorted(map(str, loading["unexpected_keys"]))
        also = f" (it has {some(spare)}, which this model has no use for)" if spare else ""
        finding = f"lacks {some(missing)}{also}"
    elif loading["mismatched_keys"]:
        finding = _misshapen(min(loading["mismatched_keys"], key=str))
    elif unused:
        raise ScorerError(
            f"{place}: the checkpoint has {some(unused)}, which the model that config.json implies"
            f" has no use for; {_why_unused(unused)}"
        )
    else:
        return
    raise ScorerError(
        f"{place}: the checkpoint {finding}; these weights would be random and so would the"
        " rewards; use a checkpoint saved with its reward head"
    )


def _misshapen(item: Any) -> str:
    if isinstance(item, str):  # transformers 4 keeps the shapes to itself
        return f"has {item} in another shape than config.json implies"
    key, found, expected = item[:3]
    return f"has {key} in shape {tuple(found)} where config.json implies {tuple(expected)}"


def _why_unused(unused: list[str]) -> str:
    """Return the remedy for weights that would be left out, by what they look like."""
    if any("lora_" in name for name in unused):
        return "it is an adapter that was never merged: merge it (merge_and_unload of peft)"
    if any(name.startswith(("module.", "_orig_mod.")) for name in unused):
        return "save it again from the model itself, not from its wrapper (module., _orig_mod.)"
    if all(re.search(r"\.\d+\.", name) for name in unused):
        return (
            "its rewards would be another model's: fix config.json (number of layers, biases,"
            " norms), or copy it from the original model"
        )
    return (
        "its rewards would be another model's: it needs the class, or the code, that it was"
        " trained with"
    )


def some(names: list[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
