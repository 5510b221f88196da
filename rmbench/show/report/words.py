"""Numbers and values as the page shows them."""

from collections.abc import Mapping
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.show.table import interval_text
from rmbench.wording import percent

__all__ = ["MINUS", "cell", "number", "plain", "points", "slice_title", "whole"]

MINUS: Final = "\u2212"


def cell(item: Accuracy | None) -> dict[str, str]:
    """Return an accuracy in percent, its interval, and how many were won and tied."""
    if item is None:
        return {"value": "none", "interval": "", "counts": ""}
    counts = "" if item.wins is None else f"{item.wins:,}, {item.ties:,}"
    return {"value": percent(item.accuracy), "interval": interval_text(item), "counts": counts}


def slice_title(level: str, name: str) -> str:
    """Return what a slice is called where averages, sections and subsets stand together."""
    return f"{name} average" if level == "average" else name


def number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.3g}".replace("-", MINUS) if abs(value) < 1000 else whole(value)


def whole(value: float) -> str:
    """Return a number without decimals, by thousands."""
    return f"{value:,.0f}".replace("-", MINUS)


def points(value: float, digits: int = 2) -> str:
    """Return a difference of shares in points, with its sign."""
    return f"{100 * value:+.{digits}f}".replace("-", MINUS)


def plain(value: Any) -> str:
    """Return a value of a record as a person would write it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,g}" if isinstance(value, float) else str(value)
