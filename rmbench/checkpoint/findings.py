"""Is this model safe to score? Cheap checks of its configuration and its weights.

Each takes what has been loaded so far and returns a ``Check``. ``load_classifier`` refuses on the
first refused one; ``rmbench doctor`` prints them all. Those of the text are in ``text_checks.py``.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rmbench.checkpoint.options import ModelOptions

__all__ = [
    "OK",
    "REFUSED",
    "WARNING",
    "Check",
    "check_network",
    "check_settings",
    "wants_eager",
]

OK: Final = "ok"
WARNING: Final = "warning"
REFUSED: Final = "refused"

_CODE_FAILS: Final = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)
MAX_HEADER_BYTES: Final = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding about a model.

    Attributes:
        name: what was looked at.
        status: ``ok``, ``warning`` or ``refused``.
        seen: what was found.
        remedy: what to do about it; empty when ok.
    """

    name: str
    status: str
    seen: str
    remedy: str = ""


# --- configuration -------------------------------------------------------------------------------


def check_settings(
    config: Any, stated: Mapping[str, Any], options: ModelOptions, *, where: str
) -> list[Check]:
    """Check what is known before the weights are read.

    Args:
        config: as transformers holds it.
        stated: the model's ``config.json`` as it is written.
        options: how the model is to be loaded.
        where: the model's folder or Hub id.
    """
    return [
        check_architecture(config),
        check_rope(config, stated),
        check_attention(config, options.attention),
        check_quantisation(config),
        *check_stored(config, where),
        *check_format(where, options),
        check_remote_code(config, options),
    ]


def check_architecture(config: Any) -> Check:
    """Warn of a configuration that names no classifier: it is scored as one if it has a head."""
    name = "architecture"
    seen = ", ".join(config.architectures or ["none named"])
    own_code = "AutoModelForSequenceClassification" in (getattr(config, "auto_map", None) or {})
    if not config.architectures or own_code or "SequenceClassification" in seen:
        return Check(name=name, status=OK, seen=seen)
    return Check(
        name=name,
        status=WARNING,
        seen=f"config.json names {seen}, which is no sequence classifier",
        remedy="it is scored as one, with the head that its weights hold; take the checkpoint that"
        " its trainer saved, or make sure that the head is the trained one",
    )


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


def check_stored(config: Any, where: str) -> list[Check]:
    """Refuse a local model's weights in 8 bits or fewer for which no scale is stated.

    They would be read as plain numbers: quantised ones without their scale mean nothing. Nothing
    comes back where no file tells its kinds of numbers: pickle, the Hub, or a damaged file.
    """
    name = "stored as"
    kinds: dict[str, str] = {}
    for path in sorted(Path(where).glob("*.safetensors")):
        for tensor, entry in _header(path).items():
            if isinstance(entry, Mapping) and "dtype" in entry:
                kinds.setdefault(str(entry["dtype"]), tensor)
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


def _header(path: Path) -> Mapping[str, Any]:
    """Return the header of a safetensors file; empty where it is none, which loading refuses."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if size <= MAX_HEADER_BYTES else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def check_format(where: str, options: ModelOptions) -> list[Check]:
    """Warn of weights in pickle, which ``--trust-pickle`` allows.

    Nothing comes back for a folder whose weights are missing or damaged: loading them refuses.
    """
    name = "weights"
    folder = Path(where)
    files = list(folder.glob("*.safetensors"))
    if options.trust_pickle and folder.is_dir() and not files:
        pickle = Check(
            name=name,
            status=WARNING,
            seen="pickle, which can run code as it is loaded",
            remedy="convert them to safetensors with save_pretrained on a machine you can lose",
        )
        return [pickle]
    readable = bool(files) and all(_header(path) for path in files)
    if folder.is_dir() and not readable:
        return []
    return [Check(name=name, status=OK, seen="safetensors")]


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


# --- weights -------------------------------------------------------------------------------------


def check_network(network: Any, tokenizer: Any) -> list[Check]:
    """Check the loaded model against its tokenizer, its head, and what it returns."""
    return [check_head(network), check_vocabulary(network, tokenizer), check_returned(network)]


def check_returned(network: Any) -> Check:
    """Refuse a model that fails on two tokens, or returns no logit for them.

    Code of a model's repository that was written for another release of transformers does either.
    """
    import torch

    name = "returns"
    ids = torch.zeros((1, 2), dtype=torch.long, device=network.device)
    remedy = "give another revision of the model, or install the transformers it was written for"
    try:
        with torch.inference_mode():
            output = network(input_ids=ids, attention_mask=torch.ones_like(ids))
    except torch.OutOfMemoryError:  # no fault of the code's
        seen = f"two tokens do not fit into the memory of {network.device} beside the weights"
        remedy = "use --dtype bfloat16 or --device-map auto"
        return Check(name=name, status=REFUSED, seen=seen, remedy=remedy)
    except _CODE_FAILS as error:
        seen = f"{type(network).__name__} fails: {type(error).__name__}: {error}"
        return Check(name=name, status=REFUSED, seen=" ".join(seen.split()), remedy=remedy)
    logits: Any = getattr(output, "logits", None)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else None
    if shape != (1, 1):
        found = type(logits).__name__ if shape is None else f"logits of shape {shape}"
        seen = f"{found} for one conversation, where a reward model returns one logit"
        return Check(name=name, status=REFUSED, seen=seen, remedy=remedy)
    if not math.isfinite(reward := float(logits)):
        seen = f"the reward {reward}, which is no number, for two tokens"
        halved = network.dtype != torch.float32
        remedy = "try --dtype float32" if halved else "its weights are damaged; copy them again"
        return Check(name=name, status=REFUSED, seen=seen, remedy=remedy)
    return Check(name=name, status=OK, seen="one logit for a conversation")


def check_head(network: Any) -> Check:
    """Refuse a reward head that was quantised: its rounding is the reward's."""
    name = "head"
    inside = f"{getattr(network, 'base_model_prefix', '')}."
    heads = {
        path: module
        for path, module in network.named_modules()
        if not path.startswith(inside) and getattr(module, "weight", None) is not None
    }
    for path, module in heads.items():
        weight = module.weight() if callable(module.weight) else module.weight
        if not weight.dtype.is_floating_point or weight.element_size() < 2:
            return Check(
                name=name,
                status=REFUSED,
                seen=f"{path} is quantised ({type(module).__name__}, {weight.dtype})",
                remedy="quantise the model without its head (modules_to_not_convert), or take the"
                " original",
            )
    return Check(name=name, status=OK, seen=", ".join(heads) or "part of the model")


def check_vocabulary(network: Any, tokenizer: Any) -> Check:
    """Refuse a pad token without an embedding; warn of other such tokens."""
    name = "vocabulary"
    rows = network.get_input_embeddings().weight.shape[0]
    pad = getattr(network.config.get_text_config(), "pad_token_id", None)
    seen = f"{len(tokenizer)} tokens, {rows} embeddings"
    if pad is not None and pad >= rows:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"{seen}; the pad token is {pad}",
            remedy="set pad_token_id in config.json to a token that the model has",
        )
    if len(tokenizer) > rows:
        return Check(
            name=name,
            status=WARNING,
            seen=seen,
            remedy="take the model's own tokenizer; a conversation with a token beyond the"
            " embeddings is refused",
        )
    return Check(name=name, status=OK, seen=seen)
