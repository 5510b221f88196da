"""What was found out about a scorer on a suite → the record."""

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import Summary, summarize
from rmbench.accuracy.analysis import Analyses
from rmbench.accuracy.credit import judge
from rmbench.answers.ask import Asked
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.result.definition import embed
from rmbench.result.record import Result, SuiteFacts
from rmbench.result.signature import sign
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Feed

__all__ = ["Findings", "measured_result", "planned_result", "recompute", "suite_facts"]

PACKAGES: Final = ("rmbench", "torch", "transformers", "datasets", "numpy")


class Findings(NamedTuple):
    """What was made of the answers."""

    summary: Summary
    analyses: Analyses
    audit: Mapping[str, Any]


def measured_result(feed: Feed, asked: Asked, found: Findings, *, seconds: float) -> Result:
    """Return the result of a scorer on a suite.

    Args:
        feed: the comparisons.
        asked: the scorer's answers.
        found: what was made of them.
        seconds: the whole run took.
    """
    facts, partial = suite_facts(feed), _partial(feed)
    info, timing = asked.info, asked.facts.timing
    result = Result(
        source="measured",
        suite=facts,
        model={
            "id": info.id,
            "revision": info.revision,
            "kind": info.kind,
            "parameters": info.parameters,
            "gives": info.gives,
            "scale": info.scale,
        },
        settings=dict(info.settings),
        usual=dict(info.usual),
        averages=found.summary.averages,
        sections=found.summary.sections,
        subsets=found.summary.subsets,
        analyses=found.analyses,
        audit=dict(found.audit),
        environment=_environment() | dict(asked.facts.environment),
        timing={"seconds": round(seconds, 3)}
        | {name: round(value, 3) for name, value in timing.items()},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=partial,
        sample=feed.sample,
        rewards=asked.judgements,
    )
    return result.model_copy(update={"signature": sign(facts, info, part=result.part)})


def _partial(feed: Feed) -> int | None:
    return None if feed.indices is None else len(feed.indices)


def planned_result(feed: Feed, model: str) -> Result:
    """Return what is known of a result before it is measured: suite, model, and part of the suite.

    With it ``comparable.check_comparable`` tells before hours of scoring what it would tell after.
    """
    return Result(
        source="measured",
        suite=suite_facts(feed),
        model={"id": model},
        averages={},
        partial=_partial(feed),
        sample=feed.sample,
    )


def recompute(suite: Suite, subsets: Sequence[str], rewards: Sequence[Judgement]) -> Summary:
    """Return a suite's numbers from recorded answers, without a model.

    Args:
        suite: the rule, sections and averages.
        subsets: of each comparison.
        rewards: of each comparison, as read from a result.

    Raises:
        SuiteError: a section lacks a subset.
    """
    columns = Judgements.of(rewards)
    outcomes = judge(suite, columns)
    return summarize(suite, subsets, outcomes, partial=False, clusters=columns.clusters)


def suite_facts(feed: Feed) -> SuiteFacts:
    """Return what a record says of the suite that it is a result on."""
    return {
        "name": feed.suite.name,
        "version": feed.suite.version,
        "sha256": feed.contents.sha256,
        "comparisons": len(feed.contents.ids),
        "clusters": None if feed.contents.sha256 is None else feed.contents.num_clusters,
        "headline": feed.suite.headline,
        "origin": feed.rows.origin,
        "revision": feed.rows.revision,
        "definition": embed(feed.suite),
    }


def _environment() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "system": platform.system()}
    for package in PACKAGES:
        # A rule needs neither torch nor datasets; what is not installed moved no number.
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
