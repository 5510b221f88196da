"""The page over all suites: the leaderboard, and accuracy against size."""

import math
from typing import Any

from rmbench.show.site.cells import model_link, number, place, size_text, suite_link, who
from rmbench.show.site.material import Entry, Site, SuiteMaterial
from rmbench.wording import percent

__all__ = ["index_page"]


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
        cells.append(number(headline) | place(entry, item))
        if headline is not None:
            known.append(headline.accuracy)
    mean = math.fsum(known) / len(known) if len(known) == len(site.suites) else None
    timing = [result.timing.get("tokens_per_second") for result in entry.results.values()]
    speeds = [value for value in timing if isinstance(value, int | float)]
    return who(entry) | {
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
