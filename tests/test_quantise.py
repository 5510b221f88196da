"""Weights in 8 and 4 bits: the backbone's alone, named in what is recorded, never unasked."""

import sys
from pathlib import Path
from typing import Any

import asked
import models
import numpy as np
import pytest

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Conversation, Message

CONVERSATIONS = [
    Conversation((Message("user", "What is two and two?"),), f"It is {number}.")
    for number in range(4)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return models.save(tmp_path / "model", models.classifier("llama"))


def score(folder: Path, **options: Any) -> Any:
    scorer = load_scorer(str(folder), ModelOptions(device="cpu", **options))
    return scorer, asked.score(scorer, CONVERSATIONS)


@pytest.mark.parametrize("precision", ["int8", "int4", "fp8"])
def test_quantised_weights_give_other_rewards_and_the_audit_says_how_far(
    folder: Path, precision: str
) -> None:
    pytest.importorskip("torchao")
    _, plain = score(folder)
    scorer, found = score(folder, dtype=precision)
    moved = np.abs(np.array(found.rewards) - np.array(plain.rewards))
    assert 0 < moved.max() < 1
    assert found.audit["quantised"] == {"compared": 4, "difference": round(moved.max(), 6)}
    assert "quantised" not in plain.audit
    assert found.audit["batching"] == "packed"
    assert found.audit["difference"] < 1e-4
    assert scorer.info.settings["dtype"] == precision
    assert scorer.info.usual.get("dtype") == "float32"


def test_without_torchao_it_is_told_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ScorerError, match=r"torchao; pip install 'rmbench\[quantized\]'"):
        score(folder, dtype="int8")


def test_an_unknown_precision_is_refused(folder: Path) -> None:
    with pytest.raises(ScorerError, match="dtype"):
        score(folder, dtype="int3")
