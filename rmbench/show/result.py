"""One result as a table: sections and averages with their intervals, and what limits them."""

from typing import Final

from rmbench.result.record import Result
from rmbench.show.audit import analysis_notes, audit_notes
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.definition import Suite
from rmbench.wording import counted, percent

__all__ = ["NOTABLE_DESIGN", "result_table", "source_notes"]


def result_table(result: Result, suite: Suite, *, subsets: bool = False) -> Table:
    """Return a result's sections and averages with their intervals, and its audit.

    Args:
        result: a measured result.
        suite: the one it was measured on; says what each average means.
        subsets: list the subsets too.
    """
    groups = [result.subsets if subsets else {}, result.sections, result.averages]
    rows: list[list[Content]] = [
        [
            name,
            Cell("share", item.accuracy),
            Cell("interval", None if item.low is None else (item.low, item.high)),
            *(Cell("count", count) for count in (item.n, item.wins, item.ties)),
        ]
        for group in groups
        for name, item in group.items()
    ]
    how = "a quick sample" if result.sample else "partial"
    part = (
        f" ({how}: {counted(result.partial, 'comparisons')})" if result.partial is not None else ""
    )
    notes = [*_meanings(suite, result), *analysis_notes(result), *audit_notes(result, suite)]
    notes += _design_note(result)
    notes += source_notes(result, suite)
    notes += _left_out(result, suite)
    return Table(
        title=f"{suite.title}: {result.model['id']}{part}",
        columns=["", "accuracy %", "95 % interval", "n", "won", "tied"],
        rows=rows,
        notes=[*notes, str(result.signature)],
    )


NOTABLE_DESIGN: Final = 1.2


def _design_note(result: Result) -> list[str]:
    """Say by how much comparisons of one prompt widen the intervals, where they do."""
    found = {
        name: item.design_effect
        for group in (result.sections, result.averages)
        for name, item in group.items()
        if item.design_effect is not None and item.design_effect > NOTABLE_DESIGN
    }
    effects = ", ".join(f"{name} {design:.1f}" for name, design in found.items())
    words = "comparisons of one prompt raise the variance (design effect)"
    return [f"{words}: {effects}"] if found else []


def _left_out(result: Result, suite: Suite) -> list[str]:
    """Say which sections and averages a partial run lacks rows for."""
    if result.partial is None:
        return []
    names = [section.name for section in suite.sections]
    names += [average.name for average in suite.averages]
    missing = [name for name in names if result.find(name) is None]
    return [f"left out, since subsets have no rows: {', '.join(missing)}"] if missing else []


def source_notes(result: Result, suite: Suite) -> list[str]:
    """Say so when the texts were another file's than the suite's and nothing vouches for them."""
    origin = result.suite.get("origin")
    if suite.source.sha256 is not None or origin == suite.source.path:
        return []
    return [
        f"{suite.name}: the rows are those of {origin}; the suite has no digest that would show"
        f" whether they are {suite.source.path}'s"
    ]


def _meanings(suite: Suite, result: Result) -> list[str]:
    meanings = [
        f"{average.name}: {average.meaning}"
        for average in suite.averages
        if average.name in result.averages
    ]
    return [*meanings, *_weightings(suite, result), *_unlike_wins(suite, result)]


def _unlike_wins(suite: Suite, result: Result) -> list[str]:
    """Say where the accuracy is not what was won and tied, and why; of ties the audit tells."""
    tie = suite.credit.credit_of_tie if suite.credit.rule == "pair" else 0.0
    why = "the parts are weighted differently"
    if not suite.credit.rules <= {"pair"}:
        why = "a comparison can earn part of the credit"
    notes = []
    for name, item in (*result.sections.items(), *result.averages.items()):
        wins, n = item.wins or 0, item.n or 0
        if n and percent((wins + tie * (item.ties or 0)) / n) != percent(item.accuracy):
            notes.append(f"{name}: {wins:,} of {n:,} won is {percent(wins / n)} %, but {why}")
    return notes


def _weightings(suite: Suite, result: Result) -> list[str]:
    """Say of each section which of its subsets weigh other than by their comparisons."""
    notes = []
    for section in suite.sections:
        found = [
            f"{name} is weighted as {weight:g} comparisons"
            for name, weight in section.weights.items()
            if name in result.subsets and result.subsets[name].n != weight
        ]
        if found and section.name in result.sections:
            notes.append(f"{section.name}: {', '.join(found)}")
    return notes
