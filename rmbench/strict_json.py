"""JSON in which nothing is said twice."""

import json
from collections import Counter
from typing import Any

__all__ = ["RepeatedKeyError", "parse_json"]


class RepeatedKeyError(ValueError):
    """An object has a key twice; one line says which."""


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text holds, as ``json.loads`` does, but refuse a key that stands twice.

    RFC 8259, section 4, leaves open which of two values counts; a reader that takes the last one
    would show a number that a person who reads the file may not see.

    Raises:
        RepeatedKeyError: an object has a key twice.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise RepeatedKeyError(f'the key "{twice}" stands twice in one object')
    return found
