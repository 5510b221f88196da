"""Results of many models → what the site shows of each suite and each model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgements
from rmbench.compare.comparable import with_means
from rmbench.compare.ranks import Places
from rmbench.errors import ResultError, SuiteError, did_you_mean
from rmbench.result.names import file_stem, safe_name
from rmbench.result.record import Result, subset_of
from rmbench.show.board import RANKING, Board, build_boards
from rmbench.suite.comparison import Comparison
from rmbench.suite.definition import Suite
from rmbench.suite.feed import open_feed

__all__ = ["Entry", "Site", "SuiteMaterial", "gather_site"]

Floats = npt.NDArray[np.float64]
BASELINES: Final = ("builtin", "rule")
"""Kinds of scorers that look at the text alone: shown, but not ranked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model, run in one way.

    Attributes:
        name: what it is called.
        slug: its page's name.
        results: the latest on each suite, by the suite's name.
        earlier: those before it, the latest first.
    """

    name: str
    slug: str
    results: Mapping[str, Result]
    earlier: Mapping[str, Sequence[Result]]

    @property
    def first(self) -> Result:
        """One of its results, for what all of them say alike."""
        return next(iter(self.results.values()))

    @property
    def is_published(self) -> bool:
        """Whether its numbers were copied from a card or paper."""
        return self.first.source == "published"

    @property
    def is_baseline(self) -> bool:
        """Whether it is a rule and no model."""
        return self.first.model.get("kind") in BASELINES


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMaterial:
    """One suite, and who was measured on it.

    Attributes:
        suite: what is compared.
        entries: with a result on it, best first.
        ranks: the places that each can have, by slug; none for baselines, and where it is not known
            how exact the headline is.
        ranking: one sentence on what a rank means.
        ids: of the comparisons that ``credits`` is of, in the suite's order.
        subsets: of each comparison.
        scored: the entries whose answers were at hand, all on the same comparisons.
        credits: what each of them earned, shape (len(scored), len(ids)); NaN for a dropped one.
        texts: of the comparisons, where they were at hand.
        medians: over the models that are no baselines, of each section and average.
    """

    suite: Suite
    entries: Sequence[Entry]
    ranks: Mapping[str, Places]
    ranking: str
    ids: Sequence[str]
    subsets: Sequence[str]
    scored: Sequence[Entry]
    credits: Floats
    texts: Sequence[Comparison] | None
    medians: Mapping[str, float]

    @property
    def solved(self) -> Floats:
        """Which share of the models earned the credit of each comparison, in [0, 1]."""
        models = [i for i, item in enumerate(self.scored) if not item.is_baseline]
        known = self.credits[models] if models else self.credits
        counted = (~np.isnan(known)).sum(axis=0)
        total = np.nansum(known, axis=0)
        shares: Floats = np.zeros(len(self.ids))
        np.divide(total, counted, out=shares, where=counted > 0)
        return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All that a site shows.

    Attributes:
        suites: those with results, in the order of their names.
        entries: all models, by name.
    """

    suites: Sequence[SuiteMaterial]
    entries: Sequence[Entry]


def gather_site(
    results: Iterable[Result],
    suites: Mapping[str, Suite],
    *,
    data: Mapping[str, str | None] | None = None,
) -> Site:
    """Return what a site of these results shows.

    Args:
        results: with their rewards where there are any; partial runs are left out.
        suites: by name; results of others, and of other versions of one, are left out.
        data: where the texts of a suite are: a local file or folder, or None for its own source. A
            suite whose rows lie beside its file needs no entry.

    Raises:
        RmbenchError: there is no result to show, or texts are not the ones that were scored.
    """
    whole = [
        with_means(item, suites[item.suite["name"]])
        for item in results
        if item.partial is None
        and item.suite["name"] in suites
        and item.suite["version"] == suites[item.suite["name"]].version
    ]
    if not whole:
        raise ResultError("no results of a whole run to show; `rmbench run` makes them")
    entries = _entries(whole)
    places = dict(data or {})
    present = [name for name in sorted(suites) if any(name in item.results for item in entries)]
    for name in places:
        if name not in present:
            raise SuiteError(
                f"--data {name}: no result here is of that suite; {did_you_mean(name, present)}"
            )
    return Site(
        suites=[_suite_material(suites[name], entries, places) for name in present],
        entries=entries,
    )


def _entries(results: Sequence[Result]) -> list[Entry]:
    """Return an entry for each model and way of running it; of several runs the latest counts."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for result in sorted(results, key=lambda item: item.date, reverse=True):
        groups.setdefault(file_stem(result), {}).setdefault(result.suite["name"], []).append(result)
    ids: dict[str, set[str]] = {}
    for stem, of_model in groups.items():
        for runs in of_model.values():
            ids.setdefault(runs[0].model["id"], set()).add(stem)
    entries = []
    for stem, of_model in groups.items():
        first = next(iter(of_model.values()))[0]
        model = first.model["id"]
        # Of several ways of running one model, all but the plain one say what was chosen.
        chosen = stem.removeprefix(safe_name(model)).removesuffix(".published").lstrip("+")
        name = f"{model} ({chosen.replace('+', ', ')})" if chosen and len(ids[model]) > 1 else model
        entries.append(
            Entry(
                name=name,
                slug=stem,
                results={suite: runs[0] for suite, runs in sorted(of_model.items())},
                earlier={suite: runs[1:] for suite, runs in of_model.items() if runs[1:]},
            )
        )
    return sorted(entries, key=lambda item: (item.name.lower(), item.slug))


def _suite_material(
    suite: Suite, entries: Sequence[Entry], places: Mapping[str, str | None]
) -> SuiteMaterial:
    own = [item for item in entries if suite.name in item.results]
    board = _ranked([item.results[suite.name] for item in own if not item.is_baseline], suite)
    ranks = {} if board is None else _ranks(board, suite)
    scored = _comparable(own, suite)
    first = scored[0].results[suite.name] if scored else None
    ids = [] if first is None else list(Judgements.of(first.rewards).ids)
    return SuiteMaterial(
        suite=suite,
        entries=sorted(own, key=lambda item: _order(item, suite)),
        ranks=ranks,
        ranking=RANKING if ranks else "",
        ids=ids,
        subsets=[] if first is None else [subset_of(i, first.subsets) for i in ids],
        scored=scored,
        credits=_credits(scored, suite, ids),
        texts=_texts(suite, first, places) if first is not None else None,
        medians=_medians([item.results[suite.name] for item in own if not item.is_baseline]),
    )


def _ranked(results: Sequence[Result], suite: Suite) -> Board | None:
    return build_boards(results, [[suite]])[0] if results else None


def _ranks(board: Board, suite: Suite) -> dict[str, Places]:
    return {
        file_stem(row.results[suite.name]): row.rank
        for row in board.rows
        if row.rank is not None and suite.name in row.results
    }


def _medians(results: Sequence[Result]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for result in results:
        for name, item in (*result.averages.items(), *result.sections.items()):
            values.setdefault(name, []).append(item.accuracy)
    return {name: float(np.median(known)) for name, known in values.items() if len(known) > 1}


def _order(entry: Entry, suite: Suite) -> tuple[bool, bool, float, str]:
    headline = entry.results[suite.name].averages.get(suite.headline)
    accuracy = headline.accuracy if headline else 0.0
    return entry.is_baseline, headline is None, -accuracy, entry.name


def _comparable(entries: Sequence[Entry], suite: Suite) -> list[Entry]:
    """Return the most entries that have answers on the same texts."""
    groups: dict[tuple[str | None, int], list[Entry]] = {}
    for entry in sorted(entries, key=lambda item: _order(item, suite)):
        result = entry.results[suite.name]
        if result.rewards:
            key = (result.suite.get("sha256"), len(result.rewards))
            groups.setdefault(key, []).append(entry)
    return max(groups.values(), key=len, default=[])


def _credits(scored: Sequence[Entry], suite: Suite, ids: Sequence[str]) -> Floats:
    table = np.full((len(scored), len(ids)), np.nan)
    for row, entry in enumerate(scored):
        judgements = Judgements.of(entry.results[suite.name].rewards)
        earned = judge(suite, judgements).credit
        if list(judgements.ids) == list(ids):
            table[row] = earned
            continue
        known = dict(zip(judgements.ids, earned.tolist(), strict=True))
        table[row] = [known.get(identity, np.nan) for identity in ids]
    return table


def _texts(
    suite: Suite, result: Result, places: Mapping[str, str | None]
) -> list[Comparison] | None:
    """Return the texts that were scored, where they are at hand without a network."""
    if suite.name not in places and not suite.is_at_hand:
        return None
    feed = open_feed(suite, data=places.get(suite.name))
    scored = result.suite.get("sha256")
    if scored is not None and feed.contents.sha256 != scored:
        if suite.name not in places:
            return None
        raise SuiteError(
            f"{feed.rows.origin}: not the texts that were scored (sha256"
            f" {str(feed.contents.sha256)[:7]}, not {scored[:7]}); give those with"
            f" --data {suite.name}=PATH"
        )
    by_id = {item.id: item for item in feed}
    ids = Judgements.of(result.rewards).ids
    return [by_id[i] for i in ids] if all(i in by_id for i in ids) else None
