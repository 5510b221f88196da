"""The weights of a model, loaded whole or refused: on a device, in a dtype, under its own class."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import torch
import transformers

from rmbench.checkpoint.config_findings import wants_eager
from rmbench.checkpoint.explain import first_line, foreign
from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.checkpoint.hub import fetch_weights
from rmbench.checkpoint.network_findings import check_head, check_vocabulary
from rmbench.checkpoint.opening import Checkpoint, limit_length, position_limit
from rmbench.checkpoint.outputs import with_one_reward
from rmbench.checkpoint.stored import Stored, read_stored
from rmbench.checkpoint.text_findings import PROBE, encode_one
from rmbench.errors import ScorerError, enclosed

__all__ = [
    "Loaded",
    "build_skeleton",
    "choose_device",
    "choose_dtype",
    "leftover",
    "load_network",
    "load_weights",
]

# A classifier has no use for these: the head of a language model, and what is computed from the
# configuration (positions, masks, rotary frequencies) and was once stored too.
_SPARE: Final = re.compile(
    r"(^|\.)(lm_head|embed_out|cls\.(predictions|seq_relationship)|generator_predictions"
    r"|lm_loss|mtp|pooler)\."
    r"|(^|\.)(rotary_emb|rotary_pos_emb|attention|attn|self_attn)\."
    r"(rotary_emb\.)?(inv_freq|cos_cached|sin_cached|bias|masked_bias)$"
    r"|(^|\.)(inv_freq|position_ids|token_type_ids)$"
)
# The classes of auto_map that can give a reward, the likeliest first.
_MAPPED: Final = (
    "AutoModelForSequenceClassification",
    "AutoModel",
    "AutoModelForTokenClassification",
    "AutoModelForCausalLM",
)
MOST_SPARE: Final = 50_000_000
"""So many numbers may a model have beyond those that are stored: buffers, tied weights."""


class Loaded(NamedTuple):
    """A model on its device, in eval mode, and what was found out about it."""

    network: Any
    dtype: str
    max_length: int | None
    checks: list[Check]


def load_weights(checkpoint: Checkpoint) -> Loaded:
    """Load the weights of a checkpoint.

    Returns:
        The model, and the most tokens of a conversation now that its positions are known.

    Raises:
        ScorerError: weights are missing, unused, of another shape, or pickle that is not trusted.
    """
    options, name = checkpoint.options, checkpoint.name
    if checkpoint.commit is not None:
        fetch_weights(name, checkpoint.commit, pickle=options.trust_pickle)
    stored = read_stored(checkpoint.folder, pickle=options.trust_pickle)
    network, dtype = load_network(checkpoint, stored)
    max_length = limit_length(position_limit(checkpoint.config, network), options, name)
    checks = [check_labels(checkpoint), check_head(network)]
    if any(check.name == "template" for check in checkpoint.checks):  # only where it is refused
        return Loaded(network, dtype, max_length, checks)
    ids = encode_one(PROBE, checkpoint.template, checkpoint.tokenizer)
    checks.append(check_vocabulary(network, checkpoint.tokenizer, ids))
    if checks[-1].status != REFUSED:
        network, returned = with_one_reward(network, ids, options, place=checkpoint.place)
        checks.append(returned)
    return Loaded(network, dtype, max_length, checks)


def choose_class(config: Any) -> Any:
    """Return transformers' loader of the class that a model's rewards come from.

    What auto_map names is the model's own; its code is trusted by the time this is called.
    """
    mapped = getattr(config, "auto_map", None) or {}
    name = next((name for name in _MAPPED if name in mapped), _MAPPED[0])
    return getattr(transformers, name)


def build_skeleton(checkpoint: Checkpoint, config: Any = None) -> Any:
    """Return a model of a configuration without memory for its weights.

    Args:
        checkpoint: the model.
        config: another configuration than the model's.

    Raises:
        ScorerError: transformers cannot build it.
    """
    settings = checkpoint.config if config is None else config
    with foreign(checkpoint.place, "model"), torch.device("meta"):
        return choose_class(settings).from_config(
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
            f"{checkpoint.place}: config.json means {meant:,} weights where the files hold"
            f" {stored.size:,}; mend config.json, or take it from where the model came from"
        )


def load_network(checkpoint: Checkpoint, stored: Stored) -> tuple[Any, str]:
    """Return the model on its device, in eval mode, and the name of its dtype.

    Raises:
        ScorerError: it cannot be loaded whole.
    """
    options, config = checkpoint.options, checkpoint.config
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    loader = choose_class(config)
    if not getattr(config, "auto_map", None):
        skeleton = build_skeleton(checkpoint)
        check_size(checkpoint, stored, skeleton)
        check_has_head(checkpoint, stored, skeleton)
        take_labels(checkpoint, stored, skeleton)
    network, loading = from_pretrained(checkpoint, loader, dtype=dtype)
    check_loading(loading, checkpoint.place)
    if options.device_map is None:
        with foreign(checkpoint.place, "model"):
            network = network.to(device)
    return network.eval(), dtype


def check_has_head(checkpoint: Checkpoint, stored: Stored, skeleton: Any) -> None:
    """Refuse a model that names no classifier and has no head of one.

    Raises:
        ScorerError: it has none.
    """
    named = ", ".join(checkpoint.config.architectures or ["unknown"])
    inside = f"{skeleton.base_model_prefix}."
    heads = [name for name, _ in skeleton.named_parameters() if not name.startswith(inside)]
    lacking = [name for name in heads if name not in stored.tensors]
    if stored.tensors and lacking and "SequenceClassification" not in named:
        raise ScorerError(
            f"{checkpoint.place}: its architecture is {named}, not a sequence classifier, and its"
            f" weights have no {_some(lacking)}; give a reward model, which has a head with one"
            " logit"
        )


def states_labels(stated: Mapping[str, Any]) -> bool:
    """Whether config.json says how many outputs there are; transformers' default is two."""
    return any(stated.get(name) is not None for name in ("id2label", "num_labels"))


def take_labels(checkpoint: Checkpoint, stored: Stored, skeleton: Any) -> None:
    """Give a configuration that states no labels as many as the stored head has rows."""
    config = checkpoint.config
    if states_labels(checkpoint.stated):
        return
    inside = f"{skeleton.base_model_prefix}."
    for name, parameter in skeleton.named_parameters():
        is_head = parameter.ndim == 2 and len(parameter) == config.num_labels
        if is_head and not name.startswith(inside) and name in stored.tensors:
            config.num_labels = stored.tensors[name].shape[0]


def check_labels(checkpoint: Checkpoint) -> Check:
    """Warn of a configuration that does not say how many outputs there are: the head does."""
    rows = checkpoint.config.num_labels
    if states_labels(checkpoint.stated) or getattr(checkpoint.config, "auto_map", None):
        return Check(name="labels", status=OK, seen=str(rows))
    return Check(
        name="labels",
        status=WARNING,
        seen=f"config.json does not say how many outputs there are; the head has {rows}",
        remedy=f"nothing to do: the head counts; num_labels {rows} in config.json says so",
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
    return sorted(name for name in map(str, names) if not _SPARE.search(name))


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
        also = f" (it has {_some(spare)}, which this model has no use for)" if spare else ""
        finding = f"lacks {_some(missing)}{also}"
    elif loading["mismatched_keys"]:
        finding = _misshapen(min(loading["mismatched_keys"], key=str))
    elif unused:
        raise ScorerError(
            f"{place}: the checkpoint has {_some(unused)}, which the model that config.json means"
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
        return f"has {item} in another shape than config.json means"
    key, found, expected = item[:3]
    return f"has {key} in shape {tuple(found)} where config.json means {tuple(expected)}"


def _why_unused(unused: list[str]) -> str:
    """Return the remedy for weights that would be left out, by what they look like."""
    if any("lora_" in name for name in unused):
        return "it is an adapter that was never merged: merge it (merge_and_unload of peft)"
    if any(name.startswith(("module.", "_orig_mod.")) for name in unused):
        return "save it anew from the model itself, not from its wrapper (module., _orig_mod.)"
    if all(re.search(r"\.\d+\.", name) for name in unused):
        return (
            "its rewards would be another model's: mend config.json (number of layers, biases,"
            " norms), or take it from where the model came from"
        )
    return (
        "its rewards would be another model's: it needs the class, or the code, that it was"
        " trained with"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def choose_dtype(choice: str, device: torch.device) -> str:
    """Return the dtype that ``auto`` means on a device, or the one that was chosen."""
    if choice != "auto":
        return choice
    return "bfloat16" if device.type == "cuda" else "float32"


def choose_device(choice: str) -> torch.device:
    """Return the device that was chosen, or for ``auto`` CUDA, then MPS, then the CPU.

    Raises:
        ScorerError: it cannot be used here.
    """
    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(choice)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ScorerError(
            f'device "{choice}" cannot be used: torch {torch.__version__} finds'
            f" {torch.cuda.device_count()} CUDA devices here; give auto or cpu, or what there is of"
            " cuda, cuda:1, mps"
        ) from None
    return device
