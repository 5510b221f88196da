"""How far a mean of correlated values varies: what was sampled are clusters, not comparisons.

Comparisons of one prompt, or of one problem in six languages, tend to be right or wrong together,
so that they tell less than as many prompts would.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.intervals import (
    Floats,
    Interval,
    as_floats,
    effective_limits,
    normal_quantile,
    normalised,
    student_quantile,
)

__all__ = [
    "Estimate",
    "Sample",
    "Spread",
    "credit_interval",
    "expected_design",
    "sample_of",
    "spread",
]

Whole = npt.NDArray[np.int64]
FEWEST_FREEDOM = 2.0


class Sample(NamedTuple):
    """Values of a stratified mean, and which of them were sampled together.

    Attributes:
        values: shape (n,), float64.
        strata: the stratum of each, a position in ``weights``, shape (n,).
        weights: of each stratum in the mean; they sum to 1, shape (strata,).
        clusters: a number from 0 on for each value, equal for those of one cluster, in any stratum;
            shape (n,); None where every value is a cluster of its own.
    """

    values: Floats
    strata: Whole
    weights: Floats
    clusters: Whole | None

    @property
    def counts(self) -> Floats:
        """Values per stratum, shape (strata,)."""
        return np.bincount(self.strata, minlength=self.weights.size).astype(np.float64)

    @property
    def shares(self) -> Floats:
        """How far each value moves the mean, shape (n,)."""
        shares: Floats = (self.weights / self.counts)[self.strata]
        return shares

    def means(self) -> Floats:
        """Return the mean of each stratum, shape (strata,)."""
        return self.per_stratum(self.values) / self.counts

    def per_stratum(self, values: Floats) -> Floats:
        """Return the sum of values in each stratum."""
        sums = np.bincount(self.strata, weights=values, minlength=self.weights.size)
        return sums.astype(np.float64)

    def per_cluster(self, values: Floats) -> Floats:
        """Return the sum of values in each cluster."""
        if self.clusters is None:
            return values
        return np.bincount(self.clusters, weights=values).astype(np.float64)


def sample_of(
    values: npt.ArrayLike,
    strata: npt.ArrayLike,
    *,
    weights: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
) -> Sample:
    """Return a checked sample, without strata of weight 0.

    Args:
        values: one per comparison, finite.
        strata: the stratum of each comparison, a whole number that is a position in `weights`.
        weights: of each stratum in the mean, non-negative, not all zero, on any scale.
        clusters: a whole number for each comparison, of any size; None for no repeats.

    Raises:
        ValueError: empty or unequally long lists, a value outside its range, or a stratum that has
            weight but no comparison.
    """
    found = as_floats("values", values)
    shares = normalised(as_floats("weights", weights))
    index = _whole("strata", strata, found.size)
    if index.min() < 0 or index.max() >= shares.size:
        raise ValueError(
            f"strata must be positions in the {shares.size} weights, got {index.min()} to"
            f" {index.max()}"
        )
    empty = np.flatnonzero((shares > 0.0) & (np.bincount(index, minlength=shares.size) == 0))
    if empty.size:
        raise ValueError(f"stratum {empty[0]} has weight but no comparison")
    named = None if clusters is None else _whole("clusters", clusters, found.size)
    has_weight = shares > 0.0
    if not has_weight.all():
        kept = has_weight[index]
        index = (np.cumsum(has_weight) - 1)[index[kept]]
        found, shares = found[kept], shares[has_weight]
        named = None if named is None else named[kept]
    return Sample(found, index, shares, None if named is None else _numbered(named))


def _whole(name: str, values: npt.ArrayLike, count: int) -> Whole:
    array = np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be one whole number for each of the {count} values, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _numbered(clusters: Whole) -> Whole | None:
    """Return clusters numbered from 0 on; None where none has two values."""
    names, numbers = np.unique(clusters, return_inverse=True)
    return None if names.size == clusters.size else numbers.astype(np.int64)


class Spread(NamedTuple):
    """How far a mean varies from sample to sample.

    Attributes:
        variance: of the mean.
        plain: the variance if all values were independent.
        freedom: degrees of freedom of ``variance``, at least 2; infinite without repeats.
    """

    variance: float
    plain: float
    freedom: float

    @property
    def design(self) -> float:
        """The design effect: by what factor clusters raise the variance."""
        return self.variance / self.plain

    def size_factor(self, level: float) -> float:
        """Return the factor on an effective size for which Student's quantile can be normal's."""
        if math.isinf(self.freedom):
            return 1.0
        return (normal_quantile(level) / student_quantile(level, self.freedom)) ** 2


def spread(sample: Sample, *, half: float) -> Spread:
    """Return how far a stratified mean varies.

    Each stratum's mean and mean square are first taken with one comparison more, of mean ``half``
    and mean square 1/2, so that a stratum in which all values are the same still counts as
    uncertain. With a_i the share of comparison i in the mean and e_i its value minus the mean of
    its stratum, the variance of independent comparisons is sum over strata of w^2 s^2 / n, which is
    that of sum of (a_i e_i)^2. A cluster g adds the products of different comparisons of its own,
    c_g = (sum a_i e_i)^2 - sum (a_i e_i)^2, divided by one minus its share in its stratum, since
    means are taken from the same data. What the additional comparison adds counts once for each
    comparison of an average cluster. The degrees of freedom are those of Satterthwaite,
    2 V^2 / sum c_g^2.

    Args:
        sample: values in [0, 1] (credits, ``half`` 1/2) or in [-1, 1] (differences, ``half`` 0).
        half: mean of the additional comparison.

    Source: L. Kish (1965), Survey sampling, section 5.4; J. N. K. Rao, A. J. Scott (1992),
    Biometrics 48:577-585, for the variance from cluster sums; A. C. Cameron, D. L. Miller (2015),
    J. Human Resources 50:317-372, sections II and VI, for few clusters.
    """
    n, w = sample.counts, sample.weights
    sums = sample.per_stratum(sample.values)
    squares = sample.per_stratum(sample.values**2)
    own = np.maximum(squares / n - (sums / n) ** 2, 0.0)
    more = (squares + 0.5) / (n + 1.0) - ((sums + half) / (n + 1.0)) ** 2
    plain = float((w * w / n) @ more)
    if sample.clusters is None:
        return Spread(plain, plain, math.inf)
    sizes, alone = _cluster_sizes(sample)
    residuals = sample.shares * (sample.values - (sums / n)[sample.strata])
    products = sample.per_cluster(residuals) ** 2 - sample.per_cluster(residuals**2)
    products = products / (1.0 - _leverage(sample))
    # A stratum of one cluster says nothing of how clusters differ: it counts as one comparison.
    raised = np.where(alone, more - own / n, (more - own) * sizes / n)
    variance = float((w * w) @ (own / n + raised)) + float(products.sum())
    variance = max(variance, float((w * w / n) @ (more - own)))
    noise = float(products @ products)
    freedom = max(2.0 * variance**2 / noise, FEWEST_FREEDOM) if noise > 0.0 else math.inf
    return Spread(variance, plain, freedom)


def _cluster_sizes(sample: Sample) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return each stratum's size-weighted mean cluster size, and whether it is one cluster."""
    _, owners, sizes = _cells(sample)
    strata = sample.weights.size
    squared = np.bincount(owners, weights=sizes * sizes, minlength=strata)
    lone = (np.bincount(owners, minlength=strata) == 1) & (sample.counts > 1.0)
    return squared / sample.counts, lone


def _cells(sample: Sample) -> tuple[Whole, Whole, Floats]:
    """Return cluster, stratum and number of values where a cluster meets a stratum."""
    assert sample.clusters is not None, "only asked where clusters repeat"
    strata = sample.weights.size
    keys, sizes = np.unique(sample.clusters * strata + sample.strata, return_counts=True)
    return keys // strata, keys % strata, sizes.astype(np.float64)


def _leverage(sample: Sample) -> Floats:
    """Return each cluster's share of its stratum, the mean over strata by weight; at most 1/2."""
    clusters, strata, sizes = _cells(sample)
    weight = sizes * (sample.weights / sample.counts)[strata]
    share = np.bincount(clusters, weights=weight * sizes / sample.counts[strata])
    leverage: Floats = np.minimum(share / np.bincount(clusters, weights=weight), 0.5)
    return leverage


class Estimate(NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: the weighted mean.
        interval: holds the mean.
        design: the design effect, see ``Spread.design``; None where no cluster repeats.
    """

    mean: float
    interval: Interval
    design: float | None


def credit_interval(sample: Sample, *, level: float = 0.95) -> Estimate:
    """Return the weighted mean of credits with its interval.

    Wilson's interval at the effective sample size c (1 - c) / V, with c the mean and V its variance
    (see `spread`), and Student's quantile instead of the normal one where V comes from few
    clusters. Without repeats and with credits of 0 and 1 it is
    `rmbench.accuracy.intervals.weighted_interval`, and with one stratum `wilson`.

    Args:
        sample: credits in [0, 1].
        level: confidence level, strictly between 0 and 1.

    Raises:
        ValueError: a credit is outside [0, 1].

    Source: E. L. Korn, B. I. Graubard (1998), Survey Methodology 24:193-201, for the effective size
    with Student's quantile; N. Dean, M. Pagano (2015), J. Survey Statistics and Methodology
    3:484-503, who find Wilson's form best for clusters. Measured coverage: docs/statistics.md.
    """
    values = sample.values
    if values.min() < 0.0 or values.max() > 1.0:
        raise ValueError(f"credits must be in [0, 1], got {values.min()} to {values.max()}")
    found = spread(sample, half=0.5)
    if found.variance <= 0.0:  # so few clusters that what they earned cancels out in each
        found = spread(sample._replace(clusters=None), half=0.5)
    n = sample.counts
    centre = float(((sample.per_stratum(values) + 0.5) / (n + 1.0)) @ sample.weights)
    size = centre * (1.0 - centre) / found.variance * found.size_factor(level)
    mean = float(np.clip(sample.means() @ sample.weights, 0.0, 1.0))
    # Shares that sum to 1 but for rounding may put a mean of ones below 1.
    mean = 1.0 if values.min() == 1.0 else mean
    design = None if sample.clusters is None else found.design
    return Estimate(mean, effective_limits(mean, size, level=level), design)


def value_interval(
    sample: Sample, *, span: tuple[float, float] = (0.0, 1.0), level: float = 0.95
) -> Estimate:
    """Return the weighted mean of values with its interval: of credits, or of any numbers.

    Values outside [0, 1] are those of comparisons that are judged together, of which a subset's
    number is the mean (``groups.Whole.values``). The range of that number is mapped to [0, 1],
    where Wilson's interval is taken at the size with which a proportion would vary as much. So
    RewardBench 2's Ties, which may reach 1.01, is never clipped at 1.

    Args:
        sample: values, finite.
        span: what the number may reach at the least and at the most.
        level: confidence level, strictly between 0 and 1.
    """
    values = sample.values
    if values.min() >= 0.0 and values.max() <= 1.0:
        return credit_interval(sample, level=level)
    found = spread(sample, half=0.5)
    mean = float(sample.means() @ sample.weights)
    low, width = span[0], span[1] - span[0]
    mapped = min(max((mean - low) / width, 0.0), 1.0)
    halved = (sample.per_stratum(sample.values) + 0.5) / (sample.counts + 1.0)
    centre = min(max((float(halved @ sample.weights) - low) / width, 1e-9), 1.0 - 1e-9)
    size = centre * (1.0 - centre) * width**2 / found.variance * found.size_factor(level)
    ends = [low + width * end for end in effective_limits(mapped, size, level=level)]
    design = None if sample.clusters is None else found.design
    return Estimate(mean, Interval(min(ends[0], mean), max(ends[1], mean)), design)


def expected_design(sample: Sample, correlation: float) -> float:
    """Return the design effect that a correlation within clusters would give.

    Args:
        sample: its values play no part.
        correlation: of two comparisons of one cluster, in [0, 1].

    Source: L. Kish (1965), Survey sampling, section 5.4, with the shares of the mean.
    """
    own = float(sample.shares @ sample.shares)
    whole = sample.per_cluster(sample.shares)
    return 1.0 + correlation * (float(whole @ whole) / own - 1.0)
