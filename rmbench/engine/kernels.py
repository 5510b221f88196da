"""Attention of all branches of a packed row in one call, on GPUs that have a kernel for it.

The kernel is FlashAttention 2 for sequences of different lengths (Dao 2023, "FlashAttention-2:
Faster Attention with Better Parallelism and Work Partitioning"), as PyTorch brings it. Where a
sequence has more keys than queries, its last query sees all keys, the one before it all but one,
and so on: just what a branch needs whose first keys are its prefix.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from rmbench.engine.packing import Row

__all__ = ["Group", "attend", "group_branches", "is_fit"]

WIDEST_HEAD: Final = 256
"""The kernel's own limit; it also wants a multiple of 8."""
COPIES: Final = 2
"""So many times the tokens of a chunk may keys be laid out in one call: prefixes are copied for
each branch that goes on from them, which must not take more memory than the layers' own states."""


class Group(NamedTuple):
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


def is_fit(query: torch.Tensor, value: torch.Tensor) -> bool:
    """Return whether the kernel takes such states; each has shape (1, heads, T, width)."""
    width = query.shape[-1]
    return (
        query.device.type == "cuda"
        and torch.version.hip is None
        and query.dtype in (torch.float16, torch.bfloat16)
        and width % 8 == 0
        and value.shape[-1] == width <= WIDEST_HEAD
    )


def group_branches(row: Row, chunk: slice, device: torch.device) -> list[Group]:
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


def _paths(row: Row, chunk: slice) -> Iterator[tuple[int, list[slice]]]:
    """Yield for each branch its number of queries in the chunk, and the places of its keys."""
    for number, branch in enumerate(row.branches):
        start = max(branch.offset, chunk.start)
        stop = min(branch.offset + branch.length, chunk.stop)
        if start < stop:
            yield stop - start, [*row.prefix(number), slice(branch.offset, stop)]


def _group(part: list[tuple[int, list[slice]]], start: int, device: torch.device) -> Group:
    queries = np.array([count for count, _ in part])
    keys = np.array([sum(piece.stop - piece.start for piece in path) for _, path in part])
    places = [np.arange(piece.start, piece.stop) for _, path in part for piece in path]
    return Group(
        queries=slice(start, start + int(queries.sum())),
        keys=torch.from_numpy(np.concatenate(places)).to(device),
        query_ends=_ends(queries, device),
        key_ends=_ends(keys, device),
        longest=(int(queries.max()), int(keys.max())),
    )


def _ends(sizes: Any, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.cumsum([0, *sizes]).astype(np.int32)).to(device)


def attend(
    query: torch.Tensor,
    states: tuple[torch.Tensor, torch.Tensor],
    groups: list[Group],
    scaling: float | None,
) -> torch.Tensor:
    """Return the attention's output for a chunk, (1, T, heads, width).

    Args:
        query: of the chunk, (1, heads, T, width).
        states: keys and values of the row, (1, key heads, row, width) each.
        groups: of ``group_branches``.
        scaling: what scores are multiplied with; None for 1 / sqrt(width).

    Raises:
        RuntimeError: this GPU, or this PyTorch, has no such kernel.
    """
    queries, keys, values = (item[0].transpose(0, 1) for item in (query, *states))
    outputs = [
        torch.ops.aten._flash_attention_forward(
            queries[group.queries],
            keys[group.keys],
            values[group.keys],
            group.query_ends,
            group.key_ends,
            *group.longest,
            0.0,  # no dropout
            True,  # causal
            False,  # no debug mask
            scale=scaling,
        )[0]
        for group in groups
    ]
    return torch.cat(outputs)[None] if len(outputs) > 1 else outputs[0][None]
