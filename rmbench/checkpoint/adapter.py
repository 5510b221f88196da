"""A LoRA adapter as peft saves it: which base it belongs to, and how the two become one model."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rmbench.checkpoint.stored import read_header, read_json
from rmbench.errors import ScorerError, install

__all__ = ["Adapter", "combine", "head_rows", "merge", "read_adapter"]

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
_WHOLE: Final = ("model*", "pytorch_model*")
_STEM: Final = "base_model.model."


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter alone in its folder.

    Attributes:
        folder: its own.
        base: folder or Hub id of the model that it was trained on.
        revision: of the base on the Hub; None where the adapter does not say.
    """

    folder: Path
    base: str
    revision: str | None


def read_adapter(folder: Path, place: str) -> Adapter | None:
    """Return the adapter in a folder; None where there is none.

    Args:
        folder: the model's.
        place: what messages call it.

    Raises:
        ScorerError: it stands beside whole weights, is no LoRA of a sequence classifier, or does
            not say what its base is.
    """
    if not (folder / CONFIG).is_file():
        return None
    if any(path for kind in _WHOLE for path in folder.glob(kind)):
        # transformers applies it where peft is installed, and passes over it where it is not.
        raise ScorerError(
            f"{place}: {CONFIG} stands beside whole weights, and nothing says whether the adapter"
            " is merged into them already; give the weights without the adapter's files, or the"
            " adapter in a folder of its own"
        )
    stated = read_json(folder / CONFIG)
    kind, task, base = _fields(stated, "peft_type", "task_type", "base_model_name_or_path")
    if kind != "LORA" or task not in ("SEQ_CLS", None):
        raise ScorerError(
            f"{place}: an adapter of kind {kind} for {task or 'no task'}, where a LoRA of a"
            " sequence classifier (SEQ_CLS) can be scored; merge it into its base model"
            " (merge_and_unload of peft), and give the whole"
        )
    if not isinstance(base, str) or not base:
        raise ScorerError(
            f"{place}: {CONFIG} does not say what the adapter's base model is; write"
            " base_model_name_or_path"
        )
    revision = stated.get("revision")
    beside = folder / base
    home = str(beside) if not Path(base).is_dir() and beside.is_dir() else base
    return Adapter(folder, home, revision if isinstance(revision, str) and revision else None)


def _fields(stated: Any, *names: str) -> list[Any]:
    fields = stated if isinstance(stated, dict) else {}
    return [fields.get(name) for name in names]


def combine(revision: str, base: str) -> str:
    """Return the digest that stands for an adapter of one revision on a base of another."""
    digest = hashlib.sha256(f"adapter:{revision}\nbase:{base}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def head_rows(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Return name and shape of the weights that an adapter brings whole, such as a trained head."""
    return {
        name.removeprefix(_STEM): tensor.shape
        for name, tensor in read_header(adapter.folder / WEIGHTS).items()
        if "lora_" not in name
    }


def merge(network: Any, adapter: Adapter, place: str) -> Any:
    """Return the base model with the adapter merged into its weights.

    Args:
        network: the base, in its dtype; changed.
        adapter: what is merged.
        place: what messages call the model.

    Raises:
        ScorerError: peft is missing, or the adapter does not fit the base in every weight.
    """
    from rmbench.checkpoint.explain import (
        foreign,  # brings transformers, which finding out needs not
    )

    try:
        import peft
    except ImportError:
        raise ScorerError(
            f"{place}: a LoRA adapter needs the package peft; {install('peft')}, or give the"
            " merged model"
        ) from None
    stored = set(read_header(adapter.folder / WEIGHTS))
    with foreign(place, "model"), warnings.catch_warnings(action="ignore"):
        model = peft.PeftModel.from_pretrained(network, str(adapter.folder))
        used = set(peft.get_peft_model_state_dict(model))
    odd = sorted(stored.symmetric_difference(used))
    if odd:
        raise ScorerError(
            f"{place}: the adapter and its base {adapter.base} do not fit: {odd[0]}"
            f"{f' and {len(odd) - 1} more' if len(odd) > 1 else ''} of {len(stored)} weights has no"
            " counterpart; give the base that it was trained on"
        )
    with foreign(place, "model"), warnings.catch_warnings(action="ignore"):
        return model.merge_and_unload(safe_merge=True)
