"""All answers on each comparison, in columns: small in memory, and to and from files."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from rmbench.scorers.reductions import REDUCTIONS

__all__ = ["Block", "Judgement", "Judgements", "Preference", "Value"]

Floats = npt.NDArray[np.float32]
Value = float | tuple[float, ...] | None
"""What one response was given: a reward, or the rewards of its steps; None if it was dropped."""


class Preference(NamedTuple):
    """One question of a listwise scorer and its answer.

    Attributes:
        order: the responses as they were shown, by number: chosen ones from 0 on, then rejected.
        shares: of the preference, one for each of ``order``; None if there was no answer.
    """

    order: tuple[int, ...]
    shares: tuple[float, ...] | None


class Judgement(NamedTuple):
    """All answers on one comparison.

    ``chosen`` and ``rejected`` have one value for each response: a reward, a tuple of the rewards
    of its steps, or None where there is none; for a listwise scorer every value is None, and
    ``preferences`` has its answers. ``cluster`` is a number that comparisons sampled together
    share, such as those of one prompt; None where it is not known. ``faulty`` are the numbers of
    the wrong steps, from 0, where the one chosen response is a solution that is judged by its
    steps, and nothing is rejected; else None.
    """

    id: str
    chosen: tuple[Value, ...]
    rejected: tuple[Value, ...]
    preferences: tuple[Preference, ...] = ()
    cluster: int | None = None
    faulty: tuple[int, ...] | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether a response has no reward; then the comparison counts nowhere."""
        return not self.preferences and (None in self.chosen or None in self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The comparisons of one shape, c chosen and r rejected responses, in columns.

    Attributes:
        indices: where they stand among all comparisons, shape (n,), ascending.
        margins: of chosen i over rejected j, shape (n, c, r), float32; NaN without an answer.
        chosen: rewards, shape (n, c), float32; NaN for a dropped one; None for preferences.
        rejected: likewise, shape (n, r).
    """

    indices: npt.NDArray[np.int64]
    margins: Floats
    chosen: Floats | None = None
    rejected: Floats | None = None

    @property
    def is_answered(self) -> npt.NDArray[np.bool_]:
        """Which comparisons have a margin for every pair of responses, shape (n,)."""
        flat = np.isnan(self.margins).reshape(len(self.indices), -1)
        return np.asarray(~flat.any(axis=1), dtype=np.bool_)

    def only(self, mask: npt.NDArray[np.bool_]) -> "Block":
        """Return the comparisons for which ``mask``, shape (n,), is true."""
        return Block(
            indices=self.indices[mask],
            margins=self.margins[mask],
            chosen=None if self.chosen is None else self.chosen[mask],
            rejected=None if self.rejected is None else self.rejected[mask],
        )


class Judgements(Sequence[Judgement]):
    """The judgements of a run, four bytes for a reward; an entry is made when it is asked for.

    Equal to any sequence of the same entries. A list of a million entries would take 300 MB.

    Attributes:
        ids: of each comparison.
        sides: number of chosen and of rejected responses, shape (n, 2).
        rewards: one per response, chosen before rejected, comparison by comparison, float32; NaN
            where there is none. Of steps, after the reduction.
        steps: for each response the rewards of its steps; None for scorers that give none.
        preferences: for each comparison the answers of a listwise scorer; None for others.
        clusters: a number for each comparison, equal where they were sampled together, shape (n,);
            None where it is not known.
        faulty: for each comparison the numbers of the wrong steps; None where none is judged by
            its steps.
    """

    def __init__(
        self,
        ids: Sequence[str],
        sides: Sequence[tuple[int, int]] | npt.NDArray[np.int64],
        rewards: Sequence[float] | Floats,
        *,
        steps: Sequence[tuple[float, ...] | None] | None = None,
        preferences: Sequence[tuple[Preference, ...]] | None = None,
    ) -> None:
        """Keep the columns; see the attributes."""
        self.ids = ids
        self.sides = np.asarray(sides, dtype=np.int64).reshape(-1, 2)
        self.rewards: Floats = np.asarray(rewards, dtype=np.float32)
        self.steps = steps
        self.preferences = preferences
        self.clusters: npt.NDArray[np.int64] | None = None
        self.faulty: Sequence[tuple[int, ...]] | None = None
        assert len(ids) == len(self.sides), "every comparison has its two sides"
        assert self.rewards.size == self.sides.sum(), "every response has its place"

    @classmethod
    def of(cls, entries: Sequence[Judgement], *, reduce: str = "min") -> "Judgements":
        """Return entries in columns; those that stand in columns already come back as they are.

        Args:
            entries: all of one kind: rewards, steps or preferences.
            reduce: how steps become a reward, one of ``REDUCTIONS``.
        """
        if isinstance(entries, cls):
            return entries
        values = [value for item in entries for value in (*item.chosen, *item.rejected)]
        steps = [value if isinstance(value, tuple) else None for value in values]
        asked = [item.preferences for item in entries]
        clusters = [item.cluster for item in entries]
        columns = cls(
            [item.id for item in entries],
            [(len(item.chosen), len(item.rejected)) for item in entries],
            [_reward(value, reduce) for value in values],
            steps=steps if any(value is not None for value in steps) else None,
            preferences=asked if any(asked) else None,
        )
        faulty = [item.faulty for item in entries]
        if any(item is not None for item in faulty):
            columns = columns.with_faulty([item or () for item in faulty])
        known = [number for number in clusters if number is not None]
        return columns.in_clusters(known) if known and len(known) == len(entries) else columns

    def in_clusters(self, clusters: npt.ArrayLike) -> "Judgements":
        """Return the same judgements with a cluster for each, a whole number."""
        found = Judgements(
            self.ids, self.sides, self.rewards, steps=self.steps, preferences=self.preferences
        )
        found.clusters, found.faulty = np.asarray(clusters, dtype=np.int64), self.faulty
        assert found.clusters.shape == (len(self),), "every comparison has its cluster"
        return found

    def with_faulty(self, faulty: Sequence[tuple[int, ...]]) -> "Judgements":
        """Return the same judgements with the numbers of each one's wrong steps."""
        found = Judgements(
            self.ids, self.sides, self.rewards, steps=self.steps, preferences=self.preferences
        )
        found.clusters, found.faulty = self.clusters, faulty
        assert len(faulty) == len(self), "every comparison has its wrong steps"
        return found

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Judgement: ...
    @overload
    def __getitem__(self, index: slice) -> list[Judgement]: ...
    def __getitem__(self, index: int | slice) -> Judgement | list[Judgement]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start, end = self._starts[number : number + 2].tolist()
        middle = start + int(self.sides[number, 0])
        chosen, rejected = self._values(start, middle), self._values(middle, end)
        asked = () if self.preferences is None else self.preferences[number]
        cluster = None if self.clusters is None else int(self.clusters[number])
        faulty = None if self.faulty is None else self.faulty[number]
        return Judgement(self.ids[number], chosen, rejected, asked, cluster, faulty)

    def __iter__(self) -> Iterator[Judgement]:
        if not (self.steps is None and self.preferences is None and self.faulty is None):
            yield from (self[i] for i in range(len(self)))
            return
        values = iter([None if math.isnan(value) else value for value in self.rewards.tolist()])
        clusters = repeat(None) if self.clusters is None else iter(self.clusters.tolist())
        for identity, (num_chosen, num_rejected) in zip(self.ids, self.sides.tolist(), strict=True):
            chosen = tuple(islice(values, num_chosen))
            rejected = tuple(islice(values, num_rejected))
            yield Judgement(identity, chosen, rejected, (), next(clusters))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.sides.sum(axis=1))])

    def _values(self, start: int, end: int) -> tuple[Value, ...]:
        if self.steps is not None:
            return tuple(self.steps[start:end])
        values = self.rewards[start:end].tolist()
        return tuple([None if math.isnan(value) else value for value in values])

    def blocks(self) -> Iterator[Block]:
        """Yield the comparisons of each shape in columns; shapes ascend."""
        shapes, places = np.unique(self.sides, axis=0, return_inverse=True)
        for number, (num_chosen, num_rejected) in enumerate(shapes.tolist()):
            indices = np.flatnonzero(places.reshape(-1) == number)
            if self.preferences is not None:
                asked = [self.preferences[i] for i in indices.tolist()]
                shape = (num_chosen, num_rejected)
                margins = np.array([_margins(item, shape) for item in asked], np.float32)
                yield Block(indices=indices, margins=margins)
                continue
            grid = self._starts[indices][:, None] + np.arange(num_chosen + num_rejected)
            chosen, rejected = np.split(self.rewards[grid], [num_chosen], axis=1)
            with np.errstate(over="ignore"):  # the sign of an infinite margin is right
                margins = chosen[:, :, None] - rejected[:, None, :]
            yield Block(indices=indices, margins=margins, chosen=chosen, rejected=rejected)

    def best_margins(self) -> npt.NDArray[np.float64]:
        """Return by how much the best chosen response is preferred to the best rejected one.

        With one response on each side it is the margin; with several, what decides whether a chosen
        response comes first.

        Returns:
            Shape (number of comparisons,); NaN for a dropped one.
        """
        margins = np.full(len(self), np.nan)
        for block in self.blocks():
            if not block.margins.shape[2]:  # a solution in steps, compared with nothing
                continue
            if block.chosen is None or block.rejected is None:
                margins[block.indices] = block.margins.min(axis=2).max(axis=1)
            else:
                best = [side.max(axis=1).astype(np.float64) for side in _both(block)]
                margins[block.indices] = best[0] - best[1]
        return margins


def _both(block: Block) -> tuple[Floats, Floats]:
    assert block.chosen is not None and block.rejected is not None, "only asked for rewards"
    return block.chosen, block.rejected


def _reward(value: Value, reduce: str) -> float:
    if value is None:
        return math.nan
    return REDUCTIONS[reduce](value) if isinstance(value, tuple) else value


def _margins(asked: Iterable[Preference], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the mean difference of shares over the questions in which both stood.

    Two responses that were shown in both orders have a margin only if both were answered: the one
    order alone may have been won by the place of a response.
    """
    total = np.zeros(shape)
    times = np.zeros(shape)
    for order, shares in asked:
        given = [math.nan] * len(order) if shares is None else shares
        by_number = dict(zip(order, given, strict=True))
        for i, j in np.ndindex(shape):
            if i in by_number and shape[0] + j in by_number:
                total[i, j] += by_number[i] - by_number[shape[0] + j]
                times[i, j] += 1
    margins: npt.NDArray[np.float64] = np.full(shape, np.nan)
    return np.divide(total, times, out=margins, where=times > 0)
