"""Whole transcripts in one text → the turns of a prompt, and the two responses."""

import re

from rmbench.suite.comparison import Message
from rmbench.suite.definition import Transcript

__all__ = ["split_transcripts"]


def split_transcripts(
    chosen: str, rejected: str, marks: Transcript
) -> tuple[tuple[Message, ...], str, str] | None:
    """Split two whole transcripts into their shared prompt and the two responses.

    A transcript is a run of marked turns, user first, in turn. The few that are not (a mark inside
    a text, a mark without its space) keep what precedes the last shared assistant mark as one user
    message, unsplit; so no text is lost or moved.

    Returns:
        Prompt, chosen and rejected response; None where the two share no prompt.
    """
    good, bad = _turns(chosen, marks), _turns(rejected, marks)
    if good and bad and good[:-1] == bad[:-1]:
        return tuple(good[:-1]), good[-1].content, bad[-1].content
    mark = marks.assistant.rstrip()
    cut = _shared_prefix(chosen, rejected).rfind(mark) + len(mark)
    if cut < len(mark):
        return None
    return (Message("user", chosen[:cut]),), chosen[cut:], rejected[cut:]


def _turns(text: str, marks: Transcript) -> list[Message] | None:
    """Return the turns of a regular transcript, None for an irregular one."""
    pieces = re.split(f"({re.escape(marks.user)}|{re.escape(marks.assistant)})", text)
    expected = [marks.user, marks.assistant] * (len(pieces) // 4)
    rough = re.compile(f"{re.escape(marks.user.rstrip())}|{re.escape(marks.assistant.rstrip())}")
    if pieces[0] or not expected or pieces[1::2] != expected:
        return None
    if any(rough.search(content) for content in pieces[2::2]):
        return None
    roles = ["user", "assistant"] * (len(expected) // 2)
    return [Message(role, text) for role, text in zip(roles, pieces[2::2], strict=True)]


def _shared_prefix(first: str, second: str) -> str:
    size = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)),
    )
    return first[:size]
