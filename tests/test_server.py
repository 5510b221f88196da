"""A reward server is proven before it scores; each of its traps is refused."""

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Answer, Server, serving

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Facts, MemoryLedger
from rmbench.scorers.protocols import PROTOCOLS, recognise_server
from rmbench.scorers.server import RewardServer, ServerOptions
from rmbench.suite.comparison import Conversation, Message

RECORDED = json.loads((Path(__file__).parent / "vllm_0.32.0.json").read_text())
CONVERSATIONS = [
    Conversation((Message("user", f"Question {i // 2}?"),), text * (i + 1), f"s/{i // 2}")
    for i, text in zip(range(12), ["Yes. ", "No, never. "] * 6, strict=True)
]


@cache
def tiny() -> Any:
    from rmbench.scorers.classifier import load_classifier

    return load_classifier("tiny", ModelOptions())


@cache
def reward_of(ids: tuple[int, ...]) -> float:
    """The lone forward's."""
    return float(tiny().engine.score_alone([np.array(ids, dtype=np.int32)])[0])


def own_rewards() -> list[float]:
    from rmbench.checkpoint.text_findings import encode_one

    ids = [encode_one(c, tiny().template, tiny().tokenizer) for c in CONVERSATIONS]
    return [reward_of(tuple(i)) for i in ids]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class StandIn:
    """Speaks each server's protocol and runs the small model; one switch for each trap."""

    def __init__(self, protocol: str, trap: str = "") -> None:
        self.protocol, self.trap = protocol, trap
        self.scored = 0
        self.lock = threading.Lock()

    def __call__(self, path: str, body: Any) -> Answer:
        if body is None:
            return self.about(path)
        return getattr(self, self.protocol)(path, body)

    def about(self, path: str) -> Answer:
        said = {
            ("vllm", "/version"): {"version": "0.32.0"},
            ("vllm", "/v1/models"): {"data": [{"id": "served", "max_model_len": 2048}]},
            ("sglang", "/get_model_info"): {"model_path": "served"},
            ("tei", "/info"): {
                "model_id": "served",
                "model_type": {"classifier": {}},
                "max_input_length": 2048,
                "version": "1.8",
            },
        }.get((self.protocol, path))
        return Answer({"detail": "Not Found"}, 404) if said is None else Answer(said)

    def rewards(self, inputs: list[list[int]]) -> tuple[list[float], int]:
        """Return rewards and the tokens that were read, as the trap would have it."""
        if self.trap == "truncates":
            inputs = [ids[:10] for ids in inputs]
        if self.trap == "second BOS":
            inputs = [[1, *ids] for ids in inputs]
        found = [reward_of(tuple(ids)) for ids in inputs]
        if self.trap == "swaps":
            found = found[1:] + found[:1]
        if self.trap == "another model":
            found = [reward + len(ids) for reward, ids in zip(found, inputs, strict=True)]
        if self.trap == "NaN":
            found[0] = math.nan
        if self.trap == "null":
            found[0] = None  # type: ignore[call-overload]
        if self.trap == "half":
            found = found[: len(found) // 2]
        with self.lock:
            self.scored += len(inputs)
        return found, sum(map(len, inputs))

    def vllm(self, path: str, body: Any) -> Answer:
        assert path == "/classify"
        rewards, tokens = self.rewards(body["input"])
        is_raw = not body["use_activation"] if self.trap != "sigmoid" else False
        if self.trap == "always raw":
            is_raw = True
        if not is_raw:
            rewards = [sigmoid(reward) for reward in rewards]
        if self.trap == "softmax":
            rewards = [1.0 for _ in rewards]
        rows = [
            {"index": i, "label": "LABEL_0", "probs": [reward], "num_classes": 1}
            for i, reward in enumerate(rewards)
        ]
        if self.trap == "two labels":
            rows = [row | {"probs": [0.5, 0.5]} for row in rows]
        if self.trap == "infinity":
            return Answer({"object": "classify", "data": [[{"score": 0.5, "label": "x"}]]})
        # An index says which is which, whatever the order.
        return Answer({"data": rows[::-1], "usage": {"prompt_tokens": tokens}})

    def sglang(self, path: str, body: Any) -> Answer:
        rewards, _ = self.rewards(body["input_ids"])
        if self.trap == "sigmoid":
            rewards = [sigmoid(reward) for reward in rewards]
        if self.trap == "softmax":
            rewards = [1.0 for _ in rewards]
        cut = 10 if self.trap == "truncates" else 10**9
        sizes = [min(len(ids), cut) for ids in body["input_ids"]]
        rows = [
            {"embedding": [reward], "meta_info": {"prompt_tokens": size}}
            for reward, size in zip(rewards, sizes, strict=False)
        ]
        if self.trap == "two labels":
            rows = [row | {"embedding": [0.1] * 64} for row in rows]
        return Answer(rows if len(rows) > 1 else rows[0])

    def texts(self, texts: list[str]) -> list[float]:
        ids = tiny().tokenizer(texts, add_special_tokens=False)["input_ids"]
        return self.rewards(ids)[0]

    def tei(self, path: str, body: Any) -> Answer:
        rewards = self.texts([text for (text,) in body["inputs"]])
        if not body["raw_scores"] or self.trap == "sigmoid":
            rewards = [sigmoid(reward) for reward in rewards]
        return Answer([[{"score": reward, "label": "LABEL_0"}] for reward in rewards])

    def openrlhf(self, path: str, body: Any) -> Answer:
        rewards = self.texts(body["query"])
        if self.trap == "sigmoid":
            rewards = [sigmoid(reward) for reward in rewards]
        return Answer({"rewards": rewards, "scores": rewards, "extra_logs": {}})


def score(
    standin: Callable[[str, Any], Answer], *, ledger: MemoryLedger | None = None, **options: Any
) -> tuple[Facts, MemoryLedger, Server]:
    ledger = ledger or MemoryLedger()
    with serving(standin) as server:
        scorer = RewardServer(server.url, ServerOptions(model="tiny", **options))
        try:
            return scorer.score(CONVERSATIONS, ledger), ledger, server
        finally:
            scorer.close()


@pytest.mark.parametrize("protocol", ["vllm", "sglang", "tei", "openrlhf"])
@pytest.mark.parametrize("check", ["always", "never"])
def test_a_server_gives_the_models_own_rewards(protocol: str, check: str) -> None:
    named = {"protocol": "openrlhf"} if protocol == "openrlhf" else {}
    facts, ledger, _ = score(StandIn(protocol), check=check, batch=5, **named)
    assert [ledger.answers[i] for i in range(12)] == own_rewards()
    assert facts.audit["proof"]["order"] == 0.0
    assert ("difference" in facts.audit["proof"]) == (check == "always")
    assert facts.unanswered == {}


@pytest.mark.parametrize(
    ("protocol", "trap", "check", "message"),
    [
        ("vllm", "sigmoid", "never", "cannot be shown to be raw.*use_activation"),
        ("vllm", "sigmoid", "always", "from the model's own forward"),
        ("vllm", "always raw", "never", "cannot be shown to be raw"),
        ("vllm", "softmax", "never", "every reward is 1"),
        ("vllm", "truncates", "never", r"read \d+ tokens where \d+ were sent"),
        ("vllm", "second BOS", "never", r"read \d+ tokens where \d+ were sent"),
        ("vllm", "swaps", "never", "when a request is turned round"),
        ("vllm", "another model", "always", "from the model's own forward"),
        ("vllm", "NaN", "never", "gives nan as a reward"),
        ("vllm", "null", "never", "gives None as a reward"),
        ("vllm", "half", "never", "4 rewards for 8 conversations"),
        ("vllm", "two labels", "never", "gives 2 numbers for an input"),
        ("vllm", "infinity", "never", "as Infinity does"),
        ("sglang", "sigmoid", "never", "a sigmoid cannot be ruled out"),
        ("sglang", "sigmoid", "always", "from the model's own forward"),
        ("sglang", "softmax", "never", "every reward is 1"),
        ("sglang", "truncates", "never", r"read \d+ tokens where \d+ were sent"),
        ("sglang", "two labels", "never", "gives 64 numbers for an input"),
        ("tei", "sigmoid", "never", "cannot be shown to be raw"),
        ("tei", "second BOS", "always", "from the model's own forward"),
        ("tei", "swaps", "never", "when a request is turned round"),
        ("openrlhf", "sigmoid", "never", "a sigmoid cannot be ruled out"),
        ("openrlhf", "another model", "always", "from the model's own forward"),
        ("openrlhf", "half", "never", "4 rewards for 8 conversations"),
    ],
)
def test_a_trap_is_refused_before_anything_is_scored(
    protocol: str, trap: str, check: str, message: str
) -> None:
    ledger = MemoryLedger()
    with pytest.raises(ScorerError, match=message) as error:
        score(StandIn(protocol, trap), ledger=ledger, check=check, protocol=protocol)
    assert not ledger.answers
    assert str(error.value).startswith("http://127.0.0.1:")


def test_a_raw_server_without_a_switch_is_taken_when_it_agrees() -> None:
    facts, ledger, _ = score(StandIn("vllm", "always raw"), check="always")
    assert facts.audit["proof"]["raw"] == "equal to the model's own forward"
    assert len(ledger.answers) == 12


def test_faults_are_tried_again_and_nothing_is_asked_twice() -> None:
    standin = StandIn("vllm")
    faults = [Answer({}, 429), Answer({}, 500), Answer(b"{")]

    def flaky(path: str, body: Any) -> Answer:
        if body is not None and standin.scored >= 16 and faults:
            return faults.pop()
        return standin(path, body)

    facts, ledger, _ = score(flaky, batch=2, in_flight=2)
    assert len(ledger.answers) == 12
    assert facts.environment["faults"] == {"429": 1, "500": 1, "malformed": 1}
    known = {i: reward for i, reward in ledger.answers.items() if i < 9}
    again = MemoryLedger(known)
    facts, again, _ = score(StandIn("vllm"), ledger=again, batch=2)
    assert set(again.answers) == {9, 10, 11}
    assert facts.timing["asked"] == 3


def test_conversations_that_are_too_long() -> None:
    with pytest.raises(ScorerError, match=r"more than 30 tokens.*; pass --on-overflow"):
        score(StandIn("vllm"), max_length=30)
    facts, ledger, _ = score(StandIn("vllm"), max_length=30, on_overflow="drop")
    dropped = set(facts.unanswered)
    assert dropped
    assert dropped | set(ledger.answers) == set(range(12))
    assert facts.audit["overflowed"] == len(dropped)


def test_what_is_served_is_known_before_anything_is_asked() -> None:
    with serving(StandIn("vllm")) as server:
        scorer = RewardServer(server.url, ServerOptions(model="tiny"))
        info = scorer.info
        assert (info.id, info.kind, info.settings["served"]) == ("tiny", "server", "vllm 0.32.0")
        assert info.settings["max_length"] == 2048
        assert info.revision is not None
        assert not server.requests
        plain = scorer.identity
        scorer.close()
        other = RewardServer(server.url, ServerOptions(model="tiny", max_length=99))
        assert other.identity != plain
        other.close()


def test_a_server_that_says_nothing_is_asked_for_its_protocol() -> None:
    with serving(StandIn("openrlhf")) as server:
        scorer = RewardServer(server.url, ServerOptions(model="tiny"))
        with pytest.raises(ScorerError, match="give -o protocol=openrlhf"):
            _ = scorer.info
        scorer.close()


def test_what_a_real_vllm_said_is_read() -> None:
    paths = {"/version": RECORDED["version"], "/v1/models": RECORDED["models"]}
    assert recognise_server(paths.get) == ("vllm", "0.32.0", "smollm2-rm", 2048)
    raw = PROTOCOLS["vllm"].read(RECORDED["raw"])
    assert raw == ([1.671460509300232, -3.779837131500244], 13)
    activated = PROTOCOLS["vllm"].read(RECORDED["activated"])
    sigmoids = [1 / (1 + math.exp(-reward)) for reward in raw.rewards]
    assert activated.rewards == pytest.approx(sigmoids, abs=1e-7)


@pytest.mark.slow
def test_a_real_vllm_gives_the_rewards_of_ones_own_engine(tmp_path: Path) -> None:
    url, model = os.environ.get("RMBENCH_VLLM_URL"), os.environ.get("RMBENCH_VLLM_MODEL")
    if not url or not model:
        pytest.skip("RMBENCH_VLLM_URL and RMBENCH_VLLM_MODEL, the served folder, are not set")
    for name, args in {
        "served": ["--model", f"server:{url}", "-o", f"model={model}"],
        "own": ["--model", model, "--dtype", "float32"],
    }.items():
        run = ["run", *args, "--suite", "mini", "--limit", "60", "--no-cache"]
        command = [sys.executable, "-m", "rmbench", *run, "--output", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
    served, own = (rewards_in(tmp_path / name) for name in ("served", "own"))
    assert len(own) == 120
    assert served == pytest.approx(own, abs=2e-5)


def rewards_in(folder: Path) -> list[float]:
    (path,) = folder.rglob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [reward for row in rows for reward in (*row["chosen"], *row["rejected"])]
