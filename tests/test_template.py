"""Chat templates: what transformers writes, within limits of time and size."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import jinja2
import models
import pytest
from transformers import AutoTokenizer

from rmbench.checkpoint import template as chat_template
from rmbench.checkpoint.encode import Template, render
from rmbench.checkpoint.template import render_template
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation, Message

WORDS = models.tokenizer()
TURNS = [
    {"role": "system", "content": " Be <kind>. "},
    {"role": "user", "content": "Why?\nHow?"},
    {"role": "assistant", "content": "Because 'so' & thus, é."},
]
CONVERSATION = Conversation((Message("user", "Why?"),), "So.", "a/1, chosen")
START = "{% set ns = namespace(x='a' * 1000) %}"


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


# --- time ----------------------------------------------------------------------------------------

ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "conditions of loops": "{% for a in range(99999) %}{% for b in range(99999) if false %}"
    "{% endfor %}{% endfor %}",
    "macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(100) }}",
    "loops that call themselves": "{% for a in range(99999) recursive %}{% if loop.depth < 9 %}"
    "{{ loop(range(99999)) }}{% endif %}{% endfor %}",
    "filters": "{% set x = range(9999) | list %}{% for i in range(99999) %}"
    "{% set y = x | sort | unique | list %}{% endfor %}",
    "a text that is long": "{% for a in messages[1].content * 9999 %}"
    "{% for b in messages[1].content * 9999 %}{{ '' }}{% endfor %}{% endfor %}",
}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "MAX_SECONDS", 0.1)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS)
def test_a_template_that_takes_too_long_stops_at_the_limit(source: str) -> None:
    start = time.thread_time()
    with pytest.raises(jinja2.TemplateRuntimeError) as error:
        ours(source)
    assert str(error.value) == "it computes for more than 0.1 s, the limit for one conversation"
    assert time.thread_time() - start < 2


@pytest.mark.usefixtures("hurried")
def test_the_limit_of_time_is_that_of_the_thread_that_writes() -> None:
    found: list[BaseException] = []

    def work() -> None:
        try:
            ours(ENDLESS["loops"])
        except jinja2.TemplateRuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():  # the main thread has time of its own
        assert ours("{{ messages[1].role }}") == "user"
    assert len(found) == 1


@pytest.mark.usefixtures("hurried")
def test_a_user_reads_one_line_that_names_conversation_limit_and_remedy() -> None:
    with pytest.raises(ScorerError) as error:
        render(CONVERSATION, Template(name="own.jinja", text=ENDLESS["loops"]), WORDS)
    assert str(error.value) == (
        "a/1, chosen: the template own.jinja fails: it computes for more than 0.1 s, the limit for"
        " one conversation; mend it, or give another with --template FILE"
    )


def test_the_time_of_one_conversation_is_not_counted_for_the_next() -> None:
    ours("{% for a in range(99999) %}{% endfor %}")
    assert ours("{{ messages[1].role }}") == "user"


# --- size ----------------------------------------------------------------------------------------


def grown(step: str) -> str:
    """Return a template that takes a step 99 times, each of which doubles ``ns.x``."""
    return f"{START}{{% for i in range(99) %}}{step}{{% endfor %}}{{{{ ns.x }}}}"


TOO_LARGE = {
    "a text repeated": "{{ 'a' * 10**9 }}",
    "a list repeated": "{{ [0] * 10**9 }}",
    "a number before a text": "{{ 10**9 * 'a' }}",
    "a text in the middle of nothing": "{{ 'a' | center(10**9) }}",
    "the same by its method": "{{ 'a'.ljust(10**9) }}",
    "the same by another filter": "{{ range(9) | map('center', 10**9) | list }}",
    "a wide number": "{{ '%0999999999d' % 1 }}",
    "a number as wide as given": "{{ '%*d' % (999999999, 1) }}",
    "a wide field": "{{ '{:>999999999}'.format(1) }}",
    "a field as wide as given": "{{ '{:>{w}}'.format(1, w=999999999) }}",
    "many fields": "{{ ('{0}' * 9999).format('a' * 99999) }}",
    "many fields of the old kind": "{{ ('%s' * 9999) % ('a' * 99999) }}",
    "tabs": "{{ '\t'.expandtabs(10**9) }}",
    "letters for a letter": "{{ ('a' * 9999).translate({97: 'b' * 99999}) }}",
    "a text between texts": "{{ ('a' * 9999999).join('b' * 9999) }}",
    "many texts": "{{ (['a' * 999999] * 999) | join('x') }}",
    "many lines moved": "{{ ('\n' * 99999) | indent(99999) }}",
    "many lines broken": "{{ ('a ' * 99999) | wordwrap(1, wrapstring='b' * 9999) }}",
    "a deep list": grown("{% set ns.x = [ns.x, ns.x] %}"),
    "a deep list as JSON": grown("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x | tojson }}",
    "the template's letters": "{% for i in range(99999) %}" + "x" * 9999 + "{% endfor %}",
    "doubled by ~": grown("{% set ns.x = ns.x ~ ns.x %}"),
    "doubled by +": grown("{% set ns.x = ns.x + ns.x %}"),
    "doubled by %": grown("{% set ns.x = '%s%s' % (ns.x, ns.x) %}"),
    "doubled by a method": grown("{% set ns.x = ns.x.replace('a', 'aa') %}"),
    "doubled by a filter": grown("{% set ns.x = ns.x | replace('a', 'aa') %}"),
    "doubled by a block": grown("{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
}


@pytest.mark.parametrize("source", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_template_that_fills_the_memory_stops_at_the_limit(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "MAX_CHARACTERS", 20_000_000)
    with pytest.raises(jinja2.TemplateRuntimeError) as error:
        ours(source)
    assert str(error.value) == (
        "it makes a text or list of more than 20,000,000 characters, the limit"
    )


@pytest.mark.parametrize(
    "source", ["{{ 10 ** 9999999 }}", "{% set ns = namespace(x=3) %}" + grown("")[len(START) :]]
)
def test_a_number_of_any_length_stops_at_the_limit(source: str) -> None:
    source = source.replace("range(99) %}", "range(99) %}{% set ns.x = ns.x * ns.x %}")
    with pytest.raises(jinja2.TemplateRuntimeError, match="a number of more than 1,000,000 bits"):
        ours(source)


def test_a_long_conversation_is_no_large_one() -> None:
    turns = [{"role": "user", "content": "a\n" * 500_000}]
    written = render_template(
        "{% for m in messages %}{{ m.content.replace('a', 'bb') | trim | indent(4) }}{% endfor %}",
        {"messages": turns},
    )
    assert written.count("bb") == 500_000


def test_a_text_at_random_cannot_be_written() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'lipsum' is undefined"):
        ours("{{ lipsum(n=1) }}")
