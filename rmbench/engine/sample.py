"""Which sequences of a run prove a way: some that share prefixes, in a row as the run has it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from rmbench.engine.units import Unit

__all__ = ["choose_row", "choose_sample"]

Ids = npt.NDArray[np.int32]

SAMPLE: Final = 8
"""Most sequences of a sample."""
FREE: Final = 64
"""A sequence of so many tokens is never too long for it."""


def choose_row(rows: Sequence[Unit]) -> Unit:
    """Return the row in which the most is shared, of those that are nearly as large as any."""
    sizes = [unit.row.size for unit in rows if unit.row is not None]
    large = [unit for unit, size in zip(rows, sizes, strict=True) if 2 * size >= max(sizes)]
    return max(large, key=_shared)


def _shared(unit: Unit) -> float:
    assert unit.row is not None, "packed units have a row"
    depths = sum(branch.depth for branch in unit.row.branches)
    return depths / (depths + unit.row.size)


def choose_sample(unit: Unit, sequences: Sequence[Ids]) -> list[int]:
    """Return numbers of a few sequences of a unit on which sharing would show its faults.

    A short and a long one, which need most padding between them, and pairs of neighbours of lengths
    between, those that share the most. So that the proof costs a few per cent at most, none is
    longer than a hundredth of the run or the median, whichever is more.

    Args:
        unit: its indices count in ``sequences``; neighbours in a row share prefixes.
        sequences: all sequences of the run's first window.
    """
    sizes = np.array([ids.size for ids in sequences])
    limit = max(float(np.median(sizes)), sizes.sum() / 100, FREE)
    own = list(dict.fromkeys(unit.indices))
    usual = [i for i in own if sizes[i] <= limit] or [min(own, key=lambda i: int(sizes[i]))]
    if len(usual) <= SAMPLE:
        return usual
    by_length = sorted(usual, key=lambda i: int(sizes[i]))
    chosen = dict.fromkeys([by_length[0], by_length[-1]])
    pairs = sorted(_pairs(usual, sequences), key=lambda pair: int(sizes[pair[1]]))
    wanted = (SAMPLE - len(chosen)) // 2
    for number in range(wanted):
        part = pairs[number * len(pairs) // wanted : (number + 1) * len(pairs) // wanted]
        chosen |= dict.fromkeys(max(part)[1:])
    return list(chosen)


def _pairs(usual: Sequence[int], sequences: Sequence[Ids]) -> list[tuple[int, int, int]]:
    """Return neighbours, first the number of tokens that they have in common."""
    pairs = []
    for one, other in pairwise(usual):
        first, second = sequences[one], sequences[other]
        size = min(first.size, second.size)
        differ = np.flatnonzero(first[:size] != second[:size])
        pairs.append((int(differ[0]) if differ.size else size, one, other))
    return pairs
