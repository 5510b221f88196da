"""The report's curves: accuracy by difference in length, and by confidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import LengthBias
from rmbench.accuracy.calibration import Calibration
from rmbench.accuracy.intervals import wilson
from rmbench.show.report.svg import COLOURS, FigureLabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from rmbench.show.report.figures import axes_in, drawing, signed, svg_of

__all__ = ["MARKERS", "calibration_plot", "length_plot"]


MARKERS: Final = ("o", "s", "D", "^")


_LINEAR_BELOW: Final = 100


def length_plot(
    biases: Sequence[LengthBias], label: FigureLabel, *, tie: float, width: int = 440
) -> str:
    """Return accuracy against difference in length, the ``length`` baseline drawn in.

    Args:
        biases: one per result.
        label: of the figure.
        tie: what the baseline earns where both are equally long, in [0, 1].
        width: pixels.
    """
    with drawing(width, 300) as figure:
        axes = axes_in(figure, (52, 10, 12, 46))
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
        axes.set_xticks(places, [signed(place) for place in places])
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
        return svg_of(figure, label)


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


def calibration_plot(
    calibrations: Sequence[Calibration], label: FigureLabel, *, width: int = 440
) -> str:
    """Return how often a model is right against how sure it is, with how often it is that sure.

    Args:
        calibrations: one per result, from `rmbench.accuracy.analysis.margin_calibration`.
        label: of the figure.
        width: pixels.
    """
    with drawing(width, 300) as figure:
        axes = axes_in(figure, (52, 10, 12, 110))
        shares = axes_in(figure, (52, 206, 12, 46))
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
        return svg_of(figure, label)


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
