"""The table of a model card: its metrics as rows, one column per model."""

from collections.abc import Sequence

from rmbench.result.record import Result
from rmbench.show.result import source_notes
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.definition import Suite

__all__ = ["card_table"]


def card_table(results: Sequence[Result], suites: Sequence[Suite]) -> Table | None:
    """Return the model card's table: its metrics as rows, one column per model.

    Args:
        results: measured and published, of these suites; a model has one column for each source.
        suites: in the order of the rows; those without a ``[card]`` add none.

    Returns:
        None when no suite has a card.
    """
    columns: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        key = (result.source, str(result.model["id"]))
        columns.setdefault(key, {})[str(result.suite["name"])] = result
    # A published model belongs here with all that the card shows, or not at all.
    wanted = {suite.name for suite in suites if suite.card}
    columns = {
        key: column
        for key, column in columns.items()
        if key[0] == "measured" or wanted <= column.keys()
    }
    results = [result for column in columns.values() for result in column.values()]
    rows: list[list[Content]] = []
    for suite in suites:
        # With several averages, a row says which of them it shows.
        several = {average.name for average in suite.averages} if len(suite.averages) > 1 else ()
        for label, name in suite.card.items():
            which = f" ({name})" if name in several else ""
            cells = [_card_cell(column.get(suite.name), name) for column in columns.values()]
            rows.append([label + which, *cells])
    if not rows:
        return None
    marks = {"published": " (published)", "measured": ""}
    partial = {result.model["id"] for result in results if result.partial is not None}
    citations = {
        f"{result.model['id']} (published): {result.citation}"
        for result in results
        if result.citation
    }
    by_name = {suite.name: suite for suite in suites}
    measured = [result for result in results if result.source == "measured"]
    for result in measured:
        citations |= set(source_notes(result, by_name[str(result.suite["name"])]))
    signatures = [str(result.signature) for result in measured]
    return Table(
        title="The model card's table",
        columns=[
            "Metric",
            *(
                f"{model}{' (partial)' if model in partial else marks[source]}"
                for source, model in columns
            ),
        ],
        rows=rows,
        notes=[*sorted(citations), *signatures],
    )


def _card_cell(result: Result | None, name: str) -> Cell:
    return Cell("accuracy and interval", result.find(name) if result is not None else None)
