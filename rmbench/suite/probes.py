"""Rewrites of texts that change no meaning: what a reward model should not mind.

Each is deterministic and needs no model. Code between back quotes stays as it is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, Literal, NamedTuple

from rmbench.errors import SuiteError, did_you_mean
from rmbench.suite.comparison import Comparison, Message

__all__ = ["PROBES", "Probe", "find_probe", "rewritten"]

Sides = Literal["both", "chosen", "rejected"]
_CODE: Final = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
_PREFIX: Final = "Here is my request:\n\n"


class Probe(NamedTuple):
    """A rewrite, and which responses it is applied to.

    Attributes:
        name: of the rewrite, one of ``PROBES``.
        sides: whose responses it changes; a rewrite of the prompt has ``both``.
    """

    name: str
    sides: Sides = "both"

    @property
    def label(self) -> str:
        """How people write it: ``quotes``, or ``quotes:rejected``."""
        return self.name if self.sides == "both" else f"{self.name}:{self.sides}"

    @property
    def suite_name(self) -> str:
        """What stands behind the suite's name in results."""
        return "probe-" + self.label.replace(":", "-")


def _outside_code(change: Callable[[str], str]) -> Callable[[str], str]:
    """Return a rewrite of what stands outside code."""

    def rewrite(text: str) -> str:
        parts = _CODE.split(text)
        return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))

    return rewrite


def _plain(text: str) -> str:
    """Take the marks of headings, emphasis and rules away; words and lists stay."""
    text = re.sub(r"^ {0,3}#{1,6}[ \t]+", "", text, flags=re.MULTILINE)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    return re.sub(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w*])", r"\1", text)


def _marked(text: str) -> str:
    """Set the first words of each paragraph in bold, where it is plain prose."""
    return re.sub(
        r"(?:\A|(?<=\n\n))([^\W\d_][^\n*_#:.!?]{2,60}?)(?=[,.:;!?\n]|\Z)", r"**\1**", text
    )


def _curly(text: str) -> str:
    text = re.sub(r'(?<!\w)"(?=\S)', "\u201c", text).replace('"', "\u201d")
    return re.sub(r"(?<!\w)'(?=\w)", "\u2018", text).replace("'", "\u2019")


PROBES: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "spaces": (
        "two spaces behind each sentence",
        _outside_code(lambda text: re.sub(r"(?<=[.!?]) (?=\S)", "  ", text)),
    ),
    "line-ends": ("lines end as on Windows", lambda text: re.sub(r"(?<!\r)\n", "\r\n", text)),
    "blank-lines": (
        "two blank lines between paragraphs",
        _outside_code(lambda text: re.sub(r"(?<=\S)\n\n(?=\S)", "\n\n\n", text)),
    ),
    "newline": ("a line feed at the end", lambda text: text + "\n"),
    "markdown-off": ("no marks of headings and emphasis", _outside_code(_plain)),
    "markdown-on": ("the first words of each paragraph in bold", _outside_code(_marked)),
    "quotes": ("typographic quotation marks", _outside_code(_curly)),
    "prompt-prefix": ("the prompt begins with a phrase", lambda text: _PREFIX + text),
    "same-sides": ("every response is the first chosen one", lambda text: text),
}
"""By name: what the rewrite does, and to a text."""


def find_probe(name: str) -> Probe:
    """Return the probe that is written ``NAME`` or ``NAME:SIDE``.

    Raises:
        SuiteError: there is no such rewrite or side.
    """
    word, colon, sides = name.partition(":")
    if word not in PROBES:
        raise SuiteError(f"--probe {name}: no such rewrite; {did_you_mean(word, PROBES)}")
    if not colon:
        return Probe(word)
    if sides not in ("chosen", "rejected") or word in ("prompt-prefix", "same-sides"):
        raise SuiteError(
            f"--probe {name}: a side is chosen or rejected, of a rewrite of responses; give"
            f" {word} alone, or another"
        )
    return Probe(word, "chosen" if sides == "chosen" else "rejected")


def rewritten(comparison: Comparison, probe: Probe) -> Comparison:
    """Return a comparison as a probe asks about it; its id and subset stay.

    Raises:
        SuiteError: it is a solution in steps, which has no two sides.
    """
    if comparison.steps:
        raise SuiteError(
            f"--probe {probe.label}: {comparison.id} is a solution in steps; take a suite that"
            " compares responses"
        )
    if probe.name == "same-sides":
        return _with_same_sides(comparison)
    change = PROBES[probe.name][1]
    if probe.name == "prompt-prefix":
        return replace(comparison, prompt=tuple(_prefixed(comparison.prompt, change)))
    size = len(comparison.chosen)
    turns = comparison.turns or ((),) * len(comparison.responses)
    changed = [
        _response(text, own, change)
        if probe.sides == "both" or (probe.sides == "chosen") == (number < size)
        else (text, own)
        for number, (text, own) in enumerate(zip(comparison.responses, turns, strict=True))
    ]
    texts, messages = zip(*changed, strict=True)
    return replace(
        comparison,
        chosen=texts[:size],
        rejected=texts[size:],
        turns=messages if comparison.turns else (),
    )


def _prefixed(prompt: tuple[Message, ...], change: Callable[[str], str]) -> Iterator[Message]:
    """Yield a prompt whose last user turn is rewritten."""
    last = max((i for i, item in enumerate(prompt) if item.role == "user"), default=-1)
    for number, item in enumerate(prompt):
        yield replace(item, content=change(item.content)) if number == last else item


def _response(
    text: str, turns: tuple[Message, ...], change: Callable[[str], str]
) -> tuple[str, tuple[Message, ...]]:
    """Return a response with its words rewritten; calls of tools and results stay."""
    if not turns:
        return change(text) if text else text, ()
    changed = tuple(
        replace(turn, content=change(turn.content))
        if turn.role == "assistant" and turn.content
        else turn
        for turn in turns
    )
    return "\n\n".join(turn.text for turn in changed), changed


def _with_same_sides(comparison: Comparison) -> Comparison:
    """Return a comparison whose responses are all the first chosen one."""
    first, size = comparison.chosen[:1], len(comparison.responses)
    return replace(
        comparison,
        chosen=first * len(comparison.chosen),
        rejected=first * len(comparison.rejected),
        turns=comparison.turns[:1] * size,
    )
