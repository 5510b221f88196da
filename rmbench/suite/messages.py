"""Messages of a row, in the shapes that data sets have them in → ``Message``.

A message is an object with ``role`` and ``content``, or a turn of ShareGPT with ``from`` and
``value``. Content is a text, or a list of parts that are all text. A list of messages may stand in
a row as the JSON text of one, which is what CSV can hold.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from rmbench.errors import DataError
from rmbench.suite.comparison import SPOKEN, Message

__all__ = ["is_said", "read_messages"]

_SHAREGPT: Final = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
}
_TEXT_PARTS: Final = ("text", "input_text", "output_text")
# How a list of messages begins as a text: in JSON, and as Python shows it.
_AS_TEXT: Final = re.compile(r"\s*(?:array\()?\[?\s*\{\s*([\"'])[a-z_]+\1\s*:")
_AS_PYTHON: Final = re.compile(
    r"\s*(?:array\()?\[?\s*\{\s*'(role|from)'\s*:.*'(content|value)'\s*:"
    r"|\s*(?:array\()?\[?\s*\{\s*'(content|value)'\s*:.*'(role|from)'\s*:",
    re.DOTALL,
)
_LOOKED_AT: Final = 100_000


def is_said(message: Message) -> bool:
    """Return whether a message says anything: a letter of content, a thought, a call of a tool."""
    return bool(message.content.strip() or (message.rest and message.text.strip()))


def read_messages(value: Any, place: str) -> tuple[Message, ...] | None:
    """Return the messages that a cell holds; None where it holds something else.

    Args:
        value: a list of objects, one object, or a text.
        place: of the cell, for messages.

    Raises:
        DataError: messages of a shape that cannot be scored; it names the shape.
    """
    if isinstance(value, str):
        value = _unwritten(value, place)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(item, Mapping) for item in value):
        return None
    return tuple(_message(item, place) for item in value)


def _unwritten(text: str, place: str) -> Any:
    """Return the messages of which a text is the JSON; None where it is a text like any other."""
    if not _AS_TEXT.match(text):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if _AS_PYTHON.match(text[:_LOOKED_AT]):
            raise DataError(
                f"{place}: messages as Python shows them, not as data; write the column as lists,"
                " or as JSON (json.dumps)"
            ) from None
        return None
    items = found if isinstance(found, list) else [found]
    return found if items and all(map(_is_message, items)) else None


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if isinstance(item.get("role"), str):
        return "content" in item or any(key in item for key in SPOKEN)
    return item.get("from") in _SHAREGPT and isinstance(item.get("value"), str)


def _message(item: Mapping[str, Any], place: str) -> Message:
    if item.get("role") is None and isinstance(item.get("from"), str):
        return _turn(item, place)
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or not role:
        raise DataError(f"{place}: a message needs role and content texts; it has {_names(item)}")
    given = {key: value for key, value in item.items() if key not in ("role", "content")}
    rest = _without_null(given)
    if content is None:
        if not any(rest.get(key) for key in SPOKEN):
            raise DataError(
                f"{place}: a message needs role and content texts; this one has no content and"
                " calls no tool"
            )
        return Message(role, "", _written({"content": None} | rest, place))
    text = content if isinstance(content, str) else _joined(content, place)
    return Message(role, text, _written(rest, place) if rest else "")


def _turn(item: Mapping[str, Any], place: str) -> Message:
    """Return a turn of ShareGPT; what else it holds (weights, ids) is not for the model."""
    speaker, text = item["from"], item.get("value")
    if speaker not in _SHAREGPT:
        raise DataError(
            f'{place}: a ShareGPT turn from "{speaker}"; known: {", ".join(_SHAREGPT)}; write the'
            " column as messages with role and content"
        )
    if not isinstance(text, str):
        raise DataError(f"{place}: a ShareGPT turn without a text in value; fix the row")
    return Message(_SHAREGPT[speaker], text)


def _joined(content: Any, place: str) -> str:
    """Return the text of content in parts."""
    if not isinstance(content, list):
        kind = type(content).__name__
        raise DataError(f"{place}: a message needs role and content texts; content is {kind}")
    return "".join(_part(part, place) for part in content)


def _part(part: Any, place: str) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, Mapping) else None
    kind = part.get("type", "text") if isinstance(part, Mapping) else type(part).__name__
    if kind not in _TEXT_PARTS or not isinstance(text, str):
        raise DataError(
            f'{place}: content is a list with a part of type "{kind}"; only text is scored:'
            " leave the row out, or take such parts out of it"
        )
    return text


def _without_null(value: Any) -> Any:
    """Return a value without keys that hold null, at every depth.

    Formats with columns (parquet, saved data sets) give each message every key that any message
    has, so that null there means the key is absent.
    """
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


def _written(rest: Mapping[str, Any], place: str) -> str:
    try:
        return json.dumps(rest, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        raise DataError(
            f"{place}: a message holds something beside its content that JSON cannot; take it out"
        ) from None


def _names(item: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in list(item)[:8]) or "nothing"
