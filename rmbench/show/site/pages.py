"""What each page of the site says, in plain values for its template."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.contrast import compare
from rmbench.errors import ResultError
from rmbench.result.names import safe_name
from rmbench.result.record import Result
from rmbench.show.site.material import Entry, Site, SuiteMaterial
from rmbench.show.table import analysis_notes, audit_notes, interval_text, p_text
from rmbench.wording import percent

__all__ = ["comparison_pages", "index_page", "model_page", "suite_page"]

PER_PAGE: Final = 100
HARDEST: Final = 25
IN_HEATMAP: Final = 30
NAMED: Final = 12
_SIZES: Final = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def model_link(entry: Entry) -> str:
    """Return the name of a model's page."""
    return f"model-{entry.slug}.html"


def suite_link(name: str) -> str:
    """Return the name of a suite's page."""
    return f"suite-{safe_name(name)}.html"


def comparison_link(suite: str, position: int) -> str:
    """Return the link to a comparison, by its place in the suite."""
    return f"comparisons-{safe_name(suite)}-{position // PER_PAGE + 1}.html#c{position + 1}"


def size_text(count: int | None) -> str:
    """Return a number of parameters as people say it: 1.7B."""
    for unit, letter in _SIZES:
        if count is not None and count >= unit:
            return f"{count / unit:.3g}{letter}"
    return "" if count is None else str(count)


def number(item: Accuracy | None) -> dict[str, Any]:
    """Return an accuracy as a cell of a table, with its ends on a scale of 100."""
    if item is None:
        return {"text": "", "value": "", "interval": "", "low": None}
    low = item.accuracy if item.low is None else item.low
    high = item.accuracy if item.high is None else item.high
    return {
        "text": percent(item.accuracy),
        "value": f"{item.accuracy:.6f}",
        "interval": interval_text(item),
        "low": round(100 * low, 2),
        "middle": round(100 * item.accuracy, 2),
        "high": round(100 * high, 2),
    }


def _who(entry: Entry) -> dict[str, Any]:
    model = entry.first.model
    kind = "published" if entry.is_published else str(model.get("kind") or "")
    return {
        "name": entry.name,
        "link": model_link(entry),
        "kind": kind,
        "source": "published" if entry.is_published else "measured",
        "baseline": entry.is_baseline,
        "parameters": model.get("parameters") or "",
        "size": size_text(model.get("parameters")),
    }


def _place(entry: Entry, item: SuiteMaterial) -> dict[str, Any]:
    """Return the places that an entry can have on a suite, and the best of them to sort by."""
    found = item.ranks.get(entry.slug)
    return {"rank": "" if found is None else found.text, "place": found.best if found else ""}


# --- all suites ----------------------------------------------------------------------------------


def index_page(site: Site) -> dict[str, Any]:
    """Return the leaderboard over all suites."""
    rows = [_index_row(entry, site) for entry in site.entries]
    ranked = sorted(rows, key=lambda row: (row["baseline"], -row["order"], row["name"].lower()))
    several = len(site.suites) > 1
    return {
        "title": "Reward models",
        "suites": [_suite_head(item) for item in site.suites],
        "rows": ranked,
        "mean": several and any(row["mean"] for row in rows),
        "sizes": any(row["size"] for row in rows),
        "speeds": any(row["speed_text"] for row in rows),
        "devices": any(row["device"] for row in rows),
        "kinds": sorted({row["kind"] for row in rows if row["kind"]}),
        "scatter": _scatter(site),
        "counts": {
            "models": sum(not entry.is_baseline for entry in site.entries),
            "suites": len(site.suites),
            "comparisons": sum(len(item.ids) for item in site.suites),
        },
    }


def _suite_head(item: SuiteMaterial) -> dict[str, Any]:
    return {
        "name": item.suite.name,
        "title": item.suite.title,
        "link": suite_link(item.suite.name),
        "headline": item.suite.headline,
    }


def _index_row(entry: Entry, site: Site) -> dict[str, Any]:
    cells = []
    known: list[float] = []
    for item in site.suites:
        result = entry.results.get(item.suite.name)
        headline = None if result is None else result.averages.get(item.suite.headline)
        cells.append(number(headline) | _place(entry, item))
        if headline is not None:
            known.append(headline.accuracy)
    mean = math.fsum(known) / len(known) if len(known) == len(site.suites) else None
    timing = [result.timing.get("tokens_per_second") for result in entry.results.values()]
    speeds = [value for value in timing if isinstance(value, int | float)]
    return _who(entry) | {
        "cells": cells,
        "mean": "" if mean is None else percent(mean),
        "mean_value": "" if mean is None else f"{mean:.6f}",
        "order": mean if mean is not None else (max(known, default=0.0) - 1.0),
        "speed": max(speeds, default=""),
        "speed_text": f"{max(speeds):,.0f}" if speeds else "",
        "device": str(entry.first.environment.get("device") or ""),
    }


def _scatter(site: Site) -> dict[str, Any] | None:
    """Return accuracy against size, on a logarithmic scale, for the suite with the most models."""
    if not site.suites:
        return None
    item = max(site.suites, key=lambda one: len(one.entries))
    points = []
    for entry in item.entries:
        size = entry.first.model.get("parameters")
        headline = entry.results[item.suite.name].averages.get(item.suite.headline)
        if size and headline is not None and not entry.is_baseline:
            points.append((math.log10(size), headline.accuracy, entry))
    if len(points) < 3:
        return None
    low, high = min(p[0] for p in points) - 0.1, max(p[0] for p in points) + 0.1
    floor = math.floor(10 * min(p[1] for p in points)) / 10
    ceiling = max(math.ceil(10 * max(p[1] for p in points)) / 10, floor + 0.1)
    return {
        "title": item.suite.title,
        "floor": f"{100 * floor:.0f}",
        "ceiling": f"{100 * ceiling:.0f}",
        "ticks": [
            {"x": round(60 + 680 * (math.log10(size) - low) / (high - low), 1), "text": text}
            for size, text in ((1e6, "1M"), (1e7, "10M"), (1e8, "100M"), (1e9, "1B"), (1e10, "10B"))
            if low <= math.log10(size) <= high
        ],
        "points": [
            {
                "x": round(60 + 680 * (x - low) / (high - low), 1),
                "y": round(250 - 230 * (y - floor) / (ceiling - floor), 1),
                "name": entry.name,
                "link": model_link(entry),
                "text": f"{entry.name}: {percent(y)} %, {size_text(round(10**x))} parameters",
            }
            for x, y, entry in points
        ],
    }


# --- one suite -----------------------------------------------------------------------------------


def suite_page(item: SuiteMaterial) -> dict[str, Any]:
    """Return the page of a suite."""
    suite = item.suite
    columns = [*(s.name for s in suite.sections), *(a.name for a in suite.averages)]
    columns = [suite.headline, *(name for name in columns if name != suite.headline)]
    meanings = {average.name: average.meaning for average in suite.averages}
    return {
        "title": suite.title,
        "name": suite.name,
        "version": suite.version,
        "reference": _safe_link(suite.reference),
        "license": suite.license or "",
        "meaning": meanings.get(suite.headline, ""),
        "ranking": item.ranking,
        "columns": columns,
        "sizes": any(entry.first.model.get("parameters") for entry in item.entries),
        "rows": [_suite_row(entry, item, columns) for entry in item.entries],
        "subsets": _subset_rows(item),
        "hardest": _hardest(item),
        "heatmap": _heatmap(item),
        "pages": [
            {"link": comparison_link(suite.name, start).partition("#")[0], "first": start + 1}
            for start in range(0, len(item.ids), PER_PAGE)
        ],
        "count": len(item.ids),
        "scored": len(item.scored),
    }


def _safe_link(address: str | None) -> str:
    return address if address and address.startswith(("https://", "http://")) else ""


def _suite_row(entry: Entry, item: SuiteMaterial, columns: Sequence[str]) -> dict[str, Any]:
    result = entry.results[item.suite.name]
    return (
        _who(entry)
        | _place(entry, item)
        | {
            "cells": [number(result.find(name)) for name in columns],
        }
    )


def _subset_rows(item: SuiteMaterial) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    names = dict.fromkeys(name for e in item.entries for name in e.results[item.suite.name].subsets)
    sections = {name: s.name for s in item.suite.sections for name in s.subsets}
    for name in names:
        found = [
            (result.subsets[name].accuracy, entry, result.subsets[name].n)
            for entry in item.entries
            if not entry.is_baseline and name in (result := entry.results[item.suite.name]).subsets
        ]
        if not found:
            continue
        shares = [share for share, _, _ in found]
        best = max(found, key=lambda one: one[0])
        rows.append(
            {
                "name": name,
                "section": sections.get(name, ""),
                "n": next((n for _, _, n in found if n), ""),
                "median": percent(float(np.median(shares))),
                "median_value": f"{np.median(shares):.6f}",
                "spread": f"{100 * min(shares):.1f} to {100 * max(shares):.1f}",
                "best": best[1].name,
                "best_link": model_link(best[1]),
                "best_text": percent(best[0]),
            }
        )
    return rows


def _hardest(item: SuiteMaterial) -> list[dict[str, Any]]:
    if not item.ids or not item.scored:
        return []
    solved = item.solved
    order = sorted(range(len(item.ids)), key=lambda i: (solved[i], i))[:HARDEST]
    return [
        {
            "id": item.ids[i],
            "link": comparison_link(item.suite.name, i),
            "subset": item.subsets[i],
            "share": f"{100 * solved[i]:.0f}",
        }
        for i in order
    ]


def _heatmap(item: SuiteMaterial) -> dict[str, Any] | None:
    """Return on which share of the comparisons two models earn the same, for the best of them."""
    kept = [i for i, entry in enumerate(item.scored) if not entry.is_baseline][:IN_HEATMAP]
    if len(kept) < 2:
        return None
    table = item.credits[kept]
    rows = []
    for i, one in enumerate(table):
        both = ~np.isnan(one) & ~np.isnan(table)
        same = ((one == table) & both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
        rows.append(
            {
                "name": item.scored[kept[i]].name,
                "link": model_link(item.scored[kept[i]]),
                "cells": [
                    {"text": f"{100 * share:.0f}", "step": _step(share), "self": i == j}
                    for j, share in enumerate(same.tolist())
                ],
            }
        )
    return {"rows": rows, "left_out": sum(not e.is_baseline for e in item.scored) - len(kept)}


def _step(share: float) -> int:
    """Return one of ten shades, from half of all comparisons alike to all of them."""
    return max(0, min(9, int((share - 0.5) * 20)))


# --- the comparisons of a suite ------------------------------------------------------------------


def comparison_pages(item: SuiteMaterial) -> list[dict[str, Any]]:
    """Return pages that list all comparisons of a suite: who earned each, and its texts."""
    starts = range(0, len(item.ids), PER_PAGE)
    solved = item.solved if item.ids else np.zeros(0)
    links = [comparison_link(item.suite.name, start).partition("#")[0] for start in starts]
    return [
        {
            "title": f"{item.suite.title}: comparisons {start + 1} to"
            f" {min(start + PER_PAGE, len(item.ids))}",
            "file": links[page],
            "suite": item.suite.title,
            "suite_link": suite_link(item.suite.name),
            "previous": links[page - 1] if page else "",
            "next": links[page + 1] if page + 1 < len(links) else "",
            "items": [
                _comparison(item, i, float(solved[i]))
                for i in range(start, min(start + PER_PAGE, len(item.ids)))
            ],
        }
        for page, start in enumerate(starts)
    ]


def _comparison(item: SuiteMaterial, position: int, solved: float) -> dict[str, Any]:
    column = item.credits[:, position]
    missed = [e.name for e, credit in zip(item.scored, column, strict=True) if credit < 1.0]
    texts = None if item.texts is None else item.texts[position]
    return {
        "anchor": f"c{position + 1}",
        "id": item.ids[position],
        "subset": item.subsets[position],
        "share": f"{100 * solved:.0f}",
        "missed": missed[:NAMED],
        "more": max(0, len(missed) - NAMED),
        "texts": None
        if texts is None
        else {
            "prompt": [(message.role, message.content) for message in texts.prompt],
            "chosen": list(texts.chosen),
            "rejected": list(texts.rejected),
        },
    }


# --- one model -----------------------------------------------------------------------------------


def model_page(entry: Entry, site: Site) -> dict[str, Any]:
    """Return the page of a model: all its suites, its strengths, and what changed."""
    suites = [item for item in site.suites if item.suite.name in entry.results]
    return _who(entry) | {
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
        **_place(entry, item),
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
