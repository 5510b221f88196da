"""Does a model prefer the longer response, within subsets?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.clusters import credit_interval, sample_of
from rmbench.accuracy.credit import Outcome, Outcomes
from rmbench.accuracy.intervals import Floats, normal_quantile

__all__ = ["LengthBias", "LengthBin", "OddsRatio", "common_odds_ratio", "length_bias"]

_BINS_PER_SIDE: Final = 5
_FEWEST_IN_BIN: Final = 20

Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class LengthBin(NamedTuple):
    """Comparisons with about the same difference in length.

    Attributes:
        low: smallest difference in the bin, characters.
        high: largest.
        middle: the median.
        accuracy: of the comparisons in the bin.
    """

    low: int
    high: int
    middle: float
    accuracy: Accuracy


class OddsRatio(NamedTuple):
    """By what factor the odds of winning differ between two groups; 1 is no difference.

    Attributes:
        ratio: above 0.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBias:
    """How much a model's accuracy hangs on which response is longer.

    Attributes:
        longer: accuracy where the chosen response is the longer one; None if it never is.
        equal: where both are equally long.
        shorter: where the chosen response is the shorter one.
        odds: of winning where the chosen response is the longer one over those where it is the
            shorter one, within subsets; None where no subset has both, with both outcomes.
        bins: by difference, ascending; none holds differences of both signs.
    """

    longer: Accuracy | None
    equal: Accuracy | None
    shorter: Accuracy | None
    odds: OddsRatio | None
    bins: tuple[LengthBin, ...]

    @property
    def is_notable(self) -> bool:
        """Whether the odds of winning differ by which response is longer, within subsets."""
        return self.odds is not None and not self.odds.low <= 1.0 <= self.odds.high


class _Columns(NamedTuple):
    """What counts of each comparison; one entry for each that was scored."""

    differences: Whole
    credit: Floats
    won: Mask
    tied: Mask
    subsets: Whole
    clusters: Whole

    def only(self, mask: Mask) -> _Columns:
        return _Columns(
            differences=self.differences[mask],
            credit=self.credit[mask],
            won=self.won[mask],
            tied=self.tied[mask],
            subsets=self.subsets[mask],
            clusters=self.clusters[mask],
        )


def length_bias(
    differences: Sequence[int],
    outcomes: Sequence[Outcome | None],
    *,
    subsets: Sequence[str] | None = None,
    clusters: npt.ArrayLike | None = None,
) -> LengthBias | None:
    """Return what winning has to do with length; None when every comparison was dropped.

    Subsets differ in how hard they are and in how often the chosen response is the longer one, so
    that accuracies by length mix the two: the odds ratio is taken within subsets. Bins hold about
    equally many comparisons, five on each side of 0 where there are enough, and equal differences
    share one.

    Args:
        differences: chosen minus rejected length of each comparison, in characters.
        outcomes: what each earned; dropped ones count nowhere, and ties are in no odds.
        subsets: of each comparison; None for one subset.
        clusters: a whole number for each, equal where they were sampled together; None for no
            repeats.

    Source: the split by sign follows the length-only control in N. Lambert et al. (2024),
    RewardBench, arXiv:2403.13787; the odds ratio is ``common_odds_ratio``.
    """
    columns = _columns(differences, outcomes, subsets, clusters)
    if not columns.credit.size:
        return None
    signs = np.sign(columns.differences)
    parts = [columns.only(signs == sign) for sign in (-1, 0, 1)]
    shorter, equal, longer = (_accuracy(part) if part.credit.size else None for part in parts)
    return LengthBias(
        longer=longer,
        equal=equal,
        shorter=shorter,
        odds=_odds(columns.only(~columns.tied & (signs != 0))),
        bins=tuple(_bin(part) for side in parts if side.credit.size for part in _split(side)),
    )


def _columns(
    differences: Sequence[int],
    outcomes: Sequence[Outcome | None],
    subsets: Sequence[str] | None,
    clusters: npt.ArrayLike | None,
) -> _Columns:
    earned = Outcomes.of(outcomes)
    lengths = np.array(differences, dtype=np.int64)
    if lengths.size != len(earned):
        raise ValueError(f"{lengths.size} differences in length for {len(earned)} outcomes")
    strata = np.zeros(lengths.size, dtype=np.int64)
    if subsets is not None:
        places = {name: number for number, name in enumerate(dict.fromkeys(subsets))}
        strata = np.fromiter((places[name] for name in subsets), np.int64, lengths.size)
    owners = np.arange(lengths.size) if clusters is None else np.asarray(clusters, dtype=np.int64)
    whole = _Columns(lengths, earned.credit, earned.won, earned.tied, strata, owners)
    return whole.only(~earned.dropped)


def _split(part: _Columns) -> list[_Columns]:
    """Return consecutive parts of about the same size."""
    _, places, sizes = np.unique(part.differences, return_inverse=True, return_counts=True)
    wanted = max(1, min(_BINS_PER_SIDE, part.credit.size // _FEWEST_IN_BIN))
    # Each difference goes where the middle of its comparisons lies, so that none is cut in two.
    middles = np.cumsum(sizes) - sizes / 2.0
    bins = np.minimum((middles * wanted / sizes.sum()).astype(np.int64), wanted - 1)
    return [part.only(bins[places] == number) for number in np.unique(bins)]


def _bin(part: _Columns) -> LengthBin:
    lengths = part.differences
    middle = float(np.median(lengths))
    return LengthBin(int(lengths.min()), int(lengths.max()), middle, _accuracy(part))


def _accuracy(part: _Columns) -> Accuracy:
    n = part.credit.size
    sample = sample_of(
        part.credit, np.zeros(n, dtype=np.int64), weights=[1.0], clusters=part.clusters
    )
    found = credit_interval(sample)
    return Accuracy(
        accuracy=found.mean,
        low=found.interval.low,
        high=found.interval.high,
        n=n,
        wins=int(part.won.sum()),
        ties=int(part.tied.sum()),
    )


# --- the odds ratio ------------------------------------------------------------------------------


def _odds(part: _Columns) -> OddsRatio | None:
    return common_odds_ratio(
        part.differences > 0, part.won, strata=part.subsets, clusters=part.clusters
    )


def common_odds_ratio(
    group: npt.ArrayLike,
    won: npt.ArrayLike,
    *,
    strata: npt.ArrayLike,
    clusters: npt.ArrayLike,
) -> OddsRatio | None:
    """Return the odds ratio of winning that is common to strata, with its 95 % interval.

    The estimate of Mantel and Haenszel with the variance of Robins, Breslow and Greenland for its
    logarithm; where clusters repeat, times by how much their sums vary more than their members. In
    strata that speak for one side alone, where the ratio would be 0 or infinite, half a comparison
    is added to each cell.

    Args:
        group: whether each comparison is in the first group, shape (n,).
        won: whether it was won.
        strata: a whole number from 0 on for each.
        clusters: a whole number for each; all different where nothing repeats.

    Returns:
        None where no stratum has both groups and both outcomes.

    Source: N. Mantel, W. Haenszel (1959), J. National Cancer Institute 22:719-748; J. Robins,
    N. Breslow, S. Greenland (1986), Biometrics 42:311-323; the effect of clusters by linearising
    the logarithm.
    """
    first, right = np.asarray(group, dtype=np.bool_), np.asarray(won, dtype=np.bool_)
    places = np.asarray(strata, dtype=np.int64)
    if not first.size:
        return None
    cell = np.where(first, np.where(right, 0, 1), np.where(right, 2, 3))
    cells = np.bincount(places * 4 + cell, minlength=4 * (int(places.max()) + 1)).reshape(-1, 4)
    tells = (cells[:, :2].sum(1) * cells[:, 2:].sum(1) * cells[:, ::2].sum(1)) > 0
    tells &= cells[:, 1::2].sum(1) > 0
    if not tells.any():
        return None
    table = np.where(tells[:, None], cells, 0).astype(np.float64)
    if not ((table[:, 0] * table[:, 3]).any() and (table[:, 1] * table[:, 2]).any()):
        table += np.where(tells[:, None], 0.5, 0.0)
    ratio, error = _mantel_haenszel(table)
    kept = tells[places]
    design = _design(table, places[kept], cell[kept], np.asarray(clusters)[kept])
    reach = normal_quantile(0.95) * error * math.sqrt(design)
    ends = [math.exp(min(max(math.log(ratio) + shift, -700.0), 700.0)) for shift in (-reach, reach)]
    return OddsRatio(ratio, *ends)


def _mantel_haenszel(table: Floats) -> tuple[float, float]:
    """Return the common odds ratio and the standard error of its logarithm."""
    a, b, c, d = table.T
    n = np.maximum(table.sum(axis=1), 1.0)
    r, s = a * d / n, b * c / n
    p, q = (a + d) / n, (b + c) / n
    total_r, total_s = float(r.sum()), float(s.sum())
    variance = float((p * r).sum()) / (2.0 * total_r**2)
    variance += float((p * s + q * r).sum()) / (2.0 * total_r * total_s)
    variance += float((q * s).sum()) / (2.0 * total_s**2)
    return total_r / total_s, math.sqrt(variance)


def _design(table: Floats, places: Whole, cell: Whole, clusters: npt.NDArray[np.int64]) -> float:
    """Return by how much clusters raise the variance of the logarithm, 1 or more."""
    a, b, c, d = table.T
    n = np.maximum(table.sum(axis=1), 1.0)
    r, s = a * d / n, b * c / n
    zero = np.zeros_like(n)
    # What one comparison more in a cell of a stratum adds to the sums R and S.
    adds_r = np.stack([d / n, zero, zero, a / n], axis=1) - (r / n)[:, None]
    adds_s = np.stack([zero, c / n, b / n, zero], axis=1) - (s / n)[:, None]
    influence = (adds_r / r.sum() - adds_s / s.sum())[places, cell]
    numbers = np.unique(clusters, return_inverse=True)[1]
    sums, own = np.bincount(numbers, weights=influence), float(influence @ influence)
    return max(1.0, float(sums @ sums) / own) if own > 0.0 else 1.0
