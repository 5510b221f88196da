"""Which comparisons changed sides between two results, and what they say."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rmbench.answers.judgements import Judgements
from rmbench.compare.contrast import Contrast
from rmbench.compare.paired_verdicts import credits_of
from rmbench.errors import ResultError
from rmbench.result.record import Result
from rmbench.suite.comparison import Comparison
from rmbench.suite.feed import open_feed

__all__ = ["Flip", "find_flips", "find_texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A comparison that earns another credit than before.

    Attributes:
        id: of the comparison.
        old_credit: in [0, 1].
        new_credit: in [0, 1].
        old_margin: best chosen minus best rejected reward.
        new_margin: likewise.
        change: new minus old margin, each in units of its own result's root mean square margin,
            since rewards of different models have no common scale.
    """

    id: str
    old_credit: float
    new_credit: float
    old_margin: float
    new_margin: float
    change: float


def find_flips(contrast: Contrast) -> list[Flip]:
    """Return the comparisons that changed sides, the largest change of margin first.

    Raises:
        ResultError: a result has no rewards.
    """
    old, new, suite = contrast.old, contrast.new, contrast.suite
    if not contrast.paired:
        raise ResultError("flips need the rewards of both results; a published one has none")
    credits = [credits_of(result, suite) for result in (old, new)]
    margins = [_margins(result) for result in (old, new)]
    scales = [float(np.sqrt(np.mean(np.square(list(m.values()))))) or 1.0 for m in margins]
    flips = [
        Flip(
            id=identity,
            old_credit=before,
            new_credit=after,
            old_margin=margins[0][identity],
            new_margin=margins[1][identity],
            change=margins[1][identity] / scales[1] - margins[0][identity] / scales[0],
        )
        for identity, before in credits[0].items()
        if before is not None and (after := credits[1][identity]) is not None and after != before
    ]
    return sorted(flips, key=lambda flip: (-abs(flip.change), flip.id))


def _margins(result: Result) -> dict[str, float]:
    judgements = Judgements.of(result.rewards)
    margins = zip(judgements.ids, judgements.best_margins().tolist(), strict=True)
    return {identity: value for identity, value in margins if not math.isnan(value)}


def find_texts(
    contrast: Contrast, ids: Iterable[str], *, data: str | None = None
) -> dict[str, Comparison]:
    """Return comparisons by id, where their texts are at hand without a network.

    Args:
        contrast: names suite and data.
        ids: which ones.
        data: a local file or folder with the suite's rows; by default the one beside the suite
            file, if the suite has one.

    Returns:
        The comparisons; none when no data is at hand.

    Raises:
        ResultError: the data is not what was scored.
    """
    suite = contrast.suite
    if data is None and not suite.is_at_hand:
        return {}
    feed = open_feed(suite, data=data)
    scored = contrast.new.suite.get("sha256")
    if scored is not None and feed.contents.sha256 != scored:
        raise ResultError(
            f"{feed.rows.origin}: these are not the texts that were scored"
            f" (sha256 {str(feed.contents.sha256)[:7]}, not {str(scored)[:7]}); give the same data"
        )
    wanted = set(ids)
    return {item.id: item for item in feed if item.id in wanted}
