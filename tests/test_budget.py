"""How many tokens are computed at once: hand arithmetic on a made-up device."""

import models
import pytest
import torch

from rmbench.engine import budget
from rmbench.engine.budget import choose_batch_tokens, chunks_per_row

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
# SmolTulu's width. A token's states take (8 * 2048 + 3 * 8192) * 2 bytes in bfloat16: 80 KiB.
SHAPE = models.config("llama", hidden_size=2048, intermediate_size=8192)
PER_TOKEN = 80 * 1024


def choose(monkeypatch: pytest.MonkeyPatch, free: int, **options: object) -> int:
    monkeypatch.setattr(budget, "_free_memory", lambda device: free)
    options = {"device": CUDA, "dtype": torch.bfloat16} | options
    return choose_batch_tokens(SHAPE, **options)  # type: ignore[arg-type]


def test_half_of_the_free_memory_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, 2 * 5000 * PER_TOKEN) == 4096


def test_float32_takes_twice_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, 2 * 5000 * PER_TOKEN, dtype=torch.float32) == 2048


def test_weights_still_to_be_loaded_are_left_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, 2 * 5000 * PER_TOKEN, reserved=2 * 1000 * PER_TOKEN) == 2048


@pytest.mark.parametrize(("free", "tokens"), [(0, 512), (140 * 2**30, 16_384)])
def test_the_budget_has_two_ends(monkeypatch: pytest.MonkeyPatch, free: int, tokens: int) -> None:
    assert choose(monkeypatch, free) == tokens


def test_a_processor_takes_what_its_caches_like() -> None:
    assert choose_batch_tokens(SHAPE, device=CPU, dtype=torch.float32) == 1024
    assert chunks_per_row(CPU) == 4
    assert chunks_per_row(CUDA) == 1
