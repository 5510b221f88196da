"""Several processes compute: the same bytes, whoever computes them and whoever dies."""

from __future__ import annotations

import os
import signal
from typing import Any

import models
import numpy as np
import pytest
import torch

from rmbench.engine.reading import Reading, Reward
from rmbench.engine.scoring import Engine
from rmbench.engine.workers import ModelSource
from rmbench.errors import ScorerError


def load(device: str) -> Any:
    return models.classifier("llama").to(device)


def load_another(device: str) -> Any:
    """Return a model whose last digits are others, as another device's may be."""
    model = load(device)
    with torch.no_grad():
        model.score.weight.mul_(1 + 1e-6)
    return model


def fail(device: str) -> Any:
    raise OSError("no such weights")


def read(model: Any) -> Reading:
    return Reward(model)


def sequences() -> list[Any]:
    generator = np.random.default_rng(0)
    prompt = generator.integers(4, models.VOCABULARY, 30)
    tails = [generator.integers(4, models.VOCABULARY, 5 + i % 40) for i in range(150)]
    return [
        np.concatenate([prompt[: 10 + i % 20], tail]).astype(np.int32)
        for i, tail in enumerate(tails)
    ]


def engine(count: int, **changes: Any) -> Engine:
    job = ModelSource(
        **{"load": load, "read": read, "devices": ("cpu",) * (count - 1), "threads": 1} | changes
    )
    return Engine(load("cpu"), batch_tokens=64, job=job)


@pytest.mark.slow
def test_one_two_and_three_processes_give_the_same_bytes_also_when_one_is_killed() -> None:
    expected = engine(1).score(sequences()).rewards
    for count in (2, 3):
        several = engine(count)
        try:
            assert several.score(sequences()).rewards.tobytes() == expected.tobytes()
            assert several.environment()["workers"] == count
        finally:
            several.close()


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_its_units_are_done_again() -> None:
    expected = engine(1).score(sequences())
    several = engine(2)
    killed: list[int] = []

    def kill(_: int) -> None:
        assert several.workers is not None
        (other,) = several.workers._processes
        if not killed and other.units:
            killed.append(len(other.units))
            os.kill(other.process.pid, signal.SIGKILL)

    several.progress = kill
    try:
        found = several.score(sequences())
        assert several.workers is not None
        assert (killed != [], several.workers.replaced) == (True, 1)
        assert found.rewards.tobytes() == expected.rewards.tobytes()
    finally:
        several.close()


def test_a_process_that_differs_in_the_last_digit_does_not_count() -> None:
    several = engine(2, load=load_another)
    try:
        found = several.score(sequences())
        assert several.environment()["workers"] == 1
        assert found.rewards.tobytes() == engine(1).score(sequences()).rewards.tobytes()
    finally:
        several.close()


def test_a_process_that_cannot_load_its_model_is_one_line() -> None:
    several = engine(2, load=fail)
    try:
        with pytest.raises(ScorerError, match="a process on cpu cannot compute: no such weights"):
            several.score(sequences())
    finally:
        several.close()
