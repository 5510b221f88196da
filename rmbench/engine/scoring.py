"""Token ids → values on a device, by the fastest way that changes none of them.

The truth is the model's own forward pass on one conversation, alone and unpadded. Faster ways are
tried against it on the run's own first row (``proof``), fastest first (``ways``).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from rmbench.engine.budget import choose_batch_tokens
from rmbench.engine.failures import (
    ShortOfMemoryError,
    free_memory,
    is_out_of_memory,
    one_message,
)
from rmbench.engine.layers import Streamed
from rmbench.engine.proof import Proof, prove
from rmbench.engine.reading import Ask, Reading, Reward
from rmbench.engine.units import Planner, Unit, too_long
from rmbench.engine.ways import Pending, Values, Ways, plain_attention
from rmbench.engine.workers import ModelSource, Workers

__all__ = ["Engine", "Kept", "Scoring", "TokensDone", "device_name"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
TokensDone = Callable[[int], None]
"""Called after every batch with the tokens done so far, of all that were given."""

_T = TypeVar("_T")

AHEAD: Final = {"cuda": 1}
"""Units begun on a device before the values of the one before them are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What came of a call of the engine.

    Attributes:
        rewards: float32, shape (number of sequences,), in their order.
        inputs: for each sequence the number of its distinct input; equal inputs share a number.
        proof: the way that was taken, and how it was proven.
        tokens: in the distinct sequences.
        tokens_computed: by the model, padding and the sample included, known ones left out.
        seconds: for the proof and the scoring, in seconds.
    """

    rewards: Floats
    inputs: npt.NDArray[np.int64]
    proof: Proof
    tokens: int
    tokens_computed: int
    seconds: float

    @property
    def way(self) -> str:
        """How the rewards were computed: one of ``ways.WAYS``."""
        return self.proof.way

    @property
    def difference(self) -> float:
        """Largest difference of a reward from the lone forward on the sample."""
        return self.proof.difference

    @property
    def refused(self) -> dict[str, float]:
        """The faster ways that differed too much, each by how much."""
        return self.proof.refused


class Kept(Protocol):
    """The rewards of distinct asks, numbered in the order in which they first come up."""

    def known(self, number: int) -> float | None:
        """Return the reward that an earlier run recorded; None if there is none."""

    def record(self, rewards: Mapping[int, float]) -> None:
        """Keep rewards by their numbers."""


class Engine:
    """Values of token sequences under one loaded model.

    Args:
        model: in eval mode, on its device.
        batch_tokens: tokens of one batch or row; None for what suits the device and the model.
        progress: called after every batch.
        kept: what an earlier run left, and where new values go batch by batch.
        reading: what is read; None for the reward of a sequence classifier with one logit.
        job: other processes that compute too; None for this one alone.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: Any,
        *,
        batch_tokens: int | None = None,
        progress: TokensDone | None = None,
        kept: Kept | None = None,
        reading: Reading | None = None,
        job: ModelSource | None = None,
    ) -> None:
        self.model = model
        self.device = torch.device(model.device)
        self.progress = progress
        self.kept = kept
        self.reading = Reward(model) if reading is None else reading
        self.ways = Ways(self.reading, self.device)
        tokens = batch_tokens or choose_batch_tokens(
            model.config, device=self.device, dtype=model.dtype
        )
        self.planner = Planner(tokens, device=self.device, frequencies=self.ways.frequencies)
        self.workers = None if job is None or not job.devices else Workers(job)
        self.excluded: set[str] = set()
        self._done = 0
        self._proof = Proof(way="alone")

    @property
    def way(self) -> str:
        """How the values of the last call were computed: one of ``ways.WAYS``."""
        return self._proof.way

    @property
    def batch_tokens(self) -> int:
        """Tokens of one batch, or of one chunk of a row; less once memory was short."""
        return self.planner.tokens

    @property
    def readout(self) -> Any:
        """Backbone and head of a model that reads one token, else None."""
        return getattr(self.reading, "readout", None)

    @property
    def proof(self) -> Proof:
        """How the last call computed, and how that was proven."""
        return self._proof

    def environment(self) -> dict[str, Any]:
        """Return what can move a value's last digits: device, kernel, batch, build of PyTorch."""
        kernel = self.ways.kernel if self._proof.way == "fused" else None
        return {
            "device": device_name(self.device),
            "kernel": None if kernel is None else kernel.name,
            "batch_tokens": self.batch_tokens,
            "torch_build": torch.__version__,
            "workers": 1 + (0 if self.workers is None else self.workers.counted),
        }

    def close(self) -> None:
        """End the other processes, if there are any."""
        if self.workers is not None:
            self.workers.close()

    def score(self, sequences: Sequence[Ids]) -> Scoring:
        """Return the rewards of token sequences; equal sequences are computed once.

        Args:
            sequences: token ids, each of shape (length,), length at least 1.

        Raises:
            ScorerError: one conversation alone does not fit into the device's memory.
        """
        return self.score_windows([sequences])

    def score_windows(self, windows: Iterable[Sequence[Ids]]) -> Scoring:
        """Return the rewards of token sequences that come window by window.

        Prefixes are shared within a window, rewards of equal sequences across all of them. The way
        is chosen on the first window.

        Args:
            windows: token ids, each of shape (length,), length at least 1.

        Raises:
            ScorerError: one conversation alone does not fit into the device's memory, a reward of
                the sample is no number, or the device is lost.
        """
        asked = ([Ask(ids=ids) for ids in window] for window in windows)
        values, seen, seconds = self._answer(asked)
        rewards = np.array([own[0, 0] for own in values], dtype=np.float32)
        inputs = np.array(seen.inputs, dtype=np.int64)
        return Scoring(
            rewards=rewards[inputs] if inputs.size else rewards,
            inputs=inputs,
            proof=self._proof,
            tokens=seen.tokens,
            tokens_computed=self.ways.computed,
            seconds=seconds,
        )

    def read(self, asks: Sequence[Ask]) -> list[Values]:
        """Return what is read of sequences, (places, outputs) for each; see ``score_windows``."""
        values, seen, _ = self._answer([asks])
        return [values[number] for number in seen.inputs]

    def score_alone(self, sequences: Iterable[Ids]) -> list[float]:
        """Return the truth: the model's own forward on each sequence, alone and unpadded.

        Raises:
            ScorerError: a sequence does not fit into the device's memory, or the device is lost.
        """
        return [float(values[0, 0]) for values in self.read_alone([Ask(ids=i) for i in sequences])]

    def read_alone(self, asks: Iterable[Ask]) -> list[Values]:
        """Return the truth of what is read of sequences, each alone and unpadded."""
        with self._computing():
            return list(self.ways.together([partial(self._truth, ask) for ask in asks]))

    def fall_back(self) -> bool:
        """Exclude the way that was taken last; return whether there is a slower one."""
        self.excluded.add(self._proof.way)
        return self._proof.way != "alone"

    def _computing(self) -> ExitStack:
        """Return what surrounds all that is computed."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        stack.enter_context(one_message(self.device))
        stack.enter_context(plain_attention(self.device))
        return stack

    def _answer(self, windows: Iterable[Sequence[Ask]]) -> tuple[list[Values], "_Seen", float]:
        """Return the values of distinct asks, which asks are equal, and the seconds it took."""
        seen, values, seconds = _Seen(), list[Values](), 0.0
        self.ways.computed = self._done = 0
        self._proof = Proof(way="alone")
        if self.workers is not None:
            self.workers.begin()
        for several in self._gathered(windows):
            start = time.perf_counter()
            parts = [seen.add(window) for window in several]
            fresh = [ask for asks, _ in parts for ask in asks]
            counts = [count for _, given in parts for count in given]
            with self._computing():
                if fresh and not values:
                    self._prove(parts[0][0] or fresh)
                again = [ask.ids.size * count for ask, count in zip(fresh, counts, strict=True)]
                self._done += sum(map(_tokens, several)) - sum(again)
                sizes = [len(part) for part, _ in parts]
                values += self._run(fresh, counts, sizes, first=len(values))
            seconds += time.perf_counter() - start
        return values, seen, seconds

    def _gathered(self, windows: Iterable[Sequence[Ask]]) -> Iterator[list[Sequence[Ask]]]:
        """Yield windows one by one; all at once where each time all weights would be read."""
        if self.ways.streamed is None:
            yield from ([window] for window in windows)
        else:
            yield list(windows)

    def _prove(self, asks: Sequence[Ask]) -> None:
        self._proof = prove(self.ways, self.planner, asks, self.excluded)
        if self.workers is not None:
            self.workers.check(self.ways, self._proof.way, self.planner, asks)

    # --- all sequences, unit by unit -------------------------------------------------------------

    def _run(
        self, asks: Sequence[Ask], counts: Sequence[int], sizes: Sequence[int], *, first: int
    ) -> list[Values]:
        """Compute every ask, in units that shrink when memory runs out.

        ``counts`` tells how often each was given, for the progress; ``sizes`` how many of them each
        window brought, within which units are planned; ``first`` is the number of the first of them
        among all distinct asks.

        The plan is made of all asks, also of those whose values are known: so an interrupted run
        goes on with the very batches that it would have computed, and ends in the same bytes.
        """
        way, sequences = self._proof.way, [ask.ids for ask in asks]
        values = self._known(range(first, first + len(asks)))
        todo = []
        for stop, size in zip(accumulate(sizes), sizes, strict=True):
            todo += self.planner.plan(way, sequences, range(stop - size, stop))
        while todo:
            left = {unit.name: unit for unit in todo}
            try:
                for unit, fresh in self._computed(way, todo, asks, values):
                    new = {
                        i: x for i, x in zip(unit.indices, fresh, strict=True) if i not in values
                    }
                    self._keep(first, new)
                    values |= new
                    self._done += sum(sequences[i].size * counts[i] for i in unit.indices)
                    self._tell()
                    del left[unit.name]
                break
            except ShortOfMemoryError as error:
                failed = error.unit
            # The others of this size would not fit either.
            self.planner.shrink(failed, sequences)
            free_memory(self.device)
            rest = [i for unit in left.values() for i in unit.indices]
            todo = self.planner.plan(way, sequences, rest)
        return [values[i] for i in range(len(asks))]

    def _computed(
        self, way: str, todo: Sequence[Unit], asks: Sequence[Ask], values: Mapping[int, Values]
    ) -> Iterator[tuple[Unit, list[Values]]]:
        """Yield units with their values: those at hand first, then the others as they are done.

        Raises:
            ShortOfMemoryError: a unit did not fit.
        """
        fresh = []
        for unit in todo:
            if all(i in values for i in unit.indices):
                yield unit, [values[i] for i in unit.indices]
            elif unit.name in self._proof.ready:
                yield unit, self._proof.ready[unit.name]
            else:
                fresh.append(unit)
        if self.workers is not None:
            yield from self.workers.compute(self.ways, way, fresh, asks)
            return
        if self.ways.streamed is not None:
            yield from self._by_layers(self.ways.streamed, way, fresh, asks)
            return
        flight = _Flight(AHEAD.get(self.device.type, 0))
        for unit in fresh:
            flight.begin(unit, partial(self.ways.start, way, unit, asks))
            yield from flight.land(wait=False)
        yield from flight.land(wait=True)

    def _by_layers(
        self, streamed: Streamed, way: str, todo: Sequence[Unit], asks: Sequence[Ask]
    ) -> Iterator[tuple[Unit, list[Values]]]:
        """Yield units with their values; as many go through all layers together as have room."""
        width = int(self.model.config.get_text_config().hidden_size)
        most = streamed.most_tokens(width, self.model.dtype)
        for group in _groups(todo, [_size(unit, asks) for unit in todo], most):
            starts = [partial(self.ways.start, way, unit, asks) for unit in group]
            work = [
                partial(_unless_short, unit, partial(_finish, start))
                for unit, start in zip(group, starts, strict=True)
            ]
            yield from zip(group, self.ways.together(work), strict=True)

    def _known(self, numbers: range) -> dict[int, Values]:
        if self.kept is None:
            return {}
        found = enumerate(map(self.kept.known, numbers))
        return {i: np.array([[reward]]) for i, reward in found if reward is not None}

    def _keep(self, first: int, new: Mapping[int, Values]) -> None:
        if self.kept is not None:
            numbers = {i: float(np.float32(x[0, 0])) for i, x in new.items()}
            finite = {first + i: x for i, x in numbers.items() if np.isfinite(x)}
            self.kept.record(finite)

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self._done)

    def _truth(self, ask: Ask) -> Values:
        try:
            return self.ways.truth(ask)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        raise too_long(ask.ids.size, self.device)


class _Flight:
    """Units that a device has begun, in their order."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._begun: list[tuple[Unit, Pending]] = []

    def begin(self, unit: Unit, start: Callable[[], Pending]) -> None:
        """Begin a unit."""
        self._begun.append((unit, _unless_short(unit, start)))

    def land(self, *, wait: bool) -> Iterator[tuple[Unit, list[Values]]]:
        """Yield the units that are done; all of them with ``wait``."""
        while len(self._begun) > (0 if wait else self._ahead):
            unit, pending = self._begun.pop(0)
            yield unit, _unless_short(unit, pending.get)


def _unless_short(unit: Unit, compute: Callable[[], _T]) -> _T:
    try:
        return compute()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    raise ShortOfMemoryError(unit)


def _finish(start: Callable[[], Pending]) -> list[Values]:
    return start().get()


def _size(unit: Unit, asks: Sequence[Ask]) -> int:
    """Return the tokens of a unit whose states are kept, padding included."""
    if unit.row is not None:
        return unit.row.size
    return len(unit.indices) * max(asks[i].ids.size for i in unit.indices)


def _groups(units: Sequence[Unit], sizes: Sequence[int], most: int) -> Iterator[list[Unit]]:
    """Yield neighbouring units that have so many tokens together at most, one at least."""
    group: list[Unit] = []
    total = 0
    for unit, size in zip(units, sizes, strict=True):
        if group and total + size > most:
            yield group
            group, total = [], 0
        group.append(unit)
        total += size
    if group:
        yield group


class _Seen:
    """The distinct asks so far, and for each ask given the number of its distinct one."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.inputs: list[int] = []
        self.tokens = 0

    def add(self, window: Sequence[Ask]) -> tuple[list[Ask], list[int]]:
        """Return those that were never seen before, and how often the window holds each."""
        known = len(self.numbers)
        own = [self.numbers.setdefault(ask.content, len(self.numbers)) for ask in window]
        self.inputs += own
        first = dict(zip(own[::-1], window[::-1], strict=True))
        fresh = [first[number] for number in range(known, len(self.numbers))]
        self.tokens += _tokens(fresh)
        counts = Counter(own)
        return fresh, [counts[number] for number in range(known, len(self.numbers))]


def _tokens(asks: Sequence[Ask]) -> int:
    return sum(ask.ids.size for ask in asks)


def device_name(device: torch.device) -> str:
    """Return what a device is called: a GPU by its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
