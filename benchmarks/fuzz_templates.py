"""Jinja templates from their grammar, for ``fuzz_readers.py``."""

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st

__all__ = ["jinja_files"]

ATOMS: Final = """
messages|messages[0].content|message|message.role|bos_token|none|''|'a{}%s'|2|-1|1.5|10**9
'a' * 99999|range(9)|range(99999)|[1, 'a']|{'a': 1}|nope|loop|self|namespace(n=1)|cycler('a')
strftime_now|caller|dict(a=2)|true
"""
OPERATORS: Final = "+|-|*|/|//|%|**|~|==|<|in|and|or"
FILTERS: Final = """
batch(9)|capitalize|center(99999999)|count|default(1)|dictsort|first|float|format(1)|groupby(0)
indent(999)|int|items|join('-')|last|length|list|lower|map('upper')|max|min|pprint|random|reject
replace('a', 'bb')|reverse|round|select|slice(3)|sort|string|striptags|sum|title|tojson
tojson(indent=2)|trim|truncate(3)|unique|upper|urlencode|urlize|wordcount|wordwrap(2)|xmlattr
"""
METHODS: Final = """
strip()|split('a')|join(messages)|format(1)|format_map(message)|replace('', 'bb')|items()|upper()
__class__|encode()|zfill(999999999)|center(9999999)|expandtabs(99999)|append(1)|next()
translate({})
"""
# E stands for an expression, B for what is inside.
FORMS: Final = """
{% for message in E %}B{% else %}x{% endfor %}
{% for message in E if E recursive %}B{% endfor %}
{% for message in range(99999) %}B{% endfor %}
{% if E %}B{% elif E %}B{% endif %}
{% macro again(x, y) %}B{{ E }}{% endmacro %}B
{% set message %}B{% endset %}B
{% set message = E %}B
{% set ns.x = ns.x ~ E %}B
{% filter upper %}B{% endfilter %}
{% call again(E) %}B{% endcall %}
{% with message = E %}B{% endwith %}
B{% break %}B
{% generation %}B{% endgeneration %}
{% block b %}B{% endblock %}
{% autoescape E %}B{% endautoescape %}
BB
"""
START: Final = (
    "{% set ns = namespace(x='a') %}{% macro again(x, y) %}{{ x }}{% endmacro %}"
    "{% set message = messages[0] %}"
)


def _one(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.strip().replace("\n", "|").split("|"))


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(text: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda found: text.format(*found))

    return st.one_of(
        form("({} {} {})", inner, _one(OPERATORS), inner),
        form("({} | {})", inner, _one(FILTERS)),
        form("({}).{}", inner, _one(METHODS)),
        form("{}[{}]", inner, inner),
        form("({} if {} else {})", inner, inner, inner),
        form("again({}, {})", inner, inner),
    )


EXPRESSIONS: Final = st.recursive(_one(ATOMS), _wider, max_leaves=5)


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def fill(text: str) -> Callable[[tuple[str, str]], str]:
        return lambda found: text.replace("E", found[0]).replace("B", found[1])

    filled = st.tuples(EXPRESSIONS, inner)
    return st.one_of([filled.map(fill(text)) for text in FORMS.strip().splitlines()])


@st.composite
def jinja_files(draw: st.DrawFn) -> bytes:
    """Return a template of nested statements and expressions."""
    written = EXPRESSIONS.map("{{{{ {} }}}}".format)
    pieces = st.sampled_from(["", "text ", "{{ message }}"]) | written
    return (START + draw(st.recursive(pieces, _around, max_leaves=6))).encode()
