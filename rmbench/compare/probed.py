"""A suite and its rewrite, scored by one model: what the rewrite moved that it should not have."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rmbench.accuracy.intervals import Floats
from rmbench.accuracy.signs import sign_test
from rmbench.answers.judgements import Judgements
from rmbench.compare.contrast import compare
from rmbench.compare.family import holm
from rmbench.compare.verdict import Verdict
from rmbench.errors import ResultError
from rmbench.result.record import Result
from rmbench.suite.definition import Suite

__all__ = ["Probed", "adjusted", "probed"]

SAME: Final = "same-sides"
ROUNDING: Final = 1e-4
"""How far a batch may move a margin, in standard deviations of the margins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a rewrite did to a result.

    Attributes:
        label: of the rewrite.
        before: as the suite is.
        after: on the rewritten suite.
        headline: the suite's headline before and after, tested pairwise.
        changed: how many comparisons the rewrite changed.
        unsteady: how many it did not change, and their margins differ all the same, by more than
            the rounding of another batch: a ten-thousandth of the margins' spread.
        untied: how many have equal responses after it, and do not tie.
        shift: mean change of the margins, in units of their standard deviation before.
        moved: root mean square change of the margins, likewise.
        p_shift: two-sided, of the shift, by the exact sign test over clusters.
        reward_shift: mean change of all rewards, likewise; None for preferences.
        adjusted: the headline's and the shift's p value for all rewrites of a run together, by
            Holm's method; None where only one was looked at.
    """

    label: str
    before: Result
    after: Result
    headline: Verdict
    changed: int
    unsteady: int
    untied: int
    shift: float
    moved: float
    p_shift: float
    reward_shift: float | None
    adjusted: tuple[float, float] | None = None

    @property
    def is_certain(self) -> bool:
        """Whether nothing is left to chance: equal responses tie, or the scorer is at fault."""
        return self.label == SAME


def probed(
    label: str, results: tuple[Result, Result], suite: Suite, changed: Collection[str]
) -> Probed:
    """Return what a rewrite did to a result.

    Args:
        label: of the rewrite.
        results: on the suite as it is, and on the rewritten one; the same comparisons.
        suite: as it is.
        changed: the ids of the comparisons that the rewrite changed.

    Raises:
        ResultError: the two have not the same comparisons.
    """
    before, after = results
    twin = after.model_copy(
        update={"suite": before.suite, "partial": before.partial, "sample": before.sample}
    )
    contrast = compare(before, twin, suite)
    averages = {item.name: item for item in contrast.level("average")}
    if suite.headline not in averages:
        raise ResultError(
            f"--probe {label}: of {suite.name}, too few subsets were rewritten to have its"
            f" {suite.headline}; give rewrites of all of them"
        )
    headline = averages[suite.headline]
    old, new = Judgements.of(before.rewards), Judgements.of(after.rewards)
    place = {identity: number for number, identity in enumerate(old.ids)}
    order = np.array([place[identity] for identity in new.ids])
    margins, after_margins = old.best_margins()[order], new.best_margins()
    both = ~(np.isnan(margins) | np.isnan(after_margins))
    spread = float(np.std(margins[both])) or 1.0
    steps = np.where(both, after_margins - margins, 0.0)
    is_changed = np.array([identity in changed for identity in new.ids])
    return Probed(
        label=label,
        before=before,
        after=after,
        headline=headline,
        changed=int(is_changed.sum()),
        unsteady=int((both & ~is_changed & (np.abs(steps) > ROUNDING * spread)).sum()),
        untied=int((both & (after_margins != 0.0)).sum()) if label == SAME else 0,
        shift=float(steps[both].mean()) / spread,
        moved=float(np.sqrt(np.mean(steps[both] ** 2))) / spread,
        p_shift=sign_test(_by_cluster(steps, old, order)).p_value,
        reward_shift=_reward_shift(old, new, order, spread),
    )


def _by_cluster(steps: Floats, old: Judgements, order: np.ndarray) -> Floats:
    if old.clusters is None:
        return steps
    numbers = np.unique(old.clusters[order], return_inverse=True)[1]
    return np.bincount(numbers, weights=steps).astype(np.float64)


def _reward_shift(
    old: Judgements, new: Judgements, order: np.ndarray, spread: float
) -> float | None:
    """Return how much higher the rewards are, where each response has one."""
    if old.preferences is not None or (old.sides[order] != new.sides).any():
        return None
    totals = [_totals(item) for item in (old, new)]
    changes = totals[1] - totals[0][order]
    count = new.sides.sum(axis=1)[~np.isnan(changes)].sum()
    return float(np.nansum(changes)) / float(count) / spread if count else None


def _totals(judgements: Judgements) -> Floats:
    """Return the sum of the rewards of each comparison."""
    starts = np.concatenate([[0], np.cumsum(judgements.sides.sum(axis=1))[:-1]])
    found: Floats = np.add.reduceat(judgements.rewards.astype(np.float64), starts)
    return found


def adjusted(items: Sequence[Probed]) -> list[Probed]:
    """Return the rewrites of one model on one suite with p values for all of them together."""
    tested = [item for item in items if not item.is_certain]
    if len(tested) < 2:
        return list(items)
    drops = holm([_p_value(item) for item in tested])
    shifts = holm([item.p_shift for item in tested])
    found = {
        item.label: pair for item, pair in zip(tested, zip(drops, shifts, strict=True), strict=True)
    }
    return [replace(item, adjusted=found.get(item.label)) for item in items]


def _p_value(item: Probed) -> float:
    return 1.0 if item.headline.difference is None else item.headline.difference.p_value
