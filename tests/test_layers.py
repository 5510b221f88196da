"""Layer by layer: the same bytes as with all layers in memory, two of which are there at most."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_proof import sharing

from rmbench.checkpoint import machine, streaming
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.classifier import load_classifier

KINDS = ("llama", "qwen2", "mistral", "gemma2")


def saved(folder: Path, kind: str = "llama", **changes: Any) -> Path:
    return models.save(folder / kind, models.classifier(kind, num_hidden_layers=3, **changes))


def load(folder: Path, **options: Any) -> Any:
    return load_classifier(str(folder), ModelOptions(**options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rewards_are_the_bytes_of_the_loaded_model(tmp_path: Path, kind: str, dtype: str) -> None:
    folder = saved(tmp_path, kind)
    sequences = sharing()
    whole, streamed = (
        load(folder, dtype=dtype, layers=layers, batch_tokens=64).engine
        for layers in ("together", "streamed")
    )
    expected, found = (engine.score(sequences) for engine in (whole, streamed))
    assert np.array_equal(found.rewards, expected.rewards)
    assert found.proof == expected.proof
    assert found.tokens_computed == expected.tokens_computed
    some = sequences[:3]
    assert streamed.score_alone(some) == whole.score_alone(some)


def test_large_layers_are_exchanged_as_those_of_the_whole_model(tmp_path: Path) -> None:
    # Of 2**16 weights and more, which oneDNN computes.
    folder = saved(tmp_path, hidden_size=256, intermediate_size=512)
    sequences = sharing()
    whole, streamed = (load(folder, layers=x).engine for x in ("together", "streamed"))
    assert np.array_equal(streamed.score(sequences).rewards, whole.score(sequences).rewards)
    assert all(parameter.is_meta for parameter in streamed.model.model.layers.parameters())


def test_windows_are_planned_one_by_one_and_computed_together(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    windows = [sharing(0), sharing(1), sharing(0)[:4]]
    whole, streamed = (load(folder, layers=x).engine for x in ("together", "streamed"))
    expected = whole.score_windows(windows)
    read: list[int] = []
    own = streamed.ways.streamed._read
    streamed.ways.streamed._read = lambda number: read.append(number) or own(number)
    found = streamed.score_windows(windows)
    assert np.array_equal(found.rewards, expected.rewards)
    assert read == [0, 1, 2] * 3  # the truth, the proof, and all the rest


def test_few_rows_at_a_time_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path)
    expected = load(folder).engine.score(sharing()).rewards
    engine = load(folder, layers="streamed", batch_tokens=32).engine
    monkeypatch.setattr(type(engine.ways.streamed), "most_tokens", lambda *_: 1)
    np.testing.assert_allclose(engine.score(sharing()).rewards, expected, rtol=0, atol=1e-5)


def test_a_layer_is_read_in_a_thread_while_another_computes(tmp_path: Path) -> None:
    engine = load(saved(tmp_path), layers="streamed").engine
    threads = set()
    own = engine.ways.streamed._read
    engine.ways.streamed._read = lambda n: threads.add(threading.current_thread().name) or own(n)
    engine.score(sharing())
    assert {name.split("_")[0] for name in threads} == {"weights"}


def test_what_does_not_fit_is_computed_layer_by_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = saved(tmp_path)
    monkeypatch.setattr(streaming, "free_memory", lambda: 1000)
    assert load(folder).engine.ways.streamed is not None
    assert "computed layer by layer" in caplog.text
    assert load(folder, layers="together").engine.ways.streamed is None
    monkeypatch.setattr(streaming, "free_memory", lambda: 10**9)
    assert load(folder).engine.ways.streamed is None


def test_damage_is_told_as_of_a_loaded_model(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    file = folder / "model.safetensors"
    weights = load_file(file)
    spare = weights | {"model.layers.3.mlp.up_proj.weight": torch.ones(64, 32)}
    save_file(spare, file, metadata={"format": "pt"})
    with pytest.raises(ScorerError, match="no use for"):
        load(folder, layers="streamed")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ScorerError, match="--layers streamed cannot be used"):
        load(folder, layers="streamed")
    with pytest.raises(ScorerError, match=r"lacks model\.layers\.1"):
        load(folder, layers="auto")


def test_models_without_a_list_of_layers_say_so(tmp_path: Path) -> None:
    folder = models.save(tmp_path / "gpt2", models.classifier("bert"))
    with pytest.raises(ScorerError, match="no list of layers; leave it out"):
        load(folder, layers="streamed")
    with pytest.raises(ScorerError, match="--workers"):
        load(saved(tmp_path), layers="streamed", workers=2)


def test_free_memory_is_the_least_of_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"MEMORY": tmp_path / "meminfo", "PROCESS": tmp_path / "status", "GROUP": tmp_path}
    for name, path in files.items():
        monkeypatch.setattr(machine, name, path)
    assert machine.free_memory() is None or machine.free_memory()  # a limit of this process
    files["MEMORY"].write_text("MemTotal: 9000 kB\nMemAvailable:  4000 kB\n")
    assert machine.free_memory() == 4_096_000
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.free_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() == 4_096_000


def test_shards_are_read(tmp_path: Path) -> None:
    model = models.classifier("llama", num_hidden_layers=3)
    expected = load(models.save(tmp_path / "whole", model)).engine.score(sharing()).rewards
    folder = tmp_path / "parts"
    model.save_pretrained(folder, max_shard_size="30KB")
    models.tokenizer().save_pretrained(folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    found = load(folder, layers="streamed").engine.score(sharing()).rewards
    assert np.array_equal(found, expected)
