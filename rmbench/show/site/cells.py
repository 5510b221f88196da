"""What the pages of the site share: links between them, and numbers as cells."""

from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.result.names import safe_name
from rmbench.show.site.material import Entry, SuiteMaterial
from rmbench.show.table import interval_text
from rmbench.wording import percent

__all__ = [
    "PER_PAGE",
    "comparison_link",
    "model_link",
    "number",
    "place",
    "size_text",
    "suite_link",
    "who",
]


PER_PAGE: Final = 100


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


def who(entry: Entry) -> dict[str, Any]:
    """Return who an entry is, and what kind of model."""
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


def place(entry: Entry, item: SuiteMaterial) -> dict[str, Any]:
    """Return the places that an entry can have on a suite, and the best of them to sort by."""
    found = item.ranks.get(entry.slug)
    return {"rank": "" if found is None else found.text, "place": found.best if found else ""}
