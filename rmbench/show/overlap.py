"""What a suite shares with training data, for people and programs."""

from collections import Counter
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy, Summary
from rmbench.compare.apart import Apart
from rmbench.result.record import Result, plain
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.definition import Suite
from rmbench.suite.overlap import LEAST_WORDS, Overlap, Shared
from rmbench.wording import counted

__all__ = ["apart_table", "overlap_record", "overlap_table"]

HEADS: Final = (
    *("subset", "comparisons", "prompt same", "prompt near"),
    *("response same", "response near", "shared"),
)


def overlap_table(overlap: Overlap, suite: Suite, *, near: float | None) -> Table:
    """Return how many comparisons of each subset the training data shares."""
    by_subset: dict[str, list[Shared]] = {}
    for name, item in zip(overlap.subsets, overlap.shared, strict=True):
        by_subset.setdefault(name, []).append(item)
    rows = [_row(name, items) for name, items in by_subset.items()]
    if len(rows) > 1:
        rows.append(_row("all", list(overlap.shared)))
    notes = [
        "same: equal words, whatever case, marks and white space"
        + (f"; near: {near:g} or more of their runs of three words in common" if near else ""),
        f"responses of fewer than {LEAST_WORDS} words are not looked for",
    ]
    if overlap.unread:
        notes.append(f"{counted(overlap.unread, 'cells of')} the training data could not be read")
    title = f"{suite.title} in {overlap.train} ({counted(overlap.rows, 'rows')})"
    return Table(title=title, columns=HEADS, rows=rows, notes=notes)


def _row(name: str, items: list[Shared]) -> list[Content]:
    prompts = Counter(item.prompt for item in items)
    responses = Counter(item.response for item in items)
    counts = [len(items), prompts["exact"], prompts["near"]]
    counts += [responses["exact"], responses["near"], sum(item.is_shared for item in items)]
    return [name, *(Cell("count", count) for count in counts)]


def apart_table(result: Result, suite: Suite, apart: Apart) -> Table:
    """Return a result's numbers on all comparisons, without the shared ones, and on these alone."""
    rows: list[list[Content]] = []
    whole = {**apart.whole.sections, **apart.whole.averages}
    for name, item in whole.items():
        rest, some = _number(apart.rest, name), _number(apart.some, name)
        change = None if rest is None else rest.accuracy - item.accuracy
        cells = [Cell("accuracy and interval", each) for each in (item, rest, some)]
        rows.append([name, *cells, Cell("points", change)])
    heads = ["number", "all", "without the shared", "the shared alone", "change without"]
    notes = ["a number is left out where one of its subsets has no such comparison"]
    title = f"{result.model['id']} on {suite.title}"
    return Table(title=title, columns=heads, rows=rows, notes=notes)


def _number(summary: Summary | None, name: str) -> Accuracy | None:
    if summary is None:
        return None
    return summary.sections.get(name) or summary.averages.get(name)


def overlap_record(
    overlap: Overlap, suite: Suite, *, near: float | None, results: list[tuple[Result, Apart]]
) -> dict[str, Any]:
    """Return everything as JSON has it: counts, shared comparisons, numbers with and without.

    Args:
        overlap: of the suite.
        suite: its name.
        near: what was taken for near.
        results: the numbers of results, each on all comparisons, the shared ones and the rest.
    """
    table = overlap_table(overlap, suite, near=near)
    shared = [
        {"id": identity, **item._asdict()}
        for identity, item in zip(overlap.ids, overlap.shared, strict=True)
        if item.is_shared
    ]
    parts = ("whole", "some", "rest")
    return {
        "suite": suite.name,
        "train": {"origin": overlap.train, "rows": overlap.rows, "unread": overlap.unread},
        "near": near,
        "subsets": [
            dict(zip(HEADS, [row[0], *(cell.value for cell in row[1:])], strict=True))  # type: ignore[union-attr]
            for row in table.rows
        ],
        "shared": shared,
        "results": [
            {"model": result.model["id"]}
            | {
                {"whole": "all", "some": "shared", "rest": "rest"}[name]: _numbers(summary)
                for name, summary in zip(parts, apart, strict=True)
            }
            for result, apart in results
        ],
    }


def _numbers(summary: Summary | None) -> Any:
    return None if summary is None else plain({**summary.sections, **summary.averages})
