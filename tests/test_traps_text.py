"""The traps of docs/traps.md that lie in the text: in the data, and in what is made of them."""

import json
from pathlib import Path
from typing import Any

import models
import pytest
import tokenizers
from click.testing import CliRunner

from rmbench.api import evaluate
from rmbench.checkpoint.options import ModelOptions
from rmbench.cli import main
from rmbench.errors import DataError, ScorerError
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed

SUITE = """name = "own"
[source]
path = "rows.jsonl"
[columns]
prompt = "prompt"
chosen = "CHOSEN"
rejected = "REJECTED"
"""
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
SYSTEM = [{"role": "system", "content": "In French."}, {"role": "user", "content": "Where to?"}]
PAIR = {"prompt": SYSTEM, "chosen": "To the sea.", "rejected": "Do not know."}


def own_suite(
    folder: Path,
    rows: list[Any],
    *,
    sides: tuple[str, str] = ("chosen", "rejected"),
    rule: str = "",
) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = SUITE.replace("CHOSEN", sides[0]).replace("REJECTED", sides[1])
    (folder / "own.toml").write_text(text + rule)
    return str(folder / "own.toml")


def saved(folder: Path, template: str = models.CHAT, words: Any = None) -> str:
    words = words or models.tokenizer(template=template)
    model = models.classifier("llama", max_position_embeddings=2048)
    return str(models.save(folder / "rm", model, words))


def run(model: str, suite: str) -> Any:
    return evaluate(suite, load_scorer(model, ModelOptions()))


def test_trap_36_a_template_that_leaves_messages_out(tmp_path: Path) -> None:
    suite = own_suite(tmp_path, [PAIR] * 3)
    drops = "{% for m in messages if m.role != 'system' %}{{ m.content }}</s>{% endfor %}"
    with pytest.raises(ScorerError) as error:
        run(saved(tmp_path, drops), suite)
    assert "leaves out what was said in 6 conversations: system message (6 times)" in str(
        error.value
    )
    parts = (
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}</s>{% endfor %}{% endfor %}"
    )
    audit = run(saved(tmp_path / "parts", parts), suite).audit
    assert audit["identical_inputs"] == 0
    assert "messages" not in audit["warnings"]


def test_trap_37_a_template_that_takes_thoughts_out(tmp_path: Path) -> None:
    suite = own_suite(tmp_path, [PAIR | {"chosen": "<think>North?</think>To the sea."}] * 3)
    takes = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}</s>{% endfor %}"
    warnings = run(saved(tmp_path, takes), suite).audit["warnings"]
    assert "assistant thoughts: 3" in warnings["messages"]


def test_trap_38_answers_that_differ_in_a_call_of_a_tool(tmp_path: Path) -> None:
    other = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    sides = {
        side: [{"role": "assistant", "content": "I look.", "tool_calls": [call]}]
        for side, call in (("chosen", CALL), ("rejected", other))
    }
    suite = own_suite(tmp_path, [PAIR | sides] * 3)
    with pytest.raises(ScorerError, match=r"assistant call of a tool \(6 times\)"):
        run(saved(tmp_path), suite)
    writes = "{% for m in messages %}{{ m.content }}{{ m.get('tool_calls') }}</s>{% endfor %}"
    audit = run(saved(tmp_path / "writes", writes), suite).audit
    assert (audit["identical_responses"], audit["identical_inputs"]) == (0, 0)


def test_trap_39_messages_that_arrive_as_text(tmp_path: Path) -> None:
    as_lists = open_feed(load_suite(own_suite(tmp_path, [PAIR])))
    as_text = open_feed(load_suite(own_suite(tmp_path, [PAIR | {"prompt": json.dumps(SYSTEM)}])))
    assert as_text.contents.sha256 == as_lists.contents.sha256
    shown = own_suite(tmp_path, [PAIR | {"prompt": str(SYSTEM)}])
    with pytest.raises(DataError, match="messages as Python shows them"):
        open_feed(load_suite(shown))


def test_trap_40_rows_that_are_not_the_suites(tmp_path: Path) -> None:
    suite = load_suite(own_suite(tmp_path, [PAIR]))
    folder = tmp_path / "data"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    line = json.dumps(PAIR) + "\n"
    (folder / ".ipynb_checkpoints" / "train.jsonl").write_text(line)
    (folder / "test.jsonl").write_text(line)
    assert len(open_feed(suite, data=str(folder)).contents.ids) == 1
    (folder / "train.jsonl").write_text(line)
    with pytest.raises(DataError, match="several splits: test, train; name one"):
        open_feed(suite, data=str(folder))
    (tmp_path / "twice.jsonl").write_text(line.replace('"rejected"', '"chosen"'))
    with pytest.raises(DataError, match='the key "chosen" appears twice'):
        open_feed(suite, data=str(tmp_path / "twice.jsonl"))


def test_trap_41_sides_told_apart_by_place(tmp_path: Path) -> None:
    row = {"prompt": "u", "response_a": "x", "response_b": "y", "winner": "b"}
    suite = own_suite(tmp_path, [row], sides=("response_a", "response_b"))
    with pytest.raises(DataError, match="which side is preferred"):
        open_feed(load_suite(suite))


def test_trap_42_several_chosen_responses(tmp_path: Path) -> None:
    rows = [PAIR | {"chosen": ["x", "y"], "rejected": ["z", "w"]}]
    rule = '[credit]\nrule = "best-of"\n'
    with pytest.raises(DataError, match="several = true"):
        open_feed(load_suite(own_suite(tmp_path, rows, rule=rule)))
    asked = own_suite(tmp_path, rows, rule=rule + "several = true\n")
    assert open_feed(load_suite(asked)).contents.sides == [(2, 2)]


def test_trap_43_a_tokenizer_that_panics(tmp_path: Path) -> None:
    described = json.loads(models.tokenizer().backend_tokenizer.to_str())
    described["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a|a)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    words = models.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(described)),
        eos_token="</s>",
        chat_template=models.CHAT,
    )
    suite = own_suite(tmp_path, [PAIR | {"prompt": "a" * 60 + "!"}])
    args = ["run", "--model", saved(tmp_path, words=words), "--suite", suite]
    result = CliRunner().invoke(main, [*args, "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "a text of the run: the tokenizer fails: " in result.stderr
