"""Every kind of scorer passes the contract; a model in memory is left as it was."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from models import with_tiny_words
from pair_models import pair_model, save_pair_model
from serving import completion, serving
from test_server import StandIn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaForCausalLM,
    LlamaForTokenClassification,
)

import rmbench
from rmbench.scorers.contract import Scorer
from rmbench.testing import ScorerContract

ROOT = Path(__file__).parent.parent
TINY = ROOT / "rmbench" / "tiny"


class TestRule(ScorerContract):
    def make(self) -> Scorer:
        return rmbench.load_scorer("rule:length")


class TestFunction(ScorerContract):
    def make(self) -> Scorer:
        return rmbench.scorer("me/words", lambda asked: float(len(asked.response.split())))


class TestPointwiseFile(ScorerContract):
    def make(self) -> Scorer:
        return rmbench.load_scorer(f"file:{ROOT}/examples/own_scorer.py:SharedWords")


class TestListwiseFile(ScorerContract):
    def make(self) -> Scorer:
        return rmbench.load_scorer(f"file:{ROOT}/examples/own_judge.py:Judge")


class TestClassifier(ScorerContract):
    limit = 3

    def make(self) -> Scorer:
        return rmbench.load_scorer("tiny")


# --- kinds that need a model or a server of their own -------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


class TestImplicit(ScorerContract):
    limit = 2

    @pytest.fixture(autouse=True)
    def saved(self, folder: Path) -> None:
        where = folder / "implicit"
        if not where.exists():
            with_tiny_words(where, LlamaForCausalLM, positions=2048)
        self.model = where

    def make(self) -> Scorer:
        return rmbench.load_scorer(f"implicit:{self.model}", dtype="float32", reference="none:sum")


class TestProcess(ScorerContract):
    limit = 2

    @pytest.fixture(autouse=True)
    def saved(self, folder: Path) -> None:
        where = folder / "process"
        if not where.exists():
            with_tiny_words(where, LlamaForTokenClassification, positions=2048, num_labels=2)
        self.model = where

    def make(self) -> Scorer:
        return rmbench.load_scorer(f"process:{self.model}", dtype="float32")


class TestPairwise(ScorerContract):
    limit = 2

    @pytest.fixture(autouse=True)
    def saved(self, folder: Path) -> None:
        where = folder / "pairwise"
        if not where.exists():
            save_pair_model(where, pair_model(positions=1024))
        self.model = where

    def make(self) -> Scorer:
        return rmbench.load_scorer(f"pairwise:{self.model}", dtype="float32")


class TestRecorded(ScorerContract):
    @pytest.fixture(autouse=True)
    def saved(self, folder: Path) -> None:
        self.path = folder / "scores.jsonl"
        rows = [
            {"id": item.id, "chosen": item.chosen[0], "rejected": item.rejected[0]}
            for item in rmbench.evaluate("mini", rmbench.load_scorer("length")).rewards
        ]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(self) -> Scorer:
        return rmbench.load_scorer(f"recorded:{self.path}", {"model": "me/lengths"})

    # Recorded scores belong to a place, not to a text: swapping the texts moves none of them.
    test_swapped_sides_turn_every_margin = None


class TestServer(ScorerContract):
    limit = 3

    @pytest.fixture(autouse=True)
    def served(self) -> Iterator[None]:
        with serving(StandIn("vllm")) as server:
            self.url = server.url
            yield

    def make(self) -> Scorer:
        return rmbench.load_scorer(f"server:{self.url}", {"model": "tiny"})


class _Judged(ScorerContract):
    """A judge behind a server."""

    prompt: ClassVar[str]

    @pytest.fixture(autouse=True)
    def served(self) -> Iterator[None]:
        with serving(lambda _, body: completion(self.reply(body))) as server:
            self.url = server.url
            yield

    def make(self) -> Scorer:
        return rmbench.load_scorer("judge:m", url=f"{self.url}/v1", prompt=self.prompt)

    def reply(self, body: Any) -> str:
        """Like the longer response, wherever it stands."""
        text = "\n".join(message["content"] for message in body["messages"])
        answers = [text.partition(f"Answer of assistant {x}]")[2] for x in "AB"]
        sides = [len(answer.partition("[End of assistant")[0]) for answer in answers]
        return f"[[{'A' if sides[0] > sides[1] else 'B'}]]"


class TestPairwiseJudge(_Judged):
    prompt = "rewardbench"


class TestListwiseJudge(_Judged):
    prompt = "rewardbench2-best"


class TestPointwiseJudge(_Judged):
    prompt = "rewardbench2-ratings"

    def reply(self, body: Any) -> str:
        return f"Rating: [[{len(body['messages'][-1]['content']) % 10 + 1}]]"


del _Judged


# --- a model in memory ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held() -> tuple[Any, Any]:
    model = AutoModelForSequenceClassification.from_pretrained(TINY, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(TINY)


def evaluated(held: tuple[Any, Any], **options: Any) -> rmbench.Result:
    given = {"name": "run7/step500", "limit": 3} | options
    return rmbench.evaluate("mini", model=held[0], tokenizer=held[1], **given)


def test_a_model_in_memory_has_the_rewards_of_the_saved_one(held: tuple[Any, Any]) -> None:
    found = evaluated(held)
    saved = rmbench.evaluate("mini", rmbench.load_scorer("tiny", dtype="float32"), limit=3)
    for mine, theirs in zip(found.rewards, saved.rewards, strict=True):
        np.testing.assert_allclose(mine.chosen, theirs.chosen, rtol=0, atol=1e-4)
        np.testing.assert_allclose(mine.rejected, theirs.rejected, rtol=0, atol=1e-4)
    assert (found.model["id"], found.model["revision"]) == ("run7/step500", None)


def test_a_model_in_memory_trains_on_as_if_nothing_had_been(held: tuple[Any, Any]) -> None:
    model, _ = held
    model.train()
    model.score.eval()
    torch.manual_seed(3)
    random.seed(3)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    pointers = [value.data_ptr() for value in model.parameters()]
    forwards = [dict(vars(module)).get("forward") for module in model.modules()]
    draws = torch.rand(3), random.random()
    torch.manual_seed(3)
    random.seed(3)
    evaluated(held)
    assert torch.equal(torch.rand(3), draws[0]) and random.random() == draws[1]
    assert model.training and not model.score.training
    assert pointers == [value.data_ptr() for value in model.parameters()]
    assert forwards == [dict(vars(module)).get("forward") for module in model.modules()]
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())
    model(torch.tensor([[5, 6, 7]])).logits.sum().backward()
    assert model.score.weight.grad is not None
    model.zero_grad()


def test_what_a_model_in_memory_lacks_is_said(held: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError, match="needs its tokenizer, and a name"):
        evaluated(held, name=None)
    with pytest.raises(TypeError, match="give a scorer or a model"):
        rmbench.evaluate("mini")
    with pytest.raises(rmbench.ScorerError, match="Linear: no model of transformers"):
        evaluated((torch.nn.Linear(2, 1), held[1]))
    with pytest.raises(rmbench.ScorerError, match="2 outputs in its configuration"):
        held[0].config.num_labels = 2
        try:
            evaluated(held)
        finally:
            held[0].config.num_labels = 1


def test_results_are_compared_and_held_from_python() -> None:
    old, new = (
        rmbench.evaluate("mini", rmbench.load_scorer(name)) for name in ("length", "random")
    )
    contrast = rmbench.compare_results(old, new)
    assert contrast.level("average")[0].n == 240
    assert rmbench.check_result(old, old).passed


def test_rows_of_ones_own_are_a_suite_from_python_too(tmp_path: Path) -> None:
    rows = tmp_path / "pairs.jsonl"
    rows.write_text('{"prompt": "a", "chosen": "long", "rejected": "no"}\n' * 3)
    found = rmbench.evaluate(str(rows), "length")
    assert repr(found) == "<Result pairs, length: pooled 100.00 %>"
    with pytest.raises(TypeError, match="leave data out"):
        rmbench.evaluate(str(rows), "length", data=str(rows))
