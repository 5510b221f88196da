"""Differences of two results with their intervals, one under the other."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rmbench.show.report.figures import (
    axes_in,
    drawing,
    label_width,
    name_slices,
    open_sides,
    signed,
    svg_of,
)
from rmbench.show.report.svg import COLOURS, FigureLabel
from rmbench.show.report.words import points

__all__ = ["ForestRow", "difference_forest"]

_STEP: Final = {"average": 26, "section": 26, "subset": 18}


class ForestRow(NamedTuple):
    """One slice's difference, in points, with its 95 % interval.

    ``mark`` is ``+`` or ``-`` where it is beyond chance, else empty.
    """

    name: str
    level: str
    estimate: float
    low: float
    high: float
    mark: str


def difference_forest(rows: Sequence[ForestRow], label: FigureLabel, *, width: int) -> str:
    """Return differences as points with their intervals about a line at 0.

    Args:
        rows: from top to bottom, at least one.
        label: of the figure.
        width: pixels.
    """
    most = 30 if width > 500 else 20
    heights = [_STEP[row.level] for row in rows]
    middles = [sum(heights[:i]) + height / 2 + 2 for i, height in enumerate(heights)]
    height = sum(heights) + 4
    ends = [end for row in rows for end in (row.low, row.high)]
    reach = 1.06 * max(1.0, *map(abs, ends))
    with drawing(width, height + 44) as figure:
        axes = axes_in(figure, (label_width([row.name for row in rows], most), 4, 56, 40))
        axes.set(xlim=(-reach, reach), ylim=(height, 0), xlabel="difference, points")
        open_sides(axes)
        axes.axvline(0, color=COLOURS["muted"], linewidth=1.0)
        axes.locator_params(axis="x", nbins=5 if width < 500 else 9)
        axes.xaxis.set_major_formatter(lambda value, _: signed(value))
        for row, y in zip(rows, middles, strict=True):
            colour = COLOURS[{"+": "model-2", "-": "model-1"}.get(row.mark, "muted")]
            axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6)
            axes.plot(
                row.estimate,
                y,
                color=colour,
                marker="o",
                markersize=7 if row.level != "subset" else 5,
                markerfacecolor=colour if row.mark else COLOURS["paper"],
            )
            axes.annotate(
                points(row.estimate / 100.0, 1),
                (1, y),
                xycoords=axes.get_yaxis_transform(),
                xytext=(8, 0),
                textcoords="offset points",
                va="center_baseline",
                color=COLOURS["ink" if row.mark else "muted"],
            )
        name_slices(axes, middles, [(row.name, row.level) for row in rows], most)
        return svg_of(figure, label)
