"""A part of a suite that somebody cares for, as a suite of its own: which model is best there?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rmbench.accuracy.aggregate import Accuracy, summarize, weighted_mean
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgements
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.record import Result, subset_of
from rmbench.suite.averages import Average, Section
from rmbench.suite.definition import Suite

__all__ = ["DOMAIN", "domain_results", "domain_suite", "subsets_of"]

DOMAIN: Final = "mean of these"


def subsets_of(results: Iterable[Result], suite: Suite) -> list[str]:
    """Return the subsets that results on a suite have, in their order."""
    own = (item for item in results if item.suite["name"] == suite.name)
    return list(dict.fromkeys(name for item in own for name in item.subsets))


def domain_suite(suite: Suite, parts: Sequence[str], subsets: Sequence[str]) -> Suite | None:
    """Return a suite that consists of some sections and subsets of another.

    Its headline is the part, or of several the plain mean: a section's number is that of the whole
    suite, a subset's its accuracy.

    Args:
        suite: the whole.
        parts: names of sections or subsets; one that ends with ``*`` stands for all subsets that
            begin with what precedes it, each comparison counting the same.
        subsets: that are there.

    Returns:
        None where the suite has not all of the parts.
    """
    resolved = suite.resolved(subsets)
    sections = {item.name: item for item in resolved.sections}
    chosen = []
    for name in dict.fromkeys(parts):
        own = Section(name=name, subsets=(name,)).expanded(subsets)
        found = sections.get(name) or (own if set(own.subsets) <= set(subsets) else None)
        if found is None:
            return None
        chosen.append(found)
    names = tuple(item.name for item in chosen)
    mean = (Average(name=DOMAIN, sections=names),) if len(names) > 1 else ()
    return suite.model_copy(
        update={
            "title": f"{suite.title}: {', '.join(names)}",
            "sections": tuple(chosen),
            "parts": None,
            "averages": mean,
            "headline": DOMAIN if mean else names[0],
            "card": {},
        }
    )


def domain_results(
    results: Sequence[Result], domains: Mapping[str, Suite], parts: Sequence[str]
) -> list[Result]:
    """Return results with the numbers of a part of their suite alone.

    A measured number is computed from its answers, so that its interval is the part's own; where
    there are none, from the accuracies of sections and subsets.

    Args:
        results: of any suites; those of others than ``domains`` are left out.
        domains: by the name of the suite, from `domain_suite`.
        parts: that were asked for, for the message.

    Raises:
        ResultError: no suite has all of the parts, or no result its numbers.
    """
    found = [
        _of_domain(item, domains[item.suite["name"]])
        for item in results
        if item.suite["name"] in domains and item.partial is None
    ]
    kept = [item for item in found if item.sections]
    if not kept:
        known = {name for item in results for name in (*item.sections, *item.subsets)}
        odd = next((name for name in parts if name not in known), parts[0])
        raise ResultError(
            f'--for "{odd}": no result here has all these parts; {did_you_mean(odd, known)}'
        )
    return kept


def _of_domain(result: Result, domain: Suite) -> Result:
    if result.rewards:
        columns = Judgements.of(result.rewards)
        subsets = [subset_of(identity, result.subsets) for identity in columns.ids]
        outcomes = judge(domain, columns)
        found = summarize(domain, subsets, outcomes, partial=True, clusters=columns.clusters)
        return result.model_copy(update={"sections": found.sections, "averages": found.averages})
    sections = {}
    for section in domain.sections:
        known = result.sections.get(section.name) or _mean(result, section)
        if known is not None:
            sections[section.name] = known
    averages = {}
    if domain.averages and len(sections) == len(domain.sections):
        mean = sum(item.accuracy for item in sections.values()) / len(sections)
        averages[DOMAIN] = Accuracy(accuracy=mean)
    return result.model_copy(update={"sections": sections, "averages": averages})


def _mean(result: Result, section: Section) -> Accuracy | None:
    """Return a section's number from its subsets; None where their shares are not known."""
    found = {name: result.subsets[name] for name in section.subsets if name in result.subsets}
    if len(found) < len(section.subsets):
        return None
    if len(found) == 1:
        return next(iter(found.values()))
    counts = {name: item.n for name, item in found.items()}
    weights = {name: section.weights.get(name, n) for name, n in counts.items()}
    if None in weights.values():
        return None
    accuracies = {name: item.accuracy for name, item in found.items()}
    shares = {name: float(weight) for name, weight in weights.items() if weight is not None}
    return Accuracy(accuracy=weighted_mean(accuracies, shares))
