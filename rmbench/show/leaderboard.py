"""Every result, side by side: computed, then sorted and ranked, then formatted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.comparable import with_means
from rmbench.compare.ranks import Places, places, with_intervals
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.names import file_stem
from rmbench.result.record import Result
from rmbench.show.table import Cell, Content, Table, format_table, source_notes, to_json
from rmbench.suite.definition import Suite
from rmbench.wording import counted, percent

__all__ = [
    "Board",
    "Column",
    "Row",
    "as_csv",
    "as_json",
    "build_boards",
    "leaderboard_table",
    "transposed_table",
]

RANKING = (
    "rank: the places that a row can have among these, at 95 % for all together: results are tested"
    " against each other, on the same comparisons where both have rewards; rows whose places begin"
    " with 1 are not told apart from the best"
)
UNRANKED = "no rank: of none of these is it known how many comparisons stand behind its number"
APART = "rules (length, random and the like) are baselines, which have no rank"


# What a line of CSV says of length and calibration, after the accuracies.
ANALYSES: Final = (
    "chosen longer",
    "chosen shorter",
    "odds ratio of longer",
    "calibration error",
)


class Column(NamedTuple):
    """A section or average of a suite."""

    suite: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
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
    rows: tuple[Row, ...]
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


def _rows(results: Sequence[Result]) -> list[Row]:
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
        Row(
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


def _ranked(rows: Sequence[Row], column: Column, suites: Mapping[str, Suite]) -> list[Row]:
    """Return the rows with the places that the column gives them; baselines are apart."""
    chosen = [
        i for i, row in enumerate(rows) if row.find(column) is not None and not row.is_baseline
    ]
    results = [rows[i].results[column.suite] for i in chosen]
    witnesses = [row.results[column.suite] for row in rows if column.suite in row.results]
    found = places(results, suites[column.suite], column.name, witnesses=witnesses)
    ranked = dict(zip(chosen, found, strict=True))
    return [replace(row, rank=ranked.get(i)) for i, row in enumerate(rows)]


def _order(row: Row, column: Column) -> Any:
    item = row.find(column)
    return (row.is_baseline, item is None, -(item.accuracy if item else 0.0), row.model)


def _ranking(board: Board) -> str:
    """Say how rows are ranked, or why they are not."""
    ranked = any(row.rank is not None for row in board.rows)
    return RANKING if ranked else UNRANKED


# --- formats -------------------------------------------------------------------------------------


def leaderboard_table(board: Board, *, intervals: bool = False) -> Table:
    """Return a board as a table; the best of each column is set in bold, the second in italics.

    Args:
        board: what to show.
        intervals: show the 95 % interval of each number beside it.
    """
    has_settings = any(row.settings for row in board.rows)
    rows: list[list[Content]] = [
        [
            f"{row.model}{' †' if row.is_published else ''}",
            "" if row.rank is None else row.rank.text,
            *(_cell(row.find(column), intervals=intervals) for column in board.columns),
            *([_settings_text(row)] if has_settings else []),
        ]
        for row in board.rows
    ]
    best, second = _emphasis(board)
    ranked = board.label(board.ranked_by)
    rank = "rank" if len(board.suites) == 1 else f"rank by {ranked}"
    heads = ["model", rank, *map(board.label, board.columns)]
    return Table(
        title=", ".join(suite.title for suite in board.suites),
        columns=[*heads, "settings"] if has_settings else heads,
        rows=rows,
        notes=_notes(board, f"ranked by {ranked}; {_ranking(board)}", intervals=intervals),
        best=frozenset((row, column + 2) for row, column in best),
        second=frozenset((row, column + 2) for row, column in second),
    )


def transposed_table(board: Board, *, intervals: bool = False) -> Table:
    """Return a board in the model card's layout: metrics as rows, one column per model.

    A suite with a ``[card]`` shows the rows of its card under the card's labels, another one all
    its sections and averages.
    """
    labels = _card_rows(board)
    best, second = _emphasis(board)
    ranked = board.label(board.ranked_by)
    positions = [board.columns.index(column) for _, column in labels]
    heads = []
    for row in board.rows:
        settings = f" ({_settings_text(row)})" if row.settings else ""
        heads.append(f"{row.model}{settings}{' †' if row.is_published else ''}")
    return Table(
        title=", ".join(suite.title for suite in board.suites),
        columns=["metric", *heads],
        rows=[
            [label, *(_cell(row.find(column), intervals=intervals) for row in board.rows)]
            for label, column in labels
        ],
        notes=_notes(board, f"in the order of {ranked}", intervals=intervals),
        best=_turned(best, positions),
        second=_turned(second, positions),
    )


Cells = frozenset[tuple[int, int]]


def _turned(cells: Cells, positions: Sequence[int]) -> Cells:
    """Return the cells (model, column) as cells (metric, 1 + model) of the metrics that show."""
    return frozenset(
        (positions.index(column), row + 1) for row, column in cells if column in positions
    )


def _card_rows(board: Board) -> list[tuple[str, Column]]:
    rows = []
    for suite in board.suites:
        # With several averages, a row says which of them it shows.
        several = {average.name for average in suite.averages} if len(suite.averages) > 1 else ()
        for label, name in suite.card.items():
            which = f" ({name})" if name in several else ""
            rows.append((f"{label}{which}", Column(suite.name, name)))
        if not suite.card:
            of_suite = (column for column in board.columns if column.suite == suite.name)
            rows += [(board.label(column), column) for column in of_suite]
    return rows


def _cell(item: Accuracy | None, *, intervals: bool) -> Cell:
    return Cell("accuracy and interval" if intervals else "accuracy", item)


def _settings_text(row: Row) -> str:
    return ", ".join(f"{key} {value}" for key, value in row.settings.items())


def _emphasis(board: Board) -> tuple[Cells, Cells]:
    """Return the cells (row, column) with the highest and second highest number of a column."""
    best: set[tuple[int, int]] = set()
    second: set[tuple[int, int]] = set()
    for position, column in enumerate(board.columns):
        numbers = [row.find(column) for row in board.rows]
        # As printed, so that no two equal figures look different.
        shown = {i: percent(item.accuracy) for i, item in enumerate(numbers) if item is not None}
        top = sorted(set(shown.values()), key=float, reverse=True)
        if len(shown) > 1:
            best |= {(i, position) for i, value in shown.items() if value == top[0]}
            second |= {(i, position) for i, value in shown.items() if value in top[1:2]}
    return frozenset(best), frozenset(second)


def _notes(board: Board, order: str, *, intervals: bool) -> list[str]:
    several = len(board.suites) > 1
    notes = [
        f"{f'{suite.name}: ' if several else ''}{average.name}: {average.meaning}"
        for suite in board.suites
        for average in suite.averages
    ]
    if not intervals:
        notes.append("95 % intervals: rmbench leaderboard --intervals")
    notes += [order, *board.notes]
    results = [result for row in board.rows for result in row.results.values()]
    suites = {suite.name: suite for suite in board.suites}
    for result in results:
        if result.citation and result.source == "published":
            notes.append(f"† {result.model['id']}: published, {result.citation}")
        elif result.source == "measured":
            notes += source_notes(result, suites[result.suite["name"]])
    notes += [str(result.signature) for result in results if result.signature]
    return list(dict.fromkeys(notes))


def as_json(boards: Sequence[Board]) -> str:
    """Return boards as a JSON list; accuracies in [0, 1], with interval and count where known."""
    return to_json([_record(board) for board in boards])


def _record(board: Board) -> dict[str, Any]:
    return {
        "suites": [{"name": suite.name, "version": suite.version} for suite in board.suites],
        "ranked_by": board.label(board.ranked_by),
        "rows": [_row_record(row, board) for row in board.rows],
        "notes": [_ranking(board), *board.notes],
    }


def _row_record(row: Row, board: Board) -> dict[str, Any]:
    results = row.results.values()
    return {
        "model": row.model,
        "rank": None if row.rank is None else [row.rank.best, row.rank.worst],
        "baseline": row.is_baseline,
        "source": "published" if row.is_published else "measured",
        "citations": sorted({result.citation for result in results if result.citation}),
        "settings": dict(row.settings),
        "signatures": [result.signature for result in results if result.signature],
        "analyses": {
            suite: _analyses(result)
            for suite, result in row.results.items()
            if result.analyses is not None
        },
        "accuracies": {board.label(column): _numbers(row.find(column)) for column in board.columns},
    }


def _analyses(result: Result) -> dict[str, Any]:
    """Return the analyses as the record has them, but for what only a figure needs."""
    analyses: dict[str, Any] = result.to_dict()["analyses"]
    if analyses["length"] is not None:
        del analyses["length"]["bins"]
    return analyses


def _numbers(item: Accuracy | None) -> dict[str, Any] | None:
    if item is None:
        return None
    numbers = {"accuracy": item.accuracy, "low": item.low, "high": item.high, "n": item.n}
    return {key: value for key, value in numbers.items() if value is not None}


def as_csv(board: Board) -> str:
    """Return a board as CSV: a line per model, accuracies in [0, 1] with the ends of intervals."""
    # A spreadsheet takes 2-4 for a date.
    heads = ["model", "rank", "rank to", "source", "settings", *map(board.label, board.columns)]
    for suite in board.suites:
        of_suite = f"{suite.name}: " if len(board.suites) > 1 else ""
        heads += [f"{of_suite}{name}" for name in ANALYSES]
    rows: list[list[Content]] = []
    for row in board.rows:
        source = "published" if row.is_published else "measured"
        ends = (None, None) if row.rank is None else row.rank
        cells: list[Content] = [row.model, *ends, source, _settings_text(row)]
        cells += [Cell("accuracy", row.find(column)) for column in board.columns]
        for suite in board.suites:
            cells += _analysis_cells(row.results.get(suite.name))
        rows.append(cells)
    return format_table(Table(title="", columns=heads, rows=rows), "csv")


def _analysis_cells(result: Result | None) -> list[float | None]:
    """Return the values under ``ANALYSES``; None where something is not known."""
    found = None if result is None else result.analyses
    if found is None:
        return [None] * len(ANALYSES)
    sides, length = found.by_length(), found.length
    shares = [sides[name].accuracy if name in sides else None for name in ANALYSES[:2]]
    odds = None if length is None or length.odds is None else length.odds.ratio
    return [*shares, odds, found.calibration.error if found.calibration is not None else None]
