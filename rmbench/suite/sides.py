"""The two sides of a row: chosen and rejected responses, and the prompt before them."""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError
from rmbench.suite.comparison import Message
from rmbench.suite.definition import Columns, Transcript
from rmbench.suite.fields import value_of
from rmbench.suite.forms import (
    candidate_sides,
    first_is_preferred,
)
from rmbench.suite.messages import read_messages
from rmbench.suite.rows import Row
from rmbench.suite.transcripts import split_transcripts

__all__ = ["check_prompt", "own_prompt", "read_prompt", "sides"]


_ANSWERED: Final = ("user", "tool", "function", "ipython")
"""Roles that an assistant answers; the last two are what some models call the result of a tool."""


def own_prompt(shape: Columns, row: Row) -> tuple[Message, ...]:
    """Return the prompt that stands in a column, after the system prompt that stands in another."""
    assert shape.prompt is not None, "a shape whose rows have a prompt"
    prompt = _prompt_of(row, shape.prompt)
    if shape.system is None:
        return prompt
    system = value_of(row, shape.system)
    if not isinstance(system, str):
        kind = _kind(system)
        raise DataError(f'{row.place}: column "{shape.system}" is {kind}; it must be a text')
    return (Message("system", system), *prompt) if system.strip() else prompt


class _Side(NamedTuple):
    """The responses of one side, and the messages that precede them; None where these are texts."""

    texts: tuple[str, ...]
    turns: tuple[tuple[Message, ...], ...]
    before: tuple[Message, ...] | None = None


_Sides = tuple[tuple[Message, ...], _Side, _Side]


def sides(shape: Columns, row: Row) -> Iterator[_Sides]:
    """Yield prompt, chosen and rejected responses of a row, whatever its shape."""
    if shape.candidates is None and shape.preferred is None:
        yield _named_sides(shape, row)
        return
    if shape.preferred is not None:
        first = first_is_preferred(shape.preferred, row)
        if first is None:
            return
        better, worse = shape.responses if first else shape.responses[::-1]
        yield _named_sides(shape.model_copy(update={"chosen": better, "rejected": worse}), row)
        return
    if shape.prompt is None:
        raise DataError(f"{row.place}: candidates need a prompt; name its column in [columns]")
    prompt = own_prompt(shape, row)
    check_prompt(row, prompt)
    for chosen, rejected in candidate_sides(shape, row):
        yield prompt, _Side(chosen, ((),) * len(chosen)), _Side(rejected, ((),) * len(rejected))


def _named_sides(shape: Columns, row: Row) -> _Sides:
    """Return prompt, chosen and rejected responses of a row that has columns for them."""
    if shape.sides == "conversations":
        return _from_conversations(shape, row)
    if shape.transcript is not None:
        return _from_transcripts(shape, row, shape.transcript)
    assert shape.chosen is not None and shape.rejected is not None, "checked with the suite"
    chosen, rejected = _responses(row, shape.chosen), _responses(row, shape.rejected)
    if shape.prompt is not None:
        prompt = own_prompt(shape, row)
    elif chosen.before is not None and rejected.before is not None:
        prompt = chosen.before
    else:
        name = shape.chosen if chosen.before is None else shape.rejected
        raise DataError(
            f'{row.place}: column "{name}" must hold messages, since [columns] names'
            " no prompt; name the prompt's column"
        )
    # Beside a prompt of its own, a side may hold the response alone.
    shared = (prompt,) if shape.prompt is None else (prompt, (), None)
    for side, name in ((chosen, shape.chosen), (rejected, shape.rejected)):
        if side.before not in shared:
            raise DataError(
                f'{row.place}: the messages before the last of "{name}" are not the prompt;'
                " both sides must share it"
            )
    check_prompt(row, prompt)
    return prompt, chosen, rejected


def _from_conversations(shape: Columns, row: Row) -> _Sides:
    """Return two whole conversations: what both begin with, and what follows in each.

    The prompt ends with the last shared message that an assistant answers.
    """
    sides = []
    for name in (str(shape.chosen), str(shape.rejected)):
        messages = read_messages(value_of(row, name), f'{row.place}: column "{name}"')
        if not messages:
            raise DataError(f'{row.place}: column "{name}" must hold a list of messages')
        sides.append(messages)
    good, bad = sides
    shared = next(
        (i for i, (one, two) in enumerate(zip(good, bad, strict=False)) if one != two),
        min(len(good), len(bad)) - 1,
    )
    ends = [i + 1 for i in range(shared) if good[i].role in _ANSWERED]
    if not ends:
        raise DataError(
            f"{row.place}: the two conversations share no user turn that they begin with; remove"
            " the row"
        )
    prompt = good[: ends[-1]]
    if shape.tools is not None:
        prompt = (_tools_message(row, shape.tools), *prompt)
    return prompt, _rest(good[ends[-1] :]), _rest(bad[ends[-1] :])


def _rest(turns: tuple[Message, ...]) -> _Side:
    text = "\n\n".join(message.text for message in turns)
    is_plain = len(turns) == 1 and turns[0].role == "assistant" and not turns[0].rest
    return _Side((text,), ((),) if is_plain else (turns,))


def _tools_message(row: Row, name: str) -> Message:
    """Return the tools as a system message that lists them in JSON."""
    value = value_of(row, name)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Message("system", f"Tools:\n{text}")


def _from_transcripts(shape: Columns, row: Row, marks: Transcript) -> _Sides:
    chosen, rejected = (value_of(row, str(name)) for name in (shape.chosen, shape.rejected))
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise DataError(f"{row.place}: a transcript must be a text; check [columns]")
    split = split_transcripts(chosen, rejected, marks)
    if split is None:
        raise DataError(f"{row.place}: the two transcripts share no prompt; remove the row")
    prompt, *answers = split
    return prompt, _Side((answers[0],), ((),)), _Side((answers[1],), ((),))


def _responses(row: Row, name: str) -> _Side:
    """Return the responses in a column, and the messages before it if it holds messages."""
    value = value_of(row, name)
    messages = read_messages(value, f'{row.place}: column "{name}"')
    if messages is not None:
        return _last(messages, row, name)
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(item, str) for item in texts):
        raise DataError(
            f'{row.place}: column "{name}" is {_kind(value)};'
            " it must be a text, a list of texts, or a list of messages"
        )
    return _Side(tuple(texts), ((),) * len(texts))


def _last(messages: tuple[Message, ...], row: Row, name: str) -> _Side:
    """Return the last message as the response."""
    *before, last = messages
    if last.role != "assistant":
        raise DataError(
            f'{row.place}: the last message of "{name}" is from "{last.role}";'
            " the response must be the assistant's"
        )
    return _Side((last.text,), ((last,) if last.rest else (),), tuple(before))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a list of {' and '.join(kinds)}" if kinds else "an empty list"
    return type(value).__name__


def read_prompt(row: Row, name: str) -> tuple[Message, ...]:
    """Return the prompt in a column, once an assistant can answer it.

    Raises:
        DataError: it holds neither a text nor messages, or ends with the assistant's turn.
    """
    prompt = _prompt_of(row, name)
    check_prompt(row, prompt)
    return prompt


def _prompt_of(row: Row, name: str) -> tuple[Message, ...]:
    value = value_of(row, name)
    messages = read_messages(value, f'{row.place}: column "{name}"')
    if messages is not None:
        return messages
    if isinstance(value, str):
        return (Message("user", value),)
    raise DataError(
        f'{row.place}: column "{name}" is {_kind(value)}; it must be a text or a list of messages'
    )


def check_prompt(row: Row, prompt: tuple[Message, ...]) -> None:
    """Refuse a prompt that no assistant could answer."""
    if not prompt:
        raise DataError(f"{row.place}: the prompt has no message; it needs a user turn")
    if prompt[-1].role not in _ANSWERED:
        raise DataError(
            f'{row.place}: the prompt ends with the role "{prompt[-1].role}"; it must end with'
            ' "user", or with the result of a tool ("tool")'
        )
