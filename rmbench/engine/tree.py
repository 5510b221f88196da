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

from rmbench.engine.kernels import BranchGroup, Kernel, attend, group_branches, is_fit
from rmbench.engine.layers import Streamed
from rmbench.engine.packing import PackedRow

__all__ = ["UnsupportedAttentionError", "check_layers", "tree_chunks"]

NAME: Final = "rmbench_tree"
# On a CPU, queries are taken so many at a time: PyTorch's kernel there computes a causal block
# whole, so that shorter blocks leave out more of what nobody sees.
CPU_QUERIES: Final = 128
# What an attention layer may be given and still mean plain causal attention; windows and soft caps
# are read.
_HARMLESS: Final = {
    "is_causal",
    "position_ids",
    "use_cache",
    "cache_position",
    "output_attentions",
    "sliding_window",
    "softcap",
}
# Kinds of layers that configurations name, as far as a tree of prefixes means the same to them.
_KINDS: Final = {"full_attention", "sliding_attention"}


_States = tuple[torch.Tensor, torch.Tensor]


class UnsupportedAttentionError(Exception):
    """A model asks for more than causal attention; it is scored in another way."""


class _Part(NamedTuple):
    """Neighbouring queries of one branch in a chunk, and the keys they meet."""

    queries: slice  # within the chunk
    path: list[slice]  # within the row
    mask: torch.Tensor | None  # (queries, keys), added to the scores; None is causal


class _Rule(NamedTuple):
    """How the scores of a layer become its output."""

    scaling: float | None
    window: int | None
    softcap: float | None


class _TreeAttention:
    """Called by every layer in turn; ``open`` and ``load`` say for which row and chunk."""

    def __init__(self) -> None:
        self.row: PackedRow | None = None
        self.kernel: Kernel | None = None
        self.chunk = slice(0, 0)
        self.layer = self.windowed = 0
        self.longest = 0
        self.kept: list[_States] = []
        # By device, since layers may be spread over several, and by window.
        self.parts: dict[tuple[torch.device, int | None], list[_Part]] = {}
        self.groups: dict[torch.device, list[BranchGroup]] = {}

    def open(self, row: PackedRow, kernel: Kernel | None) -> None:
        """Prepare for a row; keys and values of its chunks are kept until it is done."""
        self.row, self.kernel, self.kept = row, kernel, []
        self.longest = max(branch.depth + branch.length for branch in row.branches)

    def load(self, chunk: slice) -> None:
        """Prepare for one chunk of the row that is open."""
        self.chunk, self.layer, self.windowed = chunk, 0, 0
        self.parts, self.groups = {}, {}

    def close(self) -> None:
        """Let go of what is on the device."""
        self.row, self.kernel, self.kept, self.parts, self.groups = None, None, [], {}, {}

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
        rule = self._rule(scaling, extra)
        states = self._keep(key, value, self.row.size)
        self.layer += 1
        if self.kernel is None:
            return self._by_branch(self.row, query, states, rule), None
        return self._at_once(self.row, query, states, rule), None

    def _rule(self, scaling: float | None, extra: dict[str, Any]) -> _Rule:
        """Return how a layer attends; a window that is no shorter than any path changes nothing."""
        window = extra.get("sliding_window")
        self.windowed += window is not None
        if window is not None and window >= self.longest:
            window = None
        return _Rule(scaling, window, extra.get("softcap"))

    def _at_once(
        self, row: PackedRow, query: torch.Tensor, states: _States, rule: _Rule
    ) -> torch.Tensor:
        assert self.kernel is not None, "only called with a kernel"
        if rule.softcap is not None or not is_fit(query, states[1]):
            raise UnsupportedAttentionError("a soft cap, or heads of a width without kernel")
        if query.device not in self.groups:
            self.groups[query.device] = group_branches(row, self.chunk, query.device)
        groups = self.groups[query.device]
        given = (query, *states)
        return attend(self.kernel, given, groups, scaling=rule.scaling, window=rule.window)

    def _by_branch(
        self, row: PackedRow, query: torch.Tensor, states: _States, rule: _Rule
    ) -> torch.Tensor:
        kind = (query.device, rule.window)
        if kind not in self.parts:
            self.parts[kind] = list(_parts(row, self.chunk, query, rule.window))
        keys, values = states
        _, heads, size, _ = query.shape
        output = query.new_empty((1, size, heads, values.shape[-1]))
        for part in self.parts[kind]:
            given = (
                query[:, :, part.queries],
                _gather(keys, part.path),
                _gather(values, part.path),
            )
            output[:, part.queries] = _attend(*given, part.mask, rule).transpose(1, 2)
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


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: _Rule,
) -> torch.Tensor:
    """Return the output of some queries, (1, heads, queries, V)."""
    if rule.softcap is not None:
        return _attend_capped(query, key, value, mask, rule)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=rule.scaling,
        enable_gqa=key.shape[1] != query.shape[1],
    )


def _attend_capped(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    rule: _Rule,
) -> torch.Tensor:
    """Likewise, with scores held below a cap, which PyTorch's kernels do not know."""
    assert rule.softcap is not None, "only called with a cap"
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
    scores = query @ key.transpose(2, 3) * (rule.scaling or query.shape[-1] ** -0.5)
    scores = rule.softcap * torch.tanh(scores / rule.softcap)
    if mask is None:
        mask = scores.new_full(scores.shape[2:], float("-inf")).triu_(1)
    weights = torch.softmax(scores + mask, dim=-1, dtype=torch.float32)
    return weights.to(query.dtype) @ value


def _parts(row: PackedRow, chunk: slice, like: torch.Tensor, window: int | None) -> Iterator[_Part]:
    """Yield what is computed of a chunk; ``like`` has the scores' type."""
    for number, branch in enumerate(row.branches):
        start = max(branch.offset, chunk.start)
        stop = min(branch.offset + branch.length, chunk.stop)
        step = CPU_QUERIES if like.device.type == "cpu" else max(1, stop - start)
        for first in range(start, stop, step):
            queries = slice(first, min(first + step, stop))
            depth = branch.depth + first - branch.offset
            path = [*row.prefix(number), slice(branch.offset, queries.stop)]
            mask = _mask(depth, queries.stop - first, window, like)
            place = slice(first - chunk.start, queries.stop - chunk.start)
            yield _Part(place, path, mask)


def _mask(depth: int, size: int, window: int | None, like: torch.Tensor) -> torch.Tensor | None:
    """Return what queries behind so many keys may see of them and of each other.

    Ready to be added: of booleans, every layer would have to make such a mask again.
    """
    if window is None or window >= depth + size:
        if not depth:
            return None
        return like.new_full((size, depth + size), float("-inf")).triu_(depth + 1)
    hidden = torch.ones((size, depth + size), dtype=torch.bool, device=like.device)
    hidden = hidden.triu(depth + 1) | hidden.tril(depth - window)
    return like.new_zeros((size, depth + size)).masked_fill_(hidden, float("-inf"))


def _gather(states: torch.Tensor, path: list[slice]) -> torch.Tensor:
    if len(path) == 1:
        return states[:, :, path[0]]
    return torch.cat([states[:, :, piece] for piece in path], dim=2)


_TREE: Final = _TreeAttention()
AttentionInterface.register(NAME, _TREE)


def check_layers(model: Any) -> int:
    """Return the number of a model's layers, all of which must be able to follow a tree.

    Raises:
        UnsupportedAttentionError: they mix neighbours of a row, or are of other kinds.
    """
    # A convolution mixes neighbours in the row, whatever the attention does (state-space models).
    if any(isinstance(module, torch.nn.Conv1d) for module in model.modules()):
        raise UnsupportedAttentionError("convolutions")
    config = model.config.get_text_config()
    others = set(getattr(config, "layer_types", None) or ()) - _KINDS
    if others:
        raise UnsupportedAttentionError(", ".join(sorted(map(str, others))))
    layers = getattr(config, "num_hidden_layers", None)
    if layers is None:
        raise UnsupportedAttentionError("the number of layers is not known")
    return int(layers)


def _check_calls(model: Any, layers: int) -> None:
    """Refuse a model whose layers did not all come by, or came without their windows.

    A window that a model builds into its masks alone, and does not tell the attention, is lost
    here: masks are not built for a tree.
    """
    config = model.config.get_text_config()
    streamed: Streamed | None = getattr(model, "streamed", None)
    called = slice(0, layers)
    if streamed is not None:
        called = slice(streamed.active, streamed.active + 1)
    expected = len(range(layers)[called])
    if _TREE.layer != expected:
        raise UnsupportedAttentionError(f"{_TREE.layer} of {expected} layers use it")
    window = getattr(config, "sliding_window", None)
    if window is None or window >= _TREE.longest:
        return
    kinds = getattr(config, "layer_types", None)
    expected = list(kinds)[called].count("sliding_attention") if kinds else expected
    if _TREE.windowed != expected:
        raise UnsupportedAttentionError(f"{_TREE.windowed} of {expected} windows are told")


def tree_chunks(
    model: Any, row: PackedRow, chunk_tokens: int, kernel: Kernel | None = None
) -> Generator[slice, None, None]:
    """Yield the chunks of a row; until the next one is asked for, attention follows its tree.

    Small chunks suit a processor's caches; what a chunk needs of the row's earlier keys and values
    is kept, so that cutting costs nothing.

    Args:
        model: a transformers model; its forward is to be called once for each chunk.
        row: what is computed.
        chunk_tokens: most tokens of a chunk.
        kernel: what computes all branches in one call; None for branch by branch.

    Raises:
        UnsupportedAttentionError: not every layer takes its attention from transformers' interface.
    """
    layers = check_layers(model)
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(NAME)
    except (ValueError, AttributeError) as error:
        raise UnsupportedAttentionError(str(error).splitlines()[0]) from None
    _TREE.open(row, kernel)
    try:
        for start in range(0, row.size, chunk_tokens):
            chunk = slice(start, min(start + chunk_tokens, row.size))
            _TREE.load(chunk)
            yield chunk
            _check_calls(model, layers)
    finally:
        model.set_attn_implementation(before)
        _TREE.close()
