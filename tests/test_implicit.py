"""Implicit rewards: what a plain forward pass says of the answer's tokens, summed."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import with_tiny_words
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from rmbench.errors import ScorerError
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.implicit import Implicit, ImplicitOptions
from rmbench.suite.comparison import Conversation, Message

PROMPTS = ("What is the capital of France?", "Write a line of Python.\n")
ANSWERS = ("Paris.", "\nprint(1)  # and a longer answer, so that lengths differ", "No")
CONVERSATIONS = [
    Conversation((Message("user", prompt),), answer, f"{i}/{j}")
    for i, prompt in enumerate(PROMPTS)
    for j, answer in enumerate(ANSWERS)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A policy and a reference, small and random, with the small model's tokenizer."""
    folder = tmp_path_factory.mktemp("implicit")
    policy, reference = (
        with_tiny_words(folder / name, LlamaForCausalLM, positions=512, seed=seed)
        for seed, name in enumerate(("policy", "reference"))
    )
    return policy, reference


def expected(folder: str) -> list[tuple[float, int]]:
    """Return log-probability and length of each answer, by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for item in CONVERSATIONS:
        turns = [{"role": "user", "content": item.prompt[0].content}]
        head = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        turns.append({"role": "assistant", "content": item.response})
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        coded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, ends = coded["input_ids"], [end for _, end in coded["offset_mapping"]]
        first = next(i for i, end in enumerate(ends) if end > len(head))
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, first - 1 : -1].double()
        chosen = logits.log_softmax(-1)[range(len(ids) - first), ids[first:]]
        found.append((float(chosen.sum()), len(ids) - first))
    return found


def score(model: str, ledger: MemoryLedger | None = None, **options: Any) -> tuple[Any, Any]:
    ledger = ledger or MemoryLedger()
    scorer = Implicit(model, ImplicitOptions(dtype="float32", **options))
    facts = scorer.score(CONVERSATIONS, ledger)
    return ledger, facts


def test_rewards_are_differences_of_log_probabilities(models: tuple[str, str]) -> None:
    policy, reference = (expected(folder) for folder in models)
    ledger, facts = score(models[0], reference=models[1], beta=0.5)
    wanted = [0.5 * (a - b) for (a, _), (b, _) in zip(policy, reference, strict=True)]
    assert [ledger.answers[i] for i in range(6)] == pytest.approx(wanted, abs=1e-4)
    assert facts.audit["policy"]["rechecked"] == 6
    assert facts.audit["policy"]["difference"] < 1e-4
    assert facts.audit["answer_tokens"] == sum(length for _, length in policy)


@pytest.mark.parametrize("rule", ["none:sum", "none:mean"])
def test_without_a_reference(models: tuple[str, str], rule: str) -> None:
    ledger, _ = score(models[0], reference=rule)
    wanted = [
        total / (length if rule == "none:mean" else 1) for total, length in expected(models[0])
    ]
    assert [ledger.answers[i] for i in range(6)] == pytest.approx(wanted, abs=1e-4)


def test_what_the_policy_said_is_not_asked_again(
    models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = score(models[0], reference="none:sum")

    def load(checkpoint: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr("rmbench.checkpoint.causal.load_language_model", load)
    again, _ = score(models[0], MemoryLedger(replies=first.replies), reference="none:mean")
    assert len(again.answers) == 6
    policy, reference = models
    plain = Implicit(policy, ImplicitOptions(reference="none:sum")).identity
    other = Implicit(policy, ImplicitOptions(reference=reference)).identity
    assert plain is not None
    assert other is not None
    assert plain.replies == other.replies
    assert plain.answers != other.answers


def test_a_reference_of_another_vocabulary_is_refused(
    models: tuple[str, str], tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(models[1])
    tokenizer = AutoTokenizer.from_pretrained(models[1])
    tokenizer.add_tokens(["<new>"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ScorerError, match="share one vocabulary"):
        score(models[0], reference=str(tmp_path))


def test_a_classifier_is_no_policy() -> None:
    with pytest.raises(ScorerError, match="no language model"):
        score("tiny", reference="none:sum")


def test_what_was_chosen_is_in_the_settings(models: tuple[str, str]) -> None:
    info = Implicit(models[0], ImplicitOptions(reference=models[1], dtype="float32")).info
    assert (info.id, info.kind, info.gives, info.scale) == (
        "policy",
        "implicit",
        "rewards",
        "log-odds",
    )
    assert info.settings["reference"] == "reference"
    assert str(info.settings["reference_revision"]).startswith("sha256:")
    free = Implicit(models[0], ImplicitOptions(reference="none:mean")).info
    assert (free.settings["reference"], free.scale) == ("none:mean", "ordinal")


@pytest.mark.slow
def test_the_golden_file(test_data: Path) -> None:
    """Rewards of a 135M policy and its reference; RMBENCH_DPO names the folder of both."""
    folder = os.environ.get("RMBENCH_DPO")
    if folder is None:
        pytest.skip("RMBENCH_DPO names no folder with policy and reference")
    with gzip.open(test_data.parent / "parity" / "dpo_smollm2.jsonl.gz", "rt") as stream:
        golden = [json.loads(line) for line in stream]
    with gzip.open(test_data / "rewardbench_v1.jsonl.gz", "rt") as stream:
        rows = {(row["subset"], row["uid"]): row for row in map(json.loads, stream)}
    pairs = [(rows[item["subset"], item["uid"]], item) for item in golden]
    sides = [(row, item, side) for row, item in pairs for side in ("chosen", "rejected")]
    asked = [Conversation((Message("user", row["prompt"]),), row[side]) for row, _, side in sides]
    ledger = MemoryLedger()
    options = ImplicitOptions(reference=f"{folder}/reference", dtype="float32")
    Implicit(f"{folder}/policy", options).score(asked, ledger)
    rewards = np.array([ledger.answers[i] for i in range(len(asked))])
    assert rewards == pytest.approx([item[side]["reward"] for _, item, side in sides], abs=2e-3)
    assert int((rewards[::2] > rewards[1::2]).sum()) == 17
