"""Is one result better than another? Differences of accuracies, with intervals and p values.

`paired_difference` is for two results on the same comparisons, `unpaired_difference` for results of
which only accuracies and counts are known. A difference is new minus old: below 0 is a drop.

Coverage of `paired_difference` at level 0.95, in 2,000 draws for each of RewardBench's shapes and
for 1,980 plain comparisons, with a share of 0.3 to 30 % discordant and none to nearly all of them
lost: 93.8 to 96.3 % from 40 discordant comparisons on, 93.1 to 98.6 % with 5 to 40, up to 99.9 %
below that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.intervals import (
    Floats,
    Interval,
    as_floats,
    normal_quantile,
    normalised,
    weighted_interval,
)

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How a resampling test draws: the same settings and data give the same p value.

    Attributes:
        seed: of numpy's default generator.
        resamples: how many draws, at least 1. The smallest p value is 1 / (resamples + 1).
    """

    seed: int = 12345
    resamples: int = 10_000


class Strata(NamedTuple):
    """What is known of a result without its comparisons: accuracies in [0, 1] and counts."""

    accuracies: npt.ArrayLike
    counts: npt.ArrayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference of two accuracies, new minus old.

    Attributes:
        estimate: in [-1, 1].
        interval: inside [-1, 1], holds the estimate.
        p_value: two-sided, in (0, 1] or so small that it is 0.0: how often a difference at least
            as far from 0 would come about if nothing had changed.
        p_drop: one-sided: how often a difference at least as low would.
    """

    estimate: float
    interval: Interval
    p_value: float
    p_drop: float


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

    Source: Q. McNemar (1947), Psychometrika 12:153-157, with the binomial distribution in place of
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


def paired_difference(
    differences: npt.ArrayLike,
    strata: npt.ArrayLike,
    *,
    weights: npt.ArrayLike,
    level: float = 0.95,
    resampling: Resampling | None = None,
) -> Difference:
    """Compare two results on the same comparisons.

    The estimate is the weighted mean over strata of the mean difference in each.

    The p values are from a sign-flip permutation test: if nothing had changed, new and old credit
    of a comparison could be exchanged, so each difference is given a random sign. Comparisons
    without a difference play no part. Draws that tie with the estimate count as extreme, and with
    k of B draws extreme p is (k + 1) / (B + 1), which is never 0.

    The interval is Tango's score interval for paired proportions at the effective sample size, the
    number of comparisons with which one plain stratum would vary as much (each stratum's moments
    are first taken with half a discordant comparison more, so that one without any still counts
    as uncertain). With one stratum and differences of -1, 0 and 1 it is Tango's interval. A
    fractional difference counts as that part of a discordant comparison.

    Args:
        differences: new credit minus old credit per comparison, each in [-1, 1].
        strata: the stratum of each comparison, a whole number that is a position in `weights`.
        weights: of each stratum in the mean, non-negative, not all zero, on any scale.
        level: confidence level of the interval, strictly between 0 and 1.
        resampling: seed and number of draws; the defaults of `Resampling` when None.

    Returns:
        The difference. Without any discordant comparison it is 0 with both p values 1.0, and the
        interval is as wide as that much agreement allows. Exchanging the results mirrors estimate
        and interval and leaves the two-sided p value as it is.

    Raises:
        ValueError: empty or unequally long lists, a value outside its range, a stratum that has
            weight but no comparison, or no resamples.

    Source: B. Phipson, G. K. Smyth (2010), Permutation p-values should never be zero, Statistical
    Applications in Genetics and Molecular Biology 9:39; T. Tango (1998), Equivalence test and
    confidence interval for the difference in proportions for the paired-sample design, Statistics
    in Medicine 17:891-908. The effective size follows
    `rmbench.accuracy.intervals.weighted_interval`.
    """
    table = _paired_table(differences, strata, weights)
    interval = _tango_interval(table, level)
    p_value, p_drop = _sign_flip(table.steps, table.estimate, resampling or Resampling())
    return Difference(
        estimate=float(table.estimate), interval=interval, p_value=p_value, p_drop=p_drop
    )


class _PairedTable(NamedTuple):
    """The whole of the data as one paired table, and how far each comparison moves the mean."""

    estimate: Floats
    discordance: Floats
    size: Floats
    steps: Floats


def _paired_table(
    differences: npt.ArrayLike, strata: npt.ArrayLike, weights: npt.ArrayLike
) -> _PairedTable:
    d = as_floats("differences", differences)
    w = normalised(as_floats("weights", weights))
    if np.abs(d).max() > 1.0:
        raise ValueError(f"differences must be in [-1, 1], got {d.min()} to {d.max()}")
    index = _stratum_index(strata, d.size, w.size)
    n = np.bincount(index, minlength=w.size).astype(np.float64)
    empty = np.flatnonzero((w > 0.0) & (n == 0.0))
    if empty.size:
        raise ValueError(f"stratum {empty[0]} has weight but no comparison")
    kept = w > 0.0
    # Summed apart, so that equal gains and losses cancel exactly.
    gains, losses, squares = (
        np.bincount(index, weights=values, minlength=w.size)[kept] / n[kept]
        for values in (np.maximum(d, 0.0), np.maximum(-d, 0.0), d * d)
    )
    moments = np.stack([gains - losses, gains + losses, squares])
    share = np.divide(w, n, out=np.zeros_like(w), where=n > 0.0)
    return _PairedTable(*_effective_table(moments, n[kept], w[kept]), share[index] * d)


def _stratum_index(strata: npt.ArrayLike, comparisons: int, count: int) -> npt.NDArray[np.int64]:
    index = np.asarray(strata)
    if index.shape != (comparisons,) or index.dtype.kind not in "iu":
        raise ValueError(
            f"strata must be one whole number for each of the {comparisons} differences, "
            f"got {index.dtype} of shape {index.shape}"
        )
    if index.min() < 0 or index.max() >= count:
        raise ValueError(
            f"strata must be positions in the {count} weights, got {index.min()} to {index.max()}"
        )
    return index.astype(np.int64)


def _effective_table(moments: Floats, n: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean difference, mean discordance and effective size; strata are the last axis.

    `moments` holds, along its first axis, each stratum's mean of d, of |d| and of d squared.
    """
    extra = np.array([0.0, 0.5, 0.5]).reshape(3, *[1] * (moments.ndim - 1))
    smoothed = (n * moments + extra) / (n + 1.0)
    mean, discordance, square = smoothed
    variance = ((square - mean * mean) / n) @ (w * w)
    size = (discordance @ w - (mean @ w) ** 2) / variance
    # Weights that sum to 1 but for rounding may put a mean of ones above 1.
    return np.clip(moments[0] @ w, -1.0, 1.0), np.clip(moments[1] @ w, 0.0, 1.0), size


def _tango_interval(table: _PairedTable, level: float) -> Interval:
    low, high = _tango_limits(table.estimate, table.discordance, table.size, level)
    estimate = float(table.estimate)
    return Interval(min(float(low), estimate), max(float(high), estimate))


def _tango_limits(
    difference: Floats, discordance: Floats, size: Floats, level: float
) -> tuple[Floats, Floats]:
    """Tango's limits: the differences whose score statistic is z and -z, found by bisection."""
    z = normal_quantile(level)
    gains, losses = size * (discordance + difference) / 2.0, size * (discordance - difference) / 2.0

    def score(delta: Floats) -> Floats:
        # The share of losses that makes the data most likely when the difference is delta.
        linear = (2.0 * size - gains + losses) * delta - gains - losses
        root = np.sqrt(np.maximum(linear**2 + 8.0 * size * losses * delta * (1.0 - delta), 0.0))
        variance = size * ((root - linear) / (2.0 * size) + delta * (1.0 - delta))
        # At a difference of 1 or -1 nothing varies; the floor only keeps the division defined.
        return (gains - losses - size * delta) / np.sqrt(np.maximum(variance, 1e-300))

    one = np.ones_like(difference)
    low = _bisect(lambda delta: score(delta) > z, -one, difference)
    high = _bisect(lambda delta: score(delta) > -z, difference, one)
    return low, high


def _bisect(
    rises_further: Callable[[Floats], npt.NDArray[np.bool_]], low: Floats, high: Floats
) -> Floats:
    for _ in range(60):
        middle = (low + high) / 2.0
        right = rises_further(middle)
        low, high = np.where(right, middle, low), np.where(right, high, middle)
    return (low + high) / 2.0


def _sign_flip(steps: Floats, observed: Floats, resampling: Resampling) -> tuple[float, float]:
    """Two-sided and one-sided (drop) p values of the sum of `steps` under random signs."""
    if resampling.resamples < 1:
        raise ValueError(f"a resampling test needs at least one draw, got {resampling.resamples}")
    sizes, counts = np.unique(np.abs(steps[steps != 0.0]), return_counts=True)
    generator = np.random.default_rng(resampling.seed)
    sums = np.zeros(resampling.resamples)
    # Of m equal steps a binomial number goes up: one draw in place of m, and memory for one row.
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        sums += size * (2.0 * generator.binomial(count, 0.5, resampling.resamples) - count)
    # Sums that are equal in exact arithmetic may differ by rounding, and must count as ties.
    slack = 1e-9 * float(sizes @ counts)
    as_far = int(np.count_nonzero(np.abs(sums) >= abs(float(observed)) - slack))
    as_low = int(np.count_nonzero(sums <= float(observed) + slack))
    draws = resampling.resamples + 1
    return (as_far + 1) / draws, (as_low + 1) / draws


def unpaired_difference(
    new: Strata, old: Strata, *, weights: npt.ArrayLike, level: float = 0.95
) -> Difference:
    """Compare two results of which only the accuracy and count of each stratum are known.

    On the same comparisons two results agree more than two independent samples would, so interval
    and p values are on the safe side; `paired_difference` sees far smaller differences.

    Args:
        new: accuracy and count per stratum.
        old: the same strata in the same order; counts may differ.
        weights: of each stratum in both means, non-negative, not all zero, on any scale.
        level: confidence level of the interval, strictly between 0 and 1.

    Returns:
        The difference of the weighted means. When the two are the same it is 0 with a two-sided p
        value of 1.0. The p values are those of the null hypothesis that no stratum changed.

    Raises:
        ValueError: empty or unequally long lists, or a value outside its range.

    Source: R. G. Newcombe (1998), Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17:873-890, method 10, for the interval, with the limits of
    `weighted_interval` in place of Wilson's (G. Y. Zou, A. Donner (2008), Statistics in Medicine
    27:1693-1702); W. G. Cochran (1954), Some methods for strengthening the common chi-square tests,
    Biometrics 10:417-451, for the z test, which with one stratum is the pooled two-sample z test.
    """
    new_low, new_high = weighted_interval(new.accuracies, new.counts, weights, level=level)
    old_low, old_high = weighted_interval(old.accuracies, old.counts, weights, level=level)
    p_new, n_new = np.asarray(new.accuracies, np.float64), np.asarray(new.counts, np.float64)
    p_old, n_old = np.asarray(old.accuracies, np.float64), np.asarray(old.counts, np.float64)
    w = normalised(as_floats("weights", weights))
    # Each mean apart, so that the difference is inside what its interval was built around.
    mean_new, mean_old = min(float(p_new @ w), 1.0), min(float(p_old @ w), 1.0)
    pooled = (p_new * n_new + p_old * n_old) / (n_new + n_old)
    variance = float((pooled * (1.0 - pooled) * (1.0 / n_new + 1.0 / n_old)) @ (w * w))
    estimate = mean_new - mean_old
    # Without variance every stratum is all or nothing in both, and so the same in both.
    z = estimate / math.sqrt(variance) if variance > 0.0 else 0.0
    return Difference(
        estimate=estimate,
        interval=Interval(
            max(-1.0, estimate - math.hypot(mean_new - new_low, old_high - mean_old)),
            min(1.0, estimate + math.hypot(new_high - mean_new, mean_old - old_low)),
        ),
        p_value=math.erfc(abs(z) / math.sqrt(2.0)),
        p_drop=0.5 * math.erfc(-z / math.sqrt(2.0)),
    )


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


def detectable_drop(
    discordance: npt.ArrayLike,
    counts: npt.ArrayLike,
    *,
    weights: npt.ArrayLike,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest drop that a paired one-sided test would find with the given power.

    Args:
        discordance: mean squared difference of credits per stratum, in [0, 1]; for credits of 0
            and 1 the share of comparisons that exactly one of the two results wins. One number
            stands for every stratum. Where it is below the drop itself, the drop takes its place,
            since a drop of d needs a share d of discordant comparisons.
        counts: comparisons per stratum, each at least 1.
        weights: of each stratum in the mean, non-negative, not all zero, on any scale.
        alpha: size of the test, strictly between 0 and 1.
        power: chance to find the drop, above alpha and below 1.

    Returns:
        A drop of accuracy in (0, 1), taken to be the same in every stratum. With very few
        discordant comparisons (below about ten) the normal approximation makes it a little small.

    Raises:
        ValueError: empty or unequally long lists, a value outside its range, or so few comparisons
            that not even a drop of 1 would be found.

    Source: R. J. Connor (1987), Sample size for testing differences in proportions for the
    paired-sample design, Biometrics 43:207-211, with the weighted mean's variance summed over
    strata, and solved for the difference.
    """
    n = as_floats("counts", counts)
    w = normalised(as_floats("weights", weights))
    shares = np.asarray(discordance, dtype=np.float64)
    share = as_floats("discordance", np.full(n.size, shares) if shares.ndim == 0 else shares)
    _check_design(share, n, w)
    if not 0.0 < alpha < power < 1.0:
        raise ValueError(f"0 < alpha < power < 1 is needed, got alpha {alpha} and power {power}")
    missed = _missed_drops(share, n, w, quantiles=(1.0 - alpha, power))
    if missed(np.asarray(1.0)):
        raise ValueError(f"{n.sum():g} comparisons are too few to find any drop with power {power}")
    return float(_bisect(missed, np.asarray(0.0), np.asarray(1.0)))


def _missed_drops(
    share: Floats, n: Floats, w: Floats, *, quantiles: tuple[float, float]
) -> Callable[[Floats], npt.NDArray[np.bool_]]:
    """Return what tells whether a drop is too small for Connor's normal approximation to find."""
    z_alpha, z_power = map(_NORMAL.inv_cdf, quantiles)

    def missed(drop: Floats) -> npt.NDArray[np.bool_]:
        expected = np.maximum(share, drop)
        null = math.sqrt(float((expected / n) @ (w * w)))
        # Rounding may leave a tiny negative variance where every comparison is lost.
        alternative = max(0.0, float(((expected - drop * drop) / n) @ (w * w)))
        return np.asarray(drop - z_alpha * null < z_power * math.sqrt(alternative))

    return missed


def _check_design(share: Floats, n: Floats, w: Floats) -> None:
    if not share.size == n.size == w.size:
        raise ValueError(
            f"each stratum needs one discordance, one count and one weight, "
            f"got {share.size}, {n.size} and {w.size}"
        )
    if share.min() < 0.0 or share.max() > 1.0:
        raise ValueError(f"discordance must be in [0, 1], got {share.min()} to {share.max()}")
    if n.min() < 1.0:
        raise ValueError(f"counts must be at least 1, got {n.min():g}")
