"""A model's files stay what they were when it was opened, whatever kind of scorer opens them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from rmbench.answers.ask import hold
from rmbench.api import evaluate
from rmbench.cache import file_digest
from rmbench.checkpoint.identity import locate
from rmbench.errors import ScorerError
from rmbench.scorers.registry import load_scorer

MOVED = "changed after it was opened"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    words = AutoTokenizer.from_pretrained(locate("tiny")[0])
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=4,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    words.save_pretrained(path)
    return path


def overwrite(folder: Path) -> None:
    """Write other weights of the same size, with the time of the old ones."""
    file = folder / "model.safetensors"
    times = file.stat().st_mtime_ns
    weights = {name: weight + 1 for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    os.utime(file, ns=(times, times))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("classifier", {}),
        ("implicit", {"reference": "none:sum"}),
        ("process", {"tokens": "a,b"}),
        ("pairwise", {"marks": "1,2,3"}),
        ("judge", {}),
    ],
)
def test_weights_that_are_overwritten_are_noticed(
    kind: str, options: dict[str, Any], folder: Path
) -> None:
    scorer = load_scorer(f"{kind}:{folder}", options)
    assert hold(scorer) is not None
    assert hold(scorer) == hold(scorer)
    overwrite(folder)
    with pytest.raises(ScorerError, match=MOVED):
        hold(scorer)
    assert hold(load_scorer(f"{kind}:{folder}", options)) is not None


def test_so_are_those_of_a_reference(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "reference"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    scorer = load_scorer(f"implicit:{folder}", {"reference": str(other)})
    hold(scorer)
    overwrite(other)
    with pytest.raises(ScorerError, match=MOVED):
        hold(scorer)


def test_so_is_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def reward(conversation):\n    return float(len(conversation.response))\n")
    scorer = load_scorer(f"file:{file}:reward")
    assert evaluate("mini", scorer, limit=4).partial == 4
    file.write_text("def reward(conversation):\n    return 0.0\n")
    with pytest.raises(ScorerError, match=MOVED):
        evaluate("mini", scorer, limit=4)


def test_so_are_a_reader_and_a_template(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    scorer = load_scorer("tiny", {"template": str(template)})
    hold(scorer)
    template.write_text("{% for m in messages %}{{ m.content }}!{% endfor %}")
    with pytest.raises(ScorerError, match=MOVED):
        hold(scorer)


def test_the_size_of_a_batch_tells_answers_apart() -> None:
    # In half precision the last digits hang on it, so that answers of two sizes are not mixed.
    plain, small = (hold(load_scorer("tiny", given)) for given in ({}, {"batch_tokens": 64}))
    assert plain != small
    assert plain == hold(load_scorer("tiny", {"workers": 2}))


def test_a_digest_is_read_again_where_its_file_changed(folder: Path) -> None:
    file = folder / "model.safetensors"
    first = file_digest(file)
    assert file_digest(file) == first
    overwrite(folder)
    assert file_digest(file) != first
