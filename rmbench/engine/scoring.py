"""Token ids → values on a device, by the fastest way that changes none of them.

The truth is the model's own forward pass on one conversation, alone and unpadded. Faster ways are
tried against it on the run's own first row (``proof``), fastest first (``ways``).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from rmbench.cache import Cache, make_key
from rmbench.engine.budget import choose_batch_tokens
from rmbench.engine.failures import free_memory, is_out_of_memory, one_message
from rmbench.engine.proof import Proof, prove
from rmbench.engine.reading import Ask, Reading, Reward
from rmbench.engine.units import Planner, Unit, too_long
from rmbench.engine.ways import Pending, Values, Ways, plain_attention

__all__ = ["Engine", "Progress", "Scoring", "device_name"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Progress = Callable[[int], None]
"""Called after every batch with the tokens done so far, of all that were given."""

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
        tokens_computed: by the model, padding and the sample included, cached ones left out.
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


class Engine:
    """Values of token sequences under one loaded model.

    Args:
        model: in eval mode, on its device.
        batch_tokens: tokens of one batch or row; None for what suits the device and the model.
        progress: called after every batch.
        cache: rewards computed before, and where new ones go batch by batch.
        scope: what determines a reward besides the token ids; part of the cache's keys.
        reading: what is read; None for the reward of a sequence classifier with one logit.
    """

    def __init__(  # noqa: PLR0913
        self,
        model: Any,
        *,
        batch_tokens: int | None = None,
        progress: Progress | None = None,
        cache: Cache | None = None,
        scope: bytes = b"",
        reading: Reading | None = None,
    ) -> None:
        self.model = model
        self.device = torch.device(model.device)
        self.progress = progress
        self.cache = cache
        self.scope = scope
        self.reading = Reward(model) if reading is None else reading
        self.ways = Ways(self.reading, self.device)
        tokens = batch_tokens or choose_batch_tokens(
            model.config, device=self.device, dtype=model.dtype
        )
        self.planner = Planner(tokens, device=self.device, frequencies=self.ways.frequencies)
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

    def environment(self) -> dict[str, Any]:
        """Return what can move a value's last digits: device, kernel, batch, build of PyTorch."""
        kernel = self.ways.kernel if self._proof.way == "fused" else None
        return {
            "device": device_name(self.device),
            "kernel": None if kernel is None else kernel.name,
            "batch_tokens": self.batch_tokens,
            "torch_build": torch.__version__,
        }

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
            return [self._truth(ask) for ask in asks]

    def fall_back(self) -> bool:
        """Exclude the way that was taken last; return whether there is a slower one."""
        self.excluded.add(self._proof.way)
        return self._proof.way != "alone"

    def tolerance_of(self, way: str) -> float:
        """Return how far a reward may be from the lone forward's without being at fault."""
        return self._proof.tolerance if way != "alone" else 0.0

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
        for window in windows:
            start = time.perf_counter()
            fresh, counts = seen.add(window)
            with self._computing():
                if fresh and not values:
                    self._proof = prove(self.ways, self.planner, fresh, self.excluded)
                again = [ask.ids.size * count for ask, count in zip(fresh, counts, strict=True)]
                self._done += _tokens(window) - sum(again)
                values += self._run(self._proof.way, fresh, counts)
            seconds += time.perf_counter() - start
        return values, seen, seconds

    # --- all sequences, unit by unit -------------------------------------------------------------

    def _run(self, way: str, asks: Sequence[Ask], counts: Sequence[int]) -> list[Values]:
        """Compute every ask, in units that shrink when memory runs out.

        ``counts`` tells how often each was given, for the progress.

        The plan is made of all asks, also of those whose values are cached: so an interrupted run
        goes on with the very batches that it would have computed, and ends in the same bytes.
        """
        sequences = [ask.ids for ask in asks]
        keys = [make_key(self.scope, ask.content) for ask in asks]
        values = self._known(keys)
        flight = _Flight(AHEAD.get(self.device.type, 0))
        todo = self._plan(way, sequences, range(len(asks)))
        while todo or flight.units:
            try:
                if todo:
                    flight.begin(todo[-1], self._begin(way, todo[-1], asks, values))
                    todo.pop()
                for unit, fresh in flight.land(wait=not todo):
                    new = {
                        i: x for i, x in zip(unit.indices, fresh, strict=True) if i not in values
                    }
                    self._keep(keys, new)
                    values |= new
                    self._done += sum(sequences[i].size * counts[i] for i in unit.indices)
                    self._tell()
                continue
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # The others of this size would not fit either.
            failed = [*flight.clear(), *todo[::-1]]
            self.planner.shrink(failed[0], sequences)
            free_memory(self.device)
            todo = self._plan(way, sequences, [i for unit in failed for i in unit.indices])
        return [values[i] for i in range(len(asks))]

    def _plan(self, way: str, sequences: Sequence[Ids], indices: Sequence[int]) -> list[Unit]:
        """Return the units, the one to be computed first at the end."""
        return self.planner.plan(way, sequences, indices)[::-1]

    def _begin(
        self, way: str, unit: Unit, asks: Sequence[Ask], values: Mapping[int, Values]
    ) -> Pending | list[Values]:
        if all(i in values for i in unit.indices):
            return [values[i] for i in unit.indices]
        ready = self._proof.ready.get(unit.name)
        return self.ways.start(way, unit, asks) if ready is None else ready

    def _known(self, keys: Sequence[bytes]) -> dict[int, Values]:
        known = self.cache.get_rewards(keys) if self.cache is not None else {}
        return {i: np.array([[known[key]]]) for i, key in enumerate(keys) if key in known}

    def _keep(self, keys: Sequence[bytes], new: Mapping[int, Values]) -> None:
        if self.cache is not None:
            numbers = {i: float(np.float32(x[0, 0])) for i, x in new.items()}
            self.cache.put_rewards((keys[i], x) for i, x in numbers.items() if np.isfinite(x))

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
        self.ahead = ahead
        self.units: list[tuple[Unit, Pending | list[Values]]] = []

    def begin(self, unit: Unit, values: Pending | list[Values]) -> None:
        """Add a unit whose values are being computed."""
        self.units.append((unit, values))

    def land(self, *, wait: bool) -> Iterator[tuple[Unit, list[Values]]]:
        """Yield the units that are done; all of them with ``wait``."""
        while len(self.units) > (0 if wait else self.ahead):
            unit, values = self.units[0]
            found = values.get() if isinstance(values, Pending) else values
            self.units.pop(0)
            yield unit, found

    def clear(self) -> list[Unit]:
        """Forget all units and return them."""
        units = [unit for unit, _ in self.units]
        self.units = []
        return units


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
