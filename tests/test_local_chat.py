"""A judge that runs here: the replies of transformers' own generation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models import with_tiny_words
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from rmbench.errors import ScorerError
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.judge import JudgeOptions, ListwiseJudge, open_judge
from rmbench.scorers.judge_file import load_judge, render_question
from rmbench.suite.comparison import Candidates, Message

QUESTION = Candidates((Message("user", "Which?"),), ("this", "that"), "q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return with_tiny_words(
        tmp_path_factory.mktemp("judge"), LlamaForCausalLM, positions=1024, seed=1
    )


def ids_of(folder: str, prompt: str) -> tuple[Any, Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    messages = render_question(load_judge(prompt), QUESTION.prompt, QUESTION.responses, place="q")
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer, model, tokenizer(text, return_tensors="pt", add_special_tokens=False)


def ask(folder: str, **options: Any) -> tuple[MemoryLedger, Any]:
    judge = open_judge(folder, JudgeOptions(dtype="float32", **options))
    assert isinstance(judge, ListwiseJudge)
    ledger = MemoryLedger()
    return ledger, judge.prefer([QUESTION], ledger)


def test_probabilities_of_labels_are_the_models_own(folder: str) -> None:
    tokenizer, model, ids = ids_of(folder, "letter")
    with torch.inference_mode():
        shares = model(**ids).logits[0, -1].double().softmax(-1)
    numbers = [
        {tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in texts}
        for texts in (("A", " A"), ("B", " B"))
        if all(len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1 for text in texts)
    ]
    assert len(numbers) == 2
    mass = [sum(float(shares[number]) for number in own) for own in numbers]
    ledger, _ = ask(folder, prompt="letter")
    assert ledger.answers[0] == pytest.approx((mass[0] / sum(mass), mass[1] / sum(mass)), abs=1e-5)


def test_a_reply_is_generated_greedily_and_kept(folder: str) -> None:
    tokenizer, model, ids = ids_of(folder, "rewardbench")
    ids.pop("token_type_ids", None)  # transformers 4 makes them, and generate refuses them
    output = model.generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0]
    wanted = tokenizer.decode(output[ids["input_ids"].shape[1] :], skip_special_tokens=True)
    ledger, facts = ask(folder, max_tokens=8)
    assert wanted
    assert wanted in ledger.replies[0].encode().decode("unicode_escape") or (
        wanted in ledger.replies[0]
    )
    assert facts.unanswered == {0: "cut off"}
    assert facts.timing["completion_tokens"] == 8


def test_samples_are_drawn_by_their_seeds(folder: str) -> None:
    once, _ = ask(folder, max_tokens=8, samples=2, temperature=1.0)
    twice, _ = ask(folder, max_tokens=8, samples=2, temperature=1.0)
    assert once.replies == twice.replies


def test_what_leaves_no_room_for_a_reply_is_counted(folder: str) -> None:
    _, facts = ask(folder, max_tokens=1020, max_failed=1.0)
    assert facts.unanswered == {0: "failed: too long"}


def test_what_is_no_language_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match="no language model"):
        ask("tiny", prompt="letter")


def test_a_judge_that_runs_here_has_a_revision(folder: str) -> None:
    info = open_judge(folder, JudgeOptions(dtype="float32")).info
    assert str(info.revision).startswith("sha256:")
    assert (info.settings["via"], info.settings["dtype"]) == ("local", "float32")
