"""The baselines without a model: longer, shorter, chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from asked import score
from scipy import stats

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.registry import check_model_name, load_scorer
from rmbench.suite.comparison import Conversation, Message

MANY = [
    Conversation((Message("user", f"question {i}"),), f"answer {i}", f"sub/{i}")
    for i in range(4_000)
]


def said(response: str, prompt: str = "hi") -> Conversation:
    return Conversation((Message("user", prompt),), response)


def rewards(name: str, conversations: list[Conversation], *, seed: int = 0) -> list[float]:
    scored = score(load_scorer(name, seed=seed), conversations)
    assert None not in scored.rewards
    return [float(reward) for reward in scored.rewards if reward is not None]


def test_length_counts_the_characters_of_the_response_alone() -> None:
    # Code points, not bytes: the second is 4 of them in 7 bytes, the third one emoji in 4.
    texts = [said("four", prompt="a much longer prompt"), said("naïé\u0301"), said("🙂"), said("")]
    assert rewards("length", texts) == [4.0, 5.0, 1.0, 0.0]


def test_shorter_is_the_negative_of_length() -> None:
    texts = [said("a" * n) for n in (3, 0, 700)]
    assert rewards("shorter", texts) == [-reward for reward in rewards("length", texts)]


def test_random_is_uniform() -> None:
    # Kolmogorov-Smirnov at a fixed seed; a p-value this high is no luck of a wrong range or shape.
    drawn = rewards("random", MANY)
    assert stats.kstest(drawn, "uniform").pvalue > 0.05
    assert 0.0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1.0
    assert len(set(drawn)) > 3_990


def test_neighbouring_conversations_and_seeds_are_uncorrelated() -> None:
    drawn, other = rewards("random", MANY), rewards("random", MANY, seed=1)
    assert stats.pearsonr(drawn[:-1], drawn[1:]).pvalue > 0.05
    assert stats.pearsonr(drawn, other).pvalue > 0.05


def test_random_depends_on_seed_and_text_and_on_nothing_around_it() -> None:
    drawn = rewards("random", MANY)
    assert rewards("random", MANY[::-1]) == drawn[::-1]
    assert rewards("random", [MANY[7], MANY[7]]) == [drawn[7]] * 2
    assert rewards("random", MANY, seed=1) != drawn


def test_random_looks_at_the_prompt_and_not_at_the_name() -> None:
    same = Conversation(MANY[0].prompt, MANY[0].response, "another/name")
    assert rewards("random", [MANY[0]]) == rewards("random", [same])
    assert rewards("random", [said("yes", "a")]) != rewards("random", [said("yes", "b")])


def test_random_rewards_are_float32_numbers() -> None:
    drawn = rewards("random", MANY[:100])
    assert [float(np.float32(reward)) for reward in drawn] == drawn


def test_no_conversations_give_no_rewards() -> None:
    assert rewards("length", []) == []


@pytest.mark.parametrize("name", ["length", "shorter", "random"])
def test_a_baseline_says_what_it_is(name: str) -> None:
    info = load_scorer(name, seed=3).info
    assert (info.id, info.kind, info.revision, info.parameters) == (name, "rule", None, None)
    assert info.settings == ({"seed": 3} if name == "random" else {})


@pytest.mark.parametrize("name", ["lenght", "./nowhere/at/all", "org/name/more", "", "org/", "a b"])
def test_a_name_that_can_be_no_scorer_is_refused(name: str) -> None:
    with pytest.raises(ScorerError) as error:
        check_model_name(name)
    place = name or '--model ""'
    meant = '; did you mean "length"?' if name == "lenght" else ""
    assert str(error.value) == (
        f"{place}: no such folder and no built-in{meant}; give org/name of the Hub, a folder,"
        " KIND:NAME, or tiny, length, shorter, random"
    )


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"dtype": "float8"}, 'dtype "float8" is unknown; did you mean "float32"?'),
        (
            {"on_overflow": "cut"},
            'on_overflow "cut" is unknown; known: drop, error, truncate-left',
        ),
    ],
)
def test_an_unknown_word_in_the_options_is_refused(field: dict[str, Any], message: str) -> None:
    with pytest.raises(ScorerError) as error:
        ModelOptions(**field)
    assert str(error.value) == message
