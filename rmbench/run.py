"""The benchmark from end to end."""

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np

from rmbench.accuracy.aggregate import Summary, summarize
from rmbench.accuracy.analysis import Analyses, Groups, analyse
from rmbench.accuracy.audit import audit_answers, is_below_chance, rounding_spread
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.errors import ScorerError
from rmbench.result.record import Result, SuiteFacts
from rmbench.result.signature import sign
from rmbench.scorers.contract import Scored, Scorer, ScorerInfo
from rmbench.suite.comparison import Conversation
from rmbench.suite.definition import Suite, load_suite
from rmbench.suite.feed import Contents, Feed, open_feed

__all__ = ["Conversations", "evaluate", "evaluate_feed", "recompute"]

PACKAGES: Final = ("rmbench", "torch", "transformers", "datasets", "numpy")


def evaluate(
    suite: Suite | str, scorer: Scorer, *, data: str | None = None, limit: int | None = None
) -> Result:
    """Return the result of a scorer on a suite.

    Args:
        suite: a suite, the name of a bundled one, or the path of a suite file.
        scorer: what gives the rewards.
        data: a local file or folder to read instead of the suite's source.
        limit: score only so many comparisons, spread over the suite; the result is then partial.

    Raises:
        RmbenchError: suite, data, model or rewards are wrong; the message names place and remedy.
        ValueError: ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    if isinstance(suite, str):
        suite = load_suite(suite)
    return evaluate_feed(open_feed(suite, data=data, limit=limit), scorer)


def evaluate_feed(feed: Feed, scorer: Scorer, name: str | None = None) -> Result:
    """Return the result of a scorer on comparisons that are read and checked; see ``evaluate``.

    Args:
        feed: the comparisons.
        scorer: what answers.
        name: what the model is called in the result; None for the scorer's own id.
    """
    start = time.perf_counter()
    scored = scorer.score(Conversations(feed))
    rewards = _check_rewards(scored, feed.contents, scorer.info)
    outcomes = judge(feed.suite, rewards)
    subsets, clusters = feed.contents.subsets, rewards.clusters
    summary = summarize(
        feed.suite, subsets, outcomes, partial=feed.indices is not None, clusters=clusters
    )
    audit = dict(feed.contents.audit) | audit_answers(rewards, outcomes, scored, scorer.info)
    audit["below_chance"] = is_below_chance(feed.suite, outcomes, clusters=clusters)
    dtype = str(scorer.info.settings.get("dtype", "float32"))
    audit["rounding"] = rounding_spread(feed.suite, subsets, rewards, dtype=dtype)
    found = _Findings(
        rewards=rewards,
        summary=summary,
        analyses=analyse(
            rewards,
            outcomes,
            Groups(subsets=subsets, clusters=clusters),
            differences=feed.contents.differences,
            scale=scorer.info.scale,
        ),
        audit=audit,
    )
    info = scorer.info if name is None else replace(scorer.info, id=name)
    return _result(feed, info, found, scored=scored, seconds=time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class Conversations:
    """A feed's conversations, read anew at each iteration: a scorer may go through them twice."""

    feed: Feed

    def __iter__(self) -> Iterator[Conversation]:
        """Yield them in the order in which their rewards are recorded."""
        for comparison in self.feed:
            yield from comparison.conversations()


def _check_rewards(scored: Scored, contents: Contents, info: ScorerInfo) -> Judgements:
    """Return the rewards by comparison, once they are the right number and all finite."""
    expected = sum(chosen + rejected for chosen, rejected in contents.sides)
    columns = {"rewards": scored.rewards, "inputs": scored.inputs}
    for what, entries in columns.items():
        if entries is not None and len(entries) != expected:
            raise ScorerError(
                f"{info.id}: {len(entries)} {what} for {expected} conversations; a scorer must"
                " return one per conversation"
            )
    # Rewards are compared as they are recorded, so that a result can be recomputed from its file:
    # in float32, to which this array rounds.
    given = (math.nan if reward is None else reward for reward in scored.rewards)
    with np.errstate(over="ignore"):
        values = np.fromiter(given, np.float64, expected).astype(np.float32)
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        if scored.rewards[i] is not None:
            raise ScorerError(_not_finite(i, float(values[i]), contents, info))
    found = Judgements(contents.ids, contents.sides, values)
    return found.in_clusters(contents.clusters) if contents.has_clusters else found


def _not_finite(place: int, reward: float, contents: Contents, info: ScorerInfo) -> str:
    """Return the message for the reward of the conversation with this number."""
    owners = (
        (identity, side)
        for identity, (num_chosen, num_rejected) in zip(contents.ids, contents.sides, strict=True)
        for side in ["chosen"] * num_chosen + ["rejected"] * num_rejected
    )
    identity, side = next(islice(owners, place, None))
    halved = info.settings.get("dtype") in ("bfloat16", "float16")
    remedy = "try --dtype float32" if halved else "every reward must be a number"
    return (
        f'{info.id}: the reward of "{identity}" ({side}) is {reward} in float32;'
        f" nothing is written; {remedy}"
    )


def recompute(suite: Suite, subsets: Sequence[str], rewards: Sequence[Judgement]) -> Summary:
    """Return a suite's numbers from recorded rewards, without a model.

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


def planned_result(feed: Feed, model: str) -> Result:
    """Return what is known of a result before it is measured: suite, model, and part of the suite.

    With it ``comparable.check_comparable`` tells before hours of scoring what it would tell after.
    """
    return Result(
        source="measured",
        suite=_suite_block(feed),
        model={"id": model},
        averages={},
        partial=None if feed.indices is None else len(feed.indices),
    )


# --- the record ----------------------------------------------------------------------------------


class _Findings(NamedTuple):
    """What was made of the rewards."""

    rewards: Judgements
    summary: Summary
    analyses: Analyses
    audit: Mapping[str, Any]


def _suite_block(feed: Feed) -> SuiteFacts:
    return {
        "name": feed.suite.name,
        "version": feed.suite.version,
        "sha256": feed.contents.sha256,
        "comparisons": len(feed.contents.ids),
        "headline": feed.suite.headline,
        "origin": feed.rows.origin,
        "revision": feed.rows.revision,
    }


def _result(
    feed: Feed, info: ScorerInfo, found: _Findings, *, scored: Scored, seconds: float
) -> Result:
    facts, partial = _suite_block(feed), None if feed.indices is None else len(feed.indices)
    return Result(
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
        signature=sign(facts, info, partial=partial),
        averages=found.summary.averages,
        sections=found.summary.sections,
        subsets=found.summary.subsets,
        analyses=found.analyses,
        audit=dict(found.audit),
        environment=_environment() | dict(scored.environment),
        timing={"seconds": round(seconds, 3)}
        | {name: round(value, 3) for name, value in scored.timing.items()},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=partial,
        rewards=found.rewards,
    )


def _environment() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "system": platform.system()}
    for package in PACKAGES:
        # A rule needs neither torch nor datasets; what is not installed moved no number.
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
