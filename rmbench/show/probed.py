"""What rewrites moved, as tables and JSON."""

from collections.abc import Sequence
from typing import Any, Final

from rmbench.compare.probed import Probed
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.definition import Suite
from rmbench.suite.probes import PROBES
from rmbench.wording import counted

__all__ = ["probe_table", "probed_record"]

ALPHA: Final = 0.05


def probe_table(items: Sequence[Probed], suite: Suite) -> Table:
    """Return what rewrites did to one model on one suite."""
    heads = [
        "rewrite",
        "changed",
        "before",
        "after",
        "change",
        "95 % interval",
        "p",
        "detectable",
        "won",
        "lost",
    ]
    heads += ["margin shift", "p of shift", "margins moved", "reward shift"]
    notes = [
        f"before, after: {suite.headline}; change, its 95 % interval and p as in compare",
        f"detectable: the drop that a one-sided test at {ALPHA:g} would find four times of five",
        "margin shift, margins moved (root mean square), reward shift: in standard deviations of"
        " the margins before",
    ]
    if len(items) > 1:
        notes.append("p values hold for all these rewrites together (Holm)")
    notes += [note for item in items for note in _notes(item)]
    title = f"{items[0].before.model['id']} on {suite.title}, rewritten"
    return Table(title=title, columns=heads, rows=[_row(item) for item in items], notes=notes)


def _row(item: Probed) -> list[Content]:
    if item.is_certain:  # what equal responses earn says nothing of the model
        return [item.label, Cell("count", item.changed), *[None] * 12]
    found, verdict = item.headline.difference, item.headline
    p_values = item.adjusted or (None if found is None else found.p_value, item.p_shift)
    return [
        item.label,
        Cell("count", item.changed),
        Cell("share", verdict.old),
        Cell("share", verdict.new),
        Cell("points", None if found is None else found.estimate),
        Cell("reach", None if found is None else found.interval),
        Cell("p", p_values[0]),
        Cell("distance", verdict.detectable(ALPHA)),
        Cell("count", verdict.gained),
        Cell("count", verdict.lost),
        Cell("signed", item.shift),
        Cell("p", p_values[1]),
        Cell("number", item.moved),
        Cell("signed", item.reward_shift),
    ]


def _notes(item: Probed) -> list[str]:
    what = PROBES.get(item.label.partition(":")[0])
    notes = [f"{item.label}: {what[0]}"] if what is not None else []
    if item.is_certain:
        n = item.headline.n or 0
        told = f"{n - item.untied:,} of {n:,} comparisons of equal responses tie"
        notes.append(f"{item.label}: {told}" + (", and all must" if item.untied else ""))
    if item.unsteady:
        notes.append(
            f"{item.label}: {counted(item.unsteady, 'comparisons')} that it leaves alone changed"
            " margins: the model's rewards depend on what else is in the batch"
        )
    return notes


def probed_record(item: Probed) -> dict[str, Any]:
    """Return what a rewrite did, as JSON has it."""
    verdict, found = item.headline, item.headline.difference
    pair = item.adjusted or (None, None)
    return {
        "model": item.before.model["id"],
        "suite": item.before.suite["name"],
        "rewrite": item.label,
        "signatures": [item.before.signature, item.after.signature],
        "comparisons": verdict.n,
        "changed": item.changed,
        "before": verdict.old,
        "after": verdict.new,
        "change": None if found is None else found.estimate,
        "interval": None if found is None else list(found.interval),
        "p_value": None if found is None else found.p_value,
        "adjusted_p": pair[0],
        "detectable": verdict.detectable(ALPHA),
        "won": verdict.gained,
        "lost": verdict.lost,
        "margin_shift": item.shift,
        "margin_shift_p": item.p_shift,
        "margin_shift_adjusted_p": pair[1],
        "margins_moved": item.moved,
        "reward_shift": item.reward_shift,
        "untied": item.untied,
        "unsteady": item.unsteady,
    }
