"""What is computed together: sequences by number, in packed rows or padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rmbench.engine.budget import chunks_per_row
from rmbench.engine.frequencies import Frequencies
from rmbench.engine.packing import PackedRow, pack, plan_batches
from rmbench.errors import ScorerError

__all__ = ["PACKED", "Planner", "Unit"]

Ids = npt.NDArray[np.int32]

PACKED = ("fused", "packed")
"""Ways that compute rows; the others compute batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Sequences that are computed together.

    Attributes:
        indices: their numbers; those of a row in the order of its branches.
        row: how they are laid out, for the packed ways.
        chunk: most tokens of the row that one forward pass computes.
    """

    indices: list[int]
    row: PackedRow | None = None
    chunk: int = 0

    @property
    def name(self) -> tuple[int, ...]:
        """What tells a unit from every other of the same sequences."""
        return (self.chunk, *self.indices)


class Planner:
    """Cuts sequences into units that fit a device.

    Args:
        tokens: of one batch, or of one chunk of a row.
        device: on a CPU a row holds several chunks.
        frequencies: what may be computed together.
    """

    def __init__(self, tokens: int, *, device: torch.device, frequencies: Frequencies) -> None:
        self.tokens = tokens
        self.device = device
        self.frequencies = frequencies

    def plan(self, way: str, sequences: Sequence[Ids], indices: Sequence[int]) -> list[Unit]:
        """Return the sequences at ``indices`` in units, the largest of a kind first.

        A sequence that is larger than a batch has a unit of its own.
        """
        units = []
        for numbers, may_chunk in self.frequencies.group([sequences[i].size for i in indices]):
            part = [indices[number] for number in numbers]
            if way in PACKED:
                units += self._rows(sequences, part, may_chunk=may_chunk)
            else:
                units += self._batches(sequences, part, 1 if way == "alone" else self.tokens)
        return units

    def _rows(
        self, sequences: Sequence[Ids], part: Sequence[int], *, may_chunk: bool
    ) -> list[Unit]:
        chunks = chunks_per_row(self.device) if may_chunk else 1
        rows = pack([sequences[i] for i in part], row_tokens=self.tokens * chunks)
        return [
            Unit(
                indices=[part[branch.sequence] for branch in row.branches],
                row=row,
                chunk=self.tokens if may_chunk else row.size,
            )
            for row in rows
        ]

    @staticmethod
    def _batches(sequences: Sequence[Ids], part: Sequence[int], budget: int) -> list[Unit]:
        batches = plan_batches([sequences[i].size for i in part], budget=budget)
        return [Unit(indices=[part[i] for i in batch]) for batch in batches]

    def shrink(self, unit: Unit, sequences: Sequence[Ids]) -> None:
        """Plan smaller units from here on: one did not fit into memory.

        Raises:
            ScorerError: it was a single sequence.
        """
        if len(unit.indices) == 1:
            raise too_long(sequences[unit.indices[0]].size, self.device)
        size = sum(sequences[i].size for i in unit.indices)
        self.tokens = max(1, min(self.tokens, size) // 2)


def too_long(tokens: int, device: torch.device) -> ScorerError:
    """Return the error for a sequence that does not fit into memory by itself."""
    return ScorerError(
        f"a conversation of {tokens} tokens does not fit into the memory of {device}; use --dtype"
        " bfloat16, --max-length or --device-map auto"
    )
