"""Frequencies of positions that follow the longest of a forward: each reward is as it is alone."""

from typing import Any

import models
import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, Phi3Config

from rmbench.engine.frequencies import Frequencies
from rmbench.engine.scoring import Engine

LENGTHS = (5, 30, 15, 17, 16, 40, 9, 23, 31, 12, 16, 17, 8, 55, 6, 33)
TRAINED = 16
"""Up to this length the first set of frequencies holds."""


def scaled(kind: str) -> Any:
    if kind == "longrope":
        factors: dict[str, Any] = {"short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
        scaling = {"rope_type": kind, "original_max_position_embeddings": TRAINED, **factors}
        shape = models.SHAPE | models.GROUPED
        config: Any = Phi3Config(**shape, original_max_position_embeddings=TRAINED)
    else:
        scaling = {"rope_type": kind, "factor": 4.0}
        config = models.config("llama", max_position_embeddings=TRAINED)
    given = {"rope_theta": 10_000.0, "partial_rotary_factor": 1.0, **scaling}
    if hasattr(config, "rope_parameters"):
        config.rope_parameters = given
    else:
        config.rope_scaling = {"type": kind, **scaling}
    return config


def build(kind: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(scaled(kind)).eval()


def sequences() -> list[Any]:
    generator = np.random.default_rng(0)
    prompt = generator.integers(4, models.VOCABULARY, 60)
    several = []
    for length in LENGTHS:
        own = generator.integers(4, models.VOCABULARY, length - length // 2)
        several.append(np.concatenate([prompt[: length // 2], own]).astype(np.int32))
    return several


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
@pytest.mark.parametrize("batch_tokens", [8, 1024])
def test_each_reward_is_the_one_that_a_fresh_model_gives_alone(
    kind: str, batch_tokens: int
) -> None:
    # Fresh: dynamic frequencies stay those of the longest sequence so far.
    truth = [models.lone_reward(build(kind), ids) for ids in sequences()]
    engine = Engine(build(kind), batch_tokens=batch_tokens)
    scoring = engine.score(sequences())
    assert scoring.way == "packed"
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)
    np.testing.assert_allclose(engine.score_alone(sequences()), truth, rtol=0, atol=1e-5)
    # Else there would be nothing to prove: padded to the longest it would be another one.
    padded = np.pad(sequences()[0], (0, max(LENGTHS) - LENGTHS[0]))[None]
    mask = (np.arange(max(LENGTHS)) < LENGTHS[0])[None]
    given = (torch.from_numpy(numbers).long() for numbers in (padded, mask))
    with torch.inference_mode():
        together = float(build(kind)(*given).logits[0, 0])
    assert abs(together - truth[0]) > 1e-3


@pytest.mark.parametrize(
    ("kind", "groups"),
    [("longrope", 2), ("dynamic", 1 + len({n for n in LENGTHS if n > TRAINED}))],
)
def test_sequences_are_together_with_those_of_the_same_frequencies(kind: str, groups: int) -> None:
    found = Frequencies(build(kind)).group(LENGTHS)
    assert len(found) == groups
    assert sorted(i for numbers, _ in found for i in numbers) == list(range(len(LENGTHS)))
    short = {i for i, length in enumerate(LENGTHS) if length <= TRAINED}
    # Only where the usual frequencies hold may a row be cut: a piece may lack the longest position.
    assert [set(numbers) for numbers, may_chunk in found if may_chunk] == [short]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "gemma2", "modernbert"])
def test_other_models_are_computed_together(kind: str) -> None:
    frequencies = Frequencies(models.classifier(kind))
    assert frequencies.group(LENGTHS) == [(list(range(len(LENGTHS))), True)]
    assert not frequencies.are_unknown


def test_a_model_whose_embedding_is_not_known_is_scored_alone() -> None:
    model = models.classifier("gpt2")
    model.config.use_dynamic_ntk = True
    scoring = Engine(model).score(sequences())
    assert scoring.way == "alone"
    truth = [models.lone_reward(model, ids) for ids in sequences()]
    np.testing.assert_allclose(scoring.rewards, truth, rtol=0, atol=1e-5)
