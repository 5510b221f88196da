"""Attention of all branches of a packed row in one call, on GPUs that have a kernel for it.

The kernel is chosen once, before anything is computed, and proven on the run's own first row. It is
never given up in the middle of a run: an error there is an error.

The kernel is FlashAttention 2 for sequences of different lengths (Dao 2023, "FlashAttention-2:
Faster Attention with Better Parallelism and Work Partitioning"), as PyTorch brings it. Where a
sequence has more keys than queries, its last query sees all keys, the one before it all but one,
and so on: just what a branch needs whose first keys are its prefix.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from rmbench.engine.packing import PackedRow

__all__ = ["BranchGroup", "Kernel", "attend", "choose_kernel", "group_branches", "is_fit"]

WIDEST_HEAD: Final = 256
"""The kernel's own limit; it also wants a multiple of 8."""
COPIES: Final = 2
"""So many times the tokens of a chunk may keys be laid out in one call: prefixes are copied for
each branch that goes on from them, which must not take more memory than the layers' own states."""


class BranchGroup(NamedTuple):
    """Neighbouring branches of a row whose attention one call computes."""

    queries: slice
    """Their own tokens, places within the chunk."""
    keys: torch.Tensor
    """The tokens that they see, path after path; places within the row, int64, shape (keys,)."""
    query_ends: torch.Tensor
    """0, and where each branch's queries end, int32, shape (branches + 1,)."""
    key_ends: torch.Tensor
    """Likewise of the keys."""
    longest: tuple[int, int]
    """Most queries and most keys of one branch."""


class Call(NamedTuple):
    """What one call of a kernel is given besides queries, keys and values."""

    group: BranchGroup
    scaling: float | None
    window: int | None
    """How many tokens a query sees, itself included; None for all of its path."""


class Kernel(NamedTuple):
    """An attention of sequences of different lengths, laid end to end."""

    name: str
    compute: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Call], torch.Tensor]


def choose_kernel(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """Return the kernel of a device and a precision; None where there is none.

    PyTorch's public ``varlen_attn`` where it takes all that is needed, else the operator that it
    calls, by the names of its schema.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    if dtype not in (torch.float16, torch.bfloat16):
        return None
    if torch.cuda.get_device_capability(device) < (8, 0):
        return None
    return _public() or _operator()


def _public() -> Kernel | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    needed = {"scale", "window_size", "enable_gqa"}
    if not needed <= set(inspect.signature(varlen_attn).parameters):
        return None

    def compute(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Call
    ) -> torch.Tensor:
        group = call.group
        left = -1 if call.window is None else call.window - 1
        mixed = varlen_attn(
            query,
            key,
            value,
            group.query_ends,
            group.key_ends,
            *group.longest,
            scale=call.scaling,
            window_size=(left, 0),  # causal, from the last key on
            enable_gqa=query.shape[1] != key.shape[1],
        )
        assert isinstance(mixed, torch.Tensor), "no log-sum-exp was asked for"
        return mixed

    return Kernel("varlen_attn", compute)


def _operator() -> Kernel | None:
    packet = getattr(torch.ops.aten, "_flash_attention_forward", None)
    if packet is None:
        return None
    names = {argument.name for argument in packet.default._schema.arguments}
    if not {"cum_seq_q", "cum_seq_k", "max_q", "max_k", "is_causal", "scale"} <= names:
        return None

    def compute(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, call: Call
    ) -> torch.Tensor:
        group = call.group
        window = {} if call.window is None else {"window_size_left": call.window - 1}
        mixed: torch.Tensor = torch.ops.aten._flash_attention_forward(
            query,
            key,
            value,
            group.query_ends,
            group.key_ends,
            *group.longest,
            0.0,  # no dropout
            True,  # causal
            False,  # no debug mask
            scale=call.scaling,
            **window,
            **({"window_size_right": 0} if window else {}),
        )[0]
        return mixed

    return Kernel("_flash_attention_forward", compute)


def is_fit(query: torch.Tensor, value: torch.Tensor) -> bool:
    """Return whether the kernels take states of these widths; each is (1, heads, T, width)."""
    width = query.shape[-1]
    return width % 8 == 0 and value.shape[-1] == width <= WIDEST_HEAD


def group_branches(row: PackedRow, chunk: slice, device: torch.device) -> list[BranchGroup]:
    """Return the branches of a row that have tokens in a chunk, in groups of one call each."""
    groups = []
    limit = COPIES * (chunk.stop - chunk.start)
    part: list[tuple[int, list[slice]]] = []
    start, keys = 0, 0
    for queries, path in _paths(row, chunk):
        size = sum(piece.stop - piece.start for piece in path)
        if part and keys + size > limit:
            groups.append(_group(part, start, device))
            start, keys, part = groups[-1].queries.stop, 0, []
        part.append((queries, path))
        keys += size
    return [*groups, _group(part, start, device)]


def _paths(row: PackedRow, chunk: slice) -> Iterator[tuple[int, list[slice]]]:
    """Yield for each branch its number of queries in the chunk, and the places of its keys."""
    for number, branch in enumerate(row.branches):
        start = max(branch.offset, chunk.start)
        stop = min(branch.offset + branch.length, chunk.stop)
        if start < stop:
            yield stop - start, [*row.prefix(number), slice(branch.offset, stop)]


def _group(part: list[tuple[int, list[slice]]], start: int, device: torch.device) -> BranchGroup:
    queries = np.array([count for count, _ in part])
    keys = np.array([sum(piece.stop - piece.start for piece in path) for _, path in part])
    places = [np.arange(piece.start, piece.stop) for _, path in part for piece in path]
    return BranchGroup(
        queries=slice(start, start + int(queries.sum())),
        keys=torch.from_numpy(np.concatenate(places)).to(device),
        query_ends=_ends(queries, device),
        key_ends=_ends(keys, device),
        longest=(int(queries.max()), int(keys.max())),
    )


def _ends(sizes: Any, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.cumsum([0, *sizes]).astype(np.int32)).to(device)


def attend(
    kernel: Kernel,
    states: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    groups: list[BranchGroup],
    *,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Return the attention's output for a chunk, (1, T, heads, width).

    Args:
        kernel: of ``choose_kernel``.
        states: queries of the chunk, (1, heads, T, width), and keys and values of the row,
            (1, key heads, row, width) each.
        groups: of ``group_branches``.
        scaling: what scores are multiplied with; None for 1 / sqrt(width).
        window: how many tokens a query sees, itself included; None for all of its path.
    """
    queries, keys, values = (item[0].transpose(0, 1) for item in states)
    outputs = [
        kernel.compute(
            queries[group.queries],
            keys[group.keys],
            values[group.keys],
            Call(group, scaling, window),
        )
        for group in groups
    ]
    return torch.cat(outputs)[None] if len(outputs) > 1 else outputs[0][None]
