"""The gate's verdict as a table, Markdown, JSON and JUnit."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from rmbench.compare.comparable import title_of
from rmbench.compare.gate import Finding, Gate, Limits
from rmbench.errors import ResultError
from rmbench.files import write_text
from rmbench.show.contrast import setting_lines, signature_lines, verdict_cells
from rmbench.show.exports import contrast_record, verdict_record
from rmbench.show.formats import format_table, to_json
from rmbench.show.table import Cell, Content, Table
from rmbench.wording import counted, printable

__all__ = ["format_gate", "gate_table", "write_gate"]

SUFFIXES: Final = {".xml": "junit", ".md": "markdown", ".json": "json", ".txt": "table"}


def format_gate(gate: Gate, fmt: str) -> str:
    """Return a gate as ``table``, ``markdown``, ``json`` or ``junit`` (XML)."""
    if fmt == "junit":
        return _junit(gate)
    if fmt == "json":
        return to_json(_gate_record(gate))
    return format_table(gate_table(gate), fmt)


def write_gate(gate: Gate, path: Path) -> None:
    """Write a gate to a file, in the format that its suffix names; its folder is made.

    Raises:
        ResultError: the suffix names none, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        remedy = f"known: {', '.join(SUFFIXES)}"
        raise ResultError(f'{path}: no format has the suffix "{path.suffix}"; {remedy}')
    write_text(path, format_gate(gate, SUFFIXES[path.suffix]) + "\n")


VERDICTS: Final = {"not worse": "passed", "worse": "FAILED", "cannot tell": "CANNOT TELL"}


def gate_table(gate: Gate) -> Table:
    """Return what the gate found, section by section."""
    contrast, limits = gate.contrast, gate.limits
    head = ["", "baseline %", "now %", "change", "95 % interval", "p", "p adjusted", "detectable"]
    if limits.margin is not None:
        head.insert(7, "at worst")
    return Table(
        title=f"{VERDICTS[gate.outcome]}: {contrast.suite.title}, {title_of(contrast.new)}",
        above=setting_lines(contrast, "baseline", "now"),
        columns=[*head, "check"],
        rows=[_gate_row(finding, limits) for finding in gate.findings],
        notes=[*_rules(gate), *contrast.notes, *signature_lines(contrast)],
    )


def _rules(gate: Gate) -> list[str]:
    limits = gate.limits
    rule = f"fails at p adjusted <= {limits.alpha:g}"
    if limits.max_drop is not None:
        rule += f", or when worse by more than {_points(limits.max_drop)}"
    how = "the largest of all rows" if gate.contrast.paired else "all rows, by Holm's method"
    lines = [
        f"{rule}; p: one-sided, of a drop at least as large, of this row alone; p adjusted: for"
        f" {how}",
        "detectable: the smallest drop in points that this test finds 8 times out of 10",
    ]
    if limits.margin is not None:
        lines.append(
            f"passes where a drop of {_points(limits.margin)} or more is ruled out; at worst: the"
            f" one-sided {100 * (1 - limits.alpha):g} % limit of the change"
        )
    elif any(not item.can_fail and item.p_value is not None for item in gate.findings):
        lines.append(
            "cannot fail: so few comparisons changed sides that losing all of them would not"
            f" reach p adjusted <= {limits.alpha:g}"
        )
    if gate.new_ties:
        lines.append(
            f"{counted(gate.new_ties, 'comparisons')} that the baseline won are tied now; more"
            " ties come of a coarser precision"
        )
    return lines


def _points(number: float) -> str:
    return f"{number:g} {'point' if number == 1 else 'points'}"


def _gate_row(finding: Finding, limits: Limits) -> list[Content]:
    lowest = [Cell("end", finding.lowest)] if limits.margin is not None else []
    difference = finding.verdict.difference
    chances = [Cell("p", None if difference is None else difference.p_drop)]
    chances.append(Cell("p", finding.p_value))
    middle = [*chances, *lowest, Cell("distance", finding.detectable)]
    return [*verdict_cells(finding.verdict)[:5], *middle, _told(finding, limits)]


def _told(finding: Finding, limits: Limits) -> str:
    """Say in a few words what the gate found."""
    if finding.outcome == "not comparable":
        return "not comparable"
    if finding.reason:
        return finding.reason
    # What is shown to have lost less than the margin passes for that reason.
    return "ok" if finding.can_fail or limits.margin is not None else "cannot fail"


def _gate_record(gate: Gate) -> dict[str, Any]:
    record = contrast_record(gate.contrast)
    del record["slices"]
    limits = asdict(gate.limits)
    rows = [
        verdict_record(finding.verdict)
        | {
            "p": None if (found := finding.verdict.difference) is None else found.p_drop,
            "p_adjusted": finding.p_value,
            "alternative": "less",
            "lowest": finding.lowest,
            "detectable": finding.detectable,
            "can_fail": finding.can_fail,
            "outcome": finding.outcome,
            "reason": finding.reason,
        }
        for finding in gate.findings
    ]
    outcome = {"passed": gate.passed, "outcome": gate.outcome, "new_ties": gate.new_ties}
    return {**outcome, **limits, **record, "findings": rows}


def _junit(gate: Gate) -> str:
    """Return JUnit XML: one test case per section and average, failed or skipped ones marked."""
    contrast = gate.contrast
    failures = sum(finding.outcome in ("worse", "cannot tell") for finding in gate.findings)
    skipped = sum(finding.outcome == "not comparable" for finding in gate.findings)
    attributes = {
        "name": printable(f"{contrast.suite.name}: {title_of(contrast.new)}"),
        "tests": str(len(gate.findings)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
    }
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", attributes)
    for finding in gate.findings:
        name = {"classname": f"rmbench.{contrast.suite.name}", "name": finding.verdict.name}
        case = ElementTree.SubElement(suite, "testcase", {k: printable(v) for k, v in name.items()})
        if finding.outcome == "not comparable":
            ElementTree.SubElement(case, "skipped", {"message": "not comparable"})
        elif finding.reason:
            failure = ElementTree.SubElement(case, "failure", {"message": finding.reason})
            failure.text = printable("; ".join(signature_lines(contrast)))
    ElementTree.SubElement(suite, "system-out").text = format_table(gate_table(gate), "table")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    )
