"""Attention over packed rows: each token sees its own sequence, and nothing is computed in vain.

A packed row (see ``packing``) holds sequences as a prefix tree. Instead of a mask over the whole
row, each branch's queries meet the keys of its own path alone: branch by branch, or all at once
where a GPU has the kernel (``kernels``). It is plugged in through transformers' attention
interface, so it serves any decoder that uses the interface.
"""

from collections.abc import Generator, Iterator
from typing import Any, Final, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from rmbench.engine.kernels import Group, attend, group_branches, is_fit
from rmbench.engine.packing import Row

__all__ = ["UnsupportedAttentionError", "tree_chunks"]

NAME: Final = "rmbench_tree"
# On a CPU, queries are taken so many at a time: PyTorch's kernel there computes a causal block
# whole, so that shorter blocks leave out more of what nobody sees.
CPU_QUERIES: Final = 128
# What an attention layer may be given and still mean plain causal attention.
_HARMLESS: Final = {"is_causal", "position_ids", "use_cache", "cache_position", "output_attentions"}


_States = tuple[torch.Tensor, torch.Tensor]


class UnsupportedAttentionError(Exception):
    """A model asks for more than plain causal attention; it is scored in another way."""


class _Part(NamedTuple):
    """Neighbouring queries of one branch in a chunk, and the keys they meet."""

    queries: slice  # within the chunk
    path: list[slice]  # within the row
    mask: torch.Tensor | None  # (queries, keys), added to the scores; None is causal


class _TreeAttention:
    """Called by every layer in turn; ``open`` and ``load`` say for which row and chunk."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.chunk = slice(0, 0)
        self.layer = 0
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        # By device, since layers may be spread over several.
        self.parts: dict[torch.device, list[_Part]] = {}
        self.groups: dict[torch.device, list[Group]] = {}
        self.can_fuse = True

    def open(self, row: Row) -> None:
        """Prepare for a row; keys and values of its chunks are kept until it is done."""
        self.row, self.kept = row, []

    def load(self, chunk: slice) -> None:
        """Prepare for one chunk of the row that is open."""
        self.chunk, self.layer = chunk, 0
        self.parts, self.groups = {}, {}

    def close(self) -> None:
        """Let go of what is on the device."""
        self.row, self.kept, self.parts, self.groups = None, [], {}, {}

    def __call__(  # noqa: PLR0913  (the interface's signature)
        self,
        module: Any,
        query: torch.Tensor,  # (1, heads, T, D)
        key: torch.Tensor,  # (1, key heads, T, D)
        value: torch.Tensor,  # (1, key heads, T, V)
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        **extra: Any,
    ) -> tuple[torch.Tensor, None]:
        """Return the attention's output, (1, T, heads, V)."""
        unknown = {name for name, given in extra.items() if given is not None} - _HARMLESS
        if unknown or attention_mask is not None or dropout or len(query) != 1:
            raise UnsupportedAttentionError(", ".join(sorted(unknown)) or "mask, dropout or batch")
        assert self.row is not None, "a row is open while its chunks are computed"
        states = self._keep(key, value, self.row.size)
        self.layer += 1
        if self.can_fuse and is_fit(query, value):
            try:
                return self._at_once(self.row, query, states, scaling), None
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # this GPU, or this PyTorch, has no such kernel
                self.can_fuse = False
        return self._by_branch(self.row, query, states, scaling), None

    def _at_once(
        self, row: Row, query: torch.Tensor, states: _States, scaling: float | None
    ) -> torch.Tensor:
        if query.device not in self.groups:
            self.groups[query.device] = group_branches(row, self.chunk, query.device)
        return attend(query, states, self.groups[query.device], scaling)

    def _by_branch(
        self, row: Row, query: torch.Tensor, states: _States, scaling: float | None
    ) -> torch.Tensor:
        if query.device not in self.parts:
            self.parts[query.device] = list(_parts(row, self.chunk, query))
        keys, values = states
        _, heads, size, _ = query.shape
        output = query.new_empty((1, size, heads, values.shape[-1]))
        for part in self.parts[query.device]:
            mixed = scaled_dot_product_attention(
                query[:, :, part.queries],
                _gather(keys, part.path),
                _gather(values, part.path),
                attn_mask=part.mask,
                is_causal=part.mask is None,
                scale=scaling,
                enable_gqa=keys.shape[1] != heads,
            )
            output[:, part.queries] = mixed.transpose(1, 2)
        return output

    def _keep(self, key: torch.Tensor, value: torch.Tensor, size: int) -> _States:
        """Return this layer's keys and values of the row, as far as it is computed."""
        if key.shape[2] == size:  # the row is one chunk: nothing to keep
            return key, value
        if self.layer == len(self.kept):
            self.kept.append(
                (
                    key.new_empty((*key.shape[:2], size, key.shape[3])),
                    value.new_empty((*value.shape[:2], size, value.shape[3])),
                )
            )
        keys, values = self.kept[self.layer]
        keys[:, :, self.chunk] = key
        values[:, :, self.chunk] = value
        return keys, values


def _parts(row: Row, chunk: slice, like: torch.Tensor) -> Iterator[_Part]:
    """Yield what is computed of a chunk; ``like`` has the scores' type."""
    for number, branch in enumerate(row.branches):
        start = max(branch.offset, chunk.start)
        stop = min(branch.offset + branch.length, chunk.stop)
        step = CPU_QUERIES if like.device.type == "cpu" else max(1, stop - start)
        for first in range(start, stop, step):
            queries = slice(first, min(first + step, stop))
            yield _part(row, number, queries, chunk.start, like)


def _part(row: Row, number: int, queries: slice, start: int, like: torch.Tensor) -> _Part:
    """Return a part of a branch; ``queries`` are places in the row, the chunk begins at start."""
    branch = row.branches[number]
    depth = branch.depth + queries.start - branch.offset
    size = queries.stop - queries.start
    mask = None
    if depth:
        # Ready to be added: of booleans, every layer would have to make such a mask anew.
        mask = like.new_full((size, depth + size), float("-inf")).triu_(depth + 1)
    path = [*row.prefix(number), slice(branch.offset, queries.stop)]
    return _Part(slice(queries.start - start, queries.stop - start), path, mask)


def _gather(states: torch.Tensor, path: list[slice]) -> torch.Tensor:
    if len(path) == 1:
        return states[:, :, path[0]]
    return torch.cat([states[:, :, piece] for piece in path], dim=2)


_TREE: Final = _TreeAttention()
AttentionInterface.register(NAME, _TREE)


def tree_chunks(model: Any, row: Row, chunk_tokens: int) -> Generator[slice, None, None]:
    """Yield the chunks of a row; until the next one is asked for, attention follows its tree.

    Small chunks suit a processor's caches; what a chunk needs of the row's earlier keys and values
    is kept, so that cutting costs nothing.

    Args:
        model: a transformers model; its forward is to be called once for each chunk.
        row: what is computed.
        chunk_tokens: most tokens of a chunk.

    Raises:
        UnsupportedAttentionError: not every layer takes its attention from transformers' interface.
    """
    # A convolution mixes neighbours in the row, whatever the attention does (state-space models).
    if any(isinstance(module, torch.nn.Conv1d) for module in model.modules()):
        raise UnsupportedAttentionError("convolutions")
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    if layers is None:
        raise UnsupportedAttentionError("the number of layers is not known")
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, AttributeError) as error:
        raise UnsupportedAttentionError(str(error).splitlines()[0]) from None
    _TREE.open(row)
    try:
        for start in range(0, row.size, chunk_tokens):
            chunk = slice(start, min(start + chunk_tokens, row.size))
            _TREE.load(chunk)
            yield chunk
            if _TREE.layer != layers:
                raise UnsupportedAttentionError(f"{_TREE.layer} of {layers} layers use it")
    finally:
        model.set_attn_implementation(before)
        _TREE.close()
