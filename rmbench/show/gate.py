"""The gate's verdict as a table, Markdown, JSON and JUnit."""

from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from rmbench.compare.comparable import title_of
from rmbench.compare.gate import Finding, Gate
from rmbench.errors import ResultError
from rmbench.files import write_text
from rmbench.show.contrast import (
    contrast_record,
    setting_lines,
    signature_lines,
    verdict_cells,
    verdict_record,
)
from rmbench.show.table import Table, format_table, p_text, to_json
from rmbench.wording import printable

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


def gate_table(gate: Gate) -> Table:
    """Return what the gate found, section by section."""
    contrast, limits = gate.contrast, gate.limits
    verdict = "passed" if gate.passed else "FAILED"
    rule = f"fails at p <= {limits.alpha:g}"
    if limits.max_drop is not None:
        points = "point" if limits.max_drop == 1 else "points"
        rule += f", or when worse by more than {limits.max_drop:g} {points}"
    return Table(
        title=f"{verdict}: {contrast.suite.title}, {title_of(contrast.new)}",
        above=setting_lines(contrast, "baseline", "now"),
        columns=["", "baseline %", "now %", "change", "95 % interval", "p", "detectable", "check"],
        rows=[_gate_row(finding) for finding in gate.findings],
        notes=[
            f"{rule}; p is one-sided (a drop) and adjusted by Holm's method over all rows",
            "detectable: the smallest drop in points that this test finds 8 times out of 10",
            *contrast.notes,
            *signature_lines(contrast),
        ],
    )


def _gate_row(finding: Finding) -> list[str]:
    item = finding.verdict
    detectable = "" if finding.detectable is None else f"{100 * finding.detectable:.1f}"
    p_value = "" if finding.p_value is None else p_text(finding.p_value)
    return [*verdict_cells(item)[:5], p_value, detectable, _outcome(finding)]


def _outcome(finding: Finding) -> str:
    if finding.p_value is None:
        return "not comparable"
    return finding.reason or "ok"


def _gate_record(gate: Gate) -> dict[str, Any]:
    record = contrast_record(gate.contrast)
    del record["slices"]
    limits = {"alpha": gate.limits.alpha, "max_drop": gate.limits.max_drop}
    rows = [
        verdict_record(finding.verdict)
        | {
            "p_adjusted": finding.p_value,
            "detectable": finding.detectable,
            "outcome": _outcome(finding),
        }
        for finding in gate.findings
    ]
    return {"passed": gate.passed, **limits, **record, "findings": rows}


def _junit(gate: Gate) -> str:
    """Return JUnit XML: one test case per section and average, failed or skipped ones marked."""
    contrast = gate.contrast
    failures = sum(bool(finding.reason) for finding in gate.findings)
    skipped = sum(finding.p_value is None for finding in gate.findings)
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
        if finding.p_value is None:
            ElementTree.SubElement(case, "skipped", {"message": "not comparable"})
        elif finding.reason:
            failure = ElementTree.SubElement(case, "failure", {"message": finding.reason})
            failure.text = printable("; ".join(signature_lines(contrast)))
    ElementTree.SubElement(suite, "system-out").text = format_table(gate_table(gate), "table")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    )
