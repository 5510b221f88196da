"""Credits → subsets, sections and averages, each with an interval."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import sample_of, value_interval
from rmbench.accuracy.credit import Outcome, Outcomes
from rmbench.errors import SuiteError
from rmbench.suite.definition import Suite

__all__ = [
    "Accuracy",
    "Summary",
    "average_weights",
    "section_weights",
    "summarize",
    "weighted_mean",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Mean credit of a slice, with its 95 % interval; accuracy, low and high are in [0, 1].

    ``n`` comparisons, of which ``wins`` were won outright and ``ties`` tied. A published accuracy
    has no counts and no interval: None. ``design_effect`` says by what factor clusters, such as the
    comparisons of one prompt, raise the variance; None where none repeats or it is not known.
    """

    accuracy: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    wins: int | None = None
    ties: int | None = None
    design_effect: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A suite's numbers: averages and sections in the suite's order, subsets in the data's."""

    averages: dict[str, Accuracy]
    sections: dict[str, Accuracy]
    subsets: dict[str, Accuracy]


def summarize(
    suite: Suite,
    subsets: Sequence[str],
    outcomes: Sequence[Outcome | None],
    *,
    partial: bool,
    clusters: npt.ArrayLike | None = None,
) -> Summary:
    """Return a suite's accuracies, each with the interval of ``clusters.credit_interval``.

    Sections and averages are weighted means of subsets, which are their strata.

    Args:
        suite: sections and averages.
        subsets: of each comparison.
        outcomes: of each comparison; None for a dropped one.
        partial: leave out sections that lack subsets, and averages that lack sections.
        clusters: a whole number for each comparison, equal where they were sampled together; None
            where each is a sample of its own, or nothing is known.

    Raises:
        SuiteError: a section has a subset without any scored comparison.
    """
    table = _table(subsets, outcomes, clusters)
    counts = table.counts()
    _check_scored(suite, counts, set(subsets), partial=partial)
    weights = section_weights(suite, counts)
    sections = {name: _combine(table, parts) for name, parts in weights.items()}
    cells = {average.name: average.cells for average in suite.averages}
    averages = {
        name: _combine(table, parts, cells.get(name))
        for name, parts in average_weights(suite, counts).items()
    }
    return Summary(
        averages=averages,
        sections=sections,
        subsets={name: _combine(table, {name: 1.0}) for name in counts},
    )


class _Table(NamedTuple):
    """What each comparison earned, without dropped ones; subsets by position in ``names``."""

    names: list[str]
    subsets: npt.NDArray[np.int64]
    values: Mapping[str | None, npt.NDArray[np.float64]]
    outcomes: Outcomes
    clusters: npt.NDArray[np.int64] | None
    span: tuple[float, float]

    def counts(self) -> dict[str, int]:
        """Return the comparisons per subset, of subsets that have any."""
        sizes = np.bincount(self.subsets, minlength=len(self.names)).tolist()
        return {name: n for name, n in zip(self.names, sizes, strict=True) if n}


def _table(
    subsets: Sequence[str], outcomes: Sequence[Outcome | None], clusters: npt.ArrayLike | None
) -> _Table:
    columns = Outcomes.of(outcomes)
    kept = ~columns.dropped
    places = {name: number for number, name in enumerate(dict.fromkeys(subsets))}
    found = np.fromiter((places[name] for name in subsets), np.int64, len(subsets))
    return _Table(
        names=list(places),
        subsets=found[kept],
        values={name: columns.values(found, name)[kept] for name in (None, *columns.cells)},
        outcomes=Outcomes(columns.credit[kept], columns.tied[kept]),
        clusters=None if clusters is None else np.asarray(clusters, dtype=np.int64)[kept],
        span=_span(columns),
    )


def _span(outcomes: Outcomes) -> tuple[float, float]:
    """Return what a number of these outcomes may reach at the least and at the most."""
    lows, highs = zip((0.0, 1.0), *(whole.span for whole in outcomes.wholes), strict=True)
    return min(lows), max(highs)


def _check_scored(
    suite: Suite, scored: Collection[str], present: set[str], *, partial: bool
) -> None:
    lost = sorted(present - set(scored))
    if lost:
        raise SuiteError(
            f'suite "{suite.name}": every comparison of subset "{lost[0]}" was dropped; raise'
            " --max-length, or use --on-overflow truncate-left"
        )
    if partial:
        return
    for section in suite.sections:
        for subset in section.subsets:
            if subset not in scored:
                raise SuiteError(
                    f'suite "{suite.name}": section {section.name} lacks subset "{subset}"'
                )


def section_weights(suite: Suite, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return the weight of every subset in every section whose subsets are all there.

    Args:
        suite: its sections; a subset without a weight of its own weighs its count.
        counts: scored comparisons per subset.
    """
    suite = suite.resolved(counts)
    return {
        section.name: {
            subset: section.weights.get(subset, float(counts[subset])) for subset in section.subsets
        }
        for section in suite.sections
        if all(subset in counts for subset in section.subsets)
    }


def weighted_mean(accuracies: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return sum(w a) / sum(w) over the subsets that ``weights`` names, in [0, 1].

    RewardBench's section formula: calculate_scores_per_section in rewardbench/utils.py.
    """
    total = sum(weights.values())
    return sum(weight * accuracies[name] for name, weight in weights.items()) / total


def average_weights(suite: Suite, counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return the weight of every subset in every average whose parts are all there.

    Args:
        suite: its averages: over all comparisons, or a weighted mean of sections and of averages
            that are defined before.
        counts: scored comparisons per subset.
    """
    suite = suite.resolved(counts)
    known = section_weights(suite, counts)
    found: dict[str, dict[str, float]] = {}
    for average in suite.averages:
        names = average.sections
        if average.of_all:
            names = tuple(section.name for section in suite.sections)
        if not names:
            found[average.name] = {name: float(count) for name, count in counts.items()}
        elif all(name in known for name in names):
            found[average.name] = _mean_of(known, {n: average.weights.get(n, 1.0) for n in names})
        else:
            continue
        known = {**known, average.name: found[average.name]}
    return found


def _mean_of(
    parts: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return the weight of every subset in a weighted mean of sections or averages."""
    combined: dict[str, float] = {}
    whole = sum(weights.values())
    for name, share in weights.items():
        total = sum(parts[name].values())
        for subset, weight in parts[name].items():
            combined[subset] = combined.get(subset, 0.0) + weight / total * share / whole
    return combined


def _combine(table: _Table, weights: Mapping[str, float], cells: str | None = None) -> Accuracy:
    places = np.full(len(table.names), -1)
    places[[table.names.index(name) for name in weights]] = range(len(weights))
    strata = places[table.subsets]
    mask = strata >= 0
    sample = sample_of(
        table.values[cells][mask],
        strata[mask],
        weights=list(weights.values()),
        clusters=None if table.clusters is None else table.clusters[mask],
    )
    found = value_interval(sample, span=table.span)
    accuracies = dict(zip(weights, sample.means().tolist(), strict=True))
    mean = weighted_mean(accuracies, weights)
    return Accuracy(
        accuracy=mean,
        # The same mean, summed in another order, may differ in its last digit.
        low=min(found.interval.low, mean),
        high=max(found.interval.high, mean),
        n=int(mask.sum()),
        wins=int(table.outcomes.won[mask].sum()),
        ties=int(table.outcomes.tied[mask].sum()),
        design_effect=found.design,
    )
