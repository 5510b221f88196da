"""Faults of attention over packed rows, put in on purpose: does the proof find each of them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

import numpy as np
import torch

from rmbench.engine import tree, units
from rmbench.engine.packing import PackedRow, pack

Hide = Callable[[torch.Tensor, int], None]
Hidden = float("-inf")

attend, parts = tree._attend, tree._parts


def causal(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mask that is added to the scores, (queries, keys)."""
    if mask is not None:
        return mask.clone()
    depth = key.shape[2] - query.shape[2]
    return query.new_full((query.shape[2], key.shape[2]), Hidden).triu_(depth + 1)


def hiding(hide: Hide) -> Callable[[], Any]:
    """Return a fault of the mask; ``hide`` changes that of queries behind so many keys."""

    def attend_wrongly(query: Any, key: Any, value: Any, mask: Any, rule: Any) -> Any:
        depth = key.shape[2] - query.shape[2]
        if depth:
            mask = causal(query, key, mask)
            hide(mask, depth)
        return attend(query, key, value, mask, rule)

    return lambda: mock.patch.object(tree, "_attend", attend_wrongly)


def hide_keys(mask: torch.Tensor, start: int, stop: int) -> None:
    mask[:, start:stop] = Hidden


def show_next(mask: torch.Tensor, depth: int) -> None:
    rows = torch.arange(mask.shape[0] - 1)
    mask[rows, rows + depth + 1] = 0.0


def hide_own(mask: torch.Tensor, depth: int) -> None:
    rows = torch.arange(mask.shape[0])
    mask[rows, rows + depth] = Hidden


def from_top_left(mask: torch.Tensor, depth: int) -> None:
    mask.fill_(Hidden).triu_(1)


def scaled() -> Any:
    def attend_wrongly(query: Any, key: Any, value: Any, mask: Any, rule: Any) -> Any:
        usual = rule.scaling or query.shape[-1] ** -0.5
        return attend(query, key, value, mask, rule._replace(scaling=1.05 * usual))

    return mock.patch.object(tree, "_attend", attend_wrongly)


def heads_in_another_order() -> Any:
    def attend_wrongly(query: Any, key: Any, value: Any, mask: Any, rule: Any) -> Any:
        return attend(query.roll(1, dims=1), key, value, mask, rule)

    return mock.patch.object(tree, "_attend", attend_wrongly)


def seeing(before: int | None) -> Callable[[], Any]:
    """Return a fault: queries see so many tokens of the row before their own; None for all."""

    def parts_wrongly(
        row: PackedRow, chunk: slice, like: torch.Tensor, window: Any
    ) -> Iterator[Any]:
        for part in parts(row, chunk, like, window):
            start = part.path[-1].stop - (part.queries.stop - part.queries.start)
            first = max(0, start - (start if before is None else before))
            path = [slice(first, start), *(part.path if before else [part.path[-1]])]
            count = sum(piece.stop - piece.start for piece in path)
            size = part.queries.stop - part.queries.start
            mask = like.new_full((size, count), Hidden).triu_(count - size + 1)
            yield part._replace(path=path, mask=mask)

    return lambda: mock.patch.object(tree, "_parts", parts_wrongly)


def moving(move: Callable[[np.ndarray[Any, Any], int], Any]) -> Callable[[], Any]:
    """Return a fault of the positions of tokens behind a prefix."""

    def pack_wrongly(sequences: Any, *, row_tokens: int) -> list[PackedRow]:
        rows = []
        for row in pack(sequences, row_tokens=row_tokens):
            position = row.position.copy()
            for branch in row.branches:
                if branch.depth:
                    own = slice(branch.offset, branch.offset + branch.length)
                    position[own] = move(position[own], branch.depth)
            rows.append(replace(row, position=position))
        return rows

    return lambda: mock.patch.object(units, "pack", pack_wrongly)


FAULTS: Final[dict[str, Callable[[], Any]]] = {
    "a tenth of the prefix unseen": hiding(
        lambda mask, depth: hide_keys(mask, depth * 9 // 20, depth * 11 // 20)
    ),
    "positions + 1 behind a prefix": moving(lambda position, depth: position + 1),
    "scores 5 % too large": scaled,
    "one key too many behind a prefix": hiding(show_next),
    "last token of the prefix unseen": hiding(
        lambda mask, depth: hide_keys(mask, depth - 1, depth)
    ),
    "own token unseen": hiding(hide_own),
    "causal from the top left": hiding(from_top_left),
    "prefix lost": hiding(lambda mask, depth: hide_keys(mask, 0, depth)),
    "first token lost": hiding(lambda mask, depth: hide_keys(mask, 0, 1)),
    "sibling seen": seeing(8),
    "whole row seen": seeing(None),
    "positions restart": moving(lambda position, depth: position - depth),
    "heads in another order": heads_in_another_order,
}


@contextmanager
def fault(name: str) -> Iterator[None]:
    """Let attention be wrong for a while."""
    with FAULTS[name]():
        yield
