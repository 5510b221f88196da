"""Accuracies and differences as bars with intervals, for terminals."""

import codecs
import shutil
from typing import Final, TextIO

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.contrast import Contrast
from rmbench.result.record import Result
from rmbench.wording import percent, printable

__all__ = ["can_draw", "draw_bar", "draw_bars", "draw_differences"]

WIDEST: Final = 100
_NARROWEST_BAR: Final = 10
_LONGEST_NAME: Final = 30
_FIGURES: Final = len("  100.00  ")
_REACHES: Final = (1, 2, 5, 10, 20, 50, 100)


def can_draw(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that shows box-drawing characters."""
    try:
        return stream.isatty() and codecs.lookup(stream.encoding or "ascii").name == "utf-8"
    except LookupError:
        return False


def draw_bars(result: Result, *, width: int | None = None, subsets: bool = False) -> str:
    """Return a result's sections and averages as lines of bars, on a scale from 0 to 100 %.

    Each bar ends in its 95 % interval with a dot at the accuracy; a dotted line marks 50 %. Empty
    when the terminal is too narrow or the result has no interval.

    Args:
        result: a measured result.
        width: characters of a line; None means the terminal's, at most 100.
        subsets: draw the subsets too, first.
    """
    groups = [result.subsets if subsets else {}, result.sections, result.averages]
    rows = [(_name(name), item) for group in groups for name, item in group.items()]
    rows = [(name, item) for name, item in rows if item.low is not None]
    if not rows:
        return ""
    margin = max(len(name) for name, _ in rows)
    room = _room(width, margin)
    if room < _NARROWEST_BAR:
        return ""
    lines = [
        f"{name.ljust(margin)}  {percent(item.accuracy):>6}  {draw_bar(item, room)}".rstrip()
        for name, item in rows
    ]
    return "\n".join([*lines, " " * (margin + _FIGURES) + _scale(room)])


def _room(width: int | None, margin: int) -> int:
    """Return how many characters of a line are left for a bar."""
    return (width or min(shutil.get_terminal_size().columns, WIDEST)) - margin - _FIGURES


def _name(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def draw_bar(item: Accuracy, width: int) -> str:
    """Return one bar of ``width`` characters; the first stands for 0, the last for 100 %.

    Args:
        item: an accuracy with its interval.
        width: at least 3.
    """
    assert item.low is not None and item.high is not None, "only counted accuracies are drawn"
    low, middle, high = (
        round(share * (width - 1)) for share in (item.low, item.accuracy, item.high)
    )
    cells = ["━"] * low + [" "] * (width - low)
    half = round(0.5 * (width - 1))
    if half > high:
        cells[half] = "┊"
    for at in range(low, high + 1):
        cells[at] = "─"
    if low < middle < high:
        cells[low], cells[high] = "├", "┤"
    cells[middle] = "●"
    return "".join(cells)


def _scale(width: int) -> str:
    ends = width - len("0") - len("100 %")
    half = round(0.5 * (width - 1)) - 2
    return ("0" + " " * half + "50").ljust(1 + ends) + "100 %"


# --- differences ---------------------------------------------------------------------------------


def draw_differences(contrast: Contrast, *, width: int | None = None) -> str:
    """Return how sections and averages changed as lines of intervals about 0, in points.

    A dot marks the difference and a dotted line 0; an interval that does not cross the line is a
    change beyond chance, one slice taken alone. Empty when the terminal is too narrow or nothing
    could be tested.

    Args:
        contrast: two results.
        width: characters of a line; None means the terminal's, at most 100.
    """
    rows = [
        (_name(row.name), row.difference)
        for row in contrast.level("section", "average")
        if row.difference is not None
    ]
    margin = max((len(name) for name, _ in rows), default=0)
    room = _room(width, margin)
    if not rows or room < _NARROWEST_BAR:
        return ""
    farthest = max(100 * abs(end) for _, item in rows for end in item.interval)
    reach = next((step for step in _REACHES if step >= farthest), _REACHES[-1])
    lines = [
        f"{name.ljust(margin)}  {100 * item.estimate:>+6.2f}  "
        + _span((item.interval.low, item.estimate, item.interval.high), room, reach=reach / 100)
        for name, item in rows
    ]
    ends = f"-{reach}", f"+{reach}"
    middle = round(0.5 * (room - 1))
    scale = (ends[0].ljust(middle) + "0").ljust(room - len(ends[1])) + ends[1]
    return "\n".join([*(line.rstrip() for line in lines), " " * (margin + _FIGURES) + scale])


def _span(points: tuple[float, float, float], width: int, *, reach: float) -> str:
    low, middle, high = (round((x + reach) / (2 * reach) * (width - 1)) for x in points)
    zero = round(0.5 * (width - 1))
    cells = [" "] * width
    cells[zero] = "┊"
    for at in range(low, high + 1):
        cells[at] = "─"
    if low <= zero <= high:
        cells[zero] = "┼"
    if low < middle < high:
        cells[low], cells[high] = "├", "┤"
    cells[middle] = "●"
    return "".join(cells)
