"""Where a model reads its reward: found out from the model itself, never guessed from token ids."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["Readout", "find_heads", "find_readout", "pad_id", "read_place"]

Ids = npt.NDArray[np.int32]


class Readout(NamedTuple):
    """The parts of a decoder that reads one token: its backbone and its head."""

    backbone: nn.Module
    head: nn.Module


def find_readout(model: Any) -> Readout | None:
    """Return backbone and head of a model that reads one token's hidden state, else None.

    Asked of the model itself, not guessed from its class: it must have one linear layer with one
    output outside its backbone, and reading must work as ``read_place`` describes.
    """
    backbone, heads = _backbone(model), find_heads(model)
    # A head of several layers is one part of a model that says so.
    whole = getattr(model, "reward_head", None)
    is_one = isinstance(whole, nn.Module) or len(heads) == 1
    if backbone is None or not is_one or heads[-1].out_features != 1:
        return None
    readout = Readout(backbone, whole if isinstance(whole, nn.Module) else heads[0])
    pad = pad_id(model.config)
    probe = np.array([pad + 1, pad + 2, pad + 1], dtype=np.int32)
    # Foreign forwards fail in their own ways when their parts are exchanged.
    with contextlib.suppress(
        RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError
    ):
        # Both ways round, so that a maximum over the tokens does not pass for the last of them.
        places = {read_place(model, readout, probe, is_reversed=turn) for turn in (False, True)}
        if places == {probe.size - 1}:
            return readout
    return None


def find_heads(model: Any) -> list[nn.Linear]:
    """Return the linear layers that come after a model's backbone, in their order."""
    backbone = _backbone(model)
    inside = set() if backbone is None else {id(module) for module in backbone.modules()}
    outside = [module for module in model.modules() if id(module) not in inside]
    return [module for module in outside if isinstance(module, nn.Linear)] if inside else []


def _backbone(model: Any) -> nn.Module | None:
    backbone = getattr(model, getattr(model, "base_model_prefix", "") or "-", None)
    return backbone if isinstance(backbone, nn.Module) and backbone is not model else None


class _Stub(nn.Module):
    """Stands in for a backbone or head and returns what it was given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


def read_place(model: Any, readout: Readout, sequence: Ids, *, is_reversed: bool = False) -> int:
    """Return the place at which the model's own forward reads the reward of one sequence.

    The model's forward runs with its backbone and head exchanged for stubs, whose "logit" of a
    token is the token's place: what comes out is the place that the model pooled. Costs no
    arithmetic, and follows whatever rule this version of this model has for pad and eos. With
    ``is_reversed`` the stubs count the places from the end.
    """
    from transformers.modeling_outputs import BaseModelOutputWithPast

    places = torch.arange(sequence.size, dtype=torch.float64)[None, :, None]  # (1, T, 1)
    if is_reversed:
        places = places.flip(1)
    ids = torch.from_numpy(sequence.astype(np.int64))[None]  # (1, T)
    hidden = BaseModelOutputWithPast(last_hidden_state=torch.zeros_like(places))
    with (
        _exchanged(model, readout.backbone, _Stub(hidden)),
        _exchanged(model, readout.head, _Stub(places)),
    ):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    if tuple(logits.shape) != (1, 1):
        raise ValueError(f"one logit expected, shape {tuple(logits.shape)} found")
    place = int(logits[0, 0])
    return int(sequence.size) - 1 - place if is_reversed else place


@contextlib.contextmanager
def _exchanged(model: nn.Module, part: nn.Module, stub: nn.Module) -> Iterator[None]:
    name = next(name for name, child in model.named_children() if child is part)
    setattr(model, name, stub)
    try:
        yield
    finally:
        setattr(model, name, part)


def pad_id(config: Any) -> int:
    """Return the id that fills batches: the model's pad token, or 0 where it has none."""
    pad = getattr(config.get_text_config(), "pad_token_id", None)
    return 0 if pad is None else int(pad)
