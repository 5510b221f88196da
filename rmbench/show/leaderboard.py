"""A board of results as a table: models as rows, or as columns."""

from collections.abc import Sequence

from rmbench.accuracy.aggregate import Accuracy
from rmbench.show.board import RANKING, UNRANKED, Board, BoardRow, Column
from rmbench.show.result import source_notes
from rmbench.show.table import Cell, Content, Table
from rmbench.wording import percent

__all__ = ["leaderboard_table", "ranking_note", "settings_text", "transposed_table"]


def ranking_note(board: Board) -> str:
    """Say how rows are ranked, or why they are not; rules have no rank, which a note says."""
    if all(row.is_baseline for row in board.rows):
        return "no rank"
    return RANKING if any(row.rank is not None for row in board.rows) else UNRANKED


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
            *([settings_text(row)] if has_settings else []),
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
        notes=_notes(board, f"ranked by {ranked}; {ranking_note(board)}", intervals=intervals),
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
        settings = f" ({settings_text(row)})" if row.settings else ""
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


CellPlaces = frozenset[tuple[int, int]]


def _turned(cells: CellPlaces, positions: Sequence[int]) -> CellPlaces:
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


def settings_text(row: BoardRow) -> str:
    """Return the settings in which a board's rows differ, as one text."""
    return ", ".join(f"{key} {value}" for key, value in row.settings.items())


def _emphasis(board: Board) -> tuple[CellPlaces, CellPlaces]:
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
