"""Comparisons: what is scored, and the bytes that a suite's digest is made of."""

from dataclasses import replace

import pytest

from rmbench.suite.comparison import Comparison, Conversation, Message, fingerprint

SYSTEM, USER = Message("system", "Be brief."), Message("user", 'Say "é"\nor 🙂')
COMPARISON = Comparison(
    id="a/1",
    subset="a",
    prompt=(SYSTEM, USER),
    chosen=("é", "🙂"),
    rejected=("",),
)


def test_a_conversation_is_the_prompt_and_the_response_as_the_assistant_s() -> None:
    assert Conversation((SYSTEM, USER), "é").messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": 'Say "é"\nor 🙂'},
        {"role": "assistant", "content": "é"},
    ]


def test_where_a_conversation_comes_from_is_no_part_of_it() -> None:
    first, second = Conversation((USER,), "x", "a/1"), Conversation((USER,), "x", "b/2")
    assert first == second
    assert len({first, second}) == 1
    assert first != Conversation((USER,), "y", "a/1")


def test_chosen_sides_are_scored_before_rejected_ones() -> None:
    conversations = list(COMPARISON.conversations())
    assert [item.response for item in conversations] == ["é", "🙂", ""]
    assert [item.name for item in conversations] == ["a/1, chosen", "a/1, chosen", "a/1, rejected"]
    assert {item.prompt for item in conversations} == {COMPARISON.prompt}


def test_the_canonical_form_is_one_line_of_json_in_utf_8() -> None:
    assert (
        COMPARISON.canonical()
        == (
            '{"id":"a/1","subset":"a",'
            '"prompt":[["system","Be brief."],["user","Say \\"é\\"\\nor 🙂"]],'
            '"chosen":["é","🙂"],"rejected":[""]}\n'
        ).encode()
    )


def test_the_canonical_form_of_messages_that_hold_more_holds_it_too() -> None:
    call = Message("assistant", "", '{"content": null, "tool_calls": [1]}')
    whole = replace(
        COMPARISON, prompt=(Message("user", "u", '{"name": "x"}'),), turns=((call,), (), ())
    )
    assert (
        whole.canonical()
        == (
            '{"id":"a/1","subset":"a","prompt":[["user","u","{\\"name\\": \\"x\\"}"]],'
            '"chosen":[[["assistant","","{\\"content\\": null, \\"tool_calls\\": [1]}"]],"🙂"],'
            '"rejected":[""]}\n'
        ).encode()
    )
    assert next(whole.conversations()).messages == [
        {"role": "user", "content": "u", "name": "x"},
        {"role": "assistant", "content": None, "tool_calls": [1]},
    ]
    assert whole.candidates([2, 0]).turns == ((), (call,))


def test_comparisons_with_the_same_texts_share_a_fingerprint_whatever_their_id() -> None:
    same = replace(COMPARISON, id="b/2", subset="b")
    assert fingerprint(same.canonical()) == fingerprint(COMPARISON.canonical())
    assert len(fingerprint(COMPARISON.canonical())) == 16


@pytest.mark.parametrize("subset", [',"prompt":', '",\\"prompt\\":', 'a","prompt":[],"b'])
def test_a_name_that_looks_like_json_does_not_change_the_fingerprint(subset: str) -> None:
    odd = replace(COMPARISON, id=f"{subset}/1", subset=subset)
    assert fingerprint(odd.canonical()) == fingerprint(COMPARISON.canonical())


def test_a_text_moved_to_another_side_or_role_changes_the_fingerprint() -> None:
    moved = [
        replace(COMPARISON, chosen=("é",), rejected=("🙂", "")),
        replace(COMPARISON, chosen=("é🙂",)),
        replace(COMPARISON, chosen=("🙂", "é")),
        replace(COMPARISON, prompt=(USER,)),
        replace(COMPARISON, prompt=(Message("user", "Be brief."), USER)),
    ]
    prints = {fingerprint(item.canonical()) for item in (COMPARISON, *moved)}
    assert len(prints) == 1 + len(moved)
