"""Many tests at once: the chance of any false finding is kept at alpha."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.intervals import Floats, as_floats

__all__ = ["Family", "holm", "max_t"]

_SEED: Final = 12345
_CHUNK: Final = 10_000
_MOST_DRAWS: Final = 1_000_000
_NUMBERS_AT_ONCE: Final = 4_000_000
# Draws go on until every p value is so many standard errors from alpha.
_CERTAIN: Final = 5.0


def holm(p_values: npt.ArrayLike) -> list[float]:
    """Return p values adjusted for their number by Holm's step-down method.

    Args:
        p_values: each in [0, 1], in any order.

    Returns:
        The adjusted values in the order given, each in [0, 1] and none below the value it came
        from; equal values stay equal. Rejecting where one is at most alpha keeps the chance of any
        false rejection at alpha, however the tests depend on each other.

    Raises:
        ValueError: no value, or one outside [0, 1].

    Source: S. Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6:65-70.
    """
    p = as_floats("p_values", p_values)
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError(f"p_values must be in [0, 1], got {p.min()} to {p.max()}")
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(raised, 1.0)
    values: list[float] = adjusted.tolist()
    return values


class Family(NamedTuple):
    """P values of several slices, adjusted for each other.

    Attributes:
        adjusted: a p value for each slice, none below its own.
        reachable: the smallest p value that each slice could have had with as many steps, had all
            of them gone one way.
        draws: sets of signs that were drawn.
    """

    adjusted: tuple[float, ...]
    reachable: tuple[float, ...]
    draws: int


def max_t(steps: Floats, p_values: npt.ArrayLike, *, alpha: float, drops: bool = False) -> Family:
    """Return the p values of several slices of the same clusters, adjusted by the maximum.

    Under random signs of clusters the slices move together, as they do in the data: an average
    moves with its sections. Each slice's sum is divided by its standard deviation, and a p value is
    how often the largest of those that are not yet rejected would be as large (Westfall and Young's
    step-down method). That loses less power than Holm's method, which expects the worst. Draws go
    on, up to a million, until every value is five standard errors from ``alpha``; the seed is
    fixed, so that the same data give the same values.

    Args:
        steps: what each cluster adds to each slice's difference, shape (clusters, slices).
        p_values: of each slice alone; an adjusted value is at least this and at most this times the
            number of slices.
        alpha: the level at which the values will be read, in (0, 1).
        drops: ask for drops alone.

    Source: P. H. Westfall, S. S. Young (1993), Resampling-based multiple testing, algorithm 2.8;
    J. P. Romano, M. Wolf (2005), JASA 100:94-108.
    """
    alone = as_floats("p_values", p_values)
    scale = np.sqrt((steps**2).sum(axis=0))
    moved = np.flatnonzero(scale > 0.0)
    adjusted, reachable = np.ones(alone.size), np.ones(alone.size)
    draws = 0
    if moved.size:
        shares = steps[:, moved] / scale[moved]
        found = _step_down(shares, alpha=alpha, drops=drops)
        adjusted[moved], reachable[moved], draws = found
    adjusted = np.clip(adjusted, alone, np.minimum(alone * alone.size, 1.0))
    lowest = 0.5 ** (np.count_nonzero(steps, axis=0) - (0.0 if drops else 1.0))
    lowest = np.minimum(lowest, 1.0)
    reachable = np.clip(reachable, lowest, np.minimum(lowest * alone.size, 1.0))
    return Family(tuple(adjusted.tolist()), tuple(reachable.tolist()), draws)


def _step_down(shares: Floats, *, alpha: float, drops: bool) -> tuple[Floats, Floats, int]:
    observed = -shares.sum(axis=0) if drops else np.abs(shares.sum(axis=0))
    most = np.abs(shares).sum(axis=0)
    order = np.argsort(-observed, kind="stable")
    # Sums that are equal in exact arithmetic may differ by rounding, and must count as ties.
    bars, peaks = observed[order] - 1e-9, most - 1e-9
    as_far, at_most, draws = np.zeros(order.size), np.zeros(order.size), 0
    fewest = min(_MOST_DRAWS, 20.0 / alpha)
    for sums in _signed_sums(shares):
        values = -sums if drops else np.abs(sums)
        rest = np.maximum.accumulate(values[:, order][:, ::-1], axis=1)[:, ::-1]
        as_far += (rest >= bars).sum(axis=0)
        at_most += (rest[:, :1] >= peaks).sum(axis=0)
        draws += len(sums)
        p = (as_far + 1.0) / (draws + 1.0)
        error = np.sqrt(p * (1.0 - p) / draws)
        if draws < fewest:
            continue
        if draws >= _MOST_DRAWS or bool((np.abs(p - alpha) > _CERTAIN * error).all()):
            break
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted, (at_most + 1.0) / (draws + 1.0), draws


def _signed_sums(shares: Floats) -> Iterator[Floats]:
    """Yield sums of the rows under random signs, shape (draws, slices), without end."""
    rows = shares[np.abs(shares).max(axis=1) > 0.0]
    # A row and its opposite are the same under random signs.
    first = np.argmax(rows != 0.0, axis=1)
    rows = rows * np.sign(rows[np.arange(len(rows)), first])[:, None]
    kinds, counts = np.unique(np.round(rows, 12), axis=0, return_counts=True)
    generator = np.random.default_rng(_SEED)
    chunk = max(100, min(_CHUNK, _NUMBERS_AT_ONCE // len(kinds)))
    while True:
        # Of m equal rows a binomial number goes up: one draw instead of m.
        ups = generator.binomial(counts, 0.5, size=(chunk, len(kinds)))
        yield (2.0 * ups - counts) @ kinds
