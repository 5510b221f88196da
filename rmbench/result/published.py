"""RewardBench's result JSON, which has accuracies only → a published result."""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmbench.accuracy.aggregate import Accuracy, weighted_mean
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.definition import embed
from rmbench.result.record import Result
from rmbench.suite.definition import Section, Suite
from rmbench.suite.feed import Contents

__all__ = ["published_result"]


def published_result(
    path: Path,
    summary: Mapping[str, Any],
    suite: Suite,
    contents: Contents | None,
    *,
    model: str | None = None,
) -> Result:
    """Return the published result that RewardBench's result JSON holds.

    Args:
        path: the file, for messages and the citation.
        summary: what it holds: ``accuracy``, ``num_prompts``, ``extra_results`` ...
        suite: what was scored.
        contents: of the suite's rows, where they are at hand: then sections follow, whose weights
            are counts, and the accuracy is compared with the mean of the subsets.
        model: the model's id, where the file names none.

    Raises:
        ResultError: the numbers are not of this suite, or the model is missing.
    """
    subsets, pooled = _checked(path, summary, suite, contents)
    counts = Counter(contents.subsets) if contents is not None else Counter()
    averages, sections = _means(suite, _plain(subsets), counts)
    for average in suite.averages:
        if not average.sections:
            averages = {average.name: Accuracy(accuracy=pooled), **averages}
    name = model or str(summary.get("model") or "")
    if not name:
        raise ResultError(f"{path}: does not name its model; say which with --model")
    template = summary.get("chat_template")
    return Result(
        source="published",
        citation=f"RewardBench's {path.name}, template {template}",
        suite={
            "name": suite.name,
            "version": suite.version,
            "headline": suite.headline,
            "definition": embed(suite),
        },
        model={"id": name},
        averages=averages,
        sections=sections,
        subsets=subsets,
    )


def _checked(
    path: Path, summary: Mapping[str, Any], suite: Suite, contents: Contents | None
) -> tuple[dict[str, Accuracy], float]:
    """Return the accuracies of subsets, and of all comparisons, once they are of this suite."""
    total = suite.source.comparisons if contents is None else len(contents.ids)
    if total is not None and summary["num_prompts"] != total:
        raise ResultError(
            f"{path}: accuracies on {summary['num_prompts']} comparisons where {suite.name} has"
            f" {total}; they are not of this suite"
        )
    subsets = _shares(path, summary.get("extra_results") or {}, suite)
    pooled = _share(f"{path}: accuracy", summary["accuracy"])
    counts = Counter(contents.subsets) if contents is not None else Counter()
    is_whole = bool(counts) and counts.keys() <= subsets.keys()
    if is_whole and not math.isclose(weighted_mean(_plain(subsets), counts), pooled, abs_tol=1e-6):
        raise ResultError(f"{path}: accuracy is not the mean of extra_results over {suite.name}")
    return subsets, pooled


def _plain(items: Mapping[str, Accuracy]) -> dict[str, float]:
    return {name: item.accuracy for name, item in items.items()}


def _share(place: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
        raise ResultError(f"{place} is {value!r}; it must be in [0, 1]")
    return float(value)


def _shares(path: Path, values: Any, suite: Suite) -> dict[str, Accuracy]:
    known = {subset for section in suite.sections for subset in section.subsets}
    if not isinstance(values, dict):
        raise ResultError(f"{path}: extra_results must be an object")
    for name in values:
        if name not in known:
            raise ResultError(
                f'{path}: extra_results: subset "{name}" is not in suite {suite.name};'
                f" {did_you_mean(name, known)}"
            )
    return {
        name: Accuracy(accuracy=_share(f"{path}: extra_results.{name}", value))
        for name, value in values.items()
    }


def _means(
    suite: Suite, subsets: Mapping[str, float], counts: Mapping[str, int]
) -> tuple[dict[str, Accuracy], dict[str, Accuracy]]:
    """Return averages over sections, and the sections whose weights are known."""
    sections = {
        section.name: Accuracy(accuracy=weighted_mean(subsets, weights))
        for section in suite.sections
        if (weights := _weights(section, counts)) and all(name in subsets for name in weights)
    }
    averages = {
        average.name: Accuracy(
            accuracy=weighted_mean(
                {name: sections[name].accuracy for name in average.sections},
                dict.fromkeys(average.sections, 1.0),
            )
        )
        for average in suite.averages
        if average.sections and all(name in sections for name in average.sections)
    }
    return averages, sections


def _weights(section: Section, counts: Mapping[str, int]) -> dict[str, float]:
    """Return the weights of a section's subsets; none when a count that is needed is unknown."""
    weights = {name: section.weights.get(name, counts.get(name)) for name in section.subsets}
    known = {name: float(weight) for name, weight in weights.items() if weight is not None}
    return known if len(known) == len(weights) else {}
