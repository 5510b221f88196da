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
from rmbench.engine import ways
from rmbench.engine.packing import pack
from rmbench.engine.scoring import Engine
from rmbench.errors import ScorerError

ARGUMENTS = [
    SimpleNamespace(name=name)
    for name in ("cum_seq_q", "cum_seq_k", "max_q", "max_k", "is_causal", "scale")
]


class Kernel:
    """FlashAttention 2 for sequences of different lengths, on any device, one by one.

    Queries (T, heads, width), keys and values (K, key heads, width), sequence i between the i-th
    and the next end. The last query of a sequence sees all its keys, each query before it one less.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.window: int | None = None

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
        window_size_left: int | None = None,
        window_size_right: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        self.calls += 1
        self.window = window_size_left
        assert (dropout, is_causal, debug) == (0.0, True, False)
        assert window_size_right == (None if window_size_left is None else 0)
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
        if self.window is not None:  # so many keys before its own may a query see
            own = torch.arange(len(key) - count, len(key))[:, None]
            hidden |= torch.arange(len(key)) < own - self.window
        return torch.einsum(
            "hqk,khw->qhw", scores.masked_fill(hidden, -torch.inf).softmax(-1), value
        )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Stand in for the GPU's kernel, and let every engine find it."""
    stand_in = Kernel()
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", stand_in, raising=False)
    schema = SimpleNamespace(_schema=SimpleNamespace(arguments=ARGUMENTS))
    monkeypatch.setattr(stand_in, "default", schema, raising=False)
    monkeypatch.setattr(ways, "choose_kernel", lambda device, dtype: fused._operator())
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
    assert scoring.way == "fused"
    assert kernel.calls > 0
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [16, 40, 64])
def test_a_row_in_chunks_sees_the_keys_of_the_chunks_before(
    batch_tokens: int, kernel: Kernel
) -> None:
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model, batch_tokens=batch_tokens).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, kernel.calls > 0) == ("fused", True)
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
    calls = []

    def missing(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.")

    monkeypatch.setattr(kernel, "one", missing)
    model, sequences = models.classifier("llama"), sharing()
    engine = Engine(model)
    scoring = engine.score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, scoring.refused) == ("packed", {"fused": float("inf")})
    assert len(calls) == 1  # and it is not tried again
    assert engine.environment()["kernel"] is None
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_kernel_that_fails_in_the_middle_of_a_run_ends_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(models.classifier("llama"), batch_tokens=24)
    sequences = sharing()
    engine.score(sequences)
    expected, one = kernel.calls, kernel.one

    def fails(*given: Any) -> torch.Tensor:
        if kernel.calls > expected + 20:
            raise RuntimeError("the kernel is gone")
        return one(*given)

    monkeypatch.setattr(kernel, "one", fails)
    with pytest.raises(RuntimeError, match="the kernel is gone"):
        engine.score(sequences)


def test_a_window_is_told_to_the_kernel(kernel: Kernel) -> None:
    model, sequences = models.classifier("mistral"), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, kernel.window) == ("fused", 7)
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_window_that_no_sequence_fills_is_left_out(kernel: Kernel) -> None:
    model, sequences = models.classifier("mistral", sliding_window=100), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, kernel.window) == ("fused", None)
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_soft_cap_goes_branch_by_branch(kernel: Kernel) -> None:
    model = models.classifier("gemma2", attn_logit_softcapping=0.5)
    model.set_attn_implementation("eager")
    sequences = sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert (scoring.way, scoring.refused) == ("packed", {"fused": float("inf")})
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_kernel_that_gives_something_else_is_found_out(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Causal from the first key on, as PyTorch's own attention has it: wrong behind a prefix.
    monkeypatch.setattr(kernel, "first_hidden", lambda keys, count: 1)
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model).score(sequences)
    truth = [models.lone_reward(model, ids) for ids in sequences]
    assert scoring.way == "packed"
    assert scoring.refused["fused"] > 1e-2
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_memory_that_runs_out_in_the_kernel_makes_batches_smaller(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    one = kernel.one

    def small(query: torch.Tensor, *given: Any) -> torch.Tensor:
        if len(query) > 25:
            raise error
        return one(query, *given)

    monkeypatch.setattr(kernel, "one", small)
    model, sequences = models.classifier("llama"), sharing()
    scoring = Engine(model).score(sequences)
    assert scoring.way == "fused"
    truth = [models.lone_reward(model, ids) for ids in sequences]
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


def test_a_device_that_is_lost_ends_the_run_with_one_message(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def lost(*_: Any) -> torch.Tensor:
        calls.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with")

    monkeypatch.setattr(kernel, "one", lost)
    with pytest.raises(ScorerError) as caught:
        Engine(models.classifier("llama")).score(sharing())
    message = str(caught.value)
    assert "an illegal memory access was encountered" in message
    assert message.endswith(
        "run again, with CUDA_LAUNCH_BLOCKING=1 to learn which operation it was"
    )
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("width", "fits"), [(64, True), (128, True), (256, True), (100, False), (512, False)]
)
def test_only_widths_that_the_kernels_take_are_given_to_them(width: int, fits: bool) -> None:
    states: Any = SimpleNamespace(shape=(1, 4, 10, width))
    assert fused.is_fit(states, states) is fits
    narrow: Any = SimpleNamespace(shape=(1, 4, 10, 32))
    assert not fused.is_fit(states, narrow)


@pytest.mark.parametrize(
    ("device", "dtype", "capability", "found"),
    [
        ("cuda", torch.bfloat16, (9, 0), True),
        ("cuda", torch.float16, (8, 0), True),
        ("cuda", torch.float32, (9, 0), False),
        ("cuda", torch.float16, (7, 5), False),
        ("cpu", torch.bfloat16, (9, 0), False),
        ("mps", torch.float16, (9, 0), False),
    ],
)
def test_a_kernel_is_chosen_by_device_and_precision(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    found: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    kernel = fused.choose_kernel(torch.device(device), dtype)
    assert (kernel is not None) is found


@pytest.mark.skipif(fused._public() is None, reason="a PyTorch without varlen_attn")
def test_the_public_kernel_is_called_as_the_operator_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen

    stand_in = Kernel()

    def varlen_attn(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cu_seq_q: torch.Tensor,
        cu_seq_k: torch.Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        assert enable_gqa == (query.shape[1] != key.shape[1])
        assert window_size[1] == 0
        left = None if window_size[0] == -1 else window_size[0]
        options = {"window_size_left": left, "window_size_right": None if left is None else 0}
        given = (query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, 0.0, True, False)
        return stand_in(*given, scale=scale, **options)[0]

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    monkeypatch.setattr(ways, "choose_kernel", lambda device, dtype: fused._public())
    for kind in ("llama", "mistral"):
        model, sequences = models.classifier(kind), sharing()
        scoring = Engine(model).score(sequences)
        truth = [models.lone_reward(model, ids) for ids in sequences]
        assert scoring.way == "fused"
        np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)
