"""Where a model reads its reward: found out from the model itself, never guessed from token ids."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = [
    "Ask",
    "Reading",
    "Readout",
    "Reward",
    "StandIn",
    "exchanged",
    "find_backbone",
    "find_heads",
    "find_readout",
    "pad_id",
    "read_place",
]

Ids = npt.NDArray[np.int32]
TokenPlaces = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """One sequence, and where it is read.

    Attributes:
        ids: token ids, shape (length,), length at least 1.
        places: tokens at which it is read, counted from 0, shape (places,); None where the model
            itself chooses.
        targets: for each place the token that is asked about; None where none is.
    """

    ids: Ids
    places: TokenPlaces | None = None
    targets: Ids | None = None

    @property
    def content(self) -> bytes:
        """All that determines the answer; equal asks are computed once."""
        parts = (self.ids, self.places, self.targets)
        return b"|".join(b"" if part is None else part.tobytes() for part in parts)


class Reading(Protocol):
    """How values come from the last hidden states of a model, at the places of a sequence.

    Attributes:
        model: the whole model.
        backbone: what gives the last hidden states; None where they cannot be had.
        reads_states: whether ``places`` and ``values`` read them; else only the model's own forward
            gives values.
        heads: linear layers after the backbone whose products are worth float32.
        is_batched: whether the model's own forward gives the values of a padded batch.
    """

    model: Any
    backbone: nn.Module | None
    reads_states: bool
    heads: list[nn.Linear]
    is_batched: bool

    def places(self, ask: Ask) -> TokenPlaces:
        """Return where a sequence is read, shape (places,)."""

    def values(self, states: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """Return values, (places, outputs), of last hidden states, (places, width)."""

    def own(self, ids: torch.Tensor, mask: torch.Tensor, asks: list[Ask]) -> list[torch.Tensor]:
        """Return what the model's own forward says, (places, outputs) for each sequence.

        Args:
            ids: token ids, (sequences, longest), padded on the right.
            mask: 1 where a token is no padding.
            asks: the sequences.
        """

    def behind(self, ask: Ask, states: torch.Tensor) -> torch.Tensor:
        """Return what the model's own code makes of last hidden states, (places, outputs).

        Args:
            ask: one sequence.
            states: of its tokens, (1, tokens, width), whatever they are; those beyond its length
                stand for padding.
        """


class Readout(NamedTuple):
    """The parts of a decoder that reads one token: its backbone and its head."""

    backbone: nn.Module
    head: nn.Module


def find_readout(model: Any) -> Readout | None:
    """Return backbone and head of a model that reads one token's hidden state, else None.

    Asked of the model itself, not guessed from its class: it must have one linear layer with one
    output outside its backbone, and reading must work as ``read_place`` describes.
    """
    backbone, heads = find_backbone(model), find_heads(model)
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
    backbone = find_backbone(model)
    inside = set() if backbone is None else {id(module) for module in backbone.modules()}
    outside = [module for module in model.modules() if id(module) not in inside]
    return [module for module in outside if isinstance(module, nn.Linear)] if inside else []


def find_backbone(model: Any) -> nn.Module | None:
    """Return the part of a model that its class calls its base; None where it names none."""
    backbone = getattr(model, getattr(model, "base_model_prefix", "") or "-", None)
    return backbone if isinstance(backbone, nn.Module) and backbone is not model else None


class Reward:
    """One reward for a sequence, read where the model's own forward reads it."""

    is_batched = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.readout = find_readout(model)
        self.reads_states = self.readout is not None
        self.backbone = find_backbone(model) if self.readout is None else self.readout.backbone
        self.heads = [head for head in find_heads(model) if head.out_features == 1]

    def places(self, ask: Ask) -> TokenPlaces:
        """Return the one place at which the model reads."""
        assert self.readout is not None, "only asked of models that read one place"
        return np.array([read_place(self.model, self.readout, ask.ids)])

    def values(self, states: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """Return rewards, (places, 1)."""
        assert self.readout is not None, "only asked of models that read one place"
        rewards: torch.Tensor = self.readout.head(states)
        return rewards

    def own(self, ids: torch.Tensor, mask: torch.Tensor, asks: list[Ask]) -> list[torch.Tensor]:
        """Return the logits of the model's own forward, (1, 1) for each sequence."""
        return list(self.model(input_ids=ids, attention_mask=mask).logits[:, None])

    def behind(self, ask: Ask, states: torch.Tensor) -> torch.Tensor:
        """Return the logits that the model's own forward reads from hidden states, (1, 1)."""
        from transformers.modeling_outputs import BaseModelOutputWithPast

        assert self.backbone is not None, "only asked where there are hidden states"
        shape = (1, states.shape[1])
        ids = np.full(shape, pad_id(self.model.config), dtype=np.int64)
        ids[0, : ask.ids.size] = ask.ids
        mask = (np.arange(shape[1])[None] < ask.ids.size).astype(np.int64)
        tokens, seen = (torch.from_numpy(numbers).to(states.device) for numbers in (ids, mask))
        stub = StandIn(BaseModelOutputWithPast(last_hidden_state=states))
        with exchanged(self.model, self.backbone, stub):
            (values,) = self.own(tokens, seen, [ask])
        return values


class StandIn(nn.Module):
    """Stands in for a backbone or head and returns what it was given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output, whatever is given."""
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
        exchanged(model, readout.backbone, StandIn(hidden)),
        exchanged(model, readout.head, StandIn(places)),
    ):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    if tuple(logits.shape) != (1, 1):
        raise ValueError(f"one logit expected, shape {tuple(logits.shape)} found")
    place = int(logits[0, 0])
    return int(sequence.size) - 1 - place if is_reversed else place


@contextlib.contextmanager
def exchanged(model: nn.Module, part: nn.Module, stub: nn.Module) -> Iterator[None]:
    """Put a stub in the place of a part of a model, as long as the block runs."""
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
