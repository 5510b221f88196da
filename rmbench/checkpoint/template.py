"""Chat templates in Jinja, run in a sandbox and within limits of time and size.

A template may come from anybody, and Jinja can loop for hours or fill the memory. It is compiled
here as transformers compiles it (``utils/chat_template_utils.py`` of 4.57 and 5: sandbox, trimmed
blocks, ``generation`` blocks, loop controls, ``tojson``, ``raise_exception``, ``strftime_now``),
and every loop, call, filter and output asks whether there is time and room left.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, wraps
from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

__all__ = ["MAX_CHARACTERS", "MAX_SECONDS", "PINNED_DATE", "render_template"]

MAX_SECONDS: Final = 10.0
"""Of processor time for one conversation; a template takes well below a millisecond."""
MAX_CHARACTERS: Final = 100_000_000
"""Of all that is written for one conversation, and of any one text; the longest row is shorter."""
MAX_BITS: Final = 1_000_000
"""Of a whole number."""
PINNED_DATE: Final = datetime(2024, 7, 26, tzinfo=UTC)
"""The day that a template which asks for today's date is told: rewards must not change overnight.

It is the date that Llama 3.1's template writes where it has no clock.
"""
_ITEM: Final = 16  # what an item of a list weighs beside its text, in characters
_WIDTH: Final = re.compile(r"\d{8,}")


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """Return the text that a template writes.

    Args:
        source: in Jinja; compiled once.
        variables: what it may name.

    Raises:
        jinja2.TemplateError: it fails, is refused by the sandbox, or passes a limit.
        Exception: what else a template can do: it computes, indexes, calls and recurses.
    """
    token = _SPENT.set(_Spent(deadline=time.thread_time() + MAX_SECONDS))
    try:
        return _compile(source).render(variables)
    finally:
        _SPENT.reset(token)


@lru_cache(maxsize=16)
def _compile(source: str) -> jinja2.Template:
    return _Environment().from_string(source)


# --- limits --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Spent:
    """What one conversation may still take: until when, and what it has written so far."""

    deadline: float
    written: int = 0


_SPENT: ContextVar[_Spent] = ContextVar("spent")


def _check_time() -> None:
    if time.thread_time() > _SPENT.get().deadline:
        raise jinja2.TemplateRuntimeError(
            f"it computes for more than {MAX_SECONDS:g} s, the limit for one conversation"
        )


def _check_size(size: int) -> None:
    if size > MAX_CHARACTERS:
        raise jinja2.TemplateRuntimeError(
            f"it makes a text or list of more than {MAX_CHARACTERS:,} characters, the limit"
        )


def _weigh(value: Any, total: int = 0) -> int:
    """Return how many characters a value takes when it is written, roughly, added to ``total``."""
    if isinstance(value, str | bytes):
        return total + len(value)
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            total = _weigh(item, total + _ITEM)
            _check_size(total)
    return total


def _largest(values: Any) -> int:
    return max((value for value in values if isinstance(value, int)), default=0)


def _check_call(called: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuse a call whose result would be too large, before it is made."""
    given = (*args, *named.values())
    _check_size(_largest(given))
    method = getattr(called, "__wrapped__", called)  # the sandbox wraps str.format
    text = getattr(method, "__self__", None)
    if isinstance(text, str):
        grows = _GROWS.get(method.__name__)
        if grows is not None:
            _check_size(grows(text, given))


def _formatted(text: str, given: tuple[Any, ...]) -> int:
    """Return how long a text with placeholders can become at most."""
    width = max((int(digits) for digits in _WIDTH.findall(text)), default=0)
    return len(text) + max(text.count("{"), text.count("%")) * max(width, _weigh(list(given)))


def _replaced(text: str, given: tuple[Any, ...]) -> int:
    old, new = (*(item for item in given if isinstance(item, str)), "", "")[:2]
    return len(text) + text.count(old) * len(new)


_GROWS: Final[Mapping[str, Callable[[str, tuple[Any, ...]], int]]] = {
    "expandtabs": lambda text, given: len(text) + text.count("\t") * _largest(given),
    "format": _formatted,
    "format_map": _formatted,
    "join": lambda text, given: _weigh(list(given)) * (len(text) // _ITEM + 1),
    "replace": _replaced,
    "translate": lambda text, given: len(text) * max(_weigh(list(given)), 1),
}
"""How long the result of a text's method can become; others give no more than the text has."""


def _check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse an operation whose result would be too large, before it is made."""
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(operator, left, right)
    elif operator == "%" and isinstance(left, str):
        _check_size(_formatted(left, (right,)))
        _check_size(_largest(right if isinstance(right, tuple) else (right,)))
    elif operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(times, int):
                _check_size(_length(many) * times)
    elif operator == "+":
        _check_size(_length(left) + _length(right))


def _check_bits(operator: str, left: int, right: int) -> None:
    bits = left.bit_length() * max(right, 0) if operator == "**" else 0
    if max(bits, left.bit_length() + right.bit_length()) > MAX_BITS:
        raise jinja2.TemplateRuntimeError(f"it makes a number of more than {MAX_BITS:,} bits")


def _length(value: Any) -> int:
    if isinstance(value, list | tuple):
        return len(value) * _ITEM
    return len(value) if isinstance(value, str | bytes) else 0


def _limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that keeps within the limits."""
    grows = _FILTERS.get(name)

    @wraps(function)
    def filtered(*args: Any, **named: Any) -> Any:
        _check_time()
        if grows is not None:
            _check_size(grows((*args, *named.values())))
        return function(*args, **named)

    return filtered


def _written(given: tuple[Any, ...]) -> int:
    """Return how long a list can become as text, with whatever stands before each item."""
    wide = max(_largest(given), *(len(item) for item in given if isinstance(item, str)), 0)
    lists = [item for item in given if isinstance(item, list | tuple | Mapping)]
    return max(_weigh(lists) * (wide // _ITEM + 1), wide)


def _texts(given: tuple[Any, ...]) -> tuple[str, ...]:
    return (*(item for item in given if isinstance(item, str)), "", "", "")


def _indented(given: tuple[Any, ...]) -> int:
    text, indent, *_ = _texts(given)
    return len(text) + (text.count("\n") + 1) * max(_largest(given), len(indent))


def _wrapped(given: tuple[Any, ...]) -> int:
    text, mark, *_ = _texts(given)
    return len(text) * max(len(mark), 1)


_FILTERS: Final[Mapping[str, Callable[[tuple[Any, ...]], int]]] = {
    "batch": _largest,
    "center": _largest,
    "format": lambda given: _formatted(_texts(given)[0], given),
    "indent": _indented,
    "replace": lambda given: _replaced(_texts(given)[0], _texts(given)[1:]),
    "slice": _largest,
    "wordwrap": _wrapped,
} | dict.fromkeys(("join", "pprint", "string", "tojson", "urlencode", "xmlattr"), _written)
"""How long the result of a filter can become; others give no more than they get."""


# What _Metered puts into a template: filters, since Jinja calls these without a detour. That they
# take the context keeps Jinja from working them out as it compiles.


@jinja2.pass_context
def _step(_: Any, value: object) -> bool:
    """Stop a loop that has taken too long."""
    _check_time()
    return True


@jinja2.pass_context
def _write(_: Any, value: Any, literal: int) -> Any:
    """Count a value that is written and the letters around it, and return the value."""
    spent = _SPENT.get()
    spent.written += literal + (len(value) if type(value) is str else _weigh(value))
    if spent.written > MAX_CHARACTERS:
        _check_size(spent.written)
    return value


@jinja2.pass_context
def _concatenate(_: Any, values: list[Any]) -> str:
    """Return what the operator ``~`` makes."""
    _check_size(_weigh(values))
    return "".join(map(str, values))


# A template can name none of them: no name has a space.
_METER: Final = {" step": _step, " write": _write, " concatenate": _concatenate}


# --- the environment -----------------------------------------------------------------------------


class _Environment(ImmutableSandboxedEnvironment):
    """Transformers' environment, with limits."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        self.filters["tojson"] = _tojson
        self.filters = {name: _limited(name, kept) for name, kept in self.filters.items()} | _METER
        self.globals |= {"raise_exception": _raise, "strftime_now": PINNED_DATE.strftime}
        del self.globals["lipsum"]  # a text at random, of any length

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Metered().visit(tree)
        tree.set_environment(self)
        return tree

    def call(self, context: Any, called: Any, /, *args: Any, **named: Any) -> Any:
        _check_time()
        _check_call(called, args, named)
        return super().call(context, called, *args, **named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)


class _Metered(NodeTransformer):
    """Puts a step into every loop and before every output, and counts what is written."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        if node.test is not None:
            node.test = nodes.And(_meter(" step", nodes.Const(0)), node.test)
        node.body.insert(0, nodes.ExprStmt(_meter(" step", nodes.Const(0))))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        self.generic_visit(node)
        literal = sum(
            len(child.data) for child in node.nodes if isinstance(child, nodes.TemplateData)
        )
        if all(isinstance(child, nodes.TemplateData) for child in node.nodes):
            node.nodes.append(nodes.Const(""))
        for i, child in enumerate(node.nodes):
            if not isinstance(child, nodes.TemplateData):
                node.nodes[i] = _meter(" write", child, nodes.Const(literal))
                literal = 0
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _meter(" concatenate", nodes.List(node.nodes))


def _meter(name: str, value: nodes.Expr, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None)


class _Generation(Extension):
    """Writes what stands between ``{% generation %}`` and ``{% endgeneration %}``."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller: Callable[[], str]) -> str:
        return caller()


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
