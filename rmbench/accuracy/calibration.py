"""Do margins promise what happens: sigmoid(margin) against how often a model is right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.intervals import Floats, as_floats

__all__ = ["Bin", "Calibration", "Confidence", "calibration", "confidence_of", "margin_calibration"]

_BINS: Final = 20
_NOTABLE_ERROR: Final = 0.05
_NOTABLE_P: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """What was predicted and what happened for the probabilities in (low, high].

    Attributes:
        low: lower edge, left out of the bin except when it is 0.
        high: upper edge, in the bin.
        probability: mean predicted probability in the bin.
        outcome: mean outcome in the bin.
        n: how many predictions the bin holds, at least 1.
        variance: sample variance of outcome minus probability in the bin; None of one alone.
    """

    low: float
    high: float
    probability: float
    outcome: float
    n: int
    variance: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far predicted probabilities are from what happened.

    Attributes:
        square: mean squared distance of mean outcome and mean probability in a bin, less what
            chance alone adds to it; 0 on average for a calibrated model, so that it may be below 0.
        bins: the bins that hold any prediction, from low to high.
        p_value: of Spiegelhalter's test, two-sided: how often a calibrated model would be as far
            off.
    """

    square: float
    bins: tuple[Bin, ...]
    p_value: float

    @property
    def error(self) -> float:
        """The root of ``square``, in [0, 1]: a typical distance; 0 where chance explains it all."""
        return math.sqrt(max(self.square, 0.0))


def calibration(
    probabilities: npt.ArrayLike,
    outcomes: npt.ArrayLike,
    *,
    bins: int = 10,
    clusters: npt.ArrayLike | None = None,
) -> Calibration:
    """Return how far predicted probabilities are from what happened.

    A plain expected calibration error grows as data shrink: a perfectly calibrated model has one of
    about 0.12 on 60 comparisons and of 0.017 on 3,000. So the square is taken, and less the
    variance that each bin's mean has by chance. A bin of one has no variance of its own, and takes
    that of its prediction, p (1 - p).

    Args:
        probabilities: predictions in [0, 1].
        outcomes: what happened to each, 0 or 1.
        bins: how many bins of equal width, at least 1. A probability on an edge belongs to the
            bin below it.
        clusters: a whole number for each, equal where they were sampled together; None for no
            repeats. They raise the variance in the test.

    Raises:
        ValueError: no prediction, unequal lengths, a value outside [0, 1], or no bin.

    Source: J. Bröcker (2012), Climate Dynamics 39:655-667, and A. Kumar, P. Liang, T. Ma (2019),
    Verified uncertainty calibration, NeurIPS, for the square; D. J. Spiegelhalter (1986),
    Statistics in Medicine 5:421-433, for the test.
    """
    p, y = as_floats("probabilities", probabilities), as_floats("outcomes", outcomes)
    if p.size != y.size:
        raise ValueError(
            f"probabilities and outcomes must be equally long, got {p.size} and {y.size}"
        )
    for name, values in (("probabilities", p), ("outcomes", y)):
        if values.min() < 0.0 or values.max() > 1.0:
            raise ValueError(f"{name} must be in [0, 1], got {values.min()} to {values.max()}")
    if bins < 1:
        raise ValueError(f"calibration needs at least one bin, got {bins}")
    edges = np.arange(1, bins + 1) / bins
    index = np.searchsorted(edges, p, side="left")
    filled = tuple(
        _bin((k / bins, float(edges[k])), p[index == k], y[index == k])
        for k in np.unique(index).tolist()
    )
    square = math.fsum(part.n * _square(part) for part in filled) / p.size
    return Calibration(square=square, bins=filled, p_value=_spiegelhalter(p, y, clusters))


def _bin(edges: tuple[float, float], p: Floats, y: Floats) -> Bin:
    return Bin(
        low=edges[0],
        high=edges[1],
        probability=float(p.mean()),
        outcome=float(y.mean()),
        n=p.size,
        variance=float(np.var(y - p, ddof=1)) if p.size > 1 else None,
    )


def _square(part: Bin) -> float:
    by_chance = part.variance
    if by_chance is None:
        by_chance = part.probability * (1.0 - part.probability)
    return (part.outcome - part.probability) ** 2 - by_chance / part.n


def _spiegelhalter(p: Floats, y: Floats, clusters: npt.ArrayLike | None) -> float:
    """Return the two-sided p value of Spiegelhalter's test, its variance raised by clusters."""
    terms = (y - p) * (1.0 - 2.0 * p)
    variance = float(((1.0 - 2.0 * p) ** 2 * p * (1.0 - p)).sum())
    if clusters is not None:
        numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
        sums, own = np.bincount(numbers, weights=terms), float(terms @ terms)
        variance *= max(1.0, float(sums @ sums) / own) if own > 0.0 else 1.0
    total = abs(float(terms.sum()))
    if variance <= 0.0:  # every prediction is certain, or even
        return 1.0 if total == 0.0 else 0.0
    return math.erfc(total / math.sqrt(2.0 * variance))


def margin_calibration(
    margins: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None
) -> Calibration | None:
    """Return how far sigmoid(margin) is from the share of comparisons that are won.

    A reward model trained on pairs says by sigmoid(margin) how probable it is that one response is
    preferred to the other. People always preferred the chosen one, so the side that the model
    prefers is looked at: it is confident by sigmoid(|margin|), from 0.5 to 1, and right when the
    margin is above 0. A tie prefers neither side and is left out.

    Args:
        margins: in log-odds, shape (n,); NaN, for a dropped comparison, counts nowhere.
        clusters: see ``calibration``.

    Returns:
        The calibration in bins of width 0.05; None without any margin other than 0.

    Source: R. A. Bradley, M. E. Terry (1952), Biometrika 39:324-345, for the probability; C. Guo et
    al. (2017), On calibration of modern neural networks, ICML, for confidence.
    """
    values = np.asarray(margins, dtype=np.float64)
    kept = ~np.isnan(values) & (values != 0.0)
    if not kept.any():
        return None
    together = None if clusters is None else np.asarray(clusters)[kept]
    right = (values[kept] > 0.0).astype(np.float64)
    return calibration(_confidence(values[kept]), right, bins=_BINS, clusters=together)


def _confidence(margins: Floats) -> Floats:
    confidence: Floats = 1.0 / (1.0 + np.exp(-np.abs(margins)))
    return confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """How sure a model is by its margins, and how often it is right; shares in [0, 1].

    Attributes:
        error: root of the debiased squared calibration error of sigmoid(margin), see
            ``Calibration.error``; None where every comparison is tied.
        brier: its Brier score; a tie has the mean of both outcomes, 0.25, which is what 0.5
            throughout would have. 0 is best.
        confidence: mean of sigmoid(|margin|) over comparisons that are not tied; None likewise.
        right: share of them that the margin is right on.
        n: comparisons with a margin, ties among them.
        ties: those with a margin of 0.
        p_value: of Spiegelhalter's test.
    """

    error: float | None
    brier: float
    confidence: float | None
    right: float | None
    n: int
    ties: int = 0
    p_value: float | None = None

    @property
    def is_notable(self) -> bool:
        """Whether margins promise something else than happens, beyond chance and by 5 points."""
        if self.error is None or self.p_value is None:
            return False
        return self.error >= _NOTABLE_ERROR and self.p_value <= _NOTABLE_P


def confidence_of(
    margins: Sequence[float] | Floats, *, clusters: npt.ArrayLike | None = None
) -> Confidence | None:
    """Return calibration in a few numbers; None without any margin. See ``margin_calibration``.

    Source: G. W. Brier (1950), Monthly Weather Review 78:1-3, in its one-sided form for two
    outcomes, for the score.
    """
    values = np.asarray(margins, dtype=np.float64)
    scored = values[~np.isnan(values)]
    if not scored.size:
        return None
    found = margin_calibration(values, clusters=clusters)
    decided = scored[scored != 0.0]
    confidence, right = _confidence(decided), decided > 0.0
    ties = scored.size - decided.size
    return Confidence(
        error=None if found is None else found.error,
        brier=(float(((confidence - right) ** 2).sum()) + 0.25 * ties) / scored.size,
        confidence=None if found is None else float(confidence.mean()),
        right=None if found is None else float(right.mean()),
        n=scored.size,
        ties=ties,
        p_value=None if found is None else found.p_value,
    )
