"""The table of a model card: its metrics as rows, one column per model."""

from collections.abc import Mapping, Sequence

from rmbench.result.record import Result
from rmbench.show.result import source_notes
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.definition import Suite

__all__ = ["card_table"]

_Column = dict[str, Result]
"""The results of one model, by suite."""


def card_table(results: Sequence[Result], suites: Sequence[Suite]) -> Table | None:
    """Return the model card's table: its metrics as rows, one column per model.

    Args:
        results: measured and published, of these suites; a model has one column for each source.
        suites: in the order of the rows; those without a ``[card]`` add none.

    Returns:
        None when no suite has a card.
    """
    columns = _columns(results, {suite.name for suite in suites if suite.card})
    rows = _rows(suites, list(columns.values()))
    if not rows:
        return None
    shown = [result for column in columns.values() for result in column.values()]
    partial = {result.model["id"] for result in shown if result.partial is not None}
    marks = {"published": " (published)", "measured": ""}
    heads = [
        f"{model}{' (partial)' if model in partial else marks[source]}" for source, model in columns
    ]
    return Table(
        title="The model card's table",
        columns=["Metric", *heads],
        rows=rows,
        notes=_notes(shown, {suite.name: suite for suite in suites}),
    )


def _columns(results: Sequence[Result], wanted: set[str]) -> dict[tuple[str, str], _Column]:
    """Return the results by suite, for each source and model.

    A published model belongs here with all suites that the card shows, or not at all.
    """
    columns: dict[tuple[str, str], _Column] = {}
    for result in results:
        key = (result.source, str(result.model["id"]))
        columns.setdefault(key, {})[str(result.suite["name"])] = result
    return {
        key: column
        for key, column in columns.items()
        if key[0] == "measured" or wanted <= column.keys()
    }


def _rows(suites: Sequence[Suite], columns: Sequence[_Column]) -> list[list[Content]]:
    rows: list[list[Content]] = []
    for suite in suites:
        # With several averages, a row says which of them it shows.
        several = {average.name for average in suite.averages} if len(suite.averages) > 1 else ()
        for label, name in suite.card.items():
            which = f" ({name})" if name in several else ""
            cells = [_card_cell(column.get(suite.name), name) for column in columns]
            rows.append([label + which, *cells])
    return rows


def _notes(shown: Sequence[Result], suites: Mapping[str, Suite]) -> list[str]:
    citations = {
        f"{result.model['id']} (published): {result.citation}"
        for result in shown
        if result.citation
    }
    measured = [result for result in shown if result.source == "measured"]
    for result in measured:
        citations |= set(source_notes(result, suites[str(result.suite["name"])]))
    return [*sorted(citations), *(str(result.signature) for result in measured)]


def _card_cell(result: Result | None, name: str) -> Cell:
    return Cell("accuracy and interval", result.find(name) if result is not None else None)
