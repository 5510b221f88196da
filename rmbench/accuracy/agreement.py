"""How far two models judge alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.credit import Outcome, Outcomes

__all__ = ["Agreement", "Kappa", "agreement", "cohen_kappa"]


class Kappa(NamedTuple):
    """Cohen's kappa: at most 1, which is full agreement; 0 is what chance gives.

    Attributes:
        value: the agreement beyond chance.
        standard_error: of ``value`` for independent items.
    """

    value: float
    standard_error: float


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> Kappa:
    """Return the agreement of two labellings beyond what chance would give.

    Args:
        first: a category (number or text) per item.
        second: the other labelling of the same items, in the same order.

    Raises:
        ValueError: no item, unequal lengths, or both labellings hold one and the same category
            throughout, where chance alone agrees fully and kappa is 0 / 0.

    Source: J. Cohen (1960), A coefficient of agreement for nominal scales, Educational and
    Psychological Measurement 20:37-46, unweighted; J. L. Fleiss, J. Cohen, B. S. Everitt (1969),
    Psychological Bulletin 72:323-327, equation 13, for the standard error.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.size == 0 or a.shape != b.shape:
        raise ValueError(
            f"kappa needs two equally long, non-empty lists, got shapes {a.shape} and {b.shape}"
        )
    categories, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    if categories.size == 1:
        raise ValueError(f"kappa is undefined when every label is the same, here {categories[0]!s}")
    table = np.zeros((categories.size, categories.size))
    np.add.at(table, (codes[: a.size], codes[a.size :]), 1.0 / a.size)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    agreed, by_chance = float(np.trace(table)), float(rows @ columns)
    kappa = min((agreed - by_chance) / (1.0 - by_chance), 1.0)
    # The delta method: each cell's derivative, once on the diagonal and once off it.
    sums = columns[:, None] + rows[None, :]
    slopes = -sums * (1.0 - kappa) + np.eye(categories.size)
    moments = float((table * slopes**2).sum()) - (kappa - by_chance * (1.0 - kappa)) ** 2
    return Kappa(kappa, math.sqrt(max(moments, 0.0) / a.size) / (1.0 - by_chance))


class Agreement(NamedTuple):
    """How far two models are right and wrong on the same comparisons.

    It is not how far they prefer the same responses: on a comparison of several responses two
    models can be wrong in different ways.

    Attributes:
        same: share of comparisons with the same outcome (won, lost or tied), in [0, 1].
        kappa: error consistency: Cohen's kappa of the outcomes; None where it is undefined because
            every outcome of both is one and the same. It falls with accuracy at the same share.
        n: comparisons that both scored.
        standard_error: of ``kappa``, for independent comparisons.
    """

    same: float
    kappa: float | None
    n: int
    standard_error: float | None = None


def agreement(
    first: Sequence[Outcome | None], second: Sequence[Outcome | None]
) -> Agreement | None:
    """Return how far two models agree on the same comparisons; None if they share none.

    Source: R. Geirhos, K. Meding, F. A. Wichmann (2020), Beyond accuracy: quantifying
    trial-by-trial behaviour of CNNs and humans by measuring error consistency, NeurIPS.
    """
    sides = [Outcomes.of(side) for side in (first, second)]
    both = ~(sides[0].dropped | sides[1].dropped)
    if not both.any():
        return None
    a, b = (_codes(side)[both] for side in sides)
    same, n = float(np.mean(a == b)), int(both.sum())
    if np.unique(np.concatenate([a, b])).size == 1:
        return Agreement(same, None, n)
    found = cohen_kappa(a, b)
    return Agreement(same, found.value, n, found.standard_error)


def _codes(outcomes: Outcomes) -> npt.NDArray[np.int64]:
    """Return 2 for won, 1 for tied and 0 for lost."""
    return np.where(outcomes.tied, 1, np.where(outcomes.won, 2, 0))
