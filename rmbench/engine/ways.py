"""Token ids → rewards on a device, by the fastest way that changes none of them.

The truth is the model's own forward pass on one conversation, alone and unpadded. Faster ways are
tried against it on a sample of the run's own conversations, fastest first:

* ``packed``: the backbone on rows in which shared prefixes stand once, then the head on the one
  token where the model reads;
* ``hidden``: likewise on padded batches;
* ``padded``: the model's own forward on padded batches;
* ``alone``: the truth itself, one conversation at a time.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from rmbench.cache import Cache, make_key
from rmbench.engine.budget import choose_batch_tokens, chunks_per_row
from rmbench.engine.linear import speed_up_linear
from rmbench.engine.packing import Row, pack, plan_batches
from rmbench.engine.reading import Readout, find_heads, find_readout, pad_id, read_place
from rmbench.engine.tree import UnsupportedAttentionError, tree_chunks
from rmbench.errors import ScorerError

__all__ = ["Engine", "Progress", "Scoring"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Progress = Callable[[int], None]
"""Called after every batch with the tokens done so far, of all that were given."""

WAYS: Final = ("packed", "hidden", "padded")
SAMPLE: Final = 8
TOLERANCE: Final = {
    torch.float32: (1e-4, 1e-5),
    torch.float16: (1e-2, 4e-3),
    torch.bfloat16: (6e-2, 3e-2),
}
"""Largest difference from the lone forward: a share of the spread of the sample's rewards, plus a
share of their size. The second is what the precision costs, the first keeps it from hiding a fault
where rewards are small."""

# How a model of others says, on the sample, that it does not go a way (one without a pad token
# refuses batches, say). The lone forward has worked by then, so nothing is hidden.
_UNTRODDEN: Final = (
    UnsupportedAttentionError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What came of a call of the engine.

    Attributes:
        rewards: float32, shape (number of sequences,), in their order.
        inputs: for each sequence the number of its distinct input; equal inputs share a number.
        way: how the rewards were computed: ``packed``, ``hidden``, ``padded`` or ``alone``.
        difference: largest difference between this way and the lone forward on the sample.
        refused: the faster ways that differed too much, each with its difference; infinite where
            a way could not be tried at all.
        tokens: in the distinct sequences.
        tokens_computed: by the model, padding and the sample included, cached ones left out.
        seconds: for the check and the scoring, in seconds.
    """

    rewards: Floats
    inputs: npt.NDArray[np.int64]
    way: str
    difference: float
    refused: dict[str, float]
    tokens: int
    tokens_computed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """What is computed together: sequences by number, for ``packed`` their row and its chunks."""

    indices: list[int]
    row: Row | None = None
    chunk: int = 0


class Engine:
    """Rewards of token sequences under one loaded model.

    Args:
        model: a sequence classifier with one logit, in eval mode, on its device.
        batch_tokens: tokens of one batch or row; None for what suits the device and the model.
        progress: called after every batch.
        cache: rewards computed before, and where new ones go batch by batch.
        scope: what determines a reward besides the token ids; part of the cache's keys.
    """

    def __init__(
        self,
        model: Any,
        *,
        batch_tokens: int | None = None,
        progress: Progress | None = None,
        cache: Cache | None = None,
        scope: bytes = b"",
    ) -> None:
        self.model = model
        self.device = torch.device(model.device)
        self.batch_tokens = batch_tokens or choose_batch_tokens(
            model.config, device=self.device, dtype=model.dtype
        )
        self.progress = progress
        self.cache = cache
        self.scope = scope
        self.readout = find_readout(model)
        self.computed = self._done = 0
        _keep_head_in_float32(model)
        speed_up_linear(model)

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
            ScorerError: one conversation alone does not fit into the device's memory, or a reward
                of the sample is no number.
        """
        seen = _Seen()
        rewards = np.empty(0, dtype=np.float32)
        way, difference, refused = "alone", 0.0, dict[str, float]()
        self.computed = self._done = 0
        seconds = 0.0
        for window in windows:
            start = time.perf_counter()
            fresh, counts = seen.add(window)
            with torch.inference_mode():
                if fresh and not rewards.size:
                    way, difference, refused = self._choose_way(_sample(fresh))
                self._done += sum(ids.size for ids in window) - _weigh(fresh, counts)
                rewards = np.concatenate([rewards, self._run(way, fresh, counts)])
            seconds += time.perf_counter() - start
        inputs = np.array(seen.inputs, dtype=np.int64)
        return Scoring(
            rewards=rewards[inputs],
            inputs=inputs,
            way=way,
            difference=difference,
            refused=refused,
            tokens=seen.tokens,
            tokens_computed=self.computed,
            seconds=seconds,
        )

    def score_alone(self, sequences: Iterable[Ids]) -> list[float]:
        """Return the truth: the model's own forward on each sequence, alone and unpadded.

        Raises:
            ScorerError: a sequence does not fit into the device's memory.
        """
        with torch.inference_mode():
            return [self._alone(ids) for ids in sequences]

    def _choose_way(self, sample: Sequence[Ids]) -> tuple[str, float, dict[str, float]]:
        """Return the fastest way that agrees with the lone forward on a sample."""
        if not sample:
            return "alone", 0.0, {}
        truth = np.array([self._alone(ids) for ids in sample], dtype=np.float32)
        for ids, reward in zip(sample, truth, strict=True):
            if not np.isfinite(reward):  # told now, not after hours
                halved = self.model.dtype in (torch.float16, torch.bfloat16)
                remedy = "try --dtype float32" if halved else "are its weights damaged?"
                raise ScorerError(
                    f"the reward of a conversation of {ids.size} tokens is {reward}, which is no"
                    f" number; {remedy}"
                )
        of_spread, of_size = TOLERANCE.get(self.model.dtype, TOLERANCE[torch.float32])
        tolerance = float(of_spread * np.ptp(truth) + of_size * np.abs(truth).max())
        refused: dict[str, float] = {}
        for way in WAYS if self.readout is not None else WAYS[2:]:
            difference = self._difference(way, sample, truth)
            if difference <= tolerance:
                return way, difference, refused
            refused[way] = difference
        return "alone", 0.0, refused

    def _difference(self, way: str, sample: Sequence[Ids], truth: Floats) -> float:
        """Return the largest difference of a way from the truth; infinite if it cannot be gone."""
        rewards = np.full(len(sample), np.nan, dtype=np.float32)
        todo = self._plan(way, sample, range(len(sample)), self.batch_tokens)
        while todo:
            unit = todo.pop()
            try:
                rewards[unit.indices] = self._compute(way, unit, sample)
            except torch.OutOfMemoryError:
                self.batch_tokens = self._halve(self.batch_tokens, unit, sample)
                rest = [i for item in (*todo, unit) for i in item.indices]
                todo = self._plan(way, sample, rest, self.batch_tokens)
            except _UNTRODDEN:
                return float("inf")
        largest = float(np.abs(rewards - truth).max())
        return largest if np.isfinite(largest) else float("inf")

    # --- all sequences, unit by unit -------------------------------------------------------------

    def _run(self, way: str, sequences: Sequence[Ids], counts: Sequence[int]) -> Floats:
        """Score every sequence, in units that shrink when memory runs out.

        ``counts`` tells how often each was given, for the progress.

        The plan is made of all sequences, also of those whose reward is cached: so an interrupted
        run goes on with the very batches that it would have computed, and ends in the same bytes.
        """
        keys = [make_key(self.scope, ids.tobytes()) for ids in sequences]
        known = self.cache.get_rewards(keys) if self.cache is not None else {}
        rewards = np.array([known.get(key, np.nan) for key in keys], dtype=np.float32)
        todo = self._plan(way, sequences, range(len(sequences)), self.batch_tokens)[::-1]
        while todo:
            unit = todo.pop()
            missing = {i for i in unit.indices if keys[i] not in known}
            if missing:
                try:
                    fresh = self._compute(way, unit, sequences)
                except torch.OutOfMemoryError:
                    # The others of this size would not fit either.
                    self.batch_tokens = self._halve(self.batch_tokens, unit, sequences)
                    rest = [i for item in (*todo, unit) for i in item.indices]
                    todo = self._plan(way, sequences, rest, self.batch_tokens)[::-1]
                    continue
                new = {i: x for i, x in zip(unit.indices, fresh, strict=True) if i in missing}
                rewards[list(new)] = list(new.values())
                if self.cache is not None:
                    numbers = {i: float(x) for i, x in new.items() if np.isfinite(x)}
                    self.cache.put_rewards((keys[i], x) for i, x in numbers.items())
            self._done += sum(sequences[i].size * counts[i] for i in unit.indices)
            if self.progress is not None:
                self.progress(self._done)
        return rewards

    def _halve(self, budget: int, unit: _Unit, sequences: Sequence[Ids]) -> int:
        """Return a smaller budget after a unit did not fit into memory."""
        if len(unit.indices) == 1:
            raise self._too_long(sequences[unit.indices[0]])
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        size = sum(sequences[i].size for i in unit.indices)
        return max(1, min(budget, size) // 2)

    def _too_long(self, sequence: Ids) -> ScorerError:
        return ScorerError(
            f"a conversation of {sequence.size} tokens does not fit into the memory of"
            f" {self.device}; use --dtype bfloat16, --max-length or --device-map auto"
        )

    def _plan(
        self, way: str, sequences: Sequence[Ids], indices: Sequence[int], budget: int
    ) -> list[_Unit]:
        """Cut the sequences at ``indices`` into units of at most ``budget`` tokens where it can."""
        part = [sequences[i] for i in indices]
        if way == "packed":
            rows = pack(part, row_tokens=budget * chunks_per_row(self.device))
            return [
                _Unit(indices=[indices[b.sequence] for b in row.branches], row=row, chunk=budget)
                for row in rows
            ]
        budget = budget if way != "alone" else 1
        batches = plan_batches([ids.size for ids in part], budget=budget)
        return [_Unit(indices=[indices[i] for i in batch]) for batch in batches]

    # --- one unit --------------------------------------------------------------------------------

    def _compute(self, way: str, unit: _Unit, sequences: Sequence[Ids]) -> Floats:
        """Return the rewards of one unit, in the order of its indices."""
        part = [sequences[i] for i in unit.indices]
        if way == "packed":
            assert unit.row is not None, "packed units have a row"
            return self._packed(unit.row, part, unit.chunk)
        if way == "hidden":
            return self._hidden(part)
        if way == "padded":
            ids, mask = self._pad(part)
            return _to_numpy(self.model(input_ids=ids, attention_mask=mask).logits)  # (B, 1)
        return np.array([self._alone(ids) for ids in part], dtype=np.float32)

    def _packed(self, row: Row, part: Sequence[Ids], chunk_tokens: int) -> Floats:
        """Compute one row, chunk by chunk; branch i of it is sequence i of ``part``."""
        readout = self._readout()
        places: npt.NDArray[np.int64] | None = None
        ids = torch.from_numpy(row.tokens).long()[None].to(self.device)  # (1, T)
        positions = torch.from_numpy(row.position).long()[None].to(self.device)  # (1, T)
        rewards = np.empty(len(part), dtype=np.float32)
        self.computed += row.size
        chunks = tree_chunks(self.model, row, chunk_tokens)
        with contextlib.closing(chunks):
            for chunk in chunks:
                output = readout.backbone(
                    input_ids=ids[:, chunk], position_ids=positions[:, chunk], use_cache=False
                )
                if places is None:  # found out while an accelerator is still at work
                    reads = enumerate(self._read_places(part))
                    places = np.array([row.offset(i, place) for i, place in reads])
                here = np.flatnonzero((places >= chunk.start) & (places < chunk.stop))
                read = torch.from_numpy(places[here] - chunk.start)
                hidden = output.last_hidden_state[0]  # (chunk, H)
                rewards[here] = _to_numpy(readout.head(hidden[read.to(hidden.device)]))
        return rewards

    def _hidden(self, part: Sequence[Ids]) -> Floats:
        readout = self._readout()
        ids, mask = self._pad(part)
        output = readout.backbone(input_ids=ids, attention_mask=mask, use_cache=False)
        hidden = output.last_hidden_state  # (B, T, H)
        places = torch.tensor(self._read_places(part))
        rows = torch.arange(len(part), device=hidden.device)
        return _to_numpy(readout.head(hidden[rows, places.to(hidden.device)]))

    def _read_places(self, part: Sequence[Ids]) -> list[int]:
        readout = self._readout()
        return [read_place(self.model, readout, ids) for ids in part]

    def _alone(self, sequence: Ids) -> float:
        """Return the truth: the model's own forward on one unpadded sequence."""
        ids = torch.from_numpy(sequence.astype(np.int64))[None].to(self.device)  # (1, T)
        self.computed += ids.numel()
        try:
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits  # (1, 1)
        except torch.OutOfMemoryError:
            raise self._too_long(sequence) from None
        return float(logits[0, 0])

    def _pad(self, sequences: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask, both (B, T), padded on the right, where no position shifts."""
        longest = max(ids.size for ids in sequences)
        shape = (len(sequences), longest)
        ids = np.full(shape, pad_id(self.model.config), dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : sequence.size] = sequence
            mask[row, : sequence.size] = 1
        self.computed += ids.size
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _readout(self) -> Readout:
        assert self.readout is not None, "packed and hidden are only chosen with a readout"
        return self.readout


def _keep_head_in_float32(model: Any) -> None:
    """Compute the last product in float32: bfloat16 has steps of 1/16 for rewards of 8 to 16."""
    for head in find_heads(model):
        if head.out_features == 1 and head.weight.dtype != torch.float32:
            head.float()
            head.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))


class _Seen:
    """The distinct sequences so far, and for each sequence given the number of its distinct one."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.inputs: list[int] = []
        self.tokens = 0

    def add(self, window: Sequence[Ids]) -> tuple[list[Ids], list[int]]:
        """Return those that were never seen before, and how often the window holds each."""
        known = len(self.numbers)
        own = [self.numbers.setdefault(ids.tobytes(), len(self.numbers)) for ids in window]
        self.inputs += own
        first = dict(zip(own[::-1], window[::-1], strict=True))
        fresh = [first[number] for number in range(known, len(self.numbers))]
        self.tokens += sum(ids.size for ids in fresh)
        counts = Counter(own)
        return fresh, [counts[number] for number in range(known, len(self.numbers))]


def _weigh(sequences: Sequence[Ids], counts: Sequence[int]) -> int:
    """Return the tokens of sequences, each as often as it was given."""
    return sum(ids.size * count for ids, count in zip(sequences, counts, strict=True))


def _sample(sequences: Sequence[Ids]) -> list[Ids]:
    """Return a few sequences on which batching would show its faults.

    A short and a long one, which need most padding between them, and pairs of neighbours of
    lengths between, which share their prompts; more of them in a larger run, so that the proof
    costs a few per cent at most. For the same reason none is longer than a hundredth of the run
    or the median, whichever is more.
    """
    count = min(SAMPLE, max(SAMPLE // 2, len(sequences) // 32))
    if len(sequences) <= count:
        return list(sequences)
    by_length = sorted(range(len(sequences)), key=lambda i: sequences[i].size)
    median = sequences[by_length[len(by_length) // 2]].size
    limit = max(median, sum(ids.size for ids in sequences) // 100)
    usual = [i for i in by_length if sequences[i].size <= limit]
    chosen = {usual[0], usual[-1]}
    pairs = (count - len(chosen)) // 2
    for number in range(pairs):
        first = usual[(2 * number + 1) * len(usual) // (2 * pairs)]
        chosen |= {first, first + 1 if first + 1 < len(sequences) else first - 1}
    return [sequences[i] for i in sorted(chosen)]


def _to_numpy(rewards: torch.Tensor) -> Floats:
    values: Floats = rewards[:, 0].float().cpu().numpy()
    return values
