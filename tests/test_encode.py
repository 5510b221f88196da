"""Conversations to token ids: templates, special tokens, limits of length, hostile templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from models import BOS, CHAT, EOS

from rmbench.checkpoint.encode import Encoded, Template, encode, load_template, render
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation, Message


def said(prompt: str, response: str, name: str = "sub/1, chosen") -> Conversation:
    return Conversation((Message("user", prompt),), response, name)


def jinja(text: str, name: str = "mine.jinja") -> Template:
    return Template(name=name, text=text)


NONE = Template(name="none", text=None)
WORDS = models.tokenizer()
WORDS_WITH_BOS = models.tokenizer(adds_bos=True)


def encoded(
    *conversations: Conversation,
    tokenizer: Any = WORDS,
    template: Template = NONE,
    max_length: int | None = None,
    on_overflow: str = "error",
) -> Encoded:
    return encode(
        conversations,
        tokenizer=tokenizer,
        template=template,
        max_length=max_length,
        on_overflow=on_overflow,
    )


def ids_of(*conversations: Conversation, **options: Any) -> list[list[int] | None]:
    sequences = encoded(*conversations, **options).sequences
    return [None if ids is None else ids.tolist() for ids in sequences]


def bytes_of(text: str) -> list[int]:
    """Return the ids of ASCII letters, from the vocabulary's own list."""
    return [len(models.SPECIAL) + models.LETTERS.index(letter) for letter in text]


# --- Templates --------------------------------------------------------------------------------


def test_the_tokenizers_template_writes_the_text() -> None:
    template = load_template("tokenizer", WORDS, "org/model")
    assert (template.name, template.text) == ("tokenizer", CHAT)
    assert render(said("hi", "ho"), template, WORDS) == "[user]hi</s>[assistant]ho</s>"


def test_special_tokens_in_the_text_become_one_id_each() -> None:
    (ids,) = ids_of(said("hi", "ho"), template=jinja(CHAT))
    assert ids == [*bytes_of("[user]hi"), EOS, *bytes_of("[assistant]ho"), EOS]


@pytest.mark.parametrize("tokenizer", [WORDS, WORDS_WITH_BOS], ids=["plain", "adds BOS itself"])
def test_a_template_that_writes_bos_gives_exactly_one(tokenizer: Any) -> None:
    (ids,) = ids_of(said("hi", "ho"), tokenizer=tokenizer, template=jinja("{{ bos_token }}" + CHAT))
    assert ids is not None
    assert ids[0] == BOS
    assert ids.count(BOS) == 1


def test_a_template_without_bos_gets_none_from_the_tokenizer() -> None:
    (ids,) = ids_of(said("hi", "ho"), tokenizer=WORDS_WITH_BOS, template=jinja(CHAT))
    assert ids is not None
    assert BOS not in ids


def test_without_a_template_the_tokenizer_adds_its_own_special_tokens() -> None:
    plain = bytes_of("hiho")
    assert ids_of(said("hi", "ho"), tokenizer=WORDS_WITH_BOS) == [[BOS, *plain]]
    assert ids_of(said("hi", "ho"), tokenizer=WORDS) == [plain]


def test_a_jinja_file_replaces_the_tokenizers_template(tmp_path: Path) -> None:
    path = tmp_path / "plain.jinja"
    path.write_text("{{ messages[0].content }} > {{ messages[1].content }}")
    template = load_template(str(path), WORDS, "org/model")
    assert template.name == "plain.jinja"
    assert render(said("hi", "ho"), template, WORDS) == "hi > ho"


def test_the_digest_of_a_template_is_that_of_its_text() -> None:
    # From: printf 'abc' | sha256sum, the example of FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert jinja("abc").sha256 == digest
    assert NONE.sha256 is None


def test_of_several_named_templates_the_default_one_is_taken() -> None:
    several = models.tokenizer(template=None)
    several.chat_template = {"default": CHAT, "tool_use": "wrong"}
    assert load_template("tokenizer", several, "org/model").text == CHAT


@pytest.mark.parametrize("template", [None, "", {"tool_use": CHAT}])
def test_a_tokenizer_without_a_template_is_refused_with_both_ways_out(template: Any) -> None:
    bare = models.tokenizer(template=None)
    bare.chat_template = template
    with pytest.raises(ScorerError) as error:
        load_template("tokenizer", bare, "org/model")
    assert str(error.value) == (
        "org/model: no chat template in the tokenizer; give the one it was trained with as"
        " --template FILE.jinja, or --template none for plain prompt + response"
    )


def test_a_template_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    with pytest.raises(ScorerError) as error:
        load_template(str(path), WORDS, "org/model")
    assert str(error.value) == (
        f"{path}: cannot be read as a template: No such file or directory;"
        " give tokenizer, none or a Jinja file"
    )


def test_a_template_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ScorerError, match="cannot be read as a template: 'utf-8' codec") as error:
        load_template(str(path), WORDS, "org/model")
    assert str(error.value).endswith("; give tokenizer, none or a Jinja file")


def test_a_template_file_larger_than_any_template_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b" " * 1_000_001)
    with pytest.raises(ScorerError) as error:
        load_template(str(path), WORDS, "org/model")
    assert str(error.value) == f"{path}: larger than 1000000 bytes; is it a template?"


def test_a_conversation_of_several_turns_needs_a_template() -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    with pytest.raises(ScorerError) as error:
        encoded(Conversation(turns, "d", "sub/7, rejected"))
    assert str(error.value) == (
        "sub/7, rejected: the prompt has 3 messages, which --template none cannot write;"
        " give a Jinja file"
    )


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("{{ raise_exception('only\nuser turns') }}", "only user turns"),
        ("{{ nothing.at.all }}", "'nothing' is undefined"),
        ("{% for x in %}", "Expected an expression, got 'end of statement block' (line 1)"),
        ("{{ 1 // 0 }}", "integer division or modulo by zero"),
        ("{{ messages[0]['content'].nope() }}", "'str object' has no attribute 'nope'"),
        ("{{ messages + 1 }}", 'can only concatenate list (not "int") to list'),
    ],
)
def test_a_template_that_fails_is_one_line_naming_the_comparison(text: str, finding: str) -> None:
    with pytest.raises(ScorerError) as error:
        encoded(said("hi", "ho", "chat/3, rejected"), template=jinja(text))
    assert str(error.value) == (
        f"chat/3, rejected: the template mine.jinja fails: {finding}; fix it, or give another"
        " with --template FILE"
    )


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
        "{{ raise_exception.__globals__['__builtins__']['open']('MARK', 'w') }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{% include 'secret.txt' %}",
        "{% import 'secret.txt' as secret %}",
        "{% extends 'secret.txt' %}",
        "{{ open('secret.txt').read() }}",
        "{{ messages.append(1) }}",
        "{{ range(10**9) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_hostile_template_reads_and_runs_nothing(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(ScorerError, match="the template mine") as error:
        render(said("hi", "ho"), jinja(attack), WORDS)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value).replace("secret.txt", "")
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize(
    "text", ["{{ messages[0].content }}", "{% set x = 1 %}{{ bos_token }}{{ messages[1].content }}"]
)
def test_jinja_in_the_texts_of_a_conversation_is_not_run(text: str) -> None:
    sentence = "{{ 7 * 7 }}{% include 'x' %}"
    assert render(said(sentence, sentence), jinja(text), WORDS).endswith(sentence)


def test_a_template_that_writes_nothing_is_refused() -> None:
    with pytest.raises(ScorerError) as error:
        encoded(said("hi", "ho"), template=jinja("{# nothing #}"))
    assert str(error.value) == (
        "sub/1, chosen: no tokens at all: its texts are empty, or the template writes nothing;"
        " give another with --template FILE"
    )


# --- Length -----------------------------------------------------------------------------------

SHORT, LONG, LONGEST = (
    said("ab", "cd", "sub/1, chosen"),
    said("ab", "cdef", "sub/1, rejected"),
    said("ab", "cdefghi", "sub/2, chosen"),
)


def test_a_conversation_at_the_limit_does_not_overflow() -> None:
    result = encoded(SHORT, max_length=4)
    assert (result.overflowed, result.dropped, result.longest) == (0, 0, 4)


def test_no_limit_means_no_limit() -> None:
    (ids,) = ids_of(said("a" * 5_000, "b" * 5_000))
    assert ids is not None
    assert len(ids) == 10_000


def test_overflow_is_an_error_that_counts_and_names_the_worst() -> None:
    with pytest.raises(ScorerError) as error:
        encoded(SHORT, LONGEST, LONG, max_length=5)
    assert str(error.value) == (
        "2 of 3 conversations have more than 5 tokens, sub/2, chosen has 9;"
        " pass --on-overflow truncate-left or drop"
    )


def test_truncate_left_keeps_the_last_tokens() -> None:
    kept = ids_of(SHORT, LONG, LONGEST, max_length=5, on_overflow="truncate-left")
    assert kept == [bytes_of("abcd"), bytes_of("bcdef"), bytes_of("efghi")]


def test_drop_leaves_none_in_the_place_of_a_conversation() -> None:
    kept = ids_of(LONG, SHORT, LONGEST, max_length=5, on_overflow="drop")
    assert kept == [None, bytes_of("abcd"), None]


@pytest.mark.parametrize(("on_overflow", "dropped"), [("truncate-left", 0), ("drop", 2)])
def test_overflowing_and_dropped_conversations_are_counted(on_overflow: str, dropped: int) -> None:
    result = encoded(SHORT, LONG, LONGEST, max_length=5, on_overflow=on_overflow)
    assert (result.overflowed, result.dropped, result.longest) == (2, dropped, 9)


def test_order_and_names_survive_more_conversations_than_one_chunk() -> None:
    many = [said("x" * (i % 7), f"{i:04}", f"sub/{i}, chosen") for i in range(1_500)]
    expected = [bytes_of("x" * (i % 7) + f"{i:04}") for i in range(1_500)]
    assert ids_of(*many) == expected


def test_no_conversations_give_no_sequences() -> None:
    result = encoded()
    assert (result.sequences, result.longest, result.overflowed) == ([], 0, 0)


def test_sequences_are_int32_arrays() -> None:
    (ids,) = encoded(SHORT).sequences
    assert ids is not None
    assert ids.dtype == np.int32
