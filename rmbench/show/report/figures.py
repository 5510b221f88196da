"""The report's figures, drawn with matplotlib and given to the page as SVG."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import LengthBias
from rmbench.accuracy.calibration import Calibration
from rmbench.accuracy.intervals import wilson
from rmbench.show.report.svg import COLOURS, Label, inline_svg
from rmbench.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ANCHOR_MARKERS",
    "MARKERS",
    "BarRow",
    "RidgeRow",
    "accuracy_bars",
    "calibration_plot",
    "drawn_for_paper",
    "length_plot",
    "margin_ridges",
]

MARKERS: Final = ("o", "s", "D", "^")
ANCHOR_MARKERS: Final = ("D", "^", "v")
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rmbench",
    "text.parse_math": False,
    "font.size": 11.0,
    "axes.linewidth": 0.8,
    "axes.edgecolor": COLOURS["grid"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "butt",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_POINTS_PER_INCH: Final = 72
_MINUS: Final = "\u2212"


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


class RidgeRow(NamedTuple):
    """The margins of one subset."""

    name: str
    margins: npt.NDArray[np.float64]


@contextmanager
def _drawing(width: int, height: int) -> Iterator["Figure"]:
    """Yield a figure of so many pixels, with the report's settings and no global state."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(), warnings.catch_warnings():
        # Whoever has a style of their own in matplotlibrc gets the same page as everybody else.
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        # The page brings the fonts, so a glyph that matplotlib's own lacks is none of its business.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield Figure(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))


def _axes(figure: "Figure", box: tuple[float, float, float, float]) -> "Axes":
    """Return axes whose left, top, right and bottom edges are so many pixels from the figure's."""
    left, top, right, bottom = box
    width, height = (float(side) * _POINTS_PER_INCH for side in figure.get_size_inches())
    place = (
        left / width,
        bottom / height,
        (width - left - right) / width,
        (height - top - bottom) / height,
    )
    return figure.add_axes(place)


_DRAWN: ContextVar[dict[str, dict[str, bytes]] | None] = ContextVar("drawn", default=None)
# The page's light colours, for figures that stand outside it.
_INKS: Final = {
    "ink": "#1b1e22",
    "muted": "#5a626c",
    "grid": "#dfe2e6",
    "paper": "#ffffff",
    "won": "#1f6fb2",
    "lost": "#b5443a",
    "tied": "#9aa1aa",
    "model-1": "#1f6fb2",
    "model-2": "#b8780a",
    "model-3": "#12806a",
    "model-4": "#8a4fa0",
}
FORMATS: Final = ("svg", "pdf", "png")
_DPI: Final = 300


@contextmanager
def drawn_for_paper() -> Iterator[dict[str, dict[str, bytes]]]:
    """Keep what is drawn meanwhile as files too: figure → format → content."""
    kept: dict[str, dict[str, bytes]] = {}
    token = _DRAWN.set(kept)
    try:
        yield kept
    finally:
        _DRAWN.reset(token)


def _for_paper(figure: "Figure") -> dict[str, bytes]:
    """Return a figure in every format, in colours of its own."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    inks = {COLOURS[name]: colour for name, colour in _INKS.items()}
    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor"):
            get, put = (getattr(artist, f"{verb}_{part}", None) for verb in ("get", "set"))
            if get is None or put is None:
                continue
            found = np.atleast_2d(mpl.colors.to_rgba_array(get()))
            if len(found) and to_hex(found[0]) in inks:
                put((*mpl.colors.to_rgb(inks[to_hex(found[0])]), float(found[0][3])))
    dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    files = {}
    with mpl.rc_context({"svg.fonttype": "path", "pdf.fonttype": 42}):
        for fmt in FORMATS:
            stream = io.BytesIO()
            figure.savefig(stream, format=fmt, metadata=dates[fmt], dpi=_DPI, facecolor="white")
            files[fmt] = stream.getvalue()
    return files


def _svg(figure: "Figure", label: Label) -> str:
    kept = _DRAWN.get()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    if kept is not None:
        kept[label.name] = _for_paper(figure)
    return inline_svg(stream.getvalue(), label)


def _shorten(name: str, most: int) -> str:
    name = printable(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _label_width(names: Sequence[str], most: int) -> float:
    return 14 + 6.4 * max(len(_shorten(name, most)) for name in names)


# --- accuracies ----------------------------------------------------------------------------------

_THICKNESS: Final = {"average": 11, "section": 11, "subset": 6}


def accuracy_bars(rows: Sequence[BarRow], label: Label, *, width: int) -> str:
    """Return averages, sections and subsets as bars with intervals, published anchors marked.

    Args:
        rows: from top to bottom, at least one.
        label: of the figure.
        width: pixels.
    """
    most = 30 if width > 500 else 22
    tops, height = _places(rows)
    box = (_label_width([row.name for row in rows], most), 4, 44, 24)
    with _drawing(width, height + 28) as figure:
        axes = _axes(figure, box)
        axes.set(xlim=(0, 100), ylim=(height, 0))
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x")
        axes.axvline(50, color=COLOURS["muted"], linewidth=0.8, dashes=(3, 3))
        axes.set_axisbelow(True)
        axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
        for row, top in zip(rows, tops, strict=True):
            _draw_row(axes, row, top)
        middles = [top + _row_height(row) / 2 for row, top in zip(rows, tops, strict=True)]
        axes.set_yticks(middles, [_shorten(row.name, most) for row in rows])
        for text, row in zip(axes.get_yticklabels(), rows, strict=True):
            is_subset = row.level == "subset"
            text.set(
                color=COLOURS["muted" if is_subset else "ink"],
                fontweight="normal" if is_subset else "bold",
            )
        return _svg(figure, label)


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


# --- margins -------------------------------------------------------------------------------------

_RIDGE_HEIGHT: Final = 26
_RIDGE_BINS: Final = 60


def margin_ridges(rows: Sequence[RidgeRow], label: Label, *, width: int, series: int = 0) -> str:
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
    box = (_label_width([row.name for row in rows], most), 4, 16, 40)
    with _drawing(width, height + 44) as figure:
        axes = _axes(figure, box)
        axes.set(xlim=(edges[0], edges[-1]), ylim=(height, 0), xlabel="margin")
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.axvline(0, color=COLOURS["muted"], linewidth=0.8, zorder=0)
        axes.locator_params(axis="x", nbins=5 if width < 500 else 9)
        axes.xaxis.set_major_formatter(lambda value, _: _signed(value))
        bases = [_RIDGE_HEIGHT * (position + 1) for position in range(len(rows))]
        for row, base in zip(rows, bases, strict=True):
            _draw_ridge(axes, row.margins, edges, base=base, won=f"model-{series + 1}")
        axes.set_yticks([base - 5 for base in bases], [_shorten(row.name, most) for row in rows])
        return _svg(figure, label)


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


def _signed(value: float) -> str:
    return f"{value:,g}".replace("-", _MINUS)


# --- length --------------------------------------------------------------------------------------

_LINEAR_BELOW: Final = 100


def length_plot(biases: Sequence[LengthBias], label: Label, *, tie: float, width: int = 440) -> str:
    """Return accuracy against difference in length, the ``length`` baseline drawn in.

    Args:
        biases: one per result.
        label: of the figure.
        tie: what the baseline earns where both are equally long, in [0, 1].
        width: pixels.
    """
    with _drawing(width, 300) as figure:
        axes = _axes(figure, (52, 10, 12, 46))
        reach = max(abs(edge) for bias in biases for b in bias.bins for edge in (b.low, b.high))
        limit = 1.15 * max(reach, _LINEAR_BELOW)
        axes.set_xscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.6)
        axes.set(xlim=(-limit, limit), ylim=(-3, 103))
        axes.set(xlabel="chosen minus rejected, characters", ylabel="accuracy, %")
        axes.set_yticks(range(0, 101, 25))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        ticks = [10**power for power in range(2, 9) if 10**power <= limit]
        places = [-tick for tick in reversed(ticks)] + [0, *ticks]
        axes.set_xticks(places, [_signed(place) for place in places])
        axes.minorticks_off()
        axes.plot(
            [-limit, 0, 0, limit],
            [0, 0, 100, 100],
            color=COLOURS["muted"],
            linewidth=1.2,
            dashes=(4, 3),
            label="length",
        )
        axes.plot(0, 100 * tie, marker="_", markersize=8, color=COLOURS["muted"])
        for position, bias in enumerate(biases):
            _draw_points(
                axes,
                [(b.middle, b.accuracy) for b in bias.bins],
                position=position,
            )
        return _svg(figure, label)


def _draw_points(axes: "Axes", points: Sequence[tuple[float, Accuracy]], *, position: int) -> None:
    colour = COLOURS[f"model-{position + 1}"]
    xs = [x for x, _ in points]
    for x, (_, item) in zip(xs, points, strict=True):
        assert item.low is not None and item.high is not None, "bins are counted"
        axes.plot([x, x], [100 * item.low, 100 * item.high], color=colour, linewidth=1.2)
    axes.plot(
        xs,
        [100 * item.accuracy for _, item in points],
        color=colour,
        linewidth=1.2,
        marker=MARKERS[position],
        markersize=6,
        markeredgecolor=COLOURS["paper"],
        markeredgewidth=1.0,
    )


# --- calibration ---------------------------------------------------------------------------------


def calibration_plot(calibrations: Sequence[Calibration], label: Label, *, width: int = 440) -> str:
    """Return how often a model is right against how sure it is, with how often it is that sure.

    Args:
        calibrations: one per result, from `rmbench.accuracy.analysis.margin_calibration`.
        label: of the figure.
        width: pixels.
    """
    with _drawing(width, 300) as figure:
        axes = _axes(figure, (52, 10, 12, 110))
        shares = _axes(figure, (52, 206, 12, 46))
        for each in (axes, shares):
            each.set_xlim(49, 101)
            each.set_xticks(range(50, 101, 10))
            each.grid(axis="y")
            each.set_axisbelow(True)
        axes.tick_params(labelbottom=False)
        axes.set(ylim=(-3, 103), ylabel="right, %")
        axes.set_yticks(range(0, 101, 25))
        axes.plot([50, 100], [50, 100], color=COLOURS["muted"], linewidth=1.2, dashes=(4, 3))
        shares.set(ylabel="share, %", xlabel="confidence, %")
        for position, item in enumerate(calibrations):
            _draw_points(axes, _calibration_points(item), position=position)
            _draw_shares(shares, item, position=position, of=len(calibrations))
        shares.set_ylim(bottom=0)
        shares.locator_params(axis="y", nbins=2)
        return _svg(figure, label)


def _calibration_points(item: Calibration) -> list[tuple[float, Accuracy]]:
    points = []
    for each in item.bins:
        low, high = wilson(each.outcome * each.n, each.n)
        accuracy = Accuracy(accuracy=each.outcome, low=low, high=high, n=each.n)
        points.append((100 * each.probability, accuracy))
    return points


def _draw_shares(axes: "Axes", item: Calibration, *, position: int, of: int) -> None:
    total = sum(each.n for each in item.bins)
    thick = 4.0 / of
    for each in item.bins:
        # What has a confidence of exactly 0.5, the ties, is the bin that ends there.
        left = 100 * max(each.low, 0.5) + 0.5 if each.high > 0.5 else 49.0
        axes.bar(
            left + thick * position,
            100 * each.n / total,
            width=thick,
            align="edge",
            color=COLOURS[f"model-{position + 1}"],
            linewidth=0,
        )
