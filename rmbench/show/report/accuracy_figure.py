"""The report's figure of accuracies: bars with intervals, published numbers marked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.show.report.figures import (
    axes_in,
    drawing,
    label_width,
    name_slices,
    open_sides,
    svg_of,
)
from rmbench.show.report.svg import COLOURS, FigureLabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ANCHOR_MARKERS", "BarRow", "accuracy_bars"]


ANCHOR_MARKERS: Final = ("D", "^", "v")


class BarRow(NamedTuple):
    """One slice of a suite in the figure of accuracies.

    Attributes:
        name: of the subset, section or average.
        level: ``average``, ``section`` or ``subset``.
        accuracies: one per result.
        anchors: published accuracies in [0, 1], one per anchor; None where it has none.
    """

    name: str
    level: str
    accuracies: Sequence[Accuracy]
    anchors: Sequence[float | None]


_THICKNESS: Final = {"average": 11, "section": 11, "subset": 6}


def accuracy_bars(rows: Sequence[BarRow], label: FigureLabel, *, width: int) -> str:
    """Return averages, sections and subsets as bars with intervals, published anchors marked.

    Args:
        rows: from top to bottom, at least one.
        label: of the figure.
        width: pixels.
    """
    most = 30 if width > 500 else 22
    tops, height = _places(rows)
    box = (label_width([row.name for row in rows], most), 4, 44, 24)
    with drawing(width, height + 28) as figure:
        axes = axes_in(figure, box)
        axes.set(xlim=(0, 100), ylim=(height, 0))
        open_sides(axes)
        axes.axvline(50, color=COLOURS["muted"], linewidth=0.8, dashes=(3, 3))
        axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
        for row, top in zip(rows, tops, strict=True):
            _draw_row(axes, row, top)
        middles = [top + _row_height(row) / 2 for row, top in zip(rows, tops, strict=True)]
        name_slices(axes, middles, [(row.name, row.level) for row in rows], most)
        return svg_of(figure, label)


def _row_height(row: BarRow) -> int:
    return (
        _THICKNESS[row.level] + 7 if row.level == "subset" else _THICKNESS[row.level] + 6
    ) * len(row.accuracies)


def _places(rows: Sequence[BarRow]) -> tuple[list[int], int]:
    """Return the top of each row, and the height of all, in pixels; a section opens a gap."""
    tops, at, before = [], 2, None
    for row in rows:
        if before is not None:
            several = len(row.accuracies) > 1
            at += (4 if several else 2) + (
                10 if row.level != "subset" and before != "average" else 0
            )
            at += 10 if row.level == "section" and before == "average" else 0
        tops.append(at)
        at += _row_height(row)
        before = row.level
    return tops, at + 4


def _draw_row(axes: "Axes", row: BarRow, top: int) -> None:
    step = _row_height(row) / len(row.accuracies)
    for position, item in enumerate(row.accuracies):
        y = top + step * (position + 0.5)
        value = 100 * item.accuracy
        axes.barh(
            y,
            value,
            height=_THICKNESS[row.level],
            color=COLOURS[f"model-{position + 1}"],
            alpha=0.55 if row.level == "subset" else 1.0,
            linewidth=0,
        )
        if item.low is not None and item.high is not None:
            ends = [100 * item.low, 100 * item.high]
            # A rim of paper keeps the line apart from a dark bar; bars of subsets are pale.
            if row.level != "subset":
                axes.plot(ends, [y, y], color=COLOURS["paper"], linewidth=3.0)
            axes.plot(ends, [y, y], color=COLOURS["ink"], linewidth=1.3)
        axes.annotate(
            f"{value:.1f}",
            (1, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center_baseline",
            color=COLOURS["muted" if row.level == "subset" else "ink"],
            fontsize=10 if row.level == "subset" else 11,
        )
    for marker, anchor in zip(ANCHOR_MARKERS, row.anchors, strict=False):
        if anchor is not None:
            axes.plot(
                100 * anchor,
                top + _row_height(row) / 2,
                color=COLOURS["ink"],
                marker=marker,
                markersize=6,
                markerfacecolor=COLOURS["paper"],
                markeredgecolor=COLOURS["ink"],
                markeredgewidth=1.2,
                zorder=5,
            )
