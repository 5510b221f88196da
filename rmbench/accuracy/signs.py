"""The sign test for steps of any size, exact: what random signs would make of their sum."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.intervals import Floats, as_floats

__all__ = ["SignTest", "mcnemar", "sign_test"]

# The grid of sums where steps have no common unit, and the largest one where they have.
_GRID: Final = 2**17
_LARGEST_GRID: Final = 2**20
# What is left of float64 in a tail of a Fourier transform.
_SMALLEST: Final = 1e-13


class SignTest(NamedTuple):
    """P values of a sum of steps, had each an even chance of either sign.

    Attributes:
        p_value: two-sided, in (0, 1] or so small that it is 0.0.
        p_drop: one-sided: of a sum at least as low.
        steps: how many are not 0: with n of them no p value is below 0.5 ** n.
    """

    p_value: float
    p_drop: float
    steps: int


def sign_test(steps: npt.ArrayLike) -> SignTest:
    """Return how surprising the sum of steps is.

    If nothing had changed, the old and the new answers of a cluster could be exchanged, which turns
    the sign of its step. Steps of one size give McNemar's exact test. Steps that are multiples of
    one unit give the exact distribution of their sum; others are put on a grid of 131,072 units,
    which moves a p value by less than a hundredth of itself, and sums within the rounding of the
    grid count as extreme. A p value on a grid is never given as below 1e-13.

    Args:
        steps: what each cluster adds to the difference, shape (n,), finite.

    Raises:
        ValueError: no step, or one that is not finite.

    Source: R. A. Fisher (1935), The design of experiments, section 21; the distribution is the
    product of the steps' generating functions, by a discrete Fourier transform.
    """
    found = as_floats("steps", steps)
    largest = float(np.abs(found).max())
    # Sums that are 0 in exact arithmetic may differ from it by rounding.
    found = found[np.abs(found) > 1e-9 * largest] if largest > 0.0 else found[:0]
    if not found.size:
        return SignTest(1.0, 1.0, 0)
    sizes = np.abs(found)
    if float(sizes.max() - sizes.min()) <= 1e-9 * largest:
        gained, lost = int((found > 0.0).sum()), int((found < 0.0).sum())
        return SignTest(mcnemar(gained, lost), _exact_drop(gained, lost), found.size)
    unit = _common_unit(sizes)
    is_exact = unit is not None
    unit = unit or float(sizes.sum()) / _GRID
    heights, counts = np.unique(np.rint(sizes / unit).astype(np.int64), return_counts=True)
    slack = 0.0 if is_exact else _slack(counts)
    total = int(heights @ counts)
    observed = int(np.sign(found) @ np.rint(sizes / unit))
    below = _distribution(heights, counts, total)
    return SignTest(
        p_value=min(1.0, 2.0 * _tail(below, (total - abs(observed) + slack) / 2.0)),
        p_drop=_tail(below, (total + observed + slack) / 2.0),
        steps=found.size,
    )


def _slack(counts: npt.NDArray[np.int64]) -> float:
    """Return by how much two equal sums may differ on the grid: three standard deviations.

    A step with the other sign moves the sum by twice its size, and so by twice the rounding of its
    size, which is at most a half; steps of one size share it.
    """
    n = float(counts.sum())
    return min(n, 6.0 * math.sqrt(float(counts @ counts) / 12.0))


def _common_unit(sizes: Floats) -> float | None:
    """Return the largest number of which all sizes are multiples; None if it is too small."""
    total = float(sizes.sum())
    unit = float(sizes[0])
    for size in np.unique(np.round(sizes / sizes.max(), 10)) * sizes.max():
        rest = float(size)
        while rest > 1e-8 * total:
            unit, rest = rest, abs(unit - rest * round(unit / rest))
        if unit * _LARGEST_GRID < total:
            return None
    return unit


def _distribution(
    heights: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], total: int
) -> Floats:
    """Return the probability of each sum, 0 to ``total``, of heights that count or do not."""
    points = 1 << total.bit_length()
    halves = math.pi * np.arange(points // 2 + 1) / points
    # (1 + exp(-2i x)) / 2 = exp(-i x) cos(x), for each height x.
    size = np.ones(halves.size)
    for height, count in zip(heights.tolist(), counts.tolist(), strict=True):
        size *= np.cos(halves * height) ** count
    return np.fft.irfft(size * np.exp(-1j * (halves * total)), points)[: total + 1]


def _tail(probabilities: Floats, end: float) -> float:
    """Return the probability of a sum of at most ``end``."""
    reached = float(probabilities[: math.floor(end + 1e-6) + 1].sum())
    return min(max(reached, _SMALLEST), 1.0)


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p value of McNemar's test.

    Args:
        won: comparisons that only the new result wins, at least 0.
        lost: comparisons that only the old result wins, at least 0.

    Returns:
        A value in [0, 1], the same when the two are exchanged; 1.0 when no comparison is
        discordant, and 0.0 when p is below the smallest float. No mid-p correction.

    Raises:
        ValueError: a count is negative.

    Source: Q. McNemar (1947), Psychometrika 12:153-157, with the binomial distribution instead of
    its normal approximation.
    """
    if won < 0 or lost < 0:
        raise ValueError(f"counts must not be negative, got won = {won} and lost = {lost}")
    n, fewer = won + lost, min(won, lost)
    if won == lost:
        return 1.0
    # P(X = k - 1) = P(X = k) * k / (n - k + 1), so the tail is one probability times a sum.
    term = total = 1.0
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        total += term
        if term < 1e-18 * total:
            break
    return min(1.0, 2.0 * _fair_coin_probability(fewer, n) * total)


def _fair_coin_probability(k: int, n: int) -> float:
    """P(X = k) for n tosses of a fair coin, n >= 1, to about 1e-12 relative where above 1e-300.

    Source: C. Loader (2000), Fast and accurate computation of binomial probabilities; it never
    subtracts large logarithms, where lgamma would lose nine digits at n = 1e6.
    """
    if k in (0, n):
        return math.ldexp(1.0, -n)
    off = (n - 2 * k) / n
    deviance = 0.5 * n * ((1.0 - off) * math.log1p(-off) + (1.0 + off) * math.log1p(off))
    correction = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k)
    return math.sqrt(n / (2.0 * math.pi * k * (n - k))) * math.exp(correction - deviance)


def _stirling_error(n: int) -> float:
    """log(n!) minus Stirling's formula, for n >= 1."""
    if n < 16:
        stirling = (n + 0.5) * math.log(n) - n + 0.5 * math.log(2.0 * math.pi)
        return math.log(math.factorial(n)) - stirling
    square = float(n) * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / n


def _exact_drop(gained: int, lost: int) -> float:
    """Return P(X <= gained) for X ~ Binomial(gained + lost, 1/2), McNemar's one-sided p value."""
    if lost > gained:
        return mcnemar(gained, lost) / 2.0
    # The other tail begins one further, and there McNemar's value is exactly twice it.
    return 1.0 - mcnemar(gained + 1, lost - 1) / 2.0 if lost else 1.0
