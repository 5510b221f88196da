"""Two results side by side, and the comparisons that changed sides: as tables, text and JSON."""

from rmbench.compare.comparable import title_of
from rmbench.compare.contrast import Contrast
from rmbench.compare.verdict import Verdict
from rmbench.result.record import Result
from rmbench.show.result import NOTABLE_DESIGN
from rmbench.show.table import Cell, Content, Table, p_text
from rmbench.wording import counted, points

__all__ = [
    "compare_table",
    "setting_lines",
    "signature_lines",
    "split_changes",
    "verdict_cells",
    "verdict_sentence",
]


def verdict_sentence(contrast: Contrast, *, alpha: float, name: str = "B") -> str:
    """Return what changed from A to B in one sentence: overall, and each section that did.

    Args:
        contrast: what ``compare.compare`` found.
        alpha: what has a larger adjusted p value is no significant change.
        name: what B is called.
    """
    names = contrast.suite.headline
    whole = next((item for item in contrast.level("average") if item.name == names), None)
    changed = [item for item in contrast.level("section") if item.mark(alpha) in ("+", "-")]
    parts = [_overall(whole, alpha, name), *map(_change, changed)]
    return "; ".join(part for part in (parts[0], ", ".join(parts[1:])) if part)


def _overall(item: Verdict | None, alpha: float, name: str) -> str:
    if item is None or item.difference is None or item.adjusted is None:
        return "The overall change cannot be tested"
    mark = item.mark(alpha)
    words = {"+": f"{name} is better overall", "-": f"{name} is worse overall"}.get(mark)
    chance = p_text(item.difference.p_value)
    change = f"{points(item.difference.estimate)} points, two-sided p {chance}"
    return f"{words or 'No significant change overall'} ({change})"


def _change(item: Verdict) -> str:
    assert item.difference is not None and item.adjusted is not None, "else it has no mark"
    chance = p_text(item.adjusted)
    return f"{item.name} {points(item.difference.estimate)} (adjusted p {chance})"


def compare_table(contrast: Contrast, *, alpha: float, subsets: bool = True) -> Table:
    """Return a comparison, slice by slice: the average that ranks, the others, sections, subsets.

    Args:
        contrast: what ``compare.compare`` found.
        alpha: a slice is marked when its adjusted p value is at most this.
        subsets: list the subsets too.
    """
    averages, sections = contrast.level("average"), contrast.level("section")
    averages = sorted(averages, key=lambda item: item.name != contrast.suite.headline)
    rows = [*averages, *sections, *(contrast.level("subset") if subsets else ())]
    hidden = 0 if subsets else len(contrast.level("subset"))
    more = [f"{hidden} more subset{'s' * (hidden > 1)}: --subsets"] if hidden else []
    columns = ["", "A %", "B %", "B - A", "95 % interval", "p", "p adjusted"]
    columns += ["detectable", "won", "lost", "mark"]
    return Table(
        title=f"{contrast.suite.title}: A {title_of(contrast.old)}, B {title_of(contrast.new)}",
        above=[verdict_sentence(contrast, alpha=alpha), *setting_lines(contrast, "A", "B")],
        columns=columns,
        rows=[_compare_row(item, alpha) for item in rows],
        notes=[
            *more,
            f"mark at p adjusted <= {alpha:g}: + B is better, - worse, blank neither, x not"
            " comparable; p: two-sided, for this row alone; p adjusted: for the other rows of"
            f" its family (sections and averages, or subsets); {contrast.suite.headline}, the"
            " headline, is not adjusted",
            "detectable: the smallest difference in points that p alone finds 8 times out of 10;"
            " won, lost: comparisons that earn more, less credit in B; intervals are not adjusted"
            " and need not agree with p to the last digit",
            *_design_note(contrast),
            *_agreement_note(contrast),
            *contrast.notes,
            *signature_lines(contrast),
        ],
    )


def _compare_row(item: Verdict, alpha: float) -> list[Content]:
    cells = verdict_cells(item)
    # Half of a two-sided alpha is on either side.
    detectable = Cell("distance", item.detectable(alpha / 2.0))
    return [*cells[:7], detectable, *cells[7:], item.mark(alpha)]


def _design_note(contrast: Contrast) -> list[str]:
    """Say by how much clusters widen the intervals, where they do."""
    found = {
        item.name: item.difference.design
        for item in contrast.level("section", "average")
        if item.difference is not None and item.difference.design > NOTABLE_DESIGN
    }
    if not found:
        return []
    effects = ", ".join(f"{name} {design:.1f}" for name, design in found.items())
    return [
        f"comparisons of one prompt raise the variance of differences (design effect): {effects}"
    ]


def _agreement_note(contrast: Contrast) -> list[str]:
    found = contrast.agreement
    if found is None:
        return []
    line = f"same outcome on {100 * found.same:.1f} % of {counted(found.n, 'comparisons')}"
    if found.kappa is None or found.standard_error is None:
        return [line]
    return [
        f"{line}; error consistency (kappa of right and wrong) {found.kappa:.2f} ±"
        f" {found.standard_error:.2f}"
    ]


def setting_lines(contrast: Contrast, old: str, new: str) -> list[str]:
    """Return a line for each setting that differs, and one for all that a side cannot have."""
    lines, rows = split_changes(contrast, old, new)
    return lines + [
        f"differs: {key.replace('_', ' ')}: {old} {_brief(key, before)}, {new} {_brief(key, after)}"
        for key, before, after in rows
    ]


def split_changes(
    contrast: Contrast, old: str, new: str
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Return what differs between two runs, without a row for each setting a side cannot have.

    Args:
        contrast: two results.
        old: what the first is called.
        new: what the second is called.

    Returns:
        A sentence for each side that has none of a model's settings, and the other changes: name,
        old, new.
    """
    lines: list[str] = []
    rows = list(contrast.changed)
    for place, (result, name) in enumerate(((contrast.old, old), (contrast.new, new)), 1):
        keys = ", ".join(row[0].replace("_", " ") for row in contrast.changed if not row[place])
        words = _without(result, keys)
        if words and keys:
            lines.append(f"{name} ({title_of(result)}) {words}")
            rows = [row for row in rows if row[place]]
    return lines, rows


def _without(result: Result, keys: str) -> str:
    """Say why a result has none of a model's settings; nothing if it has them."""
    if result.is_rule:
        return f"is a rule, to which these do not apply: {keys}"
    return "" if result.settings else f"was recorded without {keys}"


def _brief(key: str, value: str) -> str:
    """Return a setting; of a digest the first digits, as they stand in a signature."""
    return (value[:7] if key.endswith("sha256") else value) or "not set"


def signature_lines(contrast: Contrast) -> list[str]:
    """Return the signatures of both results."""
    return [
        str(result.signature or f"{title_of(result)}: {result.citation}")
        for result in (contrast.old, contrast.new)
    ]


def verdict_cells(item: Verdict) -> list[Content]:
    """Return a slice's cells: accuracies, difference, interval, p values, counts."""
    found = item.difference if item.adjusted is not None else None
    return [
        item.name,
        Cell("share", item.old),
        Cell("share", item.new),
        Cell("points", None if found is None else found.estimate),
        Cell("reach", None if found is None else tuple(found.interval)),
        Cell("p", None if found is None else found.p_value),
        Cell("p", item.adjusted),
        Cell("count", None if found is None else item.gained),
        Cell("count", None if found is None else item.lost),
    ]
