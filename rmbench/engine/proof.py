"""A way of computing is proven against the lone forward before it is used: on hidden states.

The truth of a sample is taken from the model as it was loaded. A faster way then computes the row
of the run that holds the sample, and the last hidden states of all the sample's tokens in it are
compared with the truth: rewards are one number for hundreds of tokens, and let half of the subtle
faults pass. How far apart sound ways are is measured too, by another kernel for attention.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import torch

from rmbench.engine.failures import free_memory, is_out_of_memory
from rmbench.engine.reading import Ask
from rmbench.engine.sample import choose_row, choose_sample
from rmbench.engine.truth import Trial, Truth, find_truth, try_way
from rmbench.engine.units import PACKED, Planner, Unit, too_long
from rmbench.engine.ways import Values, Ways

__all__ = ["Proof", "prove"]

TOLERANCE: Final = {
    torch.float32: (1e-4, 1e-5),
    torch.float16: (1e-2, 4e-3),
    torch.bfloat16: (6e-2, 3e-2),
}
"""Largest difference of a value: a share of the spread of the sample's values, plus a share of
their size. The second is what the precision costs, the first keeps it from hiding a fault where
values are small."""
POOLING: Final = 4.0
"""So many times as much, in half precision, where the hidden states were compared already: a fault
that is left can only be one of reading another token."""
USUAL: Final = 8.0
"""And at least so many times what a sound way was seen to differ by, in the mean of squares."""

LEAST: Final = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""A relative difference of hidden states that is never held against a way."""
MOST: Final = 0.1
"""One that always is, unless two kernels for attention differ by more in the lone forward itself.
Faults of masks and positions move the worst token by more than this in models of real size."""
FLOORS: Final = 3.0
"""So many times what two kernels differ by may a way differ by."""

STATES: Final = (*PACKED, "hidden")
"""Ways that read values from hidden states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The way that was found, and what it was held to.

    Attributes:
        way: one of ``ways.WAYS``.
        difference: largest difference of a value from the lone forward on the sample.
        state: largest relative difference of a token's last hidden state, over all tokens of the
            sample; None where hidden states cannot be had.
        limit: what that may be.
        floor: what two kernels for attention differ by in the lone forward.
        tokens: in the sample.
        tolerance: how far a value of the run may be from the lone forward's.
        refused: the faster ways, each with what it differed by: of a hidden state, relatively, or
            of a value; infinite where a way could not be tried at all.
        ready: values of the units that were computed for the proof, by way and name of the unit.
    """

    way: str
    difference: float = 0.0
    state: float | None = None
    limit: float | None = None
    floor: float | None = None
    tokens: int = 0
    tolerance: float = 0.0
    refused: dict[str, float] = field(default_factory=dict)
    ready: dict[tuple[int, ...], list[Values]] = field(default_factory=dict, repr=False)


def prove(ways: Ways, planner: Planner, asks: Sequence[Ask], excluded: Collection[str]) -> Proof:
    """Return the fastest way that agrees with the lone forward on a sample.

    Args:
        ways: how to compute; afterwards the model computes as the way needs it.
        planner: plans smaller units from here on where memory runs out.
        asks: of the run's first window, all different.
        excluded: ways that were found wanting before.

    Raises:
        ScorerError: one sequence does not fit into memory, or a value is no number.
    """
    sequences = [ask.ids for ask in asks]
    unit = choose_row(planner.plan("packed", sequences, range(len(asks))))
    truth = _truth(ways, planner, asks, choose_sample(unit, sequences))
    ways.exchange()
    refused: dict[str, float] = {}
    for way in ways.candidates():
        if way == "alone" and not ways.has_exact_head:
            break
        if way not in excluded:
            proof = _try(ways, planner, way, asks, truth)
            if proof.way == way:
                return _told(proof, truth, ways.model.dtype, refused)
            if way != "alone":
                refused[way] = proof.difference
    else:
        ways.put_back()  # not even its head can be computed otherwise
    return _told(Proof(way="alone"), truth, ways.model.dtype, refused)


def _truth(ways: Ways, planner: Planner, asks: Sequence[Ask], numbers: list[int]) -> Truth:
    try:
        return find_truth(ways, asks, numbers)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    raise too_long(max(asks[number].ids.size for number in numbers), planner.device)


def _told(proof: Proof, truth: Truth, dtype: torch.dtype, refused: dict[str, float]) -> Proof:
    """Return a proof with what all ways were held to."""
    has_states = bool(truth.states)
    return replace(
        proof,
        limit=state_limit(truth, dtype) if has_states else None,
        floor=truth.floor if has_states else None,
        tokens=sum(len(states) for states in truth.states),
        tolerance=max(tolerance(truth, dtype), proof.tolerance),
        refused=refused,
    )


def _try(ways: Ways, planner: Planner, way: str, asks: Sequence[Ask], truth: Truth) -> Proof:
    """Return a proof of a way; of none (an empty one) with the difference it is refused for."""
    known = {"padded": truth.padding} | (dict.fromkeys(STATES, truth.head) if truth.states else {})
    if known.get(way, 0.0) > tolerance(truth, ways.model.dtype):
        return Proof(way="", difference=known[way])
    sequences = [ask.ids for ask in asks]
    while True:
        units = _units(planner, way, asks, truth.numbers)
        try:
            return _judge(ways, way, units, asks, truth)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        planner.shrink(units[0], sequences)
        free_memory(planner.device)


def _units(planner: Planner, way: str, asks: Sequence[Ask], numbers: list[int]) -> list[Unit]:
    """Return what a trial computes: the sample's rows as the run has them, or its batches."""
    sequences = [ask.ids for ask in asks]
    if way not in PACKED:
        return planner.plan(way, sequences, numbers)
    units = planner.plan(way, sequences, range(len(asks)))
    return [unit for unit in units if not set(numbers).isdisjoint(unit.indices)]


def _judge(ways: Ways, way: str, units: Sequence[Unit], asks: Sequence[Ask], truth: Truth) -> Proof:
    dtype = ways.model.dtype
    trials: list[Trial] = []
    ready = {}
    tries = [partial(try_way, ways, way, unit, asks, truth.only(unit.indices)) for unit in units]
    for unit, trial in zip(units, ways.together(tries), strict=False):
        fault = find_fault(trial, way, truth, dtype)
        if fault is not None:
            return Proof(way="", difference=fault)
        trials.append(trial)
        if way in PACKED and trial.values is not None:
            ready[unit.name] = trial.values
    differences = [x for trial in trials for x in trial.differences]
    states = [trial.state for trial in trials if trial.state is not None]
    return Proof(
        way=way,
        difference=max(differences),
        state=max(states) if states else None,
        tolerance=USUAL * float(np.sqrt(np.mean(np.square(differences)))),
        ready=ready,
    )


def find_fault(trial: Trial, way: str, truth: Truth, dtype: torch.dtype) -> float | None:
    """Return None where a way may be used, else the difference that it is refused for."""
    value = max(trial.differences)
    allowed = tolerance(truth, dtype)
    if trial.state is None:
        return None if value <= allowed else value
    if trial.state > state_limit(truth, dtype):
        return trial.state
    if way in STATES:  # values are read as from the truth's own states, which was tried before
        return None
    allowed *= 1.0 if dtype == torch.float32 else POOLING
    return None if value <= allowed else value


def tolerance(truth: Truth, dtype: torch.dtype) -> float:
    """Return how far a value may be from the truth's, where values are all there is to see."""
    of_spread, of_size = TOLERANCE.get(dtype, TOLERANCE[torch.float32])
    flat = np.concatenate(truth.values)
    spread = float(np.ptp(flat, axis=0).max(initial=0.0)) if len(flat) else 0.0
    return float(of_spread * spread + of_size * np.abs(flat).max(initial=0.0))


def state_limit(truth: Truth, dtype: torch.dtype) -> float:
    """Return by how much a token's last hidden state may differ, relatively."""
    measured = max(min(FLOORS * truth.floor, MOST), 1.25 * truth.floor)
    return max(LEAST.get(dtype, LEAST[torch.float32]), measured)
