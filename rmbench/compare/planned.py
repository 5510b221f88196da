"""How small a difference a suite can show, told before anything is scored."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import expected_design, sample_of
from rmbench.compare.power import OneSidedTest, detectable_drop
from rmbench.compare.verdict import slices_of
from rmbench.suite.definition import Suite

__all__ = ["Expected", "expected_differences"]

# Share of comparisons on which two results disagree; mean squared difference of their credits.
NEXT_CHECKPOINT: Final = 0.01
ANOTHER_MODEL: Final = 0.15
# Of the differences of two models within a prompt: nine reward models show 0.15 to 0.3.
CORRELATION: Final = 0.2


class Expected(NamedTuple):
    """The smallest differences of a suite's headline that show 8 times out of 10, in [0, 1].

    Attributes:
        next_checkpoint: between two results that disagree on 1 % of the comparisons.
        another_model: between two that disagree on 15 %.
    """

    next_checkpoint: float
    another_model: float


def expected_differences(
    suite: Suite, subsets: Sequence[str], *, clusters: npt.ArrayLike | None = None
) -> Expected | None:
    """Return what two results of a suite could show at p <= 0.05, two-sided, with power 80 %.

    Args:
        suite: says what the headline is.
        subsets: of each comparison that will be scored.
        clusters: a whole number for each, equal where they were sampled together; differences
            within a cluster are taken to correlate by 0.2. None for no repeats.

    Returns:
        None where the headline cannot be had, or there are too few comparisons to show anything.
    """
    counts = Counter(subsets)
    parts = slices_of(suite, counts)
    part = next((p for p in parts if p.level == "average" and p.name == suite.headline), None)
    if part is None:
        return None
    places = {name: number for number, name in enumerate(part.weights)}
    kept = np.array([name in places for name in subsets])
    strata = np.array([places[name] for name in subsets if name in places])
    sample = sample_of(
        np.zeros(strata.size),
        strata,
        weights=list(part.weights.values()),
        clusters=None if clusters is None else np.asarray(clusters)[kept],
    )
    design = expected_design(sample, CORRELATION)
    try:
        found = [
            detectable_drop(
                share,
                sample.counts,
                weights=sample.weights,
                trial=OneSidedTest(0.025),
                design=design,
            )
            for share in (NEXT_CHECKPOINT, ANOTHER_MODEL)
        ]
    except ValueError:
        return None
    return Expected(*found)
