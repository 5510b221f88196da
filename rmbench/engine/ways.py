"""The ways to compute a unit, fastest first, and the truth that they are tried against.

* ``fused``: the backbone on rows in which shared prefixes stand once, attended by one kernel for
  all branches, then the head on the tokens that are read;
* ``packed``: likewise, attended branch by branch;
* ``hidden``: the backbone on padded batches, then the head on the tokens that are read;
* ``padded``: the model's own forward on padded batches;
* ``alone``: the model's own forward on one conversation, unpadded.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmbench.engine.frequencies import Frequencies
from rmbench.engine.kernels import choose_kernel
from rmbench.engine.layers import Streamed, leave
from rmbench.engine.linear import Exchanged, exact_heads, faster_layers, size_in_float32
from rmbench.engine.packing import PackedRow
from rmbench.engine.reading import Ask, Reading, pad_id
from rmbench.engine.tree import tree_chunks
from rmbench.engine.units import Unit

__all__ = ["WAYS", "Pending", "Values", "Ways", "plain_attention"]

Values = npt.NDArray[np.float64]
"""Of one sequence, shape (places, outputs)."""

_T = TypeVar("_T")

WAYS: Final = ("fused", "packed", "hidden", "padded", "alone")


class Pending:
    """Values that a device may still be computing; asking for them waits for it."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._parts: list[tuple[npt.NDArray[np.int64], torch.Tensor]] = []

    def add(self, rows: npt.NDArray[np.int64], values: torch.Tensor) -> None:
        """Say which of all places, counted through, a device computes: (rows, outputs)."""
        self._parts.append((rows, values))

    def get(self) -> list[Values]:
        """Return the values of each sequence."""
        total = sum(self._counts)
        outputs = self._parts[0][1].shape[1] if self._parts else 1
        flat = np.full((total, outputs), np.nan)
        for rows, values in self._parts:
            flat[rows] = values.double().cpu().numpy()
        return np.split(flat, np.cumsum(self._counts)[:-1])


class Ways:
    """Computes units of sequences under one loaded model.

    Args:
        reading: the model, and how values come from its hidden states.
        device: where it is.

    Attributes:
        computed: tokens that the model has computed, padding included.
    """

    def __init__(self, reading: Reading, device: torch.device) -> None:
        self.reading = reading
        self.model = reading.model
        self.device = device
        self.frequencies = Frequencies(self.model)
        self.kernel = choose_kernel(device, self.model.dtype)
        self.computed = 0
        self._layers, self._heads = Exchanged(), Exchanged()
        self.streamed: Streamed | None = getattr(self.model, "streamed", None)
        if self.streamed is not None:
            self._size = size_in_float32(self.model)
            self.streamed.off_layer = self._layers.put_back

    def candidates(self) -> list[str]:
        """Return the ways that are worth a trial, fastest first."""
        if self.frequencies.are_unknown:
            return ["alone"]
        ways = ["fused"] if self.kernel is not None and self.reading.reads_states else []
        ways += ["packed", "hidden"] if self.reading.reads_states else []
        ways += ["padded"] if self.reading.is_batched else []
        return [*ways, "alone"]

    def exchange(self) -> None:
        """Compute linear layers as suits the device from here on, and heads in float32."""
        self.put_back()
        if self.streamed is None:
            self._layers.exchange(faster_layers(self.model))
        else:
            self.streamed.on_layer = self._exchange_layer
        self._heads.exchange(exact_heads(self.reading.heads))

    def _exchange_layer(self, layer: nn.Module) -> None:
        self._layers.exchange(faster_layers(layer, self._size))

    @property
    def has_exact_head(self) -> bool:
        """Whether the lone forward differs from the model as it was loaded, in its last product."""
        return bool(self._heads)

    def put_back(self) -> None:
        """Compute as the model was loaded from here on."""
        self._layers.put_back()
        self._heads.put_back()
        if self.streamed is not None:
            self.streamed.on_layer = leave

    def together(self, work: Sequence[Callable[[], _T]]) -> Iterator[_T]:
        """Yield what pieces of work give, each of which computes something, in their order.

        Where all of the model is in memory, a piece is done when it is asked for; else all of them
        go through it layer by layer.
        """
        if self.streamed is None:
            return (piece() for piece in work)
        return iter(self.streamed.run(work))

    def _count(self, tokens: int) -> None:
        """Count tokens that are computed, once for all layers."""
        if self.streamed is None or not self.streamed.is_between:
            self.computed += tokens

    def truth(self, ask: Ask) -> Values:
        """Return what the model's own forward gives one sequence, alone and unpadded.

        Its linear layers are computed as they were loaded; a reward head stays in float32 once it
        has been proven.
        """
        ids = torch.from_numpy(ask.ids.astype(np.int64))[None].to(self.device)  # (1, T)
        self._count(ids.numel())
        self.frequencies.reset()
        with self._layers.as_loaded():
            (values,) = self.reading.own(ids, torch.ones_like(ids), [ask])
        given: Values = values.double().cpu().numpy()
        return given

    def read(self, ask: Ask, states: npt.NDArray[np.float32]) -> Values:
        """Return the values that last hidden states of all tokens of a sequence give."""
        places = self.reading.places(ask)
        read = torch.from_numpy(states[places]).to(self.device, self.model.dtype)
        given: Values = self._values(read, _targets([ask], [places])).double().cpu().numpy()
        return given

    def read_by_model(self, ask: Ask, states: npt.NDArray[np.float32]) -> Values:
        """Return the values that the model's own code reads from hidden states."""
        given = torch.from_numpy(states[None]).to(self.device, self.model.dtype)
        values: Values = self.reading.behind(ask, given).double().cpu().numpy()
        return values

    def start(self, way: str, unit: Unit, asks: Sequence[Ask]) -> Pending:
        """Begin to compute one unit.

        Args:
            way: one of ``WAYS``.
            unit: planned for that way.
            asks: all sequences; the unit's indices count in them.
        """
        part = [asks[i] for i in unit.indices]
        self.frequencies.reset()
        if way in ("fused", "packed"):
            assert unit.row is not None, "packed units have a row"
            return self._packed(way, unit.row, unit.chunk, part)
        if way == "hidden":
            return self._hidden(part)
        if way == "padded":
            return self._padded(part)
        values = [self.truth(ask) for ask in part]
        return _at_hand(values)

    def _packed(self, way: str, row: PackedRow, chunk_tokens: int, part: Sequence[Ask]) -> Pending:
        """Compute one row, chunk by chunk; branch i of it is sequence i of ``part``."""
        ids, positions = self._send(row.tokens)[None], self._send(row.position)[None]  # (1, T)
        self._count(row.size)
        reads: tuple[Pending, npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        kernel = self.kernel if way == "fused" else None
        chunks = tree_chunks(self.model, row, chunk_tokens, kernel)
        with contextlib.closing(chunks):
            for chunk in chunks:
                hidden = self._states(ids[:, chunk], position_ids=positions[:, chunk])[0]
                if reads is None:  # found out while an accelerator is still at work
                    reads = self._reads(row, part)
                pending, places, targets = reads
                here = np.flatnonzero((places >= chunk.start) & (places < chunk.stop))
                if here.size:
                    read = hidden[self._send(places[here] - chunk.start, hidden.device)]
                    pending.add(here, self._values(read, targets[here]))
        assert reads is not None, "a row has a chunk"
        return reads[0]

    def _reads(
        self, row: PackedRow, part: Sequence[Ask]
    ) -> tuple[Pending, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return where in a row its sequences are read, and the tokens asked about (-1: none)."""
        found = [self.reading.places(ask) for ask in part]
        places = [row.offset(i, int(place)) for i, own in enumerate(found) for place in own]
        return (
            Pending([own.size for own in found]),
            np.array(places, np.int64),
            _targets(part, found),
        )

    def _hidden(self, part: Sequence[Ask]) -> Pending:
        ids, mask = self._pad(part)
        hidden = self._states(ids, attention_mask=mask)  # (B, T, H)
        found = [self.reading.places(ask) for ask in part]
        rows = np.repeat(np.arange(len(part)), [own.size for own in found])
        read = hidden[
            self._send(rows, hidden.device), self._send(np.concatenate(found), hidden.device)
        ]
        pending = Pending([own.size for own in found])
        pending.add(np.arange(rows.size), self._values(read, _targets(part, found)))
        return pending

    def _padded(self, part: Sequence[Ask]) -> Pending:
        ids, mask = self._pad(part)
        values = self.reading.own(ids, mask, list(part))
        pending = Pending([len(own) for own in values])
        pending.add(np.arange(sum(len(own) for own in values)), torch.cat(values))
        return pending

    def _states(self, ids: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        backbone = self.reading.backbone
        assert backbone is not None, "only ways that read states come here"
        states: torch.Tensor = backbone(input_ids=ids, use_cache=False, **given).last_hidden_state
        return states

    def _values(self, states: torch.Tensor, targets: npt.NDArray[np.int64]) -> torch.Tensor:
        asked = self._send(targets, states.device) if (targets >= 0).any() else None
        return self.reading.values(states, asked)

    def _pad(self, part: Sequence[Ask]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask, both (B, T), padded on the right, where no position shifts."""
        shape = (len(part), max(ask.ids.size for ask in part))
        ids = np.full(shape, pad_id(self.model.config), dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for row, ask in enumerate(part):
            ids[row, : ask.ids.size] = ask.ids
            mask[row, : ask.ids.size] = 1
        self._count(ids.size)
        return self._send(ids), self._send(mask)

    def _send(self, numbers: npt.NDArray[Any], device: torch.device | None = None) -> torch.Tensor:
        """Return numbers on the device as int64, without waiting for what it computes."""
        tensor = torch.from_numpy(numbers.astype(np.int64, copy=False))
        device = device or self.device
        if device.type != "cuda":
            return tensor.to(device)
        return tensor.pin_memory().to(device, non_blocking=True)


def _targets(part: Sequence[Ask], found: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    asked = [
        np.full(places.size, -1, dtype=np.int64) if ask.targets is None else ask.targets
        for ask, places in zip(part, found, strict=True)
    ]
    return np.concatenate(asked).astype(np.int64)


def _at_hand(values: Sequence[Values]) -> Pending:
    pending = Pending([len(own) for own in values])
    flat = torch.from_numpy(np.concatenate(values))
    pending.add(np.arange(len(flat)), flat)
    return pending


@contextlib.contextmanager
def plain_attention(device: torch.device) -> Iterator[None]:
    """Keep cuDNN's attention out on a GPU.

    PyTorch prefers it on new GPUs, where it makes a plan for every exact shape: tens of
    milliseconds each, for hundreds of lengths.
    """
    if device.type != "cuda":
        yield
        return
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(kernels):
        yield
