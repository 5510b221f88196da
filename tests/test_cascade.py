"""Scored in half precision, then again in float32: which comparisons, and what is recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest

from rmbench.api import evaluate
from rmbench.checkpoint.options import ModelOptions
from rmbench.compare.reproduction import command_of
from rmbench.errors import ScorerError
from rmbench.scorers.cascade import Cascade, error_bound, pairs_of
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.in_memory import InMemory
from rmbench.show.audit import audit_notes
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison, Conversation, Message

WORDS = ("red", "blue", "a warm grey", "none", "I will not say", "yes: four", "Hello there")


def comparisons(count: int) -> list[Comparison]:
    return [
        Comparison(
            id=f"sub/{i}",
            subset="sub",
            prompt=(Message("user", f"Question {i}: name a colour"),),
            chosen=(f"{WORDS[i % 7]} {i}",),
            rejected=(f"{WORDS[i % 5]} {i * 7 % 11}",),
        )
        for i in range(count)
    ]


def asked(count: int) -> list[Conversation]:
    return [item for comparison in comparisons(count) for item in comparison.conversations()]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(tmp_path_factory.mktemp("models") / "rm", models.classifier("llama"))


def cascade(folder: Path) -> Cascade:
    def load(dtype: str) -> Any:
        return load_classifier(str(folder), ModelOptions(dtype=dtype))

    return Cascade(load("bfloat16"), lambda: load("float32"))


def rewards_in(folder: Path, dtype: str, questions: list[Conversation]) -> list[Any]:
    ledger = MemoryLedger()
    load_classifier(str(folder), ModelOptions(dtype=dtype)).score(questions, ledger)
    return [ledger.answers[i] for i in range(len(questions))]


def test_every_comparison_ends_as_in_float32_and_each_reward_says_whose_it_is(folder: Path) -> None:
    questions = asked(120)
    exact, fast = (rewards_in(folder, dtype, questions) for dtype in ("float32", "bfloat16"))
    ledger = MemoryLedger()
    scorer = cascade(folder)
    facts = scorer.score(questions, ledger)
    found = [ledger.answers[i] for i in range(240)]
    told = facts.audit["cascade"]
    margins = np.array(found[::2]) - np.array(found[1::2])
    assert np.array_equal(np.sign(margins), np.sign(np.array(exact[::2]) - exact[1::2]))
    assert scorer.info.settings["dtype"] == "cascade-bfloat16"
    assert 32 <= told["again"] < 120
    assert told["again"] == len(told["fast_rewards"])
    assert told["comparisons"] == 120
    for i in range(120):
        pair = slice(2 * i, 2 * i + 2)
        if f"sub/{i}" in told["fast_rewards"]:  # float32's, and what bfloat16 had said
            np.testing.assert_allclose(found[pair], exact[pair], atol=1e-5)
            assert [x for side in told["fast_rewards"][f"sub/{i}"] for x in side] == fast[pair]
        else:
            assert found[pair] == fast[pair]
            assert abs(margins[i]) > told["bound"]


def test_a_killed_run_goes_on_with_the_rewards_of_both_precisions(folder: Path) -> None:
    questions = asked(48)
    whole = MemoryLedger()
    scorer = cascade(folder)
    scorer.score(questions, whole)
    kept = {i: text for i, text in whole.replies.items() if i % 3}  # a third was lost
    assert set(json.loads(kept[1])) == {"bfloat16", "float32"}
    kept[2] = "[not as it was written"
    again = MemoryLedger(replies=kept)
    facts = cascade(folder).score(questions, again)
    assert again.answers == whole.answers
    assert facts.audit["cascade"]["comparisons"] == 48


def test_a_credit_that_weighs_distances_is_all_in_float32(folder: Path) -> None:
    questions = asked(60)
    some = [replace(item, weighed=i >= 100) for i, item in enumerate(questions)]
    ledger = MemoryLedger()
    told = cascade(folder).score(some, ledger).audit["cascade"]
    assert {f"sub/{i}" for i in range(50, 60)} <= set(told["fast_rewards"])


def test_what_nothing_is_compared_with_is_in_float32(folder: Path) -> None:
    questions = [Conversation(item.prompt, item.response) for item in asked(4)]
    exact = rewards_in(folder, "float32", questions)
    ledger = MemoryLedger()
    cascade(folder).score(questions, ledger)
    np.testing.assert_allclose([ledger.answers[i] for i in range(8)], exact, atol=1e-5)


def test_pairs_whose_order_can_count() -> None:
    assert pairs_of(([0], [1, 2])) == [(0, 1), (0, 2)]
    assert pairs_of(([0, 1], [2])) == [(0, 1), (0, 2), (1, 2)]


def test_the_bound_is_beyond_all_errors_that_were_seen() -> None:
    assert error_bound([]) == float("inf")
    assert error_bound([0.1, -0.1, 0.1]) == pytest.approx(0.4)  # 4 root mean squares
    assert error_bound([0.0] * 99 + [-1.0]) == pytest.approx(1.25)  # 1.25 times the largest


def test_a_model_in_memory_has_no_second_precision() -> None:
    options = ModelOptions(dtype="cascade")
    with pytest.raises(ScorerError, match="save it"):
        InMemory(models.classifier("llama"), models.tokenizer(), "run7", options)


def test_a_record_says_how_it_was_scored(folder: Path) -> None:
    options = {"dtype": "cascade", "on_overflow": "truncate-left"}
    result = evaluate("mini", str(folder), **options)
    again = evaluate("mini", str(folder), **options)  # from the cache
    assert "|cascade-bfloat16|" in (result.signature or "")
    assert result.rewards == again.rewards
    assert result.audit["cascade"] == again.audit["cascade"]
    assert result.audit["rechecked"]["flipped"] == 0
    assert command_of(result, model=str(folder), given={}).options["dtype"] == "cascade"
    (note,) = audit_notes(result, load_suite("mini"))
    assert "scored again in float32" in note
