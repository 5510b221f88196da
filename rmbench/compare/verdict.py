"""What became of one slice of a suite between two results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import average_weights, section_weights
from rmbench.accuracy.intervals import Floats
from rmbench.compare.paired import Difference
from rmbench.compare.power import OneSidedTest, detectable_drop
from rmbench.result.record import Result
from rmbench.suite.definition import Suite

__all__ = ["LEVELS", "Slice", "Verdict", "numbers_of", "slices_of", "untested_verdicts"]


LEVELS: Final = ("subset", "section", "average")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one slice.

    Attributes:
        level: ``subset``, ``section`` or ``average``.
        name: of the slice.
        old: accuracy in [0, 1] on the compared comparisons; None where it is not known.
        new: likewise.
        n: compared comparisons; None when a result has no counts.
        difference: new minus old with interval and p values; None when it cannot be tested.
        adjusted: the two-sided p value, adjusted for the other slices of its family, see
            ``compare``.
        gained: comparisons that earn more than before; None when not paired.
        lost: comparisons that earn less.
        discordance: mean squared difference of credits in each stratum, as
            ``power.detectable_drop`` takes it.
        counts: comparisons in each stratum, or as many as would vary as much.
        weights: of each stratum in the slice.
        steps: what each cluster adds to the difference, the same clusters for every slice; None
            when not paired.
    """

    level: str
    name: str
    old: float | None = None
    new: float | None = None
    n: int | None = None
    difference: Difference | None = None
    adjusted: float | None = None
    gained: int | None = None
    lost: int | None = None
    discordance: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    steps: Floats | None = field(default=None, repr=False, compare=False)

    def detectable(self, alpha: float, *, power: float = 0.8) -> float | None:
        """Return the smallest difference, in [0, 1], that a one-sided test at alpha would find.

        Args:
            alpha: of the test, after what it is divided by for other tests.
            power: the chance to find it.

        Returns:
            None where it cannot be tested, or so few comparisons cannot show any.
        """
        if self.difference is None:
            return None
        try:
            return detectable_drop(
                self.discordance,
                self.counts,
                weights=self.weights,
                trial=OneSidedTest(alpha, power),
                design=max(self.difference.design, 1e-6),
            )
        except ValueError:  # so few comparisons that even losing all of them could be chance
            return None

    def mark(self, alpha: float) -> str:
        """Return ``+`` for better, ``-`` for worse, ``x`` for not comparable, else nothing."""
        if self.difference is None or self.adjusted is None:
            return "x"
        if self.adjusted > alpha:
            return ""
        return "+" if self.difference.estimate > 0.0 else "-"


class Slice(NamedTuple):
    """A subset, section or average, and the weight of each of its subsets.

    ``cells`` says which cells of the rule ``styles`` count; None for all of them.
    """

    level: str
    name: str
    weights: Mapping[str, float]
    cells: str | None = None


def slices_of(suite: Suite, counts: Mapping[str, int]) -> list[Slice]:
    """Return the slices that can be had from comparisons in these subsets."""
    sections = section_weights(suite, counts)
    averages = average_weights(suite, counts)
    cells = {average.name: average.cells for average in suite.averages}
    return [
        *(Slice("subset", name, {name: 1.0}) for name in counts),
        *(Slice("section", name, weights) for name, weights in sections.items()),
        *(Slice("average", name, parts, cells.get(name)) for name, parts in averages.items()),
    ]


def untested_verdicts(found: Sequence[Verdict], old: Result, new: Result) -> list[Verdict]:
    """Return a verdict without a test for each slice of a record that could not be compared."""
    known = {(verdict.level, verdict.name) for verdict in found}
    rows = []
    for level in LEVELS:
        before, after = numbers_of(old, level), numbers_of(new, level)
        for name in dict.fromkeys((*before, *after)):
            if (level, name) not in known:
                first, second = before.get(name), after.get(name)
                accuracies = [None if item is None else item.accuracy for item in (first, second)]
                rows.append(Verdict(level=level, name=name, old=accuracies[0], new=accuracies[1]))
    return rows


def numbers_of(result: Result, level: str) -> Mapping[str, Any]:
    """Return the accuracies of a result at one of ``LEVELS``, by name."""
    group: Mapping[str, Any] = getattr(result, f"{level}s")
    return group
