"""Process rewards: what a plain forward pass gives at each step's end."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from models import with_tiny_words
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    LlamaForCausalLM,
    LlamaForTokenClassification,
)

from rmbench.errors import ScorerError
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.process import Process, ProcessOptions, split_steps
from rmbench.scorers.reductions import REDUCTIONS
from rmbench.suite.comparison import Conversation, Message

MARK = "<step>"
STEPS = (("First we add.", "Then we halve.", "So it is 4."), ("Only one step.",))
CONVERSATIONS = [
    Conversation((Message("user", "How much?"),), "\n\n".join(steps), str(i))
    for i, steps in enumerate(STEPS)
]


def save(folder: Path, kind: Any, labels: int) -> str:
    return with_tiny_words(folder, kind, positions=256, special=[MARK], num_labels=labels)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("process")
    return {
        "two": save(root / "two", LlamaForTokenClassification, 2),
        "one": save(root / "one", LlamaForTokenClassification, 1),
        "three": save(root / "three", LlamaForTokenClassification, 3),
        "language": save(root / "language", LlamaForCausalLM, 2),
    }


def score(folder: str, **options: Any) -> tuple[MemoryLedger, Any]:
    ledger = MemoryLedger()
    facts = Process(folder, ProcessOptions(dtype="float32", **options)).score(CONVERSATIONS, ledger)
    return ledger, facts


def outputs(folder: str, loader: Any, response: str, places: str) -> torch.Tensor:
    """Return a plain forward's logits at the tokens of ``places``, or at the steps' last ones."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = loader.from_pretrained(folder, dtype=torch.float32).eval()
    turns = [{"role": "user", "content": "How much?"}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if places == MARK:
        found = [i for i, token in enumerate(ids) if token == tokenizer.convert_tokens_to_ids(MARK)]
    else:  # each step of these texts ends with the only full stop in it
        found = [i for i, token in enumerate(ids) if tokenizer.decode([token]).strip() == "."]
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0, found]


def test_two_classes_at_the_mark(folders: dict[str, str]) -> None:
    ledger, facts = score(folders["two"], mark=MARK)
    for i, steps in enumerate(STEPS):
        written = "".join(step + MARK for step in steps)
        logits = outputs(folders["two"], AutoModelForTokenClassification, written, MARK)
        assert ledger.answers[i] == pytest.approx(logits.softmax(-1)[:, 1].tolist(), abs=1e-5)
    assert facts.audit["steps"] == 4
    first, _ = score(folders["two"], mark=MARK, good="first")
    for one, other in zip(first.answers[0], ledger.answers[0], strict=True):  # type: ignore[arg-type]
        assert one + other == pytest.approx(1, abs=1e-5)


def test_one_logit_at_the_last_token_of_a_step(folders: dict[str, str]) -> None:
    ledger, _ = score(folders["one"])
    for i, item in enumerate(CONVERSATIONS):
        logits = outputs(folders["one"], AutoModelForTokenClassification, item.response, ".")
        assert ledger.answers[i] == pytest.approx(logits.sigmoid()[:, 0].tolist(), abs=1e-5)


def test_two_tokens_of_a_language_model(folders: dict[str, str]) -> None:
    ledger, _ = score(folders["language"], mark=MARK, tokens="+,-")
    tokenizer = AutoTokenizer.from_pretrained(folders["language"])
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in "+-"]
    for i, steps in enumerate(STEPS):
        written = "".join(step + MARK for step in steps)
        logits = outputs(folders["language"], AutoModelForCausalLM, written, MARK)[:, rows]
        assert ledger.answers[i] == pytest.approx(logits.softmax(-1)[:, 0].tolist(), abs=1e-5)


def test_a_head_that_stands_in_the_weights(folders: dict[str, str], tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders["language"], dtype=torch.float32)
    torch.manual_seed(3)
    head = torch.nn.Linear(32, 1)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    tensors |= {f"v_head.{name}": tensor.detach() for name, tensor in head.state_dict().items()}
    shutil.copytree(folders["language"], tmp_path, dirs_exist_ok=True)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ledger, _ = score(str(tmp_path), mark=MARK)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    response = "".join(step + MARK for step in STEPS[0])
    turns = [{"role": "user", "content": "How much?"}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    marks = [i for i, token in enumerate(ids) if token == tokenizer.convert_tokens_to_ids(MARK)]
    with torch.inference_mode():
        states = model.eval().model(torch.tensor([ids])).last_hidden_state[0, marks]
        wanted = head(states).sigmoid()[:, 0].tolist()
    assert ledger.answers[0] == pytest.approx(wanted, abs=1e-5)


def test_a_response_that_holds_the_mark_is_not_asked(folders: dict[str, str]) -> None:
    ledger = MemoryLedger()
    hostile = Conversation((Message("user", "Q"),), f"one {MARK} more", "h")
    scorer = Process(folders["two"], ProcessOptions(mark=MARK, dtype="float32"))
    facts = scorer.score([*CONVERSATIONS, hostile], ledger)
    assert facts.unanswered == {2: "the response holds the mark"}
    assert set(ledger.answers) == {0, 1}


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("three", {"mark": MARK}, "3 outputs for a step"),
        ("language", {"mark": MARK}, "outputs for every token: of a language model"),
        ("two", {"mark": "no token"}, "the mark no token is . tokens"),
        ("language", {"tokens": "+"}, "must be two tokens"),
        ("two", {"on_overflow": "truncate-left"}, "would cut steps off"),
        ("two", {"split": ""}, "split is empty"),
    ],
)
def test_what_is_missing_is_said(
    folders: dict[str, str], folder: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ScorerError, match=message):
        score(folders[folder], **options)


def test_steps_are_what_has_other_than_blanks() -> None:
    assert split_steps("a\n\nb\n\n\n\n c\n\n", "\n\n") == ["a", "b", " c"]
    assert split_steps("all at once", "\n\n") == ["all at once"]
    assert split_steps("\n\n", "\n\n") == ["\n\n"]


def test_how_steps_become_one_reward_is_no_part_of_what_is_asked(folders: dict[str, str]) -> None:
    last = Process(folders["two"], ProcessOptions(reduce="last"))
    plain = Process(folders["two"], ProcessOptions())
    marked = Process(folders["two"], ProcessOptions(mark=MARK))
    assert last.identity is not None and plain.identity is not None and marked.identity is not None
    assert last.identity[:2] == plain.identity[:2] != marked.identity[:2]
    # A finished run is not read as another: its result would have the other's reward.
    assert last.identity.facts != plain.identity.facts
    assert (last.info.gives, last.info.settings["reduce"]) == ("steps", "last")


def test_reductions_of_probabilities_are_finite_and_refuse_what_is_none() -> None:
    assert REDUCTIONS["geometric-mean"]((0.25, 1.0)) == pytest.approx(0.5)
    assert REDUCTIONS["mean-odds"]((0.5, 0.75)) == pytest.approx(2.0)
    assert REDUCTIONS["mean-logit"]((0.5, 0.75)) == pytest.approx(math.log(3.0) / 2.0)
    for name in ("geometric-mean", "mean-logit", "mean-odds"):
        for steps in ((0.0, 1.0), (1.0,), (0.0,)):
            assert math.isfinite(REDUCTIONS[name](steps))
        with pytest.raises(ScorerError, match=r"reward is 1.5.*reduce by min"):
            REDUCTIONS[name]((0.5, 1.5))
