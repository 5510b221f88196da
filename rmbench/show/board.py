"""Every result, side by side: what a leaderboard shows, sorted and ranked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.comparable import with_means
from rmbench.compare.ranks import Places, places, with_intervals
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.names import file_stem
from rmbench.result.record import Result
from rmbench.suite.definition import Suite
from rmbench.wording import counted

__all__ = ["RANKING", "UNRANKED", "Board", "BoardRow", "Column", "build_boards"]


RANKING = (
    "rank: the places that a row can have among these, at 95 % for all together: results are tested"
    " against each other, on the same comparisons where both have rewards; rows whose places begin"
    " with 1 cannot be told apart from the best"
)


UNRANKED = "no rank: none of these says how many comparisons its number is based on"


APART = "rules (length, random and the like) are baselines, which have no rank"


class Column(NamedTuple):
    """A section or average of a suite."""

    suite: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """One model, run in one way.

    Attributes:
        model: its id.
        results: of this model by suite, all measured or all published.
        settings: those of its settings in which the board's rows differ.
        rank: the places it can have, 1 is best; see ``RANKING``. None for a baseline, and where the
            number that ranks is missing or nothing says how exact it is.
    """

    model: str
    results: Mapping[str, Result]
    settings: Mapping[str, str]
    rank: Places | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether it is a rule, which is there to be compared with."""
        return all(result.is_rule for result in self.results.values())

    @property
    def is_published(self) -> bool:
        """Whether the numbers are copied from a card or paper."""
        return any(result.source == "published" for result in self.results.values())

    def find(self, column: Column) -> Accuracy | None:
        """Return the number in a column; None where there is none."""
        result = self.results.get(column.suite)
        return None if result is None else result.find(column.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Models as rows, best first.

    Attributes:
        suites: whose numbers the columns are.
        columns: sections, then averages, of each suite.
        ranked_by: the column that ranks.
        rows: sorted.
        notes: what a reader must know besides.
    """

    suites: tuple[Suite, ...]
    columns: tuple[Column, ...]
    ranked_by: Column
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]

    def label(self, column: Column) -> str:
        """Return the head of a column; it names the suite where there are several."""
        return _label(column, self.suites)


def build_boards(
    results: Sequence[Result], groups: Sequence[Sequence[Suite]], *, sort: str | None = None
) -> list[Board]:
    """Return one board for each group of suites.

    Args:
        results: of any suites; partial runs, and runs on another version of a suite, are left out.
        groups: of each board, in the order of its columns; the first one's headline ranks.
        sort: a section or average (``suite: name`` where a board has several suites), by which rows
            are sorted and ranked; or ``model``. Boards without such a column keep their headline.

    Raises:
        ResultError: a board has no result, or ``sort`` names no column of any.
    """
    known = {label for suites in groups for label in _labels(suites)} | {"model"}
    if sort is not None and sort not in known:
        raise ResultError(f'--sort "{sort}": no such column; {did_you_mean(sort, known)}')
    return [_build_board(results, suites, sort) for suites in groups]


def _build_board(results: Sequence[Result], suites: Sequence[Suite], sort: str | None) -> Board:
    kept, notes = _usable(results, suites)
    labels = _labels(suites)
    ranked_by = labels.get(sort or "", Column(suites[0].name, suites[0].headline))
    rows = _ranked(_rows(kept), ranked_by, {suite.name: suite for suite in suites})
    notes += [APART] if any(row.is_baseline for row in rows) else []
    return Board(
        suites=tuple(suites),
        columns=tuple(labels.values()),
        ranked_by=ranked_by,
        rows=tuple(
            sorted(rows, key=lambda row: row.model if sort == "model" else _order(row, ranked_by))
        ),
        notes=tuple(notes),
    )


def _labels(suites: Sequence[Suite]) -> dict[str, Column]:
    """Return the columns of some suites by what heads them."""
    columns = [
        Column(suite.name, name)
        for suite in suites
        for name in (*(s.name for s in suite.sections), *(a.name for a in suite.averages))
    ]
    return {_label(column, suites): column for column in columns}


def _label(column: Column, suites: Sequence[Suite]) -> str:
    return column.name if len(suites) == 1 else f"{column.suite}: {column.name}"


def _usable(results: Iterable[Result], suites: Sequence[Suite]) -> tuple[list[Result], list[str]]:
    versions = {suite.name: suite.version for suite in suites}
    of_suites = [
        item for item in results if item.suite["name"] in versions and item.partial is None
    ]
    kept = [item for item in of_suites if item.suite["version"] == versions[item.suite["name"]]]
    if not kept:
        raise ResultError("no results of a whole run; `rmbench run` makes them")
    notes = []
    if len(kept) < len(of_suites):
        left_out = counted(len(of_suites) - len(kept), "results of another suite version")
        notes.append(f"left out: {left_out}")
    for suite in suites:
        digests = {item.suite.get("sha256") for item in kept if item.suite["name"] == suite.name}
        if len(digests - {None}) > 1:
            notes.append(f"{suite.name}: these results are not all on the same texts")
    by_name = {suite.name: suite for suite in suites}
    filled = [with_means(item, by_name[item.suite["name"]]) for item in kept]
    if filled != kept:
        notes.append("† averages over sections that are not published are of the published ones")
    return [item for suite in suites for item in _with_intervals(filled, suite)], notes


def _with_intervals(results: Sequence[Result], suite: Suite) -> list[Result]:
    return with_intervals([item for item in results if item.suite["name"] == suite.name], suite)


def _rows(results: Sequence[Result]) -> list[BoardRow]:
    """Return one row for each model and way of running it.

    Of results that differ although their files have one name, as two folders can hold them, each
    has a row of its own, which names the model's revision, or else its date.
    """
    groups: dict[tuple[str, int], dict[str, Result]] = {}
    for result in results:
        # Published numbers of two sources never share a row.
        stem, suite, number = file_stem(result), str(result.suite["name"]), 0
        stem += f"|{result.citation}" if result.source == "published" else ""
        while not _are_one(groups.get((stem, number), {}).get(suite, result), result):
            number += 1
        groups.setdefault((stem, number), {}).setdefault(suite, result)
    settings = {stem: _settings(next(iter(group.values()))) for stem, group in groups.items()}
    values: dict[str, set[str]] = {}
    for shown in settings.values():
        for key, value in shown.items():
            values.setdefault(key, set()).add(value)
    return [
        BoardRow(
            model=_name(next(iter(group.values())), is_alone=(stem[0], 1) not in groups),
            results=group,
            settings={k: v for k, v in settings[stem].items() if len(values[k]) > 1},
        )
        for stem, group in groups.items()
    ]


def _are_one(first: Result, second: Result) -> bool:
    """Return whether two results say the same of the same model, whenever they were made."""
    return (
        (first.model, first.settings, first.suite.get("sha256"))
        == (second.model, second.settings, second.suite.get("sha256"))
    ) and (first.subsets, first.sections, first.averages) == (
        second.subsets,
        second.sections,
        second.averages,
    )


def _name(result: Result, *, is_alone: bool) -> str:
    if is_alone:
        return str(result.model["id"])
    revision = str(result.model.get("revision") or "").removeprefix("sha256:")[:7]
    mark = f"@{revision}" if revision else f" ({result.date[:10]})" if result.date else ""
    return f"{result.model['id']}{mark}"


def _settings(result: Result) -> dict[str, str]:
    """Return the settings that were chosen, without what belongs to the model itself."""
    settings = {k: str(v) for k, v in result.settings.items() if not k.endswith("_sha256")}
    if settings.get("on_overflow", "error") == "error":
        settings.pop("max_length", None)
    return settings


def _ranked(
    rows: Sequence[BoardRow], column: Column, suites: Mapping[str, Suite]
) -> list[BoardRow]:
    """Return the rows with the places that the column gives them; baselines are apart."""
    chosen = [
        i for i, row in enumerate(rows) if row.find(column) is not None and not row.is_baseline
    ]
    results = [rows[i].results[column.suite] for i in chosen]
    witnesses = [row.results[column.suite] for row in rows if column.suite in row.results]
    found = places(results, suites[column.suite], column.name, witnesses=witnesses)
    ranked = dict(zip(chosen, found, strict=True))
    return [replace(row, rank=ranked.get(i)) for i, row in enumerate(rows)]


def _order(row: BoardRow, column: Column) -> Any:
    item = row.find(column)
    return (row.is_baseline, item is None, -(item.accuracy if item else 0.0), row.model)
