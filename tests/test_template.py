"""Chat templates and tokenizers: what transformers writes, within limits of time and memory."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import jinja2
import models
import pytest
import tokenizers
from transformers import AutoTokenizer

from rmbench.checkpoint import enclosure
from rmbench.checkpoint import template as chat_template
from rmbench.checkpoint.chat import Template
from rmbench.checkpoint.encode import encode
from rmbench.checkpoint.template import render_template
from rmbench.checkpoint.writing import render, render_all, token_ids, with_parts
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation, Message

WORDS = models.tokenizer()
TURNS = [
    {"role": "system", "content": " Be <kind>. "},
    {"role": "user", "content": "Why?\nHow?"},
    {"role": "assistant", "content": "Because 'so' & thus, é."},
]
CONVERSATION = Conversation((Message("user", "Why?"),), "So.", "a/1, chosen")


def ours(source: str) -> str:
    given = {"messages": TURNS, "tools": None, "documents": None, "add_generation_prompt": False}
    return render_template(source, given | WORDS.special_tokens_map)


TEMPLATES = {
    "the tests' own": models.CHAT,
    "blocks are trimmed": "{% for m in messages %}\n  {% if loop.first %}A{% endif %}\n{{ m.role }}"
    "-{{ loop.index0 }}/{{ loop.length }}{% if not loop.last %},{% endif %}\n{% endfor %}\n",
    "loops with conditions and controls": "{% set ns = namespace(n=0) %}"
    "{% for m in messages if m.role != 'system' %}{% set ns.n = ns.n + 1 %}"
    "{% if ns.n > 1 %}{% break %}{% endif %}{{ m['content'] | trim | upper }}{% continue %}"
    "{% else %}none{% endfor %}{{ ns.n }}",
    "a loop over nothing": "{% for m in [] %}x{% else %}none{% endfor %}",
    "macros": "{% macro f(x, y=2) %}<{{ x }}:{{ y }}>{% endmacro %}"
    "{{ f('a') ~ f(1, y=[1, 2]) ~ none ~ nope }}",
    "calls of a macro": "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}a{% endcall %}",
    "JSON": "{{ messages | tojson }}|{{ messages | tojson(indent=2) }}|{{ {'b': '<é>'} | tojson }}",
    "special tokens": "{{ bos_token }}{{ messages[0].content }}{{ eos_token + pad_token }}",
    "blocks of what is generated": "{% generation %}{{ messages[2].content }}{% endgeneration %}",
    "methods": "{{ messages[1].content.split('\n')[-1].strip() }}{{ '{}:{x}'.format(1, x=2) }}",
    "operators": "{{ '%s-%d' % ('a', 3) }}{{ 2 ** 10 }}{{ [1, 2] * 2 }}{{ 7 // 2 }}{{ 7 % 4 }}"
    "{{ 1.5 + 1 }}{{ -3 * 2 }}{{ 'a' in 'abc' }}{{ ('a', 1) + (2,) }}",
    "captured text": "{% set x %}{{ messages[0].content }}end{% endset %}{{ x }}{{ x | length }}"
    "{% filter upper %}abc{% endfilter %}",
    "filters": "{{ messages | map(attribute='role') | join(', ') }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ 'a b' | replace('a', 'c') | title }}{{ 'a\nb' | indent(2) }}{{ [3, 1] | sort | first }}",
    "what is not given": "{% if tools is none %}T{% endif %}{% if not documents %}D{% endif %}"
    "{{ add_generation_prompt }}{{ x is defined }}",
    "recursive loops": "{% for m in messages recursive %}{{ m.role }}"
    "{% if m.kids %}{{ loop(m.kids) }}{% endif %}{% endfor %}",
    "escaping": "{% autoescape true %}{{ '<a>' }}{{ '<b>' ~ '<c>' }}{% endautoescape %}",
    "dictionaries": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}"
    "{{ dict(a=1) }}{{ range(3) | list }}",
}


@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_writes_what_transformers_writes(source: str) -> None:
    expected = WORDS.apply_chat_template(TURNS, chat_template=source, tokenize=False)
    assert ours(source) == expected


def test_a_models_own_template_writes_what_transformers_writes() -> None:
    folder = Path(chat_template.__file__).parent.parent / "tiny"
    words = AutoTokenizer.from_pretrained(folder)
    template = Template(name="tokenizer", text=words.chat_template)
    expected = words.apply_chat_template(CONVERSATION.messages, tokenize=False)
    assert render(CONVERSATION, template, words) == expected


class Speaking(models.PreTrainedTokenizerFast):
    """A tokenizer with a way of its own, as model repositories bring them."""

    def apply_chat_template(self, *_: Any, **__: Any) -> str:
        return "as I like it"


def test_a_tokenizer_that_writes_by_code_of_its_own_does_so() -> None:
    own = Speaking(tokenizer_object=models.tokenizer().backend_tokenizer)
    assert render(CONVERSATION, Template(name="tokenizer", text="x"), own) == "as I like it"


def test_a_tokenizer_that_writes_by_code_of_its_own_is_told_no_date() -> None:
    own = Speaking(tokenizer_object=models.tokenizer().backend_tokenizer)
    dated = Template(name="tokenizer", text="{{ strftime_now('%d') }}", date="2024-07-26")
    with pytest.raises(ScorerError, match="it asks for today's date, and the tokenizer runs it"):
        render(CONVERSATION, dated, own)


# --- limits --------------------------------------------------------------------------------------

ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "one step on what is shared": "{% set ns = namespace(a=['x'], b=['x']) %}"
    "{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}"
    "{{ ns.a == ns.b }}",
    "one filter": "{{ ('a' * 10000000) | wordwrap(1) | length }}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(100) }}",
}


def refused(source: str) -> str:
    with pytest.raises(ScorerError) as error:
        render(CONVERSATION, Template(name="own.jinja", text=source), WORDS)
    return str(error.value)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer of the processor")
@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_takes_too_long_ends_at_the_limit(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enclosure, "MAX_SECONDS", 0.2)
    assert refused(source) == (
        "a/1, chosen: the template own.jinja fails: it computes for more than 0.2 s, the limit for"
        " short texts; fix it, or give another with --template FILE"
    )
    # What comes after it is not concerned.
    assert render(CONVERSATION, Template(name="x", text=models.CHAT), WORDS)


TOO_LARGE = {
    "a text repeated": "{{ 'a' * 10**10 }}",
    "a list repeated": "{{ [0] * 10**9 }}",
    "many texts that are kept": "{% set ns = namespace(a=[]) %}{% for i in range(60) %}"
    "{% set ns.a = [ns.a, 'x' * 90000000 ~ i] %}{% endfor %}",
    "a number of any length": "{{ (10 ** 9999999) ** 9999 }}",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit is Linux's")
@pytest.mark.parametrize("source", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_template_that_fills_the_memory_ends_at_the_limit(source: str) -> None:
    found = refused(source)
    assert found.startswith("a/1, chosen: the template own.jinja fails: ")
    assert "memory" in found or "computes for more than" in found


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("{{ 'ab' | truncate(1) }}", "expected length >= 3, got 1"),
        (
            "{{ ''.__class__.__mro__ }}",
            "access to attribute '__class__' of 'str' object",
        ),
        ("{{ 1 // 0 }}", "integer division or modulo by zero"),
        ("{% for", "(line 1)"),
        ("{{ [1] | sum(start=messages) }}", "can only concatenate list"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth exceeded"),
    ],
)
def test_whatever_a_template_raises_is_one_line(source: str, finding: str) -> None:
    found = refused(source)
    assert found.startswith("a/1, chosen: the template own.jinja fails: ")
    assert finding in found


def test_a_long_conversation_is_no_large_one() -> None:
    turns = [{"role": "user", "content": "a\n" * 500_000}]
    written = render_template(
        "{% for m in messages %}{{ m.content.replace('a', 'bb') | trim | indent(4) }}{% endfor %}",
        {"messages": turns},
    )
    assert written.count("bb") == 500_000


def test_a_failure_names_the_conversation() -> None:
    picky = "{% if 'no' in messages[0].content %}{{ raise_exception('not this') }}{% endif %}"
    texts = [Conversation((Message("user", text),), "x", text) for text in ("yes", "no", "yes")]
    with pytest.raises(ScorerError, match="no: the template x fails: not this; fix it"):
        render_all(texts, Template(name="x", text=picky), WORDS)


# --- what a template leaves out ------------------------------------------------------------------


def left(source: str, *messages: Message, response: str = "So.") -> dict[str, int] | str:
    conversation = Conversation(messages, response, "a/1, chosen")
    template = Template(name="own.jinja", text=source)
    given: Any = {"tokenizer": WORDS, "template": template, "max_length": None}
    try:
        return dict(encode([conversation], **given, on_overflow="error").altered)
    except ScorerError as error:
        return str(error)


SYSTEM, USER = Message("system", "Answer in French."), Message("user", "Why?\n Because  of it?")
WHOLE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        WHOLE,
        "{% for m in messages %}{{ m.content | trim }}{% endfor %}",
        "{% for m in messages %}{{ m.content | tojson }}{% endfor %}",
        "{% for m in messages %}{{ m.content | e }}{% endfor %}",
        "{% for m in messages %}{{ m.content.split() | join(' ') }}{% endfor %}",
        "{{ messages[-1].content }}{{ messages[0].content }}{{ messages[1].content }}",
    ],
)
def test_a_template_may_trim_escape_and_move_what_was_said(source: str) -> None:
    assert left(source, SYSTEM, USER) == {}


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
            "system message (1 times)",
        ),
        ("{{ messages[-1].content }}", "system message (1 times), user message (1 times)"),
        (
            "{% for m in messages %}{{ m.content[:5] }}{% endfor %}",
            "system message (1 times), user message (1 times)",
        ),
    ],
)
def test_a_template_that_leaves_messages_out_is_refused(source: str, finding: str) -> None:
    found = left(source, SYSTEM, USER)
    assert isinstance(found, str)
    assert f"leaves out what was said in 1 conversations: {finding}, first in a/1, chosen" in found
    assert "--template FILE" in found


def test_thoughts_that_a_template_takes_out_are_counted() -> None:
    source = WHOLE.replace("m.content", "m.content.split('</think>')[-1]")
    assert left(source, USER, response="<think>Hm.</think>So.") == {"assistant thoughts": 1}
    asked = Message("assistant", "So.", '{"reasoning_content": "Hm."}')
    assert left(WHOLE, USER, asked, USER) == {"assistant thoughts": 1}


def test_words_that_a_template_takes_out_are_counted() -> None:
    long = Message("user", "A first line that stays.\nA second one that stays.\nEND OF TEXT")
    source = WHOLE.replace("m.content", "m.content.replace('END OF TEXT', '')")
    assert left(source, long) == {"user changed": 1}


def test_calls_of_tools_that_a_template_does_not_write_are_refused() -> None:
    call = (
        '{"content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": "Oslo"}}}]}'
    )
    asked = Message("assistant", "", call)
    source = "{% for m in messages %}{{ m.role }}{{ m.content or '' }}{% endfor %}"
    found = left(source, USER, asked, Message("tool", "4"))
    assert isinstance(found, str)
    assert "assistant call of a tool (1 times)" in found
    written = source.replace("{% endfor", "{{ m.tool_calls | tojson if m.tool_calls }}{% endfor")
    assert left(written, USER, asked, Message("tool", "4")) == {}


def test_a_template_that_wants_content_in_parts_gets_it_so() -> None:
    source = (
        "{% for m in messages %}{{ m.role }}:{% for p in m.content %}"
        "{{ p.text if p.type == 'text' }}{% endfor %}{% endfor %}"
    )
    template = with_parts(Template(name="x", text=source), WORDS)
    assert template.in_parts
    assert render(CONVERSATION, template, WORDS) == "user:Why?assistant:So."
    assert not with_parts(Template(name="x", text=models.CHAT), WORDS).in_parts


# --- tokenizers ----------------------------------------------------------------------------------


def broken_tokenizer(tmp_path: Path, part: str, content: Any) -> Any:
    """Return the tests' tokenizer with another normalizer or rule of splitting."""
    described = json.loads(models.tokenizer().backend_tokenizer.to_str())
    described[part] = content
    return models.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(described)), eos_token="</s>"
    )


def test_a_tokenizer_that_panics_is_one_line(tmp_path: Path) -> None:
    backtracks = {"type": "Split", "pattern": {"Regex": "(a|a)+$"}, "behavior": "Isolated"}
    words = broken_tokenizer(tmp_path, "pre_tokenizer", backtracks | {"invert": False})
    told = Conversation((Message("user", "a" * 60 + "!"),), "b", "a/1, chosen")
    first = Conversation((Message("user", "b"),), "b", "a/0, chosen")
    template = Template(name="x", text=models.CHAT)
    given: Any = {"tokenizer": words, "template": template, "max_length": None}
    with pytest.raises(ScorerError, match=r"a/1, chosen: the tokenizer fails: .*; use the tok"):
        encode([first, told], **given, on_overflow="error")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit is Linux's")
def test_a_normalizer_that_multiplies_texts_does_not_take_the_process_along(
    tmp_path: Path,
) -> None:
    step = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 3000}
    words = broken_tokenizer(
        tmp_path, "normalizer", {"type": "Sequence", "normalizers": [step] * 3}
    )
    with pytest.raises(ScorerError, match=r"the tokenizer fails: .*; use the tokenizer that"):
        token_ids(["eee"], words, add_special=False)


def test_a_text_at_random_cannot_be_written() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'lipsum' is undefined"):
        ours("{{ lipsum(n=1) }}")
