"""Traps of models that are not what was saved: each fault is built here, and its claim proven."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import pytest
import torch
import transformers
from asked import score
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, pre_tokenizers

from rmbench.checkpoint.options import ModelOptions
from rmbench.cli import main
from rmbench.errors import ScorerError
from rmbench.scorers import classifier
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Conversation, Message

HELLO = [Conversation((Message("user", "Hello"),), "Hi")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return models.save(tmp_path / "rm", models.classifier("llama", max_position_embeddings=2048))


def refused(folder: Path) -> str:
    """Return what `doctor` says of a model that it refuses; `run` refuses it too."""
    done = CliRunner().invoke(main, ["doctor", str(folder)])
    assert done.exit_code == 2
    with pytest.raises(ScorerError):
        score(load_scorer(str(folder), ModelOptions()), HELLO)
    return done.stdout


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def add_weights(folder: Path, **more: torch.Tensor) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file) | {name.replace("__", "."): x for name, x in more.items()}
    save_file(weights, file, metadata={"format": "pt"})


def test_trap_weights_that_nobody_uses(folder: Path) -> None:
    add_weights(folder, model__layers__0__self_attn__q_proj__bias=torch.ones(32))
    assert "model.layers.0.self_attn.q_proj.bias" in refused(folder)


def test_trap_another_class_than_the_models_own(folder: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModel": "cost.CostModel"})
    assert "cost.CostModel" in refused(folder)


def test_trap_an_adapter_beside_whole_weights(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "adapter_config.json stands beside whole weights" in refused(folder)


@pytest.mark.skipif(
    transformers.__version__.startswith("4."),
    reason="transformers 4 takes tokenizer.json as it stands",
)
def test_trap_a_tokenizer_rebuilt_around_other_rules(folder: Path) -> None:
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    digits = pre_tokenizers.Digits(individual_digits=True)
    whole = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)
    words.pre_tokenizer = pre_tokenizers.Sequence([digits, whole])
    words.save(str(folder / "tokenizer.json"))
    edit(folder / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    assert "other token ids than tokenizer.json" in refused(folder)


def test_trap_a_model_that_changes_while_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = classifier.load_weights

    def replaced(*given: Any) -> Any:
        loaded = real(*given)
        add_weights(folder, score__weight=torch.ones(1, 32))
        return loaded

    monkeypatch.setattr(classifier, "load_weights", replaced)
    with pytest.raises(ScorerError, match="changed"):
        score(load_scorer(str(folder), ModelOptions()), HELLO)


def test_trap_a_head_whose_activation_nobody_states(folder: Path) -> None:
    edit(folder / "config.json", architectures=["Chained"])
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["score.weight"]
    chain = {"score.0.weight": torch.ones(32, 32), "score.2.weight": torch.ones(1, 32)}
    save_file(weights | chain, file, metadata={"format": "pt"})
    found = refused(folder)
    assert "score.0 (32 x 32), score.2 (1 x 32)" in found
    assert "--reader" in found
