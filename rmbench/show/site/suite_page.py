"""The page of a suite: its board, its subsets, its hardest comparisons, who agrees with whom."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rmbench.show.site.cells import PER_PAGE, comparison_link, model_link, number, place, who
from rmbench.show.site.forest import forest
from rmbench.show.site.material import Entry, SuiteMaterial
from rmbench.wording import percent

__all__ = ["suite_page"]


HARDEST: Final = 25


IN_HEATMAP: Final = 30


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
        "forest": forest(item),
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
        who(entry)
        | place(entry, item)
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
