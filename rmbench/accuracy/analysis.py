"""What stands behind an accuracy: length bias, calibration, agreement of two models."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.credit import Outcome
from rmbench.accuracy.intervals import (
    Calibration,
    LogisticFit,
    calibration,
    cohen_kappa,
    logistic_slope,
    wilson,
)
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.scorers.contract import Scale

__all__ = [
    "CHARACTERS_PER_STEP",
    "Agreement",
    "Analyses",
    "Ending",
    "LengthBias",
    "LengthBin",
    "Sureness",
    "agreement",
    "analyse",
    "ending",
    "length_bias",
    "margin_calibration",
    "sureness",
]

Ending = Literal["won", "lost", "tied", "dropped"]

CHARACTERS_PER_STEP: Final = 1000
_BINS_PER_SIDE: Final = 5
_FEWEST_IN_BIN: Final = 20
_CALIBRATION_BINS: Final = 20
_NOTABLE_ERROR: Final = 0.05


def ending(outcome: Outcome | None) -> Ending:
    """Return how a comparison ended: ``won``, ``lost``, ``tied``, or ``dropped`` for None."""
    if outcome is None:
        return "dropped"
    if outcome.tied:
        return "tied"
    return "won" if outcome.credit == 1.0 else "lost"


# --- length --------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBias:
    """How much a model's accuracy hangs on which response is longer.

    Attributes:
        longer: accuracy where the chosen response is the longer one; None if it never is.
        equal: where both are equally long.
        shorter: where the chosen response is the shorter one.
        fit: logistic regression of credit on the difference in length, its slope in log-odds per
            1,000 characters; None when every difference is the same. Without bias the slope is 0.
        bins: by difference, ascending; none holds differences of both signs.
    """

    longer: Accuracy | None
    equal: Accuracy | None
    shorter: Accuracy | None
    fit: LogisticFit | None
    bins: tuple[LengthBin, ...]

    @property
    def tells(self) -> bool:
        """Whether accuracy differs by which response is longer, beyond both 95 % intervals."""
        if self.longer is None or self.shorter is None:
            return False
        less, more = sorted((self.longer, self.shorter), key=lambda item: item.accuracy)
        assert less.high is not None and more.low is not None, "both were counted"
        return less.high < more.low


class _Cells(NamedTuple):
    """Comparisons counted by difference in length and outcome, differences ascending.

    However many comparisons there are, few of these pairs differ.
    """

    differences: npt.NDArray[np.int64]
    credits: npt.NDArray[np.float64]
    wins: npt.NDArray[np.bool_]
    ties: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]

    def only(self, mask: npt.NDArray[np.bool_]) -> "_Cells":
        return _Cells(
            differences=self.differences[mask],
            credits=self.credits[mask],
            wins=self.wins[mask],
            ties=self.ties[mask],
            counts=self.counts[mask],
        )


def length_bias(
    differences: Sequence[int], outcomes: Sequence[Outcome | None]
) -> LengthBias | None:
    """Return what credit has to do with length; None when every comparison was dropped.

    Bins hold about equally many comparisons, five on each side of 0 where there are enough, and
    equal differences share one.

    Args:
        differences: chosen minus rejected length of each comparison, in characters.
        outcomes: what each earned; dropped ones count nowhere.

    Source: the split by sign follows the length-only control in N. Lambert et al. (2024),
    RewardBench, arXiv:2403.13787; the slope is `rmbench.accuracy.intervals.logistic_slope`.
    """
    cells = _cells(differences, outcomes)
    if not cells.counts.size:
        return None
    signs = np.sign(cells.differences)
    parts = [cells.only(signs == sign) for sign in (-1, 0, 1)]
    bins = [part for side in parts for part in _split(side)]
    shorter, equal, longer = map(_accuracy, parts)
    return LengthBias(
        longer=longer, equal=equal, shorter=shorter, fit=_fit(cells), bins=tuple(map(_bin, bins))
    )


def _cells(differences: Sequence[int], outcomes: Sequence[Outcome | None]) -> _Cells:
    numbers: dict[Outcome | None, int] = {}
    codes = np.fromiter(
        (numbers.setdefault(outcome, len(numbers)) for outcome in outcomes), np.int64, len(outcomes)
    )
    lengths = np.array(differences, dtype=np.int64)
    if lengths.size != codes.size:
        raise ValueError(f"{lengths.size} differences in length for {codes.size} outcomes")
    # One sortable number for each pair.
    codes += lengths * max(len(numbers), 1)
    keys, counts = np.unique(codes, return_counts=True)
    found, places = np.divmod(keys, max(len(numbers), 1))
    known = [outcome or Outcome(math.nan, False) for outcome in numbers]
    credits = np.array([outcome.credit for outcome in known], dtype=np.float64)
    ties = np.array([outcome.tied for outcome in known], dtype=np.bool_)
    wins = (credits == 1.0) & ~ties
    cells = _Cells(found, credits[places], wins[places], ties[places], counts)
    return cells.only(~np.isnan(cells.credits))


def _split(cells: _Cells) -> list[_Cells]:
    """Return consecutive parts of about the same size; none when there are no comparisons."""
    if not cells.counts.size:
        return []
    places = np.unique(cells.differences, return_inverse=True)[1]
    sizes = np.bincount(places, weights=cells.counts)
    wanted = max(1, min(_BINS_PER_SIDE, int(sizes.sum()) // _FEWEST_IN_BIN))
    # Each difference goes where the middle of its comparisons lies, so that none is cut in two.
    middles = np.cumsum(sizes) - sizes / 2.0
    bins = np.minimum((middles * wanted / sizes.sum()).astype(np.int64), wanted - 1)
    return [cells.only(bins[places] == number) for number in np.unique(bins)]


def _bin(cells: _Cells) -> LengthBin:
    accuracy = _accuracy(cells)
    assert accuracy is not None, "a bin is a part of what is not empty"
    low, high = (int(end) for end in cells.differences[[0, -1]])
    middle = float(np.median(np.repeat(cells.differences, cells.counts)))
    return LengthBin(low, high, middle, accuracy)


def _accuracy(cells: _Cells) -> Accuracy | None:
    n = int(cells.counts.sum())
    if not n:
        return None
    credit = math.fsum(cells.credits * cells.counts)
    low, high = wilson(credit, n)
    return Accuracy(
        accuracy=credit / n,
        low=low,
        high=high,
        n=n,
        wins=int(cells.counts[cells.wins].sum()),
        ties=int(cells.counts[cells.ties].sum()),
    )


def _fit(cells: _Cells) -> LogisticFit | None:
    if cells.differences[0] == cells.differences[-1]:
        return None
    steps = cells.differences / CHARACTERS_PER_STEP
    return logistic_slope(steps, cells.credits, counts=cells.counts)


# --- calibration ---------------------------------------------------------------------------------


def margin_calibration(margins: Iterable[float | None]) -> Calibration | None:
    """Return how far sigmoid(margin) is from the share of comparisons that are won.

    A reward model trained on pairs says by sigmoid(margin) how probable it is that one response is
    preferred to the other. People always preferred the chosen one, so the side that the model
    prefers is looked at: it is confident by sigmoid(|margin|), from 0.5 to 1, and right when the
    margin is above 0. A tie is half right at 0.5, whatever the suite's rule gives for it.

    Args:
        margins: of each comparison; None, for a dropped one, counts nowhere.

    Returns:
        Error, Brier score and bins of width 0.05; None without any margin.

    Source: R. A. Bradley, M. E. Terry (1952), Biometrika 39:324-345, for the probability; C. Guo et
    al. (2017), On calibration of modern neural networks, ICML, eq. 3, for confidence and error.
    """
    values = np.fromiter((value for value in margins if value is not None), np.float64)
    if not values.size:
        return None
    confidence = 1.0 / (1.0 + np.exp(-np.abs(values)))
    right = (np.sign(values) + 1.0) / 2.0
    return calibration(confidence, right, bins=_CALIBRATION_BINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sureness:
    """How sure a model is by its margins, and how often it is right; shares in [0, 1].

    Attributes:
        error: expected calibration error of sigmoid(margin), see ``margin_calibration``; 0 is best.
        brier: its Brier score; 0 is best, and 0.25 what 0.5 throughout would have.
        confidence: mean of sigmoid(|margin|).
        right: share of comparisons on whose better response the margin is right.
        n: comparisons with a margin.
    """

    error: float
    brier: float
    confidence: float
    right: float
    n: int

    @property
    def tells(self) -> bool:
        """Whether margins promise another share than is right, beyond chance and 5 points."""
        low, high = wilson(self.right * self.n, self.n)
        return self.error >= _NOTABLE_ERROR and not low <= self.confidence <= high


def sureness(margins: Iterable[float | None]) -> Sureness | None:
    """Return calibration in a few numbers; None without any margin. See ``margin_calibration``."""
    found = margin_calibration(margins)
    if found is None:
        return None
    n = sum(part.n for part in found.bins)
    return Sureness(
        error=found.error,
        brier=found.brier,
        confidence=math.fsum(part.n * part.probability for part in found.bins) / n,
        right=math.fsum(part.n * part.outcome for part in found.bins) / n,
        n=n,
    )


# --- one result ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyses:
    """What stands behind the accuracies of one result.

    Attributes:
        length: None where the lengths of the texts are not known, or nothing was scored.
        calibration: None where answers are no log-odds, or nothing was scored.
    """

    length: LengthBias | None
    calibration: Sureness | None

    def by_length(self) -> dict[str, Accuracy]:
        """Return the accuracy by which response is longer: ``chosen longer`` and so on."""
        if self.length is None:
            return {}
        sides = {
            "chosen longer": self.length.longer,
            "equally long": self.length.equal,
            "chosen shorter": self.length.shorter,
        }
        return {name: item for name, item in sides.items() if item is not None}


def analyse(
    judgements: Sequence[Judgement],
    outcomes: Sequence[Outcome | None],
    *,
    differences: Sequence[int] | None,
    scale: Scale,
) -> Analyses:
    """Return what stands behind the accuracies of one result.

    Args:
        judgements: on each comparison.
        outcomes: of each comparison; None for a dropped one.
        differences: chosen minus rejected length of each, in characters; None if not known.
        scale: what a difference of two answers means; only log-odds promise a probability.
    """
    return Analyses(
        length=None if differences is None else length_bias(differences, outcomes),
        calibration=sureness(_margins(judgements)) if scale == "log-odds" else None,
    )


def _margins(judgements: Sequence[Judgement]) -> list[float]:
    margins = Judgements.of(judgements).best_margins()
    found: list[float] = margins[~np.isnan(margins)].tolist()
    return found


# --- two models ----------------------------------------------------------------------------------


class Agreement(NamedTuple):
    """How far two models judge alike.

    Attributes:
        same: share of comparisons with the same ending, in [0, 1].
        kappa: Cohen's, of the endings won, lost and tied; None where it is undefined because
            every ending of both is one and the same.
        n: comparisons that both scored.
    """

    same: float
    kappa: float | None
    n: int


def agreement(
    first: Sequence[Outcome | None], second: Sequence[Outcome | None]
) -> Agreement | None:
    """Return how far two models agree on the same comparisons; None if they share none.

    Source: J. Cohen (1960), through `rmbench.accuracy.intervals.cohen_kappa`.
    """
    pairs = [
        (ending(a), ending(b))
        for a, b in zip(first, second, strict=True)
        if a is not None and b is not None
    ]
    if not pairs:
        return None
    labels = {label for pair in pairs for label in pair}
    kappa = cohen_kappa(*zip(*pairs, strict=True)) if len(labels) > 1 else None
    return Agreement(sum(a == b for a, b in pairs) / len(pairs), kappa, len(pairs))
