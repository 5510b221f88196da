"""What config.json says: is it whole, and is it what transformers will compute?"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.stored import Stored

__all__ = ["check_settings", "check_values", "wants_eager"]


# Numbers of config.json, by name: what a value that is stated has to be. Names of older models too.
_COUNTS: Final = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
    "head_dim", "n_layer", "n_head", "n_embd", "d_model", "num_layers", "num_heads",
)  # fmt: skip
_POSITIVE: Final = ("rope_theta", "rope_local_base_freq", "attn_logit_softcapping")
_TOKENS: Final = ("pad_token_id", "bos_token_id", "eos_token_id")
_KINDS: Final[Mapping[str, type]] = {
    "architectures": list,
    "auto_map": dict,
    "id2label": dict,
    "text_config": dict,
    "quantization_config": dict,
    "model_type": str,
}
_STACKED: Final = re.compile(r"(num|n)_(.*_)?(layers?|heads?|experts?|blocks?|groups?)")
MOST_STACKED: Final = 10_000
"""Layers, heads or experts; far more than any model has, few enough to be built."""


def check_values(stated: Any) -> list[Check]:
    """Refuse values of config.json that no model can have, before a library computes with them.

    Args:
        stated: the model's ``config.json`` as it is written.
    """
    found = _wrong_kind(stated)
    if found is None:
        parts = [stated, *(x for name, x in stated.items() if name.endswith("_config"))]
        wrong = [text for part in parts if isinstance(part, dict) for text in _wrong(part)]
        found = wrong[0] if wrong else None
    if found is None:
        return []
    remedy = "fix config.json, or copy it from the original model"
    return [Check(name="configuration", status=REFUSED, seen=found, remedy=remedy)]


def _wrong_kind(stated: Any) -> str | None:
    if not isinstance(stated, dict):
        return "config.json is no JSON object"
    for name, kind in _KINDS.items():
        value = stated.get(name)
        if value is not None and not isinstance(value, kind):
            return f"config.json has {name} {_shown(value)}"
    names = stated.get("architectures") or []
    if not all(isinstance(name, str) for name in names):
        return f"config.json has architectures {_shown(names)}"
    return None


def _wrong(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the numbers of one block of config.json."""
    rules: list[tuple[Sequence[str], Callable[[Any], bool]]] = [
        (_COUNTS, _is_count),
        (_POSITIVE, _is_positive),
        (_TOKENS, _is_token),
        (("max_position_embeddings",), lambda value: _is_count(value) or value == -1),
        (("sliding_window",), lambda value: isinstance(value, int | bool)),
        ([name for name in part if _STACKED.fullmatch(str(name))], _is_buildable),
    ]
    for names, is_right in rules:
        for name in names:
            if part.get(name) is not None and not is_right(part[name]):
                yield f"config.json has {name} {_shown(part[name])}"
    for block in _rope_blocks(part.get("rope_parameters")) + _rope_blocks(part.get("rope_scaling")):
        theta = block.get("rope_theta")
        if theta is not None and not _is_positive(theta):
            yield f"config.json has rope_theta {_shown(theta)}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf


def _is_token(value: Any) -> bool:
    """Whether a value is a token id, or several; a negative one is what some write for none."""
    values = value if isinstance(value, list) else [value]
    return all(isinstance(item, int) and not isinstance(item, bool) for item in values)


def _is_buildable(value: Any) -> bool:
    return not isinstance(value, int) or value <= MOST_STACKED


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def check_settings(
    config: Any, stated: Mapping[str, Any], stored: Stored, options: ModelOptions
) -> list[Check]:
    """Check what is known before the weights are read.

    Args:
        config: as transformers holds it.
        stated: the model's ``config.json`` as it is written.
        stored: the headers of the weights, empty where they are not known.
        options: how the model is to be loaded.
    """
    return [
        check_architecture(config),
        check_depth(config, stored),
        check_rope(config, stated),
        check_attention(config, options.attention),
        check_quantisation(config),
        *check_stored(config, stored),
        *check_format(stored),
        check_remote_code(config, options),
    ]


def check_architecture(config: Any) -> Check:
    """Warn of a configuration that names no classifier: it is scored as one if it has a head."""
    name = "architecture"
    seen = ", ".join(config.architectures or ["none named"])
    own_code = bool(getattr(config, "auto_map", None))
    if not config.architectures or own_code or "SequenceClassification" in seen:
        return Check(name=name, status=OK, seen=seen)
    if "TokenClassification" in seen:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"config.json names {seen}, which gives numbers to every token, not one to a"
            " conversation",
            remedy="give a sequence classifier; where the numbers are rewards of steps, it is a"
            " process reward model",
        )
    return Check(
        name=name,
        status=WARNING,
        seen=f"config.json names {seen}, which is no sequence classifier",
        remedy="it is scored as one, with the head that its weights hold; take the checkpoint that"
        " its trainer saved, or make sure that the head is the trained one",
    )


def check_depth(config: Any, stored: Stored) -> Check:
    """Refuse a configuration of far more layers than are stored, before they are built."""
    name = "layers"
    layers, deepest = getattr(config.get_text_config(), "num_hidden_layers", None), stored.layers
    if not isinstance(layers, int) or deepest is None:
        return Check(name=name, status=OK, seen=str(layers or "not stated"))
    # Some models use a layer several times, so that a few more than stored may be right.
    if layers > 8 * deepest + 64:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"config.json implies {layers:,}, the weights have {deepest}",
            remedy="fix num_hidden_layers in config.json, or copy it from the original model",
        )
    return Check(name=name, status=OK, seen=str(layers))


def check_rope(config: Any, stated: Mapping[str, Any]) -> Check:
    """Compare the rotary embedding that ``config.json`` states with the one that is computed.

    transformers 5 writes ``rope_parameters``, which transformers 4 does not read: it computes with
    its default ``rope_theta`` of 10,000 instead, without a word.
    """
    name = "rotary embedding"
    written = _stated_rope(stated.get("text_config") or stated)
    held = _held_rope(config.get_text_config())
    missing = sorted(str(value) for value in written - held)
    if not missing:
        seen = ", ".join(sorted(map(str, held))) if written else "none stated"
        return Check(name=name, status=OK, seen=seen)
    return Check(
        name=name,
        status=REFUSED,
        seen=f"config.json states {', '.join(missing)}, yet transformers"
        f" {metadata.version('transformers')} holds {', '.join(sorted(map(str, held))) or 'none'}",
        remedy="rewards would be another model's: write rope_theta (and rope_scaling) beside"
        " rope_parameters in config.json, with the same values, or use transformers 5",
    )


def _rope_blocks(parameters: Any) -> list[Mapping[str, Any]]:
    if not isinstance(parameters, Mapping):
        return []
    nested = [value for value in parameters.values() if isinstance(value, Mapping)]
    return nested or [parameters]  # one block, or one per kind of layer


def _rope_values(blocks: Sequence[Mapping[str, Any]]) -> set[float | str]:
    """Return the bases and the kinds of scaling that blocks name; kind ``default`` is none."""
    values: set[float | str] = set()
    for block in blocks:
        if block.get("rope_theta") is not None:
            values.add(float(block["rope_theta"]))
        kind = block.get("rope_type") or block.get("type") or "default"
        if kind != "default":
            values.add(str(kind))
    return values


def _stated_rope(stated: Mapping[str, Any]) -> set[float | str]:
    blocks = [
        *_rope_blocks(stated.get("rope_parameters")),
        *_rope_blocks(stated.get("rope_scaling")),
    ]
    values = _rope_values(blocks)
    if stated.get("rope_theta") is not None:
        values.add(float(stated["rope_theta"]))
    return values


def _held_rope(config: Any) -> set[float | str]:
    if int(metadata.version("transformers").split(".")[0]) >= 5:
        return _rope_values(_rope_blocks(getattr(config, "rope_parameters", None)))
    values = _rope_values(_rope_blocks(getattr(config, "rope_scaling", None)))
    bases = (getattr(config, name, None) for name in ("rope_theta", "rope_local_base_freq"))
    return values | {float(base) for base in bases if base is not None}


def wants_eager(config: Any) -> bool:
    """Whether the model caps attention scores, which only the plain kernel does in any release."""
    return bool(getattr(config.get_text_config(), "attn_logit_softcapping", None))


def check_attention(config: Any, asked: str | None) -> Check:
    """Warn of an attention kernel that would leave out the model's soft cap."""
    name = "attention"
    text = config.get_text_config()
    cap = getattr(text, "attn_logit_softcapping", None)
    window = getattr(text, "sliding_window", None)
    parts = [asked or ("eager" if cap else "transformers' default")]
    parts += [f"soft cap {cap:g}"] if cap else []
    parts += [f"sliding window {window}"] if window else []
    if cap and asked not in (None, "eager", "flash_attention_2"):
        return Check(
            name=name,
            status=WARNING,
            seen=f"{asked} may leave out the soft cap of {cap:g} on attention scores",
            remedy="leave --attention out (rmbench then takes eager), or give flash_attention_2",
        )
    return Check(name=name, status=OK, seen=", ".join(parts))


def check_quantisation(config: Any) -> Check:
    """Warn of weights that were quantised before they came."""
    name = "quantisation"
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return Check(name=name, status=OK, seen="none")
    fields = quantisation if isinstance(quantisation, Mapping) else vars(quantisation)
    method = fields.get("quant_method", "unknown")
    return Check(
        name=name,
        status=WARNING,
        seen=f"the checkpoint is quantised ({getattr(method, 'value', method)})",
        remedy="these are the rewards of the quantised model; report them as such",
    )


def check_stored(config: Any, stored: Stored) -> list[Check]:
    """Refuse weights in 8 bits or fewer for which no scale is stated.

    They would be read as plain numbers: quantised ones without their scale mean nothing.
    """
    name = "stored as"
    kinds: dict[str, str] = {}
    for path, tensor in stored.tensors.items():
        kinds.setdefault(tensor.dtype, path)
    small = sorted(kind for kind in kinds if re.fullmatch(r"[IU]8|BOOL|F[468]_.*", kind))
    if small and getattr(config, "quantization_config", None) is None:
        refused = Check(
            name=name,
            status=REFUSED,
            seen=f"{kinds[small[0]]} is {small[0]}, and config.json does not say how it was"
            " quantised",
            remedy="take the original weights, or the folder as the quantiser wrote it",
        )
        return [refused]
    return [Check(name=name, status=OK, seen=", ".join(sorted(kinds)))] if kinds else []


def check_format(stored: Stored) -> list[Check]:
    """Warn of weights in pickle, which ``--trust-pickle`` allows."""
    name = "weights"
    if stored.is_pickle:
        pickle = Check(
            name=name,
            status=WARNING,
            seen="pickle, which can run code as it is loaded",
            remedy="convert them to safetensors with save_pretrained on a machine you can lose",
        )
        return [pickle]
    return [Check(name=name, status=OK, seen="safetensors")] if stored.tensors else []


def check_remote_code(config: Any, options: ModelOptions) -> Check:
    """Warn of code from the model's repository, which ``--trust-remote-code`` allows."""
    name = "remote code"
    if options.trust_remote_code and getattr(config, "auto_map", None):
        pinned = options.revision is not None
        return Check(
            name=name,
            status=OK if pinned else WARNING,
            seen="code of the model's repository runs",
            remedy="" if pinned else "pin what you read with --revision COMMIT",
        )
    return Check(name=name, status=OK, seen="none runs")
