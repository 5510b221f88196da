"""Result files → what a report shows: rewards, outcomes and, where at hand, the texts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rmbench.accuracy.credit import Outcome, judge
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import check_rewards, suite_of
from rmbench.errors import ResultError, SuiteError, did_you_mean
from rmbench.result.find import find_results
from rmbench.result.record import Result, subset_of
from rmbench.result.store import read_published
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison
from rmbench.suite.definition import Suite
from rmbench.suite.feed import open_feed

__all__ = ["MAX_RESULTS", "Material", "Scores", "gather"]

MAX_RESULTS: Final = 4
MAX_ANCHORS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One measured result, comparison by comparison, in the order of the material's ids."""

    result: Result
    outcomes: Sequence[Outcome | None]
    margins: Sequence[float | None]

    @property
    def model(self) -> str:
        """What the result is called: its model's id."""
        return str(self.result.model["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One suite with its results, all of the same comparisons.

    Attributes:
        suite: whose rules gave the outcomes.
        ids: of the comparisons that were scored, in the suite's order.
        subsets: of each comparison.
        scores: one per measured result, 1 to ``MAX_RESULTS`` of them.
        anchors: published results to draw beside them.
        comparisons: the texts, in the order of the ids; None where they were not at hand.
    """

    suite: Suite
    ids: Sequence[str]
    subsets: Sequence[str]
    scores: Sequence[Scores]
    anchors: Sequence[Result]
    comparisons: Sequence[Comparison] | None

    @property
    def differences(self) -> list[int] | None:
        """Chosen minus rejected length of each comparison, in characters; None without texts."""
        if self.comparisons is None:
            return None
        return [item.length_difference() for item in self.comparisons]


def gather(
    names: Iterable[str],
    *,
    suites: Iterable[str] = (),
    data: Mapping[str, str | None] | None = None,
) -> list[Material]:
    """Return what a report on these results shows, one part per suite.

    Args:
        names: result files, folders of them, or ``suite/model``; published ones are drawn as
            anchors.
        suites: files of suites that do not come with rmbench.
        data: where the texts of a suite are: a local file or folder, or None for the suite's own
            source. A suite whose data lies beside its file needs no entry.

    Raises:
        RmbenchError: a file is wrong, results do not fit together, or texts are not the ones that
            were scored; the message names place and remedy.
    """
    results = find_results(names, rewards=lambda _: True).results
    measured = [result for result in results if result.source == "measured"]
    if not measured:
        raise ResultError(
            "no measured result to report; published numbers have no rewards, `rmbench run` makes"
            " results that do"
        )
    published = [result for result in results if result.source == "published"]
    of_suite: dict[str, list[Result]] = {}
    for result in measured:
        of_suite.setdefault(str(result.suite["name"]), []).append(result)
    places = dict(data or {})
    _check_places(places, of_suite)
    known = {suite.name: suite for suite in map(load_suite, suites)}
    return [
        _material(suite_of(own[0], known.get(name)), own, published, places)
        for name, own in of_suite.items()
    ]


def _check_places(places: Iterable[str], names: Iterable[str]) -> None:
    for name in places:
        if name not in names:
            remedy = did_you_mean(name, names)
            raise SuiteError(f"--data {name}: none of these results is of that suite; {remedy}")


def _material(
    suite: Suite,
    results: Sequence[Result],
    published: Sequence[Result],
    places: Mapping[str, str | None],
) -> Material:
    if len(results) > MAX_RESULTS:
        raise ResultError(
            f"{len(results)} results of {suite.name}: a report shows at most {MAX_RESULTS} side by"
            " side; `rmbench leaderboard` has room for more"
        )
    for result in results:
        _check_result(suite, result, results[0])
    first = results[0]
    ids = [item.id for item in first.rewards]
    at_hand = suite.name in places or suite.is_at_hand
    return Material(
        suite=suite,
        ids=ids,
        subsets=[subset_of(identity, first.subsets) for identity in ids],
        scores=[
            Scores(
                result=result,
                outcomes=judge(suite, result.rewards),
                margins=_margins(result),
            )
            for result in results
        ],
        anchors=_anchors(suite, published),
        comparisons=_texts(suite, first, places.get(suite.name)) if at_hand else None,
    )


def _margins(result: Result) -> list[float | None]:
    margins = Judgements.of(result.rewards).best_margins().tolist()
    return [None if math.isnan(margin) else margin for margin in margins]


def _check_result(suite: Suite, result: Result, first: Result) -> None:
    place = f"{result.model['id']} on {suite.name}"
    if not result.rewards:
        raise ResultError(f"{place}: no rewards beside the record; run it again")
    if result.suite.get("version") != suite.version:
        raise ResultError(
            f"{place}: version {result.suite.get('version')} of the suite where this rmbench has"
            f" {suite.version}; run it again"
        )
    same_data = result.suite.get("sha256") == first.suite.get("sha256")
    if not same_data or [item.id for item in result.rewards] != [item.id for item in first.rewards]:
        raise ResultError(
            f"{place}: not the comparisons that {first.model['id']} scored; report them apart, or"
            " run one again"
        )
    check_rewards(result, suite)


def _anchors(suite: Suite, published: Sequence[Result]) -> list[Result]:
    found: dict[str, Result] = {}
    for result in [*published, *read_published()]:
        key = (result.suite["name"], result.suite.get("version"))
        if key == (suite.name, suite.version):
            found.setdefault(str(result.model["id"]), result)
    return list(found.values())[:MAX_ANCHORS]


def _texts(suite: Suite, result: Result, place: str | None) -> list[Comparison]:
    """Return the comparisons that were scored, once their texts are known to be the same."""
    feed = open_feed(suite, data=place)
    scored = result.suite.get("sha256")
    if scored is not None and feed.contents.sha256 != scored:
        raise SuiteError(
            f"{feed.rows.origin}: sha256 {str(feed.contents.sha256)[:12]} where the result has"
            f" {str(scored)[:12]}: not the texts that were scored; give those of that run with"
            f" --data {suite.name}=PATH"
        )
    ids = [item.id for item in result.rewards]
    wanted = set(ids)
    by_id = {item.id: item for item in feed if item.id in wanted}
    missing = [identity for identity in ids if identity not in by_id]
    if missing:
        raise SuiteError(f'{feed.rows.origin}: has no comparison "{missing[0]}"')
    return [by_id[identity] for identity in ids]
