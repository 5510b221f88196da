"""The page of a model: all its suites, its strengths, and what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rmbench.compare.contrast import compare
from rmbench.errors import ResultError
from rmbench.result.record import Result
from rmbench.show.audit import analysis_notes, audit_notes
from rmbench.show.site.cells import number, place, size_text, suite_link, who
from rmbench.show.site.material import Entry, Site, SuiteMaterial
from rmbench.show.table import p_text
from rmbench.wording import percent

__all__ = ["model_page"]


def model_page(entry: Entry, site: Site) -> dict[str, Any]:
    """Return the page of a model: all its suites, its strengths, and what changed."""
    suites = [item for item in site.suites if item.suite.name in entry.results]
    return who(entry) | {
        "title": entry.name,
        "facts": _facts(entry),
        "suites": [_model_suite(entry, item) for item in suites],
    }


def _facts(entry: Entry) -> list[tuple[str, str]]:
    model, environment = entry.first.model, entry.first.environment
    timing = entry.first.timing
    speed = timing.get("tokens_per_second")
    memory = timing.get("peak_memory_gb")
    facts = [
        ("kind", str(model.get("kind") or "")),
        ("parameters", size_text(model.get("parameters"))),
        ("revision", str(model.get("revision") or "").removeprefix("sha256:")[:12]),
        ("device", str(environment.get("device") or "")),
        ("tokens per second", f"{speed:,.0f}" if isinstance(speed, int | float) else ""),
        ("peak memory", f"{memory:.1f} GB" if isinstance(memory, int | float) else ""),
        ("measured", entry.first.date[:10]),
        ("citation", entry.first.citation or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _model_suite(entry: Entry, item: SuiteMaterial) -> dict[str, Any]:
    result, suite = entry.results[item.suite.name], item.suite
    ranked = len(item.ranks)
    names = [*(s.name for s in suite.sections), *(a.name for a in suite.averages)]
    found = (_against_median(name, result, item.medians.get(name)) for name in names)
    rows = [row for row in found if row is not None]
    return {
        "title": suite.title,
        "name": suite.name,
        "link": suite_link(suite.name),
        "headline": number(result.averages.get(suite.headline)),
        "headline_name": suite.headline,
        **place(entry, item),
        "ranked": ranked,
        "rows": rows,
        "notes": [note for note in (*analysis_notes(result), *audit_notes(result, suite)) if note],
        "signature": result.signature or result.citation or "",
        "changes": _changes(entry, item),
        "strength": _extreme(rows, suite.sections, largest=True),
        "weakness": _extreme(rows, suite.sections, largest=False),
    }


def _against_median(name: str, result: Result, median: float | None) -> dict[str, Any] | None:
    """Return a section or average beside the median of all models."""
    item = result.find(name)
    if item is None:
        return None
    return number(item) | {
        "name": name,
        "median": "" if median is None else percent(median),
        "difference": None if median is None else 100 * (item.accuracy - median),
        "counts": "" if item.n is None else f"{item.wins:,} of {item.n:,}",
    }


def _extreme(rows: Sequence[Mapping[str, Any]], sections: Sequence[Any], *, largest: bool) -> str:
    """Return the section furthest above, or below, the median of the others."""
    names = {section.name for section in sections}
    known = [r for r in rows if r["name"] in names and r["difference"] is not None]
    if len(known) < 2:
        return ""
    found = (max if largest else min)(known, key=lambda row: row["difference"])
    if found["difference"] == 0.0 or (found["difference"] > 0.0) != largest:
        return ""
    return f"{found['name']} ({found['difference']:+.1f} points against the median)"


def _changes(entry: Entry, item: SuiteMaterial) -> dict[str, Any] | None:
    """Return what changed since the result of this name before this one."""
    before = entry.earlier.get(item.suite.name)
    if not before:
        return None
    try:
        contrast = compare(before[0], entry.results[item.suite.name], item.suite)
    except ResultError:
        return None
    return {
        "date": before[0].date[:10],
        "rows": [
            {
                "name": verdict.name,
                "difference": f"{100 * verdict.difference.estimate:+.2f}",
                "p": p_text(verdict.adjusted),
            }
            for verdict in contrast.level("section", "average")
            if verdict.difference is not None and verdict.adjusted is not None
        ],
    }
