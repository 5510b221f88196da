"""The report's figure of margins: a small histogram for each subset."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.show.report.svg import COLOURS, FigureLabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from rmbench.show.report.figures import axes_in, drawing, label_width, shorten, signed, svg_of

__all__ = ["RidgeRow", "margin_ridges"]


class RidgeRow(NamedTuple):
    """The margins of one subset."""

    name: str
    margins: npt.NDArray[np.float64]


_RIDGE_HEIGHT: Final = 26


_RIDGE_BINS: Final = 60


def margin_ridges(
    rows: Sequence[RidgeRow], label: FigureLabel, *, width: int, series: int = 0
) -> str:
    """Return one small histogram of margins per subset, on one scale from side to side.

    The scale holds 98 % of all margins; those beyond are counted at its ends. Each histogram has
    its own height.

    Args:
        rows: from top to bottom, each with at least one margin.
        label: of the figure.
        width: pixels.
        series: which of the results it is, for the colour of what is won.
    """
    most = 30 if width > 500 else 22
    edges = _ridge_edges(np.concatenate([row.margins for row in rows]))
    height = _RIDGE_HEIGHT * len(rows) + 6
    box = (label_width([row.name for row in rows], most), 4, 16, 40)
    with drawing(width, height + 44) as figure:
        axes = axes_in(figure, box)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(height, 0), xlabel="margin")
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.axvline(0, color=COLOURS["muted"], linewidth=0.8, zorder=0)
        axes.locator_params(axis="x", nbins=5 if width < 500 else 9)
        axes.xaxis.set_major_formatter(lambda value, _: signed(value))
        bases = [_RIDGE_HEIGHT * (position + 1) for position in range(len(rows))]
        for row, base in zip(rows, bases, strict=True):
            _draw_ridge(axes, row.margins, edges, base=base, won=f"model-{series + 1}")
        axes.set_yticks([base - 5 for base in bases], [shorten(row.name, most) for row in rows])
        return svg_of(figure, label)


def _ridge_edges(margins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the edges of bins of one width, 0 among them."""
    low, high = (float(value) for value in np.quantile(margins, [0.01, 0.99]))
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = -1.0, 1.0
    step = (high - low) / _RIDGE_BINS
    numbers = np.arange(math.floor(low / step), math.ceil(high / step) + 1, dtype=np.float64)
    return numbers * np.float64(step)


def _draw_ridge(
    axes: "Axes",
    margins: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    *,
    base: int,
    won: str,
) -> None:
    axes.plot(edges[[0, -1]], [base, base], color=COLOURS["grid"], linewidth=0.8)
    ties = int(np.count_nonzero(margins == 0))
    inside = np.clip(margins[margins != 0], edges[0], edges[-1])
    # A bin leaves out its upper edge; below 0, the last loss must not slip into the first win.
    counts = np.histogram(inside, edges)[0]
    scale = (_RIDGE_HEIGHT - 4) / max(int(counts.max()), ties, 1)
    for name, kept in (("lost", edges[1:] <= 0), (won, edges[:-1] >= 0)):
        heights = np.where(kept, counts, 0) * scale
        if heights.any():
            axes.stairs(base - heights, edges, baseline=base, fill=True, color=COLOURS[name])
    if ties:
        step = edges[1] - edges[0]
        axes.bar(0, -ties * scale, width=step, bottom=base, color=COLOURS["tied"], linewidth=0)
