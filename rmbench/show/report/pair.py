"""Two results on the page: what changed from the first to the second."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rmbench.accuracy.analysis import Agreement, ending
from rmbench.accuracy.credit import Outcome
from rmbench.compare.contrast import compare
from rmbench.compare.verdict import Verdict
from rmbench.show.contrast import split_changes, verdict_sentence
from rmbench.show.report.difference_figure import ForestRow, difference_forest
from rmbench.show.report.material import Material
from rmbench.show.report.svg import FigureLabel
from rmbench.show.report.words import MINUS, points, slice_title
from rmbench.wording import counted, percent

__all__ = ["contrast_part"]

ALPHA: Final = 0.05
_LONGEST_SETTING: Final = 40
WIDE, NARROW = 960, 360


def contrast_part(
    material: Material,
    names: Sequence[str],
    headline: str | None,
    slices: Sequence[tuple[str, str]],
) -> dict[str, Any] | None:
    """Return what changed from the first result to the second; None unless there are two.

    Args:
        material: of one suite.
        names: of the results.
        headline: the average to show first; None where there is none.
        slices: level and name of every row, in their order.
    """
    if len(material.scores) != 2:
        return None
    old, new = material.scores
    found = compare(old.result, new.result, material.suite)
    by_name = {(row.level, row.name): row for row in found.verdicts}
    order = [by_name[key] for key in slices if key in by_name]
    first = by_name.get(("average", headline or ""))
    lines, rows = split_changes(found, "the first", "the second")
    return {
        "headline": _difference(first) | {"meaning": f"{names[1]} minus {names[0]}"},
        "verdict": verdict_sentence(found, alpha=ALPHA, name=names[1]),
        "forest": _forest(material, order),
        "flips": _flips(material, names[0]),
        "facts": _agreement_facts(found.agreement, first),
        "sentence": _shared(old.outcomes, new.outcomes, names),
        "changed": list(_changes(rows)),
        "warnings": [*lines, *found.notes],
        "rows": [_verdict_row(row) for row in order],
    }


def _difference(row: Verdict | None) -> dict[str, str]:
    if row is None or row.difference is None:
        return {"value": "none", "interval": "none"}
    low, high = row.difference.interval
    return {
        "value": points(row.difference.estimate),
        "interval": f"{points(low, 1)} to {points(high, 1)}",
    }


def _p_value(p: float | None) -> str:
    if p is None:
        return ""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _verdict_row(row: Verdict) -> dict[str, Any]:
    return {
        "level": row.level,
        "name": slice_title(row.level, row.name),
        "old": percent(row.old) if row.old is not None else "",
        "new": percent(row.new) if row.new is not None else "",
        "p": _p_value(row.adjusted),
        "gained": "" if row.gained is None else f"{row.gained:,}",
        "lost": "" if row.lost is None else f"{row.lost:,}",
        **_difference(row),
    }


def _agreement_facts(found: Agreement | None, row: Verdict | None) -> list[tuple[str, str]]:
    facts = []
    if row is not None and row.adjusted is not None:
        facts.append(("p, two-sided", _p_value(row.adjusted)))
    if found is not None:
        facts.append(("same outcome", f"{100 * found.same:.1f} %"))
        kappa = "undefined" if found.kappa is None else f"{found.kappa:.2f}".replace("-", MINUS)
        facts.append(("error consistency (Cohen's kappa)", kappa))
    return facts


def _forest(material: Material, rows: Sequence[Verdict]) -> dict[str, dict[str, str]]:
    """Return the differences drawn: of averages and sections, and of the subsets; by width."""
    found = {}
    for key, levels in (("whole", ("average", "section")), ("subsets", ("subset",))):
        drawn = [
            ForestRow(
                slice_title(row.level, row.name),
                row.level,
                100.0 * row.difference.estimate,
                100.0 * row.difference.interval.low,
                100.0 * row.difference.interval.high,
                row.mark(ALPHA),
            )
            for row in rows
            if row.level in levels and row.difference is not None
        ]
        if not drawn:
            continue
        title = f"Differences on {material.suite.title}"
        told = "Points with 95 % intervals about a line at zero; the table below has the numbers."
        name = f"forest-{key}-{material.suite.name}"
        found[key] = {
            width: difference_forest(
                drawn, FigureLabel(f"{name}-{width}", title, told), width=pixels
            )
            for width, pixels in (("wide", WIDE), ("narrow", NARROW))
        }
    return found


def _flips(material: Material, first: str) -> list[dict[str, Any]]:
    """Return how many comparisons changed sides, by length and by the first result's margin."""
    old, new = material.scores
    changes = [
        None if a is None or b is None else (b.credit > a.credit) - (b.credit < a.credit)
        for a, b in zip(old.outcomes, new.outcomes, strict=True)
    ]
    groups: list[tuple[str, str, list[int | None]]] = []
    differences = material.differences
    if differences is not None:
        for name, key, sign in (
            ("chosen longer", "longer", 1),
            ("chosen shorter", "shorter", -1),
            ("equally long", "equal", 0),
        ):
            own = [
                change
                for change, d in zip(changes, differences, strict=True)
                if (d > 0) - (d < 0) == sign
            ]
            groups.append((name, f'{{"length": "{key}", "sort": "change"}}', own))
    for place, (name, own) in enumerate(_by_margin(old.margins, changes)):
        show = f'{{"margin": "{place}", "model": "0", "sort": "change"}}'
        groups.append((f"{first}: {name}", show, own))
    return [
        {
            "name": name,
            "n": f"{len(own):,}",
            "gained": f"{sum(change == 1 for change in own):,}",
            "lost": f"{sum(change == -1 for change in own):,}",
            "show": show,
        }
        for name, show, own in groups
        if own
    ]


def _by_margin(
    margins: Sequence[float | None], changes: Sequence[int | None]
) -> Iterator[tuple[str, list[int | None]]]:
    """Yield the quarters of comparisons by how large the first result's margin is."""
    known = [i for i, margin in enumerate(margins) if margin is not None]
    known.sort(key=lambda i: abs(margins[i] or 0.0))
    names = ("smallest margins", "small margins", "large margins", "largest margins")
    for quarter, name in enumerate(names):
        own = known[quarter * len(known) // 4 : (quarter + 1) * len(known) // 4]
        yield name, [changes[i] for i in own]


def _shared(
    old: Sequence[Outcome | None], new: Sequence[Outcome | None], names: Sequence[str]
) -> str:
    counts = Counter(
        (ending(a) == "won", ending(b) == "won")
        for a, b in zip(old, new, strict=True)
        if a is not None and b is not None
    )
    return (
        f"Both win {counted(counts[True, True], 'comparisons')}; only {names[1]} wins"
        f" {counts[False, True]:,}, only {names[0]} {counts[True, False]:,}, and neither"
        f" {counts[False, False]:,}."
    )


def _changes(rows: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the settings that differ; of a digest the first digits are enough."""
    for name, *values in rows:
        most = 12 if name.endswith("sha256") else _LONGEST_SETTING
        old, new = (value[:most] or "none" for value in values)
        yield name.replace("_", " "), f"{old} \u2192 {new}"
