"""A TOML table read to its end: every key is taken once, and checked as it is taken."""

import math
from collections.abc import Mapping
from typing import Any, Final

from rmbench.errors import SuiteError, did_you_mean

__all__ = ["TomlTable"]

KINDS: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class TomlTable:
    """One TOML table being read: every key is taken once, what is left over is an error.

    Attributes:
        place: file and table, for messages.
        content: what was not yet taken.
    """

    def __init__(self, place: str, content: Mapping[str, Any]) -> None:
        """Begin to read.

        Args:
            place: file and table, for messages.
            content: as tomllib returned it.
        """
        self.place = place
        self.content = dict(content)
        self.known: list[str] = []

    def take(self, key: str, kind: type, *, default: Any = ...) -> Any:
        """Return the value of a key, once it is of the kind that it must be.

        Raises:
            SuiteError: it is of another kind, or missing without a default.
        """
        self.known.append(key)
        if key not in self.content:
            if default is ...:
                raise SuiteError(f"{self.place}: {key} is missing; add it ({KINDS[kind]})")
            return default
        value = self.content.pop(key)
        if kind is float and type(value) is int:
            return float(value) if value.bit_length() < 1024 else math.inf
        if type(value) is not kind:
            found = KINDS.get(type(value), type(value).__name__)
            raise SuiteError(f"{self.place}: {key} is {found}; it must be {KINDS[kind]}")
        return value

    def table(self, key: str, *, default: Any = ...) -> "TomlTable":
        """Return a table inside this one."""
        return TomlTable(f"{self.place}: [{key}]", self.take(key, dict, default=default))

    def texts(self, key: str, *, default: Any = ...) -> tuple[str, ...]:
        """Return a list of texts, none of them empty and none twice."""
        value = self.take(key, list, default=default)
        if not all(isinstance(item, str) and item for item in value):
            raise SuiteError(f"{self.place}: {key} must be a list of texts, none empty")
        if len(set(value)) < len(value):
            raise SuiteError(f"{self.place}: {key} names something twice; name it once")
        return tuple(value)

    def choice(self, key: str, options: tuple[str, ...], *, default: str) -> str:
        """Return one of the options."""
        value: str = self.take(key, str, default=default)
        if value not in options:
            raise SuiteError(f'{self.place}: {key} = "{value}"; {did_you_mean(value, options)}')
        return value

    def done(self) -> None:
        """End reading.

        Raises:
            SuiteError: a key is left that nobody asked for.
        """
        for key in self.content:
            raise SuiteError(f'{self.place}: unknown key "{key}"; {did_you_mean(key, self.known)}')
