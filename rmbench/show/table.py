"""A table before it is formatted: typed cells, which say how their values are written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.wording import percent, points

__all__ = ["Cell", "Content", "Table", "interval_text", "p_text"]


class Cell(NamedTuple):
    """A value and what kind of value it is: data formats have the value, the others its text.

    Attributes:
        kind: one of ``KINDS``.
        value: in plain units: shares and differences in [-1, 1], counts as whole numbers.
    """

    kind: str
    value: Any

    @property
    def text(self) -> str:
        """The value as people read it; nothing for None."""
        return "" if self.value is None else KINDS[self.kind](self.value)

    def columns(self, head: str) -> dict[str, Any]:
        """Return the value by the heads of its columns in CSV, where a share is no percentage."""
        head = head.removesuffix(" %")
        if self.kind in ("accuracy", "accuracy and interval"):
            names = {head: "accuracy", f"{head} low": "low", f"{head} high": "high"}
            return {name: getattr(self.value, key, None) for name, key in names.items()}
        if self.kind in ("interval", "reach"):
            low, high = (None, None) if self.value is None else self.value
            return {f"{head} low": low, f"{head} high": high}
        return {head: self.value}


def p_text(value: float) -> str:
    """Return a p value as every table writes it."""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


KINDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "count": "{:,}".format,
    "share": percent,
    "accuracy": lambda item: percent(item.accuracy),
    "accuracy and interval": lambda item: _with_interval(item),
    "interval": lambda ends: f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}",
    "points": points,
    "reach": lambda ends: f"{points(ends[0])} to {points(ends[1])}",
    "distance": lambda value: f"{100 * value:.2f}",
    "end": points,
    "p": p_text,
    "seconds": "{:,.0f}".format,
    "number": "{:.4g}".format,
    "signed": "{:+.4g}".format,
}
"""How values are written for people, by kind."""


Content = str | int | float | Cell | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table before it is formatted.

    A cell is a text, a plain number or a ``Cell``. ``above`` stands between title and table,
    ``notes`` beneath, the signatures last; ``numeric`` columns, all but the first, are aligned to
    the right. ``best`` and ``second`` are cells (row,
    column) that Markdown, LaTeX and HTML set in bold and in italics.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Content]]
    notes: Sequence[str] = ()
    numeric: bool = True
    above: Sequence[str] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    second: frozenset[tuple[int, int]] = frozenset()

    @property
    def texts(self) -> list[list[str]]:
        """The rows as people read them."""
        return [[cell_text(cell) for cell in row] for row in self.rows]


def interval_text(item: Accuracy) -> str:
    """Return an interval in percent, ``70.8 to 74.0``; nothing where there is none."""
    if item.low is None or item.high is None:
        return ""
    return f"{100 * item.low:.1f} to {100 * item.high:.1f}"


def _with_interval(item: Accuracy) -> str:
    span = interval_text(item)
    return percent(item.accuracy) + (f" ({span})" if span else "")


def cell_text(cell: Content) -> str:
    """Return a cell as people read it."""
    if isinstance(cell, Cell):
        return cell.text
    return "" if cell is None else str(cell)
