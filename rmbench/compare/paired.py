"""Is one result better than another? Differences of accuracies, with intervals and p values.

`paired_difference` is for two results on the same comparisons, `unpaired_difference` for results of
which only accuracies and counts are known. A difference is new minus old: below 0 is a drop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import Sample, Spread, spread
from rmbench.accuracy.intervals import (
    Floats,
    Interval,
    as_floats,
    normal_quantile,
    normalised,
    weighted_interval,
)
from rmbench.accuracy.signs import sign_test

__all__ = [
    "Difference",
    "PairedTable",
    "Strata",
    "UnpairedTable",
    "bisect",
    "paired_difference",
    "unpaired_difference",
]


class Strata(NamedTuple):
    """What is known of a result without its comparisons: accuracies in [0, 1] and counts."""

    accuracies: npt.ArrayLike
    counts: npt.ArrayLike


class PairedTable(NamedTuple):
    """The whole of the data as one table of pairs.

    Attributes:
        estimate: mean difference.
        discordance: mean absolute difference; with credits of 0 and 1 the share that changed.
        size: with how many comparisons one plain stratum would vary as much.
        spread: of the mean difference.
    """

    estimate: float
    discordance: float
    size: float
    spread: Spread

    def limits(self, level: float) -> Interval:
        """Return Tango's score interval at this level, by Student's quantile for few clusters."""
        size = self.size * self.spread.size_factor(level)
        low, high = _tango_limits(
            np.asarray(self.estimate), np.asarray(self.discordance), np.asarray(size), level
        )
        return Interval(min(float(low), self.estimate), max(float(high), self.estimate))


class UnpairedTable(NamedTuple):
    """Two results as strata, with the weights of the strata."""

    new: Strata
    old: Strata
    weights: Floats

    def limits(self, level: float) -> Interval:
        """Return Newcombe's interval at this level."""
        means, ends = [], []
        for side in (self.new, self.old):
            accuracies = np.asarray(side.accuracies, np.float64)
            ends.append(weighted_interval(accuracies, side.counts, self.weights, level=level))
            means.append(min(float(accuracies @ self.weights), 1.0))
        estimate, (new, old) = means[0] - means[1], ends
        return Interval(
            max(-1.0, estimate - math.hypot(means[0] - new.low, old.high - means[1])),
            min(1.0, estimate + math.hypot(new.high - means[0], means[1] - old.low)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference of two accuracies, new minus old.

    Attributes:
        estimate: in [-1, 1].
        interval: at 95 %, inside [-1, 1], holds the estimate.
        p_value: two-sided, in (0, 1] or so small that it is 0.0: how often a difference at least
            as far from 0 would come about if nothing had changed.
        p_drop: one-sided: how often a difference at least as low would.
        table: what the interval comes from; gives it at other levels.
    """

    estimate: float
    interval: Interval
    p_value: float
    p_drop: float
    table: PairedTable | UnpairedTable

    @property
    def design(self) -> float:
        """By what factor clusters raise the variance of the difference; 1 without repeats."""
        return self.table.spread.design if isinstance(self.table, PairedTable) else 1.0


def paired_difference(sample: Sample) -> Difference:
    """Compare two results on the same comparisons.

    The estimate is the weighted mean over strata of the mean difference in each. The p values are
    those of the exact sign test over clusters, see `rmbench.accuracy.signs.sign_test`: a cluster's
    step is the sum of its members' differences, each with its share in the mean. Where no cluster
    repeats, every comparison weighs the same and credits are 0 and 1 it is McNemar's exact test.

    The interval is Tango's score interval for paired proportions at the effective sample size, the
    number of comparisons with which one plain stratum would vary as much (see
    `rmbench.accuracy.clusters.spread`). With one stratum, differences of -1, 0 and 1 and no repeats
    it is Tango's interval, each stratum taken with half a discordant comparison more in its
    variance. A fractional difference counts as that part of a discordant comparison.

    Args:
        sample: new credit minus old credit per comparison, each in [-1, 1]; those of comparisons
            that are judged together (``groups.Whole.values``) may lie outside.

    Returns:
        The difference. Without any discordant comparison it is 0 with both p values 1.0, and the
        interval is as wide as that much agreement allows. Exchanging the results mirrors estimate
        and interval and leaves the two-sided p value as it is.

    Raises:
        ValueError: a difference is not finite.

    Source: T. Tango (1998), Statistics in Medicine 17:891-908, for the interval; N. A. Obuchowski
    (1998), Statistics in Medicine 17:1495-1507, and V. L. Durkalski et al. (2003), Statistics in
    Medicine 22:2417-2428, for clusters of pairs. Measured coverage: docs/statistics.md.
    """
    d = sample.values
    if not np.isfinite(d).all():
        raise ValueError(f"differences must be finite, got {d.min()} to {d.max()}")
    table = _paired_table(sample)
    signs = sign_test(sample.per_cluster(sample.shares * d))
    return Difference(
        estimate=table.estimate,
        interval=table.limits(0.95),
        p_value=signs.p_value,
        p_drop=signs.p_drop,
        table=table,
    )


def _paired_table(sample: Sample) -> PairedTable:
    found, d = spread(sample, half=0.0), sample.values
    n, w = sample.counts, sample.weights
    # Summed apart, so that equal gains and losses cancel exactly.
    gains, losses = (sample.per_stratum(np.maximum(side, 0.0)) / n for side in (d, -d))
    mean = (n * (gains - losses) / (n + 1.0)) @ w
    psi = ((n * (gains + losses) + 0.5) / (n + 1.0)) @ w
    # Weights that sum to 1 but for rounding may put a mean of ones above 1.
    return PairedTable(
        estimate=float(np.clip((gains - losses) @ w, -1.0, 1.0)),
        discordance=float(np.clip((gains + losses) @ w, 0.0, 1.0)),
        size=float((psi - mean * mean) / found.variance),
        spread=found,
    )


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
    low = bisect(lambda delta: score(delta) > z, -one, difference)
    high = bisect(lambda delta: score(delta) > -z, difference, one)
    return low, high


def bisect(
    rises_further: Callable[[Floats], npt.NDArray[np.bool_]], low: Floats, high: Floats
) -> Floats:
    """Return where ``rises_further`` turns from true to false between ``low`` and ``high``."""
    for _ in range(60):
        middle = (low + high) / 2.0
        right = rises_further(middle)
        low, high = np.where(right, middle, low), np.where(right, high, middle)
    return (low + high) / 2.0


def unpaired_difference(new: Strata, old: Strata, *, weights: npt.ArrayLike) -> Difference:
    """Compare two results of which only the accuracy and count of each stratum are known.

    On the same comparisons two results tend to agree more than two independent samples would, so
    that interval and p values are on the safe side (of two equal models with a correlation of 0.5,
    1.6 % differ at 5 %); they are not where the two are opposed to each other (15.8 % at a
    correlation of -1, as between ``length`` and ``shorter``). `paired_difference` sees far smaller
    differences.

    Args:
        new: accuracy and count per stratum.
        old: the same strata in the same order; counts may differ.
        weights: of each stratum in both means, non-negative, not all zero, on any scale.

    Returns:
        The difference of the weighted means. When the two are the same it is 0 with a two-sided p
        value of 1.0. The p values are those of the null hypothesis that no stratum changed.

    Raises:
        ValueError: empty or unequally long lists, or a value outside its range.

    Source: R. G. Newcombe (1998), Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17:873-890, method 10, for the interval, with the limits of
    `weighted_interval` instead of Wilson's (G. Y. Zou, A. Donner (2008), Statistics in Medicine
    27:1693-1702); W. G. Cochran (1954), Some methods for strengthening the common chi-square tests,
    Biometrics 10:417-451, for the z test, which with one stratum is the pooled two-sample z test.
    """
    p_new, n_new = as_floats("accuracies", new.accuracies), as_floats("counts", new.counts)
    p_old, n_old = as_floats("accuracies", old.accuracies), as_floats("counts", old.counts)
    w = normalised(as_floats("weights", weights))
    table = UnpairedTable(Strata(p_new, n_new), Strata(p_old, n_old), w)
    interval = table.limits(0.95)  # which refuses what is out of range
    pooled = (p_new * n_new + p_old * n_old) / (n_new + n_old)
    variance = float((pooled * (1.0 - pooled) * (1.0 / n_new + 1.0 / n_old)) @ (w * w))
    estimate = min(float(p_new @ w), 1.0) - min(float(p_old @ w), 1.0)
    # Without variance every stratum is all or nothing in both, and so the same in both.
    z = estimate / math.sqrt(variance) if variance > 0.0 else 0.0
    return Difference(
        estimate=estimate,
        interval=interval,
        p_value=math.erfc(abs(z) / math.sqrt(2.0)),
        p_drop=0.5 * math.erfc(-z / math.sqrt(2.0)),
        table=table,
    )
