"""What stands behind the accuracies of one result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.agreement import Agreement, agreement
from rmbench.accuracy.calibration import Confidence, confidence_of, margin_calibration
from rmbench.accuracy.credit import Outcome
from rmbench.accuracy.length import LengthBias, LengthBin, OddsRatio, length_bias
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.scorers.contract import Scale

__all__ = [
    "Agreement",
    "Analyses",
    "Confidence",
    "Ending",
    "LengthBias",
    "LengthBin",
    "OddsRatio",
    "agreement",
    "analyse",
    "confidence_of",
    "ending",
    "length_bias",
    "margin_calibration",
]

Ending = Literal["won", "lost", "tied", "dropped"]


def ending(outcome: Outcome | None) -> Ending:
    """Return how a comparison ended: ``won``, ``lost``, ``tied``, or ``dropped`` for None."""
    if outcome is None:
        return "dropped"
    if outcome.tied:
        return "tied"
    return "won" if outcome.credit == 1.0 else "lost"


_SUREST: Final = 1.0 - 1e-9  # a share of 1 has no finite log-odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyses:
    """What stands behind the accuracies of one result.

    Attributes:
        length: None where the lengths of the texts are not known, or nothing was scored.
        calibration: None where answers are no log-odds, or nothing was scored.
    """

    length: LengthBias | None
    calibration: Confidence | None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What comparisons have to do with each other.

    Attributes:
        subsets: of each comparison.
        clusters: a whole number for each, equal where they were sampled together; None for no
            repeats, or where it is not known.
    """

    subsets: Sequence[str]
    clusters: npt.ArrayLike | None = None


def analyse(
    judgements: Sequence[Judgement],
    outcomes: Sequence[Outcome | None],
    groups: Groups,
    *,
    differences: Sequence[int] | None,
    scale: Scale,
) -> Analyses:
    """Return what stands behind the accuracies of one result.

    Args:
        judgements: on each comparison.
        outcomes: of each comparison; None for a dropped one.
        groups: subsets and clusters of each comparison.
        differences: chosen minus rejected length of each, in characters; None if not known.
        scale: what a difference of two answers means; an ordinal one promises no probability.
    """
    length = None
    if differences is not None:
        length = length_bias(
            differences, outcomes, subsets=groups.subsets, clusters=groups.clusters
        )
    calibration = _calibration(Judgements.of(judgements), groups, scale)
    return Analyses(length=length, calibration=calibration)


def _calibration(judgements: Judgements, groups: Groups, scale: Scale) -> Confidence | None:
    """Return how sure the answers are and how right; None where they promise no probability."""
    margins = judgements.best_margins()
    if judgements.preferences is not None and scale == "probability":
        # A share p is the sigmoid of these log-odds, and the margin is 2 p - 1.
        margins = 2.0 * np.arctanh(np.clip(margins, -_SUREST, _SUREST))
    elif scale != "log-odds" or judgements.steps is not None:
        return None
    return confidence_of(margins, clusters=groups.clusters)
