"""What the report's figures share: matplotlib with the page's settings, axes, and SVG."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rmbench.show.report.svg import COLOURS, FigureLabel, inline_svg
from rmbench.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "axes_in",
    "drawing",
    "drawn_for_paper",
    "label_width",
    "name_slices",
    "open_sides",
    "shorten",
    "signed",
    "svg_of",
]


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


@contextmanager
def drawing(width: int, height: int) -> Iterator["Figure"]:
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


def axes_in(figure: "Figure", box: tuple[float, float, float, float]) -> "Axes":
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


def open_sides(axes: "Axes") -> None:
    """Give axes whose rows are slices a grid of upright lines instead of a frame."""
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def name_slices(
    axes: "Axes", middles: Sequence[float], slices: Sequence[tuple[str, str]], most: int
) -> None:
    """Write the names of slices beside their rows: averages and sections in bold, subsets muted.

    Args:
        axes: the figure's.
        middles: of the rows, on the upright axis.
        slices: name and level of each row.
        most: characters of a name.
    """
    axes.set_yticks(middles, [shorten(name, most) for name, _ in slices])
    for text, (_, level) in zip(axes.get_yticklabels(), slices, strict=True):
        text.set(
            color=COLOURS["muted" if level == "subset" else "ink"],
            fontweight="normal" if level == "subset" else "bold",
        )


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


def svg_of(figure: "Figure", label: FigureLabel) -> str:
    """Return a figure as SVG that the page can hold."""
    kept = _DRAWN.get()
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    if kept is not None:
        kept[label.name] = _for_paper(figure)
    return inline_svg(stream.getvalue(), label)


def shorten(name: str, most: int) -> str:
    """Return a name of at most so many characters."""
    name = printable(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def label_width(names: Sequence[str], most: int) -> float:
    """Return how many pixels the longest of the names takes, each cut to ``most`` characters."""
    return 14 + 6.4 * max(len(shorten(name, most)) for name in names)


def signed(value: float) -> str:
    """Return a number with a minus sign instead of a hyphen."""
    return f"{value:,g}".replace("-", _MINUS)
