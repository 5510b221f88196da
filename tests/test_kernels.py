"""Attention of all branches in one call, with a stand-in for the GPU's kernel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import models
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.engine import kernels as fused
from rmbench.engine import tree
from rmbench.engine.packing import pack
from rmbench.engine.ways import Engine

WIDTH = 8
GPU = SimpleNamespace(type="cuda")


class Kernel:
    """FlashAttention 2 for sequences of different lengths, on any device, one by one.

    Queries (T, heads, width), keys and values (K, key heads, width), sequence i between the i-th
    and the next end. The last query of a sequence sees all its keys, each query before it one less.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        query_ends: torch.Tensor,
        key_ends: torch.Tensor,
        most_queries: int,
        most_keys: int,
        dropout: float,
        is_causal: bool,
        debug: bool,
        *,
        scale: float | None,
    ) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        assert (dropout, is_causal, debug) == (0.0, True, False)
        assert query_ends.dtype == key_ends.dtype == torch.int32
        assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
        places = zip(query_ends.tolist(), key_ends.tolist(), strict=True)
        start, first = next(places)
        assert (start, first) == (0, 0)
        assert most_queries == int(query_ends.diff().max())
        assert most_keys == int(key_ends.diff().max())
        outputs = []
        for end, last in places:
            part = slice(first, last)
            outputs.append(self.one(query[start:end], key[part], value[part], scale))
            start, first = end, last
        assert (start, first) == (len(query), len(key))
        return torch.cat(outputs), torch.empty(0)

    def first_hidden(self, keys: int, count: int) -> int:
        """Return the first diagonal of scores that is masked out."""
        return keys - count + 1

    def one(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None
    ) -> torch.Tensor:
        count, heads, width = query.shape
        share = heads // key.shape[1]
        key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
        scores = torch.einsum("qhw,khw->hqk", query, key) * (scale or width**-0.5)
        hidden = torch.ones(count, len(key), dtype=torch.bool)
        hidden = hidden.triu(self.first_hidden(len(key), count))
        return torch.einsum(
            "hqk,khw->qhw", scores.masked_fill(hidden, -torch.inf).softmax(-1), value
        )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Stand in for the GPU's kernel, and let every tensor seem to be on a GPU."""
    stand_in = Kernel()
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", stand_in, raising=False)
    monkeypatch.setattr(tree, "is_fit", lambda query, value: True)
    monkeypatch.setattr(tree._TREE, "can_fuse", True)
    return stand_in


def sharing(count: int = 12) -> list[Any]:
    """Return sequences of a tree: prompts, answers that begin alike, one that others go on from."""
    generator = np.random.default_rng(1)
    letters = generator.integers(4, models.VOCABULARY, 60).astype(np.int32)
    sequences = [letters[:20], letters[:35], letters]
    for i in range(count):
        own = generator.integers(4, models.VOCABULARY, 3 + 2 * i)
        sequences.append(np.concatenate([letters[: 4 * i], own]).astype(np.int32))
    return sequences


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("copies", [0, 1, 2, 100])
def test_rewards_of_one_call_are_the_lone_forwards(
    kind: str, copies: int, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "COPIES", copies)
    model, sequences = models.classifier(kind), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert scoring.way == "packed"
    assert kernel.calls > 0
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [16, 40, 64])
def test_a_row_in_chunks_sees_the_keys_of_the_chunks_before(
    batch_tokens: int, kernel: Kernel
) -> None:
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model, batch_tokens=batch_tokens).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, kernel.calls > 0) == ("packed", True)
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(0, 4),
)
def test_groups_hold_every_query_once_and_the_keys_of_its_own_sequence(
    sequences: list[list[int]], chunk_tokens: int, copies: int
) -> None:
    (row,) = pack([np.array(ids, dtype=np.int32) for ids in sequences], row_tokens=1000)
    chunk = slice(0, min(chunk_tokens, row.size))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "COPIES", copies)
        groups = fused.group_branches(row, chunk, torch.device("cpu"))
    assert [group.queries.start for group in groups] == [
        0,
        *(group.queries.stop for group in groups[:-1]),
    ]
    assert groups[-1].queries.stop == chunk.stop
    for group in groups:
        query = group.queries.start
        for number in range(len(group.query_ends) - 1):
            count = int(group.query_ends[number + 1] - group.query_ends[number])
            keys = group.keys[group.key_ends[number] : group.key_ends[number + 1]].tolist()
            for i in range(count):
                seen = keys[: len(keys) - count + i + 1]
                # By packing's own rule: query q sees key k if and only if k <= q < end[k].
                assert seen == [k for k in range(query + 1) if query < row.end[k]]
                query += 1
        assert query == group.queries.stop


def test_prefixes_are_copied_within_a_limit(kernel: Kernel) -> None:
    prompt = np.arange(4, 34).astype(np.int32)
    sequences = [np.append(prompt, [i, i]).astype(np.int32) for i in range(40, 60)]
    (row,) = pack(sequences, row_tokens=1000)
    groups = fused.group_branches(row, slice(0, row.size), torch.device("cpu"))
    # 30 tokens of prompt and 20 times 2 of answers; 20 times 32 keys, in calls of at most 140.
    assert row.size == 70
    assert sum(len(group.keys) for group in groups) == 640
    assert max(len(group.keys) for group in groups) <= 140


def test_without_the_kernel_the_branches_are_taken_one_by_one(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", missing)
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert scoring.way == "packed"
    assert not tree._TREE.can_fuse  # and it is not tried again
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_kernel_that_gives_something_else_is_found_out(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Causal from the first key on, as PyTorch's own attention has it: wrong behind a prefix.
    monkeypatch.setattr(kernel, "first_hidden", lambda keys, count: 1)
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert scoring.way == "hidden"
    assert scoring.refused["packed"] > 1e-3
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_memory_that_runs_out_in_the_kernel_makes_batches_smaller(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(query: torch.Tensor, *given: Any, **options: Any) -> tuple[torch.Tensor, ...]:
        if len(query) > 70:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return kernel(query, *given, **options)

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", small)
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model).score(sequences)
    assert scoring.way == "packed"
    assert tree._TREE.can_fuse
    truth = [models.lone_reward(model, ids) for ids in sequences]
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"dtype": torch.float16}, True),
        ({"dtype": torch.float32}, False),
        ({"device": SimpleNamespace(type="cpu")}, False),
        ({"device": SimpleNamespace(type="mps")}, False),
        ({"shape": (1, 4, 10, 100)}, False),  # no multiple of 8
        ({"shape": (1, 4, 10, 512)}, False),
    ],
)
def test_only_what_the_kernel_takes_is_given_to_it(changes: dict[str, Any], fits: bool) -> None:
    shape = {"device": GPU, "dtype": torch.bfloat16, "shape": (1, 4, 10, 64)} | changes
    states: Any = SimpleNamespace(**shape)
    assert fused.is_fit(states, states) is fits
    narrow: Any = SimpleNamespace(shape=(1, 4, 10, 32))
    assert not fused.is_fit(states, narrow)
