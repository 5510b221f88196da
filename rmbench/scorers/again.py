"""A few comparisons of a run scored again, alone: does the fast way change who wins?

The truth is the model's own forward on one unpadded conversation. Two kinds of comparisons are
looked at again, each judged by itself: some spread over the run and some with the smallest margins,
in the run's own precision; and, with ``--audit exact``, every tie and near-tie in float32.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rmbench.engine.precision import step
from rmbench.suite.comparison import Key

__all__ = ["Recheck", "group", "margin", "recheck", "recheck_exactly"]

SPREAD: Final = 4
CLOSEST: Final = 4

Ids = npt.NDArray[np.int32]
Sides = tuple[list[int], list[int]]
"""Numbers of the conversations on the chosen and on the rejected side of a comparison."""
Score = Callable[[Sequence[int]], list[float]]


def group(keys: Sequence[Key | None], rewards: Sequence[float | None]) -> list[Sides]:
    """Return which conversations make a comparison, by their keys.

    Comparisons with a dropped conversation, and conversations of no suite, are left out.
    """
    sides: dict[str, Sides] = {}
    for i, key in enumerate(keys):
        if key is not None:
            pair = sides.setdefault(key.comparison, ([], []))
            pair[key.side == "rejected"].append(i)
    return [
        pair
        for pair in sides.values()
        if all(pair) and not any(rewards[i] is None for i in (*pair[0], *pair[1]))
    ]


def margin(pair: Sides, rewards: Mapping[int, float] | Sequence[float | None]) -> float:
    """Return best chosen less best rejected reward of a comparison none of which was dropped."""
    best = [max(np.float32(rewards[i] or 0.0) for i in side) for side in pair]
    return float(best[0]) - float(best[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """What the lone forward said of some comparisons.

    Attributes:
        close: of those with the smallest margins, which half precision is bound to turn.
        spread: of those spread over the run, whose turning means a fault.
        tolerance: how far a reward may be from the lone forward's.
        is_fault: whether a reward is further off, or a comparison was turned whose margin is beyond
            what that and the precision's own step allow.
    """

    close: dict[str, Any]
    spread: dict[str, Any]
    tolerance: float
    is_fault: bool

    @property
    def difference(self) -> float:
        """Largest difference of a reward."""
        return float(max(self.close["difference"], self.spread["difference"]))

    def describe(self) -> dict[str, Any]:
        """Return what the result says of it."""
        sums = {name: self.close[name] + self.spread[name] for name in ("comparisons", "flipped")}
        return {
            "comparisons": sums["comparisons"],
            "difference": self.difference,
            "flipped": sums["flipped"],
            "tolerance": round(self.tolerance, 9),
            "close": self.close,
            "spread": self.spread,
        }


def recheck(
    pairs: Sequence[Sides],
    rewards: Sequence[float | None],
    score: Score,
    *,
    tolerance: float,
    dtype: str = "float32",
) -> Recheck:
    """Score a sample of comparisons again.

    Args:
        pairs: the run's comparisons.
        rewards: of the run's conversations, computed in ``dtype``.
        score: returns the lone forward's rewards of the conversations with these numbers.
        tolerance: how far a reward may be from the lone forward's.
        dtype: margins below one step of it mean nothing.
    """
    by_margin = sorted(pairs, key=lambda pair: abs(margin(pair, rewards)))
    closest = by_margin[:CLOSEST]
    rest = [pair for pair in pairs if pair not in closest]
    spread = [rest[i * len(rest) // SPREAD] for i in range(min(SPREAD, len(rest)))]
    numbers = sorted({i for pair in (*closest, *spread) for side in pair for i in side})
    again = dict(zip(numbers, score(numbers) if numbers else [], strict=True))

    def is_beyond(pair: Sides) -> bool:
        margins = margin(pair, rewards), margin(pair, again)
        if np.sign(margins[0]) == np.sign(margins[1]):
            return False
        largest = max(abs(again[i]) for side in pair for i in side)
        return max(map(abs, margins)) > max(2 * tolerance, step(largest, dtype))

    differs = any(abs((rewards[i] or 0.0) - reward) > tolerance for i, reward in again.items())
    return Recheck(
        close=_compare(closest, rewards, again),
        spread=_compare(spread, rewards, again),
        tolerance=tolerance,
        is_fault=differs or any(map(is_beyond, (*closest, *spread))),
    )


def recheck_exactly(
    pairs: Sequence[Sides], rewards: Sequence[float | None], score: Score, *, dtype: str
) -> Any:
    """Score every tie and near-tie again; returns what ``recheck`` does.

    Args:
        pairs: the run's comparisons.
        rewards: of the run's conversations, computed in ``dtype``.
        score: returns exact rewards.
        dtype: a margin below one step of it is a near-tie.
    """
    close = [pair for pair in pairs if _is_close(pair, rewards, dtype)]
    numbers = sorted({i for pair in close for side in pair for i in side})
    again = dict(zip(numbers, score(numbers) if numbers else [], strict=True))
    return _compare(close, rewards, again)


def _is_close(pair: Sides, rewards: Sequence[float | None], dtype: str) -> bool:
    largest = max(abs(rewards[i] or 0.0) for side in pair for i in side)
    return abs(margin(pair, rewards)) < step(largest, dtype)


def _compare(
    sample: Sequence[Sides], rewards: Sequence[float | None], again: Mapping[int, float]
) -> dict[str, Any]:
    """Return how many comparisons there are, the largest difference, and how many are turned."""
    numbers = {i for pair in sample for side in pair for i in side}
    differences = [abs((rewards[i] or 0.0) - again[i]) for i in numbers]
    flipped = sum(np.sign(margin(pair, rewards)) != np.sign(margin(pair, again)) for pair in sample)
    return {
        "comparisons": len(sample),
        "difference": round(max(differences, default=0.0), 9),
        "flipped": int(flipped),
    }
