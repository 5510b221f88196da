"""Credits → subsets, sections and averages, each with an interval."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rmbench.accuracy.credit import Outcome
from rmbench.accuracy.intervals import weighted_interval, wilson
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
    has no counts and no interval: None.
    """

    accuracy: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    wins: int | None = None
    ties: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A suite's numbers: averages and sections in the suite's order, subsets in the data's."""

    averages: dict[str, Accuracy]
    sections: dict[str, Accuracy]
    subsets: dict[str, Accuracy]


def summarize(
    suite: Suite, subsets: Sequence[str], outcomes: Sequence[Outcome | None], *, partial: bool
) -> Summary:
    """Return a suite's accuracies.

    Subsets have Wilson's interval; sections and averages, which are weighted means of subsets, the
    interval of ``stats.weighted_interval`` with the subsets as strata.

    Args:
        suite: sections and averages.
        subsets: of each comparison.
        outcomes: of each comparison; None for a dropped one.
        partial: leave out sections that lack subsets, and averages that lack sections.

    Raises:
        SuiteError: a section has a subset without any scored comparison.
    """
    tallies = _by_subset(subsets, outcomes)
    _check_scored(suite, tallies, set(subsets), partial=partial)
    counts = {name: tally.n for name, tally in tallies.items()}
    weights = section_weights(suite, counts)
    sections = {name: _combine(tallies, parts) for name, parts in weights.items()}
    averages = {}
    for average in suite.averages:
        if all(name in weights for name in average.sections):
            parts = average_weights(average.sections, weights, counts)
            averages[average.name] = _combine(tallies, parts)
    return Summary(
        averages=averages,
        sections=sections,
        subsets={name: _combine(tallies, {name: 1.0}) for name in tallies},
    )


@dataclass(slots=True)
class _Tally:
    """What the comparisons of one subset earned together; dropped ones count nowhere."""

    credit: float = 0.0
    n: int = 0
    wins: int = 0
    ties: int = 0


def _by_subset(subsets: Sequence[str], outcomes: Sequence[Outcome | None]) -> dict[str, _Tally]:
    """Return the tally of every subset of which something was not dropped."""
    tallies: dict[str, _Tally] = {}
    # However many comparisons there are, few outcomes differ.
    for (subset, outcome), times in Counter(zip(subsets, outcomes, strict=True)).items():
        if outcome is not None:
            tally = tallies.setdefault(subset, _Tally())
            tally.credit += times * outcome.credit
            tally.n += times
            tally.wins += times * (outcome.credit == 1.0 and not outcome.tied)
            tally.ties += times * outcome.tied
    return tallies


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


def average_weights(
    sections: Sequence[str], weights: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]
) -> dict[str, float]:
    """Return the weight of every subset in an average.

    Args:
        sections: of which it is the plain mean; empty for an average over all comparisons.
        weights: as ``section_weights`` returns them, these sections among them.
        counts: scored comparisons per subset.
    """
    if not sections:
        return {name: float(count) for name, count in counts.items()}
    combined: dict[str, float] = {}
    for section in sections:
        total = sum(weights[section].values())
        for subset, weight in weights[section].items():
            combined[subset] = combined.get(subset, 0.0) + weight / total / len(sections)
    return combined


def _combine(tallies: Mapping[str, _Tally], weights: Mapping[str, float]) -> Accuracy:
    parts = [tallies[name] for name in weights]
    counts = [part.n for part in parts]
    accuracies = [part.credit / part.n for part in parts]
    if len(parts) == 1:
        low, high = wilson(parts[0].credit, parts[0].n)
    else:
        low, high = weighted_interval(accuracies, counts, list(weights.values()))
    return Accuracy(
        accuracy=weighted_mean(dict(zip(weights, accuracies, strict=True)), weights),
        low=low,
        high=high,
        n=sum(counts),
        wins=sum(part.wins for part in parts),
        ties=sum(part.ties for part in parts),
    )
