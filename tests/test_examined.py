"""The doctor says of every kind what it is, what it is shown, and what it answers."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from serving import completion, serving
from test_local_chat import folder as judge_folder
from test_process import MARK, save
from test_server import StandIn
from transformers import LlamaForTokenClassification

from rmbench.cli import main

folder = judge_folder  # a small language model


def doctor(examined: str, **options: Any) -> tuple[int, str]:
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    done = CliRunner().invoke(main, ["doctor", examined, *given])
    return done.exit_code, done.stdout + done.stderr


def test_a_judge_behind_a_server() -> None:
    with serving(lambda path, body: completion("[[A]]")) as server:
        code, out = doctor("judge:m", url=f"{server.url}/v1")
    assert code == 0
    assert f"replies from {server.url}/v1" in out
    assert "all of 16 answered" in out
    assert "[[A]] if assistant A's answer is better" in out  # the text of the first question


def test_a_judge_that_says_nothing() -> None:
    with serving(lambda path, body: completion("I cannot say")) as server:
        code, out = doctor("judge:m", url=server.url)
    assert code == 2
    assert "16 of 16 have no answer: unreadable (16)" in out


def test_a_server_that_is_proven_and_one_that_is_not() -> None:
    with serving(StandIn("vllm")) as server:
        code, out = doctor(f"server:{server.url}", model="tiny", check="never")
    assert code == 0
    assert "vllm 0.32.0, which serves served" in out
    assert "sigmoid of the reward is what the server gives" in out
    with serving(StandIn("vllm", "sigmoid")) as server:
        code, out = doctor(f"server:{server.url}", model="tiny", check="never")
    assert code == 2
    assert "refused" in out
    assert "cannot be shown to be raw" in out


def test_an_implicit_reward(folder: str) -> None:
    code, out = doctor(f"implicit:{folder}", reference="none:sum")
    assert code == 0
    assert "config.json names LlamaForCausalLM; reference none:sum" in out
    assert "--- the answer begins ---" in out


def test_a_process_reward_is_known_by_its_configuration(tmp_path: Path) -> None:
    code, out = doctor(save(tmp_path, LlamaForTokenClassification, 2), mark=MARK, split=". ")
    assert code == 0
    assert "config.json names LlamaForTokenClassification; read at <step>" in out
    assert "--- read here ---" in out


@pytest.mark.parametrize("model", ["length", "random"])
def test_a_rule_has_nothing_to_examine(model: str) -> None:
    code, out = doctor(model)
    assert code == 2
    assert "there is nothing to check" in out
