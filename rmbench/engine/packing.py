"""Plans how token sequences are computed: pure integers, no model and no device.

Two plans, for two kinds of model. `plan_batches` groups whole sequences for padded scoring, which
every model can do. `pack` is for decoders: a token's hidden state depends on the tokens before it
and on nothing else, so a prefix that several sequences share needs computing once. It lays the
sequences of a row out as a prefix tree in depth-first order, where the tokens below any token are
the ones that follow it directly: one integer a token, `end`, says who may attend to it.

    sequences      a b c d     a b c x y     a b z
    tokens         a b c d x y z
    position       0 1 2 3 3 4 2
    end            7 7 6 4 6 6 7            query q sees key k if and only if k <= q < end[k]

The order comes from sorting the sequences: neighbours then share the longest prefixes there are
(the suffix-array construction of a tree: Kasai et al. 2001, "Linear-Time Longest-Common-Prefix
Computation in Suffix Arrays and Its Applications").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int32]
    Longs = npt.NDArray[np.int64]

# Breaks ties between plans of equal cost in favour of fewer rows; too small to buy one token.
ROW_COST = 2.0**-20
FIRST_WINDOW = 512
LAST_WINDOW = 65_536


class Branch(NamedTuple):
    """Where one sequence stands in a row: what it takes over, and what it adds."""

    sequence: int
    """Index into the sequences that were packed."""
    depth: int
    """Leading tokens that earlier branches of the row hold already."""
    offset: int
    """Place in the row of the first token of its own."""
    length: int
    """Tokens of its own, which stand together; 0 for a sequence that stands in the row already."""
    parent: int
    """Branch of the row that holds the token before its own first one; -1 at a root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRow:
    """Sequences laid out as prefix trees, one after the other, in depth-first order.

    Query q sees key k if and only if k <= q < end[k]: each token sees its own sequence up to
    itself, and nothing else of the row.
    """

    tokens: Ints
    """Token ids, shape (size,)."""
    position: Ints
    """Each token's place in its own sequence, from 0, shape (size,)."""
    end: Ints
    """One past the last token of the row that may see this one, shape (size,)."""
    branches: tuple[Branch, ...]
    """One for each sequence of the row, in the row's order."""

    @property
    def size(self) -> int:
        """Tokens that computing this row takes."""
        return int(self.tokens.size)

    def offset(self, branch: int, depth: int) -> int:
        """Find a token of a sequence in the row.

        Args:
            branch: Index into `branches`.
            depth: Place of the token in its own sequence, from 0.

        Returns:
            Its place in the row, from 0. Equal prefixes have one place.

        Raises:
            IndexError: If the sequence has no such token.
        """
        own = self.branches[branch]
        if not 0 <= depth < own.depth + own.length:
            raise IndexError(f"sequence {own.sequence} has no token at depth {depth}")
        while depth < own.depth:
            own = self.branches[own.parent]
        return own.offset + depth - own.depth

    def prefix(self, branch: int) -> list[slice]:
        """List where the tokens stand that a branch takes over from others.

        Args:
            branch: Index into `branches`.

        Returns:
            Slices of the row, in the order of the sequence; together they hold the first `depth`
            tokens of it. With the branch's own tokens, these are all keys its queries see.
        """
        pieces: list[slice] = []
        own = self.branches[branch]
        while own.depth > 0:
            above = self.branches[own.parent]
            pieces.append(slice(above.offset, above.offset + own.depth - above.depth))
            own = above
        return pieces[::-1]


def plan_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Group sequences of like length, longest first, for plain padded scoring.

    Longest first, so that a device too small for the plan fails on the first batch and not on the
    last. Equal lengths keep their order.

    Args:
        lengths: Tokens of each sequence.
        budget: Tokens that a batch may hold, padding included: count x longest.

    Returns:
        Batches of indices into `lengths`, a permutation of them all. Only a batch of one
        sequence may exceed the budget.

    Raises:
        ValueError: If the budget is not positive or a length is negative.
    """
    if budget < 1:
        raise ValueError(f"budget is {budget}; a batch needs at least one token")
    if any(length < 0 for length in lengths):
        raise ValueError("lengths must not be negative")
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if room == 0:
            batches.append([])
            room = max(1, budget // max(1, lengths[index]))
        batches[-1].append(index)
        room -= 1
    return batches


def window_sizes() -> Iterator[int]:
    """Yield how many conversations are packed together while the next ones are still being read.

    The first window is small, so that scoring begins soon; each is twice as large as the one
    before, so that little is lost of what could be shared, up to what is easily held and sorted.

    Yields:
        512, 1,024 and so on up to 65,536, without end.
    """
    size = FIRST_WINDOW
    while True:
        yield size
        size = min(2 * size, LAST_WINDOW)


def pack(sequences: Sequence[Ints], *, row_tokens: int) -> list[PackedRow]:
    """Lay sequences out in rows in which shared prefixes stand once.

    A row holds neighbours in sorted order, cut where the least is lost: where a cut separates two
    sequences, the prefix they share is computed again in the second row. Of all such cuts the one
    of the lowest total cost is taken. Memory and time are linear in the tokens given; a stream
    too long for memory is packed window by window, and shares prefixes within a window.

    Args:
        sequences: Token ids, each of shape (length,). They may repeat.
        row_tokens: Tokens that a row may hold; a longer sequence has a row of its own, which
            holds nothing else but its equals and its prefixes.

    Returns:
        Rows, longest first; each sequence is a branch of exactly one.

    Raises:
        ValueError: If a sequence is empty or `row_tokens` is not positive.
    """
    if row_tokens < 1:
        raise ValueError(f"row_tokens is {row_tokens}; a row needs at least one token")
    if not sequences:
        return []
    order = _sort(sequences)
    ordered = [sequences[i] for i in order]
    lengths = np.array([one.size for one in ordered], dtype=np.int64)
    if lengths[0] == 0:
        raise ValueError(f"sequence {order[0]} is empty: nothing can be read from it")
    shared = _shared_prefixes(ordered, lengths)
    starts = _cut(lengths, shared, row_tokens=row_tokens)
    rows = [
        _lay_out(ordered[i:j], _branches(order[i:j], lengths[i:j], shared[i:j]))
        for i, j in zip(starts, [*starts[1:], len(order)], strict=True)
    ]
    return sorted(rows, key=lambda row: -row.size)


def _sort(sequences: Sequence[Ints]) -> list[int]:
    # Byte strings compare at C speed. Any total order in which a prefix comes first will do, so
    # the sign of the ids is of no account, only that the most significant byte leads.
    keys = [one.astype(">i4").tobytes() for one in sequences]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _shared_prefixes(ordered: Sequence[Ints], lengths: Longs) -> Longs:
    # Tokens that each sequence has in common with the one before it; 0 for the first.
    flat = np.concatenate(ordered)
    starts = np.cumsum(lengths) - lengths
    shorter = np.minimum(lengths[:-1], lengths[1:])
    pair = np.repeat(np.arange(shorter.size), shorter)
    depth = np.arange(pair.size) - np.repeat(np.cumsum(shorter) - shorter, shorter)
    differ = np.flatnonzero(flat[starts[pair] + depth] != flat[starts[pair + 1] + depth])
    which, first = np.unique(pair[differ], return_index=True)
    shorter[which] = depth[differ[first]]
    return np.concatenate(([0], shorter))


def _cut(lengths: Longs, shared: Longs, *, row_tokens: int) -> list[int]:
    # Shortest path over the places where a row may begin. Rows i..j grow with j and shrink with
    # i, since a sequence shares no more with its neighbour than that one has; so the beginnings
    # that fit form a window which only moves forward. What stands whole in a sequence too long
    # for any row, its equals and its prefixes, stays with it: there it costs nothing.
    through = np.cumsum(lengths - shared)
    before = lengths - through  # row i..j holds before[i] + through[j] tokens
    best = np.zeros(lengths.size + 1)
    begin = np.zeros(lengths.size, dtype=np.int64)
    low = 0
    for j in range(lengths.size):
        limit = max(row_tokens, int(lengths[j]))
        while before[low] + through[j] > limit:
            low += 1
        total = best[low : j + 1] + before[low : j + 1] + through[j]
        begin[j] = low + int(total.argmin())
        best[j + 1] = total[begin[j] - low] + ROW_COST
    starts = [int(begin[-1])]
    while starts[-1] > 0:
        starts.append(int(begin[starts[-1] - 1]))
    return starts[::-1]


def _branches(order: Sequence[int], lengths: Longs, shared: Longs) -> tuple[Branch, ...]:
    branches: list[Branch] = []
    offset = 0
    for sequence, length, common in zip(order, lengths.tolist(), shared.tolist(), strict=True):
        depth = common if branches else 0
        parent = len(branches) - 1 if depth else -1
        while parent >= 0 and branches[parent].depth >= depth:
            parent = branches[parent].parent
        branches.append(Branch(sequence, depth, offset, length - depth, parent))
        offset += length - depth
    return tuple(branches)


def _lay_out(ordered: Sequence[Ints], branches: tuple[Branch, ...]) -> PackedRow:
    own = [one[b.depth :] for one, b in zip(ordered, branches, strict=True)]
    tokens = np.concatenate(own).astype(np.int32, copy=False)
    start = np.array([b.depth - b.offset for b in branches], dtype=np.int32)
    length = [b.length for b in branches]
    position = np.arange(tokens.size, dtype=np.int32) + np.repeat(start, length)
    end = _ends(tokens.size, branches)
    return PackedRow(tokens=tokens, position=position, end=end, branches=branches)


def _ends(size: int, branches: tuple[Branch, ...]) -> Ints:
    end = np.full(size, size, dtype=np.int32)
    # Places in the row of the tokens of the sequence being laid, by depth. Where the next one
    # leaves this path, the rest of it can be seen no further.
    path = np.empty(max(b.depth + b.length for b in branches), dtype=np.int32)
    tip = 0
    for b in branches:
        end[path[b.depth : tip]] = b.offset
        tip = b.depth + b.length
        path[b.depth : tip] = np.arange(b.offset, b.offset + b.length, dtype=np.int32)
    return end
