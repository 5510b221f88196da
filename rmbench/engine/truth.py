"""What the lone forward gives a sample, and how far a unit of a run is from it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmbench.engine.failures import ends_the_process, is_out_of_memory
from rmbench.engine.packing import PackedRow
from rmbench.engine.reading import Ask
from rmbench.engine.tree import UnsupportedAttentionError
from rmbench.engine.units import PACKED, Unit
from rmbench.engine.ways import Values, Ways
from rmbench.errors import ScorerError

__all__ = ["Trial", "Truth", "find_truth", "try_way"]

States = npt.NDArray[np.float32]

MEASURED: Final = 2
"""Sequences on which the floor is measured."""
BEGINNINGS: Final = 8
"""Beginnings of each sequence of the sample on which reading is tried."""

# How a model of others says, on the sample, that it does not go a way (one without a pad token
# refuses batches, say). The lone forward has worked by then, so nothing is hidden.
_WAY_FAILS: Final = (
    UnsupportedAttentionError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the lone forward gives the sample, by the model as it was loaded.

    Attributes:
        numbers: of the sequences.
        values: of each sequence.
        states: last hidden states of each, (tokens, width); empty where they cannot be had.
        floor: the largest relative difference of a token's state by another kernel for attention.
        head: the largest difference of a value that is read from those very states.
        padding: the largest difference of a value that the model's own code reads from those very
            states with padding behind them.
    """

    numbers: list[int]
    values: list[Values]
    states: list[States]
    floor: float
    head: float
    padding: float

    def only(self, indices: Sequence[int]) -> "Truth":
        """Return the truth of those sequences that are among ``indices``."""
        kept = [place for place, number in enumerate(self.numbers) if number in set(indices)]
        return replace(
            self,
            numbers=[self.numbers[place] for place in kept],
            values=[self.values[place] for place in kept],
            states=[self.states[place] for place in kept] if self.states else [],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How far a unit was from the truth.

    Attributes:
        differences: the largest of each sequence's values; infinite where a way cannot be gone.
        state: the largest relative difference of a token's last hidden state; None where none was
            compared.
        values: of all sequences of the unit; None where the way cannot be gone.
    """

    differences: list[float]
    state: float | None = None
    values: list[Values] | None = None


def find_truth(ways: Ways, asks: Sequence[Ask], numbers: list[int]) -> Truth:
    """Return the truth of a sample, by the model as it was loaded.

    Raises:
        ScorerError: a value is no number.
    """
    ways.put_back()
    sample = [asks[number] for number in numbers]
    measured = _measured(ways, sample)
    looks = [partial(_look, ways, ask) for ask in sample]
    looks += [partial(_look, ways, sample[i], plainly=True) for i in measured]
    found = list(ways.together(looks))
    values = [own for own, _ in found[: len(sample)]]
    for ask, own in zip(sample, values, strict=True):
        _check_number(own, ask, ways.model.dtype)
    states = [state for _, state in found[: len(sample)] if state is not None]
    kept = states if len(states) == len(sample) else []
    plain = [state for _, state in found[len(sample) :]]
    return Truth(
        numbers=numbers,
        values=values,
        states=kept,
        floor=_floor(plain, [kept[i] for i in measured] if kept else []),
        head=_head(ways, sample, values, kept),
        padding=_padding(ways, sample, values, kept),
    )


def _check_number(values: Values, ask: Ask, dtype: torch.dtype) -> None:
    """Refuse what is no number now, not after hours."""
    strange = values[~np.isfinite(values)]
    if strange.size:
        halved = dtype in (torch.float16, torch.bfloat16)
        remedy = "try --dtype float32" if halved else "are its weights damaged?"
        raise ScorerError(
            f"the reward of a conversation of {ask.ids.size} tokens is {strange[0]}, which is no"
            f" number; {remedy}"
        )


def _look(ways: Ways, ask: Ask, *, plainly: bool = False) -> tuple[Values, States | None]:
    """Return what the lone forward gives a sequence, and its last hidden states.

    With ``plainly`` by PyTorch's plainest kernel for attention.
    """
    kernel = sdpa_kernel([SDPBackend.MATH]) if plainly else nullcontext()
    with _watched(ways.reading.backbone) as seen, kernel:
        values = ways.truth(ask)
    return values, _only(seen, ask.ids.size)


def _measured(ways: Ways, sample: Sequence[Ask]) -> list[int]:
    """Return on which sequences of a sample two kernels are compared: the longest."""
    if getattr(ways.model.config, "_attn_implementation", None) != "sdpa":
        return []
    if ways.reading.backbone is None:
        return []
    return sorted(range(len(sample)), key=lambda i: -sample[i].ids.size)[:MEASURED]


def _floor(plain: Sequence[States | None], states: Sequence[States]) -> float:
    """Return how far the lone forward is from itself by PyTorch's plainest kernel."""
    pairs = zip(plain, states, strict=False)
    largest = max((_worst(x, own) for x, own in pairs if x is not None), default=0.0)
    return largest if np.isfinite(largest) else 0.0


def _head(
    ways: Ways, sample: Sequence[Ask], values: Sequence[Values], states: Sequence[States]
) -> float:
    """Return how far values read from given hidden states are from what the model's own code reads.

    From those of the sample; and, since it costs no forward pass, from many of their beginnings.
    """
    if not ways.reading.reads_states or not states:
        return float("inf")
    largest = 0.0
    try:
        for ask, own, state in zip(sample, values, states, strict=True):
            largest = max(largest, _largest(ways.read(ask, state) - own))
            for begun, part in _beginnings(ask, state):
                found = ways.read(begun, part) - ways.read_by_model(begun, part)
                largest = max(largest, _largest(found))
    except _WAY_FAILS as error:
        _pass_on(error)
        return float("inf")
    return largest


def _padding(
    ways: Ways, sample: Sequence[Ask], values: Sequence[Values], states: Sequence[States]
) -> float:
    """Return by how much padding moves what the model's own code makes of hidden states.

    Those of the padding are large, both ways: a maximum or a mean over them would show.
    """
    if not ways.reading.is_batched or not states:
        return 0.0
    largest = 0.0
    try:
        for ask, own, state in zip(sample, values, states, strict=True):
            padded = np.concatenate([state, 2 * state, -2 * state])
            largest = max(largest, _largest(ways.read_by_model(ask, padded) - own))
    except _WAY_FAILS as error:
        _pass_on(error)
        return 0.0  # it takes more than hidden states from its backbone; batches tell
    return largest


def _beginnings(ask: Ask, states: States) -> Iterator[tuple[Ask, States]]:
    if ask.places is not None:  # these are read where they are asked to be
        return
    for number in range(1, BEGINNINGS + 1):
        length = max(1, number * len(states) // (BEGINNINGS + 1))
        yield Ask(ids=ask.ids[:length]), states[:length]


def try_way(ways: Ways, way: str, unit: Unit, asks: Sequence[Ask], truth: Truth) -> Trial:
    """Compute a unit in one way, and compare the part of the sample in it with the truth.

    Raises:
        RuntimeError: memory ran out, or the device is lost.
    """
    watches = bool(truth.states) and way != "alone"
    try:
        with _watched(ways.reading.backbone if watches else None) as seen:
            values = ways.start(way, unit, asks).get()
    except _WAY_FAILS as error:
        _pass_on(error)
        return Trial(differences=[float("inf")])
    places = [unit.indices.index(number) for number in truth.numbers]
    differences = [
        _largest(values[place] - own) for place, own in zip(places, truth.values, strict=True)
    ]
    state = _compare(seen, way, unit, truth) if watches else None
    return Trial(differences=differences, state=state, values=values)


def _compare(seen: list[torch.Tensor], way: str, unit: Unit, truth: Truth) -> float:
    """Return the largest relative difference of a token's state; infinite where one is missing."""
    largest = 0.0
    for number, state in zip(truth.numbers, truth.states, strict=True):
        place = unit.indices.index(number)
        if way in PACKED:
            assert unit.row is not None, "packed units have a row"
            found: States | None = _in_row(seen, unit.row, place)
        else:
            found = _in_batch(seen, place, len(state))
        if found is None or found.shape != state.shape:
            return float("inf")
        largest = max(largest, _worst(found, state))
    return largest


def _in_row(seen: list[torch.Tensor], row: PackedRow, branch: int) -> States:
    """Return the states of one sequence of a row that was computed chunk by chunk."""
    own = row.branches[branch]
    pieces = [*row.prefix(branch), slice(own.offset, own.offset + own.length)]
    places = np.concatenate([np.arange(piece.start, piece.stop) for piece in pieces])
    whole = torch.cat([states[0] for states in seen])
    return _numbers(whole[torch.from_numpy(places).to(whole.device)])


def _in_batch(seen: list[torch.Tensor], place: int, length: int) -> States | None:
    if len(seen) != 1 or seen[0].ndim != 3 or place >= len(seen[0]):
        return None
    return _numbers(seen[0][place, :length])


def _worst(states: States, truth: States) -> float:
    distance = np.linalg.norm(states - truth, axis=1)
    size = np.maximum(np.linalg.norm(truth, axis=1), np.finfo(np.float32).tiny)
    return _largest(distance / size)


def _largest(differences: npt.NDArray[Any]) -> float:
    largest = float(np.abs(differences).max(initial=0.0))
    return largest if np.isfinite(largest) else float("inf")


def _only(seen: list[torch.Tensor], length: int) -> States | None:
    """Return the states of a lone forward; None where they are not one row of tokens."""
    if len(seen) != 1 or seen[0].ndim != 3 or seen[0].shape[:2] != (1, length):
        return None
    return _numbers(seen[0][0])


def _numbers(states: torch.Tensor) -> States:
    numbers: States = states.float().cpu().numpy()
    return numbers


def _pass_on(error: BaseException) -> None:
    """Raise again what is no answer of the model's."""
    if is_out_of_memory(error) or ends_the_process(error):
        raise error


@contextmanager
def _watched(backbone: nn.Module | None) -> Iterator[list[torch.Tensor]]:
    """Collect the last hidden states that a backbone returns, call by call."""
    seen: list[torch.Tensor] = []

    def see(_: nn.Module, __: Any, output: Any) -> None:
        states = getattr(output, "last_hidden_state", None)
        if isinstance(states, torch.Tensor):
            seen.append(states)

    if backbone is None:
        yield seen
        return
    handle = backbone.register_forward_hook(see)
    try:
        yield seen
    finally:
        handle.remove()
