"""Models one under the other with their intervals, those not told apart from the best marked."""

import math
from typing import Any, Final

from rmbench.show.site.cells import model_link
from rmbench.show.site.material import SuiteMaterial
from rmbench.show.table import interval_text
from rmbench.wording import percent

__all__ = ["forest"]

MOST: Final = 40
_STEP: Final = 22
_LEFT, _RIGHT, _TOP = 250, 700, 14


def forest(item: SuiteMaterial) -> dict[str, Any] | None:
    """Return the best models' headline numbers as points with intervals, on one scale.

    None where fewer than two have an interval. Baselines are left out.
    """
    rows = []
    for entry in item.entries:
        found = entry.results[item.suite.name].averages.get(item.suite.headline)
        if found is None or found.low is None or found.high is None or entry.is_baseline:
            continue
        rows.append((entry, found, found.low, found.high))
    if len(rows) < 2:
        return None
    shown = rows[:MOST]
    low = math.floor(20 * min(row[2] for row in shown)) / 20
    high = max(math.ceil(20 * max(row[3] for row in shown)) / 20, low + 0.05)
    bottom = _TOP + _STEP * len(shown)

    def x(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low), 1)

    return {
        "height": bottom + 30,
        "bottom": bottom,
        "left_out": len(rows) - len(shown),
        "ticks": [
            {"x": x(points / 100), "text": str(points)}
            for points in range(-100, 201, 5 if high - low < 0.35 else 20)
            if low <= points / 100 <= high
        ],
        "rows": [
            {
                "name": entry.name if len(entry.name) <= 34 else f"{entry.name[:33]}…",
                "link": model_link(entry),
                "y": _TOP + _STEP * number + _STEP // 2,
                "low": x(start),
                "middle": x(found.accuracy),
                "high": x(end),
                "best": (places := item.ranks.get(entry.slug)) is not None and places.best == 1,
                "text": f"{entry.name}: {percent(found.accuracy)} % ({interval_text(found)})"
                + ("" if places is None else f", rank {places.text}"),
            }
            for number, (entry, found, start, end) in enumerate(shown)
        ],
    }
