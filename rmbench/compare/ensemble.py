"""Several models as one: the mean of their standardised rewards, from what was recorded."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from rmbench.accuracy.aggregate import summarize
from rmbench.accuracy.analysis import Groups, analyse
from rmbench.accuracy.audit import is_below_chance, rounding_spread
from rmbench.accuracy.credit import judge
from rmbench.accuracy.intervals import Floats
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import check_comparable, check_rewards, title_of
from rmbench.compare.paired_verdicts import clusters_of
from rmbench.errors import ResultError
from rmbench.result.definition import embed
from rmbench.result.record import Result, subset_of
from rmbench.result.signature import sign
from rmbench.scorers.contract import ScorerInfo
from rmbench.suite.definition import Suite

__all__ = ["KIND", "ensemble"]

KIND: Final = "ensemble"


def ensemble(
    members: Sequence[Result],
    suite: Suite,
    *,
    name: str | None = None,
    differences: Sequence[int] | None = None,
) -> Result:
    """Return the result that several models would have together.

    Every response gets the mean of its members' rewards, each of them first divided by the standard
    deviation that it has over all responses of the suite, so that no model outweighs another by its
    scale. A comparison that one of them dropped is dropped.

    Args:
        members: two or more results on the same comparisons, with their rewards.
        suite: of all of them.
        name: of the ensemble; the members' names with plus signs where None.
        differences: chosen minus rejected length of each comparison; None if not known.

    Raises:
        ResultError: fewer than two members, one twice, results that are not comparable, or one
            without rewards, with preferences, or with one reward for all.
    """
    _check_members(members, suite)
    first = members[0]
    columns = [_aligned(member, Judgements.of(first.rewards)) for member in members]
    scales = [_scale(member, rewards) for member, rewards in zip(members, columns, strict=True)]
    with np.errstate(over="ignore"):
        mean = np.mean([r / scale for r, scale in zip(columns, scales, strict=True)], axis=0)
    known = Judgements.of(first.rewards)
    judgements = Judgements(known.ids, known.sides, mean.astype(np.float32))
    clusters = next((c for m in members[1:] if (c := clusters_of(m, first)) is not None), None)
    if clusters is not None:
        judgements = judgements.in_clusters(clusters)
    info = _info(members, scales, name)
    return _result(members, suite, judgements, info=info, differences=differences)


def _check_members(members: Sequence[Result], suite: Suite) -> None:
    if len(members) < 2:
        raise ResultError("an ensemble needs two results or more; name another one")
    for number, member in enumerate(members):
        check_comparable(members[0], member)
        if not member.rewards:
            raise ResultError(
                f"{title_of(member)} on {suite.name}: no rewards, so that it cannot be part of an"
                " ensemble; put the .jsonl beside its record, or run it"
            )
        if Judgements.of(member.rewards).preferences is not None:
            raise ResultError(
                f"{title_of(member)} on {suite.name}: gives preferences; an ensemble is made of"
                " rewards: leave it out"
            )
        check_rewards(member, suite)
        if any(member == other for other in members[:number]):
            raise ResultError(f"{title_of(member)} on {suite.name}: named twice; leave one out")


def _aligned(member: Result, first: Judgements) -> Floats:
    """Return the rewards of a member in the order of another one's responses, in float64."""
    own = Judgements.of(member.rewards)
    places = {identity: number for number, identity in enumerate(own.ids)}
    if set(places) != set(first.ids):
        raise ResultError(
            f"{title_of(member)}: other comparisons than the first member's; run both on the same"
            " data"
        )
    order = [places[identity] for identity in first.ids]
    if not np.array_equal(own.sides[order], first.sides):
        raise ResultError(f"{title_of(member)}: other numbers of responses than the first member's")
    starts = np.concatenate([[0], np.cumsum(own.sides.sum(axis=1))])
    numbers = [np.arange(starts[i], starts[i + 1]) for i in order]
    rewards: Floats = own.rewards[np.concatenate(numbers)].astype(np.float64)
    return rewards


def _scale(member: Result, rewards: Floats) -> float:
    deviation = float(np.nanstd(rewards)) if not np.isnan(rewards).all() else 0.0
    if not 0.0 < deviation < np.inf:
        raise ResultError(
            f"{title_of(member)}: its rewards do not differ, so that they have no scale; leave it"
            " out of the ensemble"
        )
    return deviation


def _info(members: Sequence[Result], scales: Sequence[float], name: str | None) -> ScorerInfo:
    made_of: dict[str, Any] = {
        "members": [str(member.signature) for member in members],
        "divided_by": [float(np.float32(scale)) for scale in scales],
    }
    sizes = [member.model.get("parameters") for member in members]
    digest = hashlib.sha256("\n".join(made_of["members"]).encode(errors="surrogatepass"))
    known = [size for size in sizes if size is not None]
    return ScorerInfo(
        id=name or "+".join(str(member.model["id"]) for member in members),
        kind=KIND,
        revision=f"sha256:{digest.hexdigest()}",
        parameters=sum(known) if len(known) == len(members) else None,
        settings=made_of,
        usual=made_of,  # they stand in the revision
    )


def _result(
    members: Sequence[Result],
    suite: Suite,
    judgements: Judgements,
    *,
    info: ScorerInfo,
    differences: Sequence[int] | None,
) -> Result:
    first = members[0]
    subsets = [subset_of(identity, first.subsets) for identity in judgements.ids]
    outcomes, clusters = judge(suite, judgements), judgements.clusters
    found = summarize(
        suite, subsets, outcomes, partial=first.partial is not None, clusters=clusters
    )
    groups = Groups(subsets=subsets, clusters=clusters)
    analyses = analyse(judgements, outcomes, groups, differences=differences, scale=info.scale)
    below = is_below_chance(suite, outcomes, clusters=clusters)
    facts = first.suite | {"definition": embed(suite)}
    return Result(
        source="measured",
        suite=facts,
        model={
            "id": info.id,
            "revision": info.revision,
            "kind": KIND,
            "parameters": info.parameters,
            "gives": info.gives,
            "scale": info.scale,
        },
        settings=dict(info.settings),
        usual=dict(info.usual),
        signature=sign(facts, info, part=first.part),
        averages=found.averages,
        sections=found.sections,
        subsets=found.subsets,
        analyses=analyses,
        audit={
            "ties": int(outcomes.tied.sum()),
            "dropped": int(outcomes.dropped.sum()),
            "below_chance": below,
            "rounding": rounding_spread(suite, subsets, judgements, dtype="float32"),
        },
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=first.partial,
        sample=first.sample,
        rewards=judgements,
    )
