"""Chat templates in Jinja, compiled as transformers compiles them, in its sandbox.

``utils/chat_template_utils.py`` of 4.57 and 5: sandbox, trimmed blocks, ``generation`` blocks, loop
controls, ``tojson``, ``raise_exception``, ``strftime_now``. What a template could use up is bounded
by the process that it runs in, see ``enclosure``.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["PINNED_DATE", "render_template"]

PINNED_DATE: Final = datetime(2024, 7, 26, tzinfo=UTC)
"""The day that a template which asks for today's date is told: rewards must not change overnight.

It is the date that Llama 3.1's template writes where it has no clock.
"""


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """Return the text that a template writes.

    Args:
        source: in Jinja; compiled once.
        variables: what it may name.

    Raises:
        jinja2.TemplateError: it fails, or is refused by the sandbox.
        Exception: what else a template can do: it computes, indexes, calls and recurses.
    """
    return _compile(source).render(variables)


@lru_cache(maxsize=16)
def _compile(source: str) -> jinja2.Template:
    return _Environment().from_string(source)


class _Environment(ImmutableSandboxedEnvironment):
    """Transformers' environment, without a text at random and with a day that stays."""

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        self.filters["tojson"] = _tojson
        self.globals |= {"raise_exception": _raise, "strftime_now": PINNED_DATE.strftime}
        del self.globals["lipsum"]  # a text at random, of any length


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
