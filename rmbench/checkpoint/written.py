"""What a template made of each message: is everything that was said in the text that it wrote?

A template may trim, escape and move what it is given. What it leaves out, the model never reads.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["LEFT_OUT", "losses"]

THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")
LEFT_OUT: Final = ("message", "call of a tool")
"""Losses that no model documents; the others, ``thoughts`` and ``changed``, are counted."""
_THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)
_SPACES: Final = re.compile(r"\s+")


def losses(messages: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """Return what of some messages is not in a text, in their order; usually nothing.

    Returns:
        Of each such message its role and the loss, ``system message``, ``assistant changed``, or
        ``assistant thoughts``.
    """
    found: list[str] = []
    for message in messages:
        role = str(message.get("role"))
        content = message.get("content")
        if isinstance(content, list):  # in parts, for templates that want them
            content = "".join(part.get("text", "") for part in content)
        if content and content not in text:
            loss = _loss(content.strip(), text)
            found += [f"{role} {loss}"] if loss else []
        if any(isinstance(message.get(key), str) and message[key].strip() not in text
               for key in THOUGHTS):  # fmt: skip
            found.append(f"{role} thoughts")
        if not all(_is_in(name, text) for name in _called(message)):
            found.append(f"{role} call of a tool")
    return found


def _loss(content: str, text: str) -> str | None:
    """Return what became of a content that does not stand in the text as it is."""
    if _is_in(content, text):
        return None
    spoken = _THOUGHT.sub("", content.rpartition("</think>")[2] or content).strip()
    if spoken != content and (not spoken or _is_in(spoken, text)):
        return "thoughts"
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    kept = sum(len(line) for line in lines if _is_in(line, text))
    return "changed" if 2 * kept >= sum(map(len, lines)) else "message"


def _is_in(content: str, text: str) -> bool:
    """Return whether a text holds what was said, as it is, escaped, or with other spaces."""
    if content in text:
        return True
    written = (json.dumps(content, ensure_ascii=False)[1:-1], json.dumps(content)[1:-1])
    if any(form in text for form in (*written, html.escape(content), html.escape(content, False))):
        return True
    return _SPACES.sub("", content) in _SPACES.sub("", text)


def _called(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in the calls of tools that a message makes: names and arguments."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        if not isinstance(function, Mapping):
            continue
        for key in ("name", "arguments"):
            yield from _texts(function.get(key))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
