"""The proof of a fast way: every fault is found, a sound way is taken, and it costs little."""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

import models
import numpy as np
import pytest
import torch
from faults import FAULTS, fault

from rmbench.engine.packing import pack
from rmbench.engine.proof import prove
from rmbench.engine.reading import Ask
from rmbench.engine.sample import choose_row, choose_sample
from rmbench.engine.scoring import Engine
from rmbench.engine.units import Unit
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed


def sharing(seed: int = 0, count: int = 24) -> list[Any]:
    """Return pairs of sequences that share their prompts, as comparisons do."""
    generator = np.random.default_rng(seed)
    system = generator.integers(4, models.VOCABULARY, 6)
    sequences = []
    for _ in range(count // 2):
        prompt = generator.integers(4, models.VOCABULARY, generator.integers(10, 30))
        for _ in range(2):
            own = generator.integers(4, models.VOCABULARY, generator.integers(5, 30))
            sequences.append(np.concatenate([system, prompt, own]).astype(np.int32))
    return sequences


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_every_fault_is_found(name: str) -> None:
    model = models.classifier("llama")
    with fault(name):
        scoring = Engine(model).score(sharing())
    assert scoring.way == "hidden"
    assert scoring.refused["packed"] > 1e-3
    truth = [models.lone_reward(model, ids) for ids in sharing()]
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_fault_the_fastest_way_is_taken(dtype: torch.dtype) -> None:
    model = models.classifier("llama", initializer_range=0.05).to(dtype)
    for seed in range(5):
        proof = Engine(model).score(sharing(seed)).proof
        assert (proof.way, proof.refused) == ("packed", {})
        assert proof.state is not None
        assert proof.limit is not None
        assert proof.state <= proof.limit <= 0.1


def test_the_truth_is_the_models_before_its_layers_are_exchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A product of layers that were exchanged is wrong; the truth must not be wrong alike.
    model = models.classifier("llama", hidden_size=512, intermediate_size=1024)
    expected = [models.lone_reward(model, ids) for ids in sharing()]
    engine = Engine(model)
    monkeypatch.setattr(
        "rmbench.engine.linear._product", lambda packed, bias, given: given @ given.new_zeros(1)
    )
    monkeypatch.setattr("rmbench.engine.ways.faster_layers", lambda network: wrong_layers(network))
    scoring = engine.score(sharing())
    assert scoring.way == "alone"
    assert scoring.refused["packed"] > 0.1
    np.testing.assert_allclose(scoring.rewards, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(engine.score_alone(sharing()), expected, rtol=0, atol=1e-5)


def wrong_layers(network: Any) -> list[Any]:
    from rmbench.engine.linear import _Part

    layer = network.model.layers[0].mlp.up_proj
    return [_Part(layer, "forward", lambda given: 1.5 * (given @ layer.weight.T))]


def test_the_sample_shares_prefixes_and_stands_in_a_row_of_the_run() -> None:
    sequences = sharing(count=200)
    rows = [
        Unit(indices=[branch.sequence for branch in row.branches], row=row, chunk=1024)
        for row in pack(sequences, row_tokens=1024)
    ]
    unit = choose_row(rows)
    sample = choose_sample(unit, sequences)
    assert len(sample) == 8
    assert set(sample) <= set(unit.indices)
    shared = 0
    for i in sample:
        others = [sequences[j] for j in sample if j != i]
        # Beyond the system prompt, which all have.
        shared += any((sequences[i][:16] == other[:16]).all() for other in others)
    assert shared >= 6


def test_what_the_proof_computed_is_not_computed_again() -> None:
    model, sequences = models.classifier("llama"), sharing(count=200)
    scoring = Engine(model, batch_tokens=1024).score(sequences)
    rows = pack(sequences, row_tokens=4096)
    sample = choose_sample(
        choose_row([Unit(indices=[b.sequence for b in r.branches], row=r) for r in rows]), sequences
    )
    longest = sorted((sequences[i].size for i in sample), reverse=True)
    # All rows once, the sample alone, and two of it by another kernel.
    lone = sum(longest) + sum(longest[:2])
    assert scoring.tokens_computed == sum(row.size for row in rows) + lone


@pytest.fixture(scope="session")
def real_model() -> Any:
    folder = os.environ.get("RMBENCH_TEST_MODEL")
    if not folder:
        pytest.skip("RMBENCH_TEST_MODEL is not set: no model of real size")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_fault_is_found_on_a_model_of_real_size(real_model: str, dtype: torch.dtype) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    loader: Any = AutoModelForSequenceClassification
    model = loader.from_pretrained(real_model, dtype=dtype).eval()
    words = AutoTokenizer.from_pretrained(real_model)
    asks = []
    for comparison in islice(open_feed(load_suite("mini")), 12):
        for conversation in comparison.conversations():
            text = words.apply_chat_template(conversation.messages, tokenize=False)
            ids = words(text, add_special_tokens=False)["input_ids"]
            asks.append(Ask(ids=np.array(ids[:300], dtype=np.int32)))
    engine = Engine(model)
    with torch.inference_mode():
        assert prove(engine.ways, engine.planner, asks, ()).way == "packed"
        for name in FAULTS:
            with fault(name):
                others = {"hidden", "padded", "alone"}
                found = prove(engine.ways, engine.planner, asks, others)
            assert found.refused["packed"] > (found.limit or 0.0), name
