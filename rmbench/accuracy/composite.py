"""Intervals of scores that are no plain mean: F1, repeated judges, several suites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import Estimate, Sample, Spread, credit_interval, sample_of, spread
from rmbench.accuracy.intervals import (
    Floats,
    as_floats,
    effective_limits,
    normalised,
)

__all__ = [
    "Repeated",
    "SuiteCredits",
    "mean_over_suites",
    "process_f1",
    "repeated_mean",
]


def process_f1(faulty: Sample, correct: Sample, *, level: float = 0.95) -> Estimate:
    """Return the harmonic mean of two accuracies with its interval, as ProcessBench scores.

    With a on faulty and b on correct solutions F is 2ab / (a + b), and its variance by the delta
    method (2b^2 / (a + b)^2)^2 V_a + (2a^2 / (a + b)^2)^2 V_b, with half counts in a and b. The
    interval is Wilson's at the size with which a proportion F would vary as much.

    Args:
        faulty: credits on solutions with an error.
        correct: credits on solutions without.
        level: confidence level, strictly between 0 and 1.
    """
    means, spreads, raw = [], [], []
    for sample in (faulty, correct):
        n = sample.counts
        means.append(
            float(((sample.per_stratum(sample.values) + 0.5) / (n + 1.0)) @ sample.weights)
        )
        raw.append(float(sample.means() @ sample.weights))
        spreads.append(spread(sample, half=0.5))
    (a, b), (first, second) = means, spreads
    slopes = 2.0 * b * b / (a + b) ** 2, 2.0 * a * a / (a + b) ** 2
    variance = slopes[0] ** 2 * first.variance + slopes[1] ** 2 * second.variance
    centre = 2.0 * a * b / (a + b)
    total = raw[0] + raw[1]
    mean = 2.0 * raw[0] * raw[1] / total if total > 0.0 else 0.0
    factor = Spread(variance, variance, min(first.freedom, second.freedom)).size_factor(level)
    size = centre * (1.0 - centre) / variance * factor
    return Estimate(mean, effective_limits(min(mean, 1.0), size, level=level), None)


class Repeated(NamedTuple):
    """A mean over items that were each judged several times.

    Attributes:
        estimate: the mean with its interval; items, not calls, are what was sampled.
        deviation: standard deviation of the mean over other items and other runs.
        between_runs: the part of it that more runs would remove, as a standard deviation; None
            with one run, which cannot tell.
    """

    estimate: Estimate
    deviation: float
    between_runs: float | None


def repeated_mean(
    runs: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None, level: float = 0.95
) -> Repeated:
    """Return the mean credit of a judge that was asked several times about each item.

    Args:
        runs: credit of each item in each run, the mean over both orders, shape (items, runs), in
            [0, 1].
        clusters: a whole number for each item, equal where they were sampled together; None for no
            repeats.
        level: confidence level, strictly between 0 and 1.

    Returns:
        The mean with the interval of item means. Its variance holds what differs between runs
        already, s_w^2 / (runs * items), with s_w^2 the mean over items of the variance of their
        runs.

    Raises:
        ValueError: no item, or a credit outside [0, 1].

    Source: W. G. Cochran (1977), Sampling techniques, section 10.2 (two stages).
    """
    table = np.asarray(runs, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"runs must be a table of items and runs, got shape {table.shape}")
    items, times = table.shape
    strata = np.zeros(items, dtype=np.int64)
    sample = sample_of(table.mean(axis=1), strata, weights=[1.0], clusters=clusters)
    between = None
    if times > 1:
        between = math.sqrt(float(table.var(axis=1, ddof=1).mean()) / (times * items))
    found = credit_interval(sample, level=level)
    return Repeated(found, math.sqrt(spread(sample, half=0.5).variance), between)


class SuiteCredits(NamedTuple):
    """One suite's part in a mean over suites.

    Attributes:
        credits: of each comparison, in [0, 1].
        strata: of each, a position in ``weights``.
        weights: of the strata within the suite, on any scale.
        clusters: a whole number for each, equal in all suites for those sampled together; None for
            none.
    """

    credits: Floats
    strata: npt.NDArray[np.int64]
    weights: Sequence[float]
    clusters: npt.NDArray[np.int64] | None = None


def mean_over_suites(
    suites: Sequence[SuiteCredits], *, weights: Sequence[float] | None = None, level: float = 0.95
) -> Estimate:
    """Return the weighted mean of several suites' means with its interval.

    Without a prompt in two suites its variance is the sum of v_k^2 V_k; a prompt that several have
    is one cluster over all of them.

    Args:
        suites: one or more.
        weights: of each suite, on any scale; equal where None.
        level: confidence level, strictly between 0 and 1.

    Raises:
        ValueError: no suite, or a value outside its range.
    """
    if not suites:
        raise ValueError("a mean over suites needs at least one suite")
    parts = normalised(as_floats("weights", [1.0] * len(suites) if weights is None else weights))
    if parts.size != len(suites):
        raise ValueError(f"each suite needs one weight, got {parts.size} for {len(suites)}")
    strata, shares, clusters, offset, alone = [], [], [], 0, -1
    for suite, part in zip(suites, parts.tolist(), strict=True):
        strata.append(suite.strata + offset)
        shares.append(part * normalised(as_floats("weights", suite.weights)))
        offset += len(suite.weights)
        if suite.clusters is None:
            clusters.append(alone - np.arange(suite.credits.size))
            alone -= suite.credits.size
        else:
            clusters.append(suite.clusters)
    sample = sample_of(
        np.concatenate([suite.credits for suite in suites]),
        np.concatenate(strata),
        weights=np.concatenate(shares),
        clusters=np.concatenate(clusters),
    )
    return credit_interval(sample, level=level)
