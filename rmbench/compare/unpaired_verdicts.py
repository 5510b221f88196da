"""Verdicts from accuracies alone, where a result has no rewards."""

from collections.abc import Mapping, Sequence

import numpy as np

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.paired import Strata, unpaired_difference
from rmbench.compare.verdict import Slice, Verdict, numbers_of, slices_of, untested_verdicts
from rmbench.result.record import Result
from rmbench.suite.definition import Suite

__all__ = ["unpaired_verdict", "unpaired_verdicts"]


def unpaired_verdicts(old: Result, new: Result, suite: Suite) -> list[Verdict]:
    """Return a verdict on each slice of two results, of which one has only accuracies."""
    counts = {name: item.n for name, item in new.subsets.items() if item.n is not None}
    counts = counts or {name: item.n for name, item in old.subsets.items() if item.n is not None}
    # Without any count, as between two cards, nothing says how much chance there is.
    slices = slices_of(suite, counts) if counts else []
    verdicts = [unpaired_verdict(part, (old, new), counts, (old, new)) for part in slices]
    tested = [verdict for verdict in verdicts if verdict is not None]
    return [*tested, *untested_verdicts(tested, old, new)]


def unpaired_verdict(
    part: Slice, sides: Sequence[Result], counts: Mapping[str, int], witnesses: Sequence[Result]
) -> Verdict | None:
    """Compare two results by a slice's accuracies alone.

    Subsets are used where both have them, else the slice's own numbers.

    Args:
        part: a slice whose subsets all have a count.
        sides: the old and the new result.
        counts: comparisons per subset.
        witnesses: results whose design effects are taken for those of both.

    Returns:
        None where one of the two has not the slice.
    """
    sizes = np.array([counts[name] for name in part.weights], dtype=np.float64)
    sizes = np.maximum(sizes / _design(part, witnesses), 1.0)
    weights = np.array(list(part.weights.values()))
    if all(name in result.subsets for result in sides for name in part.weights):
        known = [[result.subsets[name].accuracy for name in part.weights] for result in sides]
    else:
        whole = [numbers_of(result, part.level).get(part.name) for result in sides]
        if whole[0] is None or whole[1] is None:
            return None
        known = [[whole[0].accuracy], [whole[1].accuracy]]
        # As many comparisons as would vary like this weighted mean of equal accuracies:
        # (sum w)^2 / sum(w^2 / n); Kish (1965), Survey sampling, section 11.7.
        sizes = np.array([weights.sum() ** 2 / (weights**2 / sizes).sum()])
        weights = np.array([1.0])
    before, after = (np.array(side) for side in known)
    found = unpaired_difference(Strata(after, sizes), Strata(before, sizes), weights=weights)
    shares = weights / weights.sum()
    return Verdict(
        level=part.level,
        name=part.name,
        old=float(before @ shares),
        new=float(after @ shares),
        n=sum(counts[name] for name in part.weights),
        difference=found,
        # What two independent results would disagree on.
        discordance=tuple((after * (1.0 - before) + before * (1.0 - after)).tolist()),
        counts=tuple(sizes.tolist()),
        weights=tuple(weights.tolist()),
    )


def _design(part: Slice, witnesses: Sequence[Result]) -> float:
    """Return the largest design effect of a slice that is known; at least 1."""
    found: list[Accuracy | None] = [
        numbers_of(item, part.level).get(part.name) for item in witnesses
    ]
    known = [item.design_effect for item in found if item is not None]
    return max(1.0, *(effect for effect in known if effect is not None), 1.0)
