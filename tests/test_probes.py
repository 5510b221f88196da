"""Rewrites that change no meaning, and what they find."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.cli import main
from rmbench.compare.probed import Probed, adjusted, probed
from rmbench.errors import DataError, SuiteError
from rmbench.run import evaluate_feed
from rmbench.scorers.functions import scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison, Conversation, Message
from rmbench.suite.feed import open_feed, open_rewritten
from rmbench.suite.probes import PROBES, Probe, find_probe, rewritten

PAIR = Comparison(
    id="a/1",
    subset="a",
    prompt=(Message("system", "Be brief."), Message("user", "Why? Say it.")),
    chosen=('# Head\n\nIt is **so**. It\'s `*x*` "here".',),
    rejected=("No.\nNever.",),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spaces", '# Head\n\nIt is **so**.  It\'s `*x*` "here".'),
        ("line-ends", '# Head\r\n\r\nIt is **so**. It\'s `*x*` "here".'),
        ("blank-lines", '# Head\n\n\nIt is **so**. It\'s `*x*` "here".'),
        ("newline", '# Head\n\nIt is **so**. It\'s `*x*` "here".\n'),
        ("markdown-off", 'Head\n\nIt is so. It\'s `*x*` "here".'),
        ("quotes", "# Head\n\nIt is **so**. It\u2019s `*x*` \u201chere\u201d."),
        ("prompt-prefix", PAIR.chosen[0]),
    ],
)
def test_a_rewrite_of_a_response(name: str, expected: str) -> None:
    found = rewritten(PAIR, Probe(name))
    assert found.chosen == (expected,)
    assert (found.id, found.subset, len(found.rejected)) == ("a/1", "a", 1)


def test_the_prompt_is_rewritten_in_its_last_turn_alone() -> None:
    found = rewritten(PAIR, Probe("prompt-prefix"))
    assert found.prompt[0] == PAIR.prompt[0]
    assert found.prompt[1].content.endswith("\n\nWhy? Say it.")
    assert rewritten(PAIR, Probe("newline")).prompt == PAIR.prompt


def test_marks_are_set_on_plain_prose_alone() -> None:
    code = "```\nfor one in all:\n```"
    pair = replace(PAIR, chosen=(f"Two words here, then more.\n\n- item\n\n{code}",))
    found = rewritten(pair, Probe("markdown-on")).chosen[0]
    assert found == f"**Two words here**, then more.\n\n- item\n\n{code}"
    assert rewritten(replace(pair, chosen=(found,)), Probe("markdown-off")).chosen == pair.chosen


def test_one_side_is_rewritten_where_one_is_named() -> None:
    found = rewritten(PAIR, find_probe("newline:rejected"))
    assert found.chosen == PAIR.chosen and found.rejected == ("No.\nNever.\n",)
    found = rewritten(PAIR, find_probe("newline:chosen"))
    assert found.rejected == PAIR.rejected and found.chosen != PAIR.chosen


def test_calls_of_tools_stay_as_they_are() -> None:
    call = Message("assistant", "Look. Now.", '{"tool_calls": [{"name": "f"}]}')
    answer = Message("tool", "One. Two.")
    turns = ((call, answer), ())
    text = "\n\n".join(turn.text for turn in turns[0])
    pair = replace(PAIR, chosen=(text,), turns=turns)
    found = rewritten(pair, Probe("spaces"))
    assert [turn.content for turn in found.turns[0]] == ["Look.  Now.", "One. Two."]
    assert found.turns[0][0].rest == call.rest
    assert found.chosen[0] == "\n\n".join(turn.text for turn in found.turns[0])


@settings(max_examples=50)
@given(st.text(), st.sampled_from(sorted(PROBES)))
def test_rewrites_take_any_text_and_give_the_same_again(text: str, name: str) -> None:
    pair = replace(PAIR, chosen=(text,), rejected=(text, "b"))
    found = rewritten(pair, Probe(name))
    assert found == rewritten(pair, Probe(name))
    assert found.chosen[0] == found.rejected[0]
    words = [word for word in text.split() if word.isalpha()]
    assert all(word in found.chosen[0] for word in words)


@pytest.mark.parametrize(
    ("name", "told"),
    [("quote", 'did you mean "quotes"'), ("quotes:left", "chosen or rejected"),
     ("same-sides:chosen", "give same-sides alone")],
)  # fmt: skip
def test_an_unknown_rewrite_or_side_is_refused(name: str, told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        find_probe(name)


def test_solutions_in_steps_are_refused() -> None:
    with pytest.raises(SuiteError, match="a solution in steps; take a suite"):
        rewritten(replace(PAIR, rejected=(), steps=("a",)), Probe("newline"))


# --- what they find ------------------------------------------------------------------------------


def found_in(reward: Any, name: str) -> Probed:
    """Return what a rewrite of mini does to a reward."""
    feed = open_feed(load_suite("mini"))
    probe = find_probe(name)
    other = feed.probed(probe)
    pairs = zip(feed, other, strict=True)
    changed = {one.id for one, two in pairs if one != two}
    results = [evaluate_feed(each, scorer("me/x", reward)) for each in (feed, other)]
    assert results[0].suite["name"] == "mini" != results[1].suite["name"]
    assert results[0].suite["sha256"] != results[1].suite["sha256"]
    assert results[0].signature.split("|")[0] != results[1].signature.split("|")[0]
    return probed(probe.label, (results[0], results[1]), feed.suite, changed)


def words(conversation: Conversation) -> float:
    return float(len(conversation.response.split()))


def bold(conversation: Conversation) -> float:
    """A planted bias: marks count as much as fifty words."""
    return words(conversation) + 50.0 * ("**" in conversation.response)


def test_a_planted_bias_is_found_and_no_other_is() -> None:
    biased, fair = (found_in(each, "markdown-on:rejected") for each in (bold, words))
    assert biased.headline.difference is not None
    assert biased.headline.difference.p_value < 1e-6
    assert biased.headline.lost and not biased.headline.gained
    assert biased.shift < -0.5 and biased.p_shift < 1e-6
    assert fair.headline.difference is not None
    assert fair.headline.difference.p_value == 1.0 and fair.p_shift == 1.0
    assert (fair.shift, fair.moved, fair.reward_shift) == (0.0, 0.0, 0.0)
    assert fair.headline.detectable(0.05) is not None
    # On both sides alike no comparison flips, and the rewards tell it.
    both = found_in(bold, "markdown-on")
    assert both.reward_shift is not None and both.reward_shift > 0.5


def test_the_shift_is_in_standard_deviations_of_the_margins() -> None:
    def ends(conversation: Conversation) -> float:
        return float(sum(map(ord, conversation.response)) % 97) + 10.0 * (
            conversation.response.endswith("\n")
        )

    found = found_in(lambda c: ends(replace(c, response=c.response.rstrip("\n"))), "newline")
    assert found.moved == 0.0
    feed = open_feed(load_suite("mini"))
    margins = [words(c) - words(r) for item in feed for c, r in [list(item.conversations())]]
    mean = sum(margins) / len(margins)
    spread = (sum((m - mean) ** 2 for m in margins) / len(margins)) ** 0.5
    shifted = found_in(lambda c: words(c) + 7.0 * c.response.endswith("\n"), "newline:chosen")
    assert shifted.shift == pytest.approx(7.0 / spread, rel=1e-5)
    assert shifted.moved == pytest.approx(7.0 / spread, rel=1e-5)


def test_equal_responses_tie_unless_the_scorer_is_at_fault() -> None:
    assert found_in(words, "same-sides").untied == 0
    seen: list[int] = []

    def drifting(conversation: Conversation) -> float:
        seen.append(1)
        return float(len(seen))

    found = found_in(drifting, "same-sides")
    assert found.untied == 240 and found.is_certain


def test_what_is_not_rewritten_must_not_move() -> None:
    seen: list[int] = []

    def drifting(conversation: Conversation) -> float:
        seen.append(1)
        return words(conversation) + len(seen) ** 2 / 1e4

    assert found_in(drifting, "markdown-off").unsteady > 200
    assert found_in(words, "markdown-off").unsteady == 0


def test_p_values_hold_for_all_rewrites_together() -> None:
    items = [found_in(bold, name) for name in ("markdown-on:rejected", "quotes", "same-sides")]
    first, second, certain = adjusted(items)
    assert certain.adjusted is None
    assert first.adjusted is not None and first.headline.difference is not None
    assert first.adjusted[0] == pytest.approx(2 * first.headline.difference.p_value)
    assert second.adjusted == (1.0, 1.0)


# --- on the command line -------------------------------------------------------------------------


def run(folder: Path, *arguments: str) -> Any:
    output = ["--output", str(folder / "results"), "--no-cache", "--no-progress"]
    return CliRunner().invoke(main, ["run", "--model", "length", *arguments, *output])


def test_probes_write_results_of_their_own_and_print_one_table(tmp_path: Path) -> None:
    done = run(tmp_path, "--probe", "newline", "--probe", "quotes:chosen", "--format", "json")
    assert done.exit_code == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["rewrite"], first["changed"], first["before"]) == ("newline", 240, 0.5)
    assert second["rewrite"] == "quotes:chosen" and second["adjusted_p"] == 1.0
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"mini", "mini.probe-newline", "mini.probe-quotes-chosen"}
    for fmt in ("table", "csv"):
        shown = run(tmp_path, "--probe", "newline", "--format", fmt)
        assert shown.exit_code == 0 and "margin shift" in shown.stdout
    board = CliRunner().invoke(main, ["leaderboard", str(tmp_path / "results")])
    assert board.exit_code == 0 and "rewritten" not in board.stdout
    plain = tmp_path / "results" / "mini" / "length.json"
    probe = tmp_path / "results" / "mini.probe-newline" / "length.json"
    done = CliRunner().invoke(main, ["check", str(probe), "--baseline", str(plain)])
    assert (
        done.exit_code == 2 and "a result on mini, where one on mini.probe-newline" in done.stderr
    )


def test_rewrites_of_others_are_joined_by_id(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Path("suites/mini.jsonl").read_text().splitlines()]
    for row in rows[:30:6]:
        row["rejected"] = row["rejected"] + " and more" * 500
    file = tmp_path / "Reworded v1.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[::6]))
    done = run(tmp_path, "--probe", f"data:{file}", "--format", "json")
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["comparisons"], found["changed"], found["won"]) == (40, 5, 0)
    names = {path.name for path in (tmp_path / "results" / "mini.probe-reworded-v1").iterdir()}
    assert "length.partial-40.json" in names
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    done = run(tmp_path, "--probe", f"data:{file}")
    assert done.exit_code == 2 and "give rewrites of all" in done.stderr


def test_rewrites_of_other_comparisons_are_refused(tmp_path: Path) -> None:
    row = json.loads(Path("suites/mini.jsonl").read_text().splitlines()[0]) | {"id": "no such"}
    file = tmp_path / "other.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"no such.*rewrites need the ids"):
        open_rewritten(open_feed(load_suite("mini")), str(file))


def test_probes_do_not_go_with_a_gate(tmp_path: Path) -> None:
    done = run(tmp_path, "--probe", "quotes", "--check", "x")
    assert done.exit_code == 2 and "--check" in done.stderr
