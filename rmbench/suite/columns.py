"""One row → one comparison, by the shapes of row that a suite's ``[columns]`` names."""

import textwrap
from collections.abc import Iterator
from numbers import Number
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError, did_you_mean
from rmbench.suite.comparison import Comparison, Message
from rmbench.suite.definition import Columns, Suite, Transcript
from rmbench.suite.doubts import check_preference
from rmbench.suite.messages import is_said, read_messages
from rmbench.suite.rows import Row, Rows
from rmbench.suite.transcripts import split_transcripts

__all__ = ["Read", "has_empty_text", "read_comparisons"]

_ANSWERED: Final = ("user", "tool", "function", "ipython")
"""Roles that an assistant answers; the last two are what some models call the result of a tool."""


class Read(NamedTuple):
    """A row as it was read.

    ``line`` is the comparison's canonical form. ``is_even`` says whether the annotators gave both
    sides the same score; None where the row has no two scores.
    """

    comparison: Comparison
    line: bytes
    is_even: bool | None


def has_empty_text(comparison: Comparison) -> bool:
    """Return whether a message or a response says nothing: spaces alone count as nothing."""
    is_full = all(map(str.strip, comparison.responses)) and all(map(is_said, comparison.prompt))
    return not is_full


def read_comparisons(suite: Suite, rows: Rows) -> Iterator[Read]:
    """Yield each row's comparison, its canonical form, and what its scores say.

    Raises:
        DataError: a row is wrong, or belongs to no section of a suite that has sections.
    """
    named = {subset for section in suite.sections for subset in section.subsets}
    shape: Columns | None = None
    for row in rows:
        shape = shape or _find_shape(suite, row)
        subset = _subset(suite, shape, row)
        if named and subset not in named:
            raise DataError(
                f'{row.place}: subset "{subset}" is in no section of the suite "{suite.name}";'
                f" {did_you_mean(subset, named)}"
            )
        comparison = _comparison(shape, row, subset)
        _check_comparison(suite, comparison, row)
        try:
            line = comparison.canonical()
        except UnicodeEncodeError:
            place = row.place
            raise DataError(f"{place}: text with half a surrogate pair; mend the text") from None
        yield Read(comparison, line, _is_even(shape, row))


def _find_shape(suite: Suite, row: Row) -> Columns:
    """Return the first ``[columns]`` whose columns the first row has."""
    for shape in suite.columns:
        if all(name in row.fields for name in shape.needed):
            check_preference(shape.chosen, shape.rejected, row.fields, row.place)
            return shape
    missing = [name for name in suite.columns[0].needed if name not in row.fields]
    # Where a file is no table at all, a "column" can be a page of text.
    names = [textwrap.shorten(str(name), 40, placeholder=" …") for name in row.fields][:20]
    raise DataError(
        f'{row.place}: no column "{missing[0]}"; it has {", ".join(names)};'
        " rename the columns, write a suite file with other [columns], or give the file the"
        " suffix of its format"
    )


def _subset(suite: Suite, shape: Columns, row: Row) -> str:
    for name in shape.needed:
        if row.fields.get(name) is None:
            finding = "is null" if name in row.fields else "is missing"
            raise DataError(f'{row.place}: column "{name}" {finding}; every row needs it')
    if shape.subset:
        return _label(row, shape.subset)
    return row.part or suite.source.split or suite.name


def _comparison(shape: Columns, row: Row, subset: str) -> Comparison:
    prompt, chosen, rejected = _sides(shape, row)
    turns = (*chosen.turns, *rejected.turns)
    return Comparison(
        id=_identity(shape, row, subset),
        subset=subset,
        prompt=prompt,
        chosen=chosen.texts,
        rejected=rejected.texts,
        turns=turns if any(turns) else (),
    )


def _identity(shape: Columns, row: Row, subset: str) -> str:
    """Return the id, which always begins with the subset, so that a record needs no other key."""
    identity = "/".join(_label(row, name) for name in shape.id) or str(row.number)
    prefix = f"{subset}/"
    return identity if identity.startswith(prefix) else prefix + identity


def _is_even(shape: Columns, row: Row) -> bool | None:
    """Return whether both sides have the same score; None where a row has not two of them."""
    if shape.scores is None:
        return None
    chosen, rejected = (_score(row, name) for name in shape.scores)
    return None if chosen is None or rejected is None else bool(chosen == rejected)


def _score(row: Row, name: str) -> Any:
    value = row.fields.get(name)
    if value is None or value == "":  # an empty cell of CSV
        return None
    try:
        score = float(value) if isinstance(value, str) else value
    except ValueError:
        score = None
    if not isinstance(score, Number) or isinstance(score, bool):
        raise DataError(
            f'{row.place}: column "{name}" is no number; [columns] names it as a score: mend it,'
            " or take scores out of [columns]"
        )
    return score


def _label(row: Row, name: str) -> str:
    value = row.fields[name]
    if type(value) not in (str, int):  # isinstance would take true for 1
        kind = type(value).__name__
        raise DataError(f'{row.place}: column "{name}" is {kind}; it must be a text or an integer')
    if not str(value).strip():
        raise DataError(f'{row.place}: column "{name}" is empty; every row needs a name there')
    return str(value)


class _Side(NamedTuple):
    """The responses of one side, and the messages that precede them; None where these are texts."""

    texts: tuple[str, ...]
    turns: tuple[tuple[Message, ...], ...]
    before: tuple[Message, ...] | None = None


def _sides(shape: Columns, row: Row) -> tuple[tuple[Message, ...], _Side, _Side]:
    """Return prompt, chosen and rejected responses of a row, whatever its shape."""
    if shape.transcript is not None:
        return _from_transcripts(shape, row, shape.transcript)
    chosen, rejected = _responses(row, shape.chosen), _responses(row, shape.rejected)
    if shape.prompt is not None:
        prompt = _prompt(row, shape.prompt)
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
    _check_prompt(row, prompt)
    return prompt, chosen, rejected


def _from_transcripts(
    shape: Columns, row: Row, marks: Transcript
) -> tuple[tuple[Message, ...], _Side, _Side]:
    chosen, rejected = row.fields[shape.chosen], row.fields[shape.rejected]
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise DataError(f"{row.place}: a transcript must be a text; check [columns]")
    split = split_transcripts(chosen, rejected, marks)
    if split is None:
        raise DataError(f"{row.place}: the two transcripts share no prompt; remove the row")
    prompt, *answers = split
    return prompt, _Side((answers[0],), ((),)), _Side((answers[1],), ((),))


def _responses(row: Row, name: str) -> _Side:
    """Return the responses in a column, and the messages before it if it holds messages."""
    value = row.fields[name]
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


def _prompt(row: Row, name: str) -> tuple[Message, ...]:
    value = row.fields[name]
    messages = read_messages(value, f'{row.place}: column "{name}"')
    if messages is not None:
        return messages
    if isinstance(value, str):
        return (Message("user", value),)
    raise DataError(
        f'{row.place}: column "{name}" is {_kind(value)}; it must be a text or a list of messages'
    )


def _check_prompt(row: Row, prompt: tuple[Message, ...]) -> None:
    if not prompt:
        raise DataError(f"{row.place}: the prompt has no message; it needs a user turn")
    if prompt[-1].role not in _ANSWERED:
        raise DataError(
            f'{row.place}: the prompt ends with the role "{prompt[-1].role}"; it must end with'
            ' "user", or with the result of a tool ("tool")'
        )


def _check_comparison(suite: Suite, comparison: Comparison, row: Row) -> None:
    if suite.source.empty == "error" and has_empty_text(comparison):
        raise DataError(
            f'{row.place}: empty text in prompt or response; remove the row, or set empty = "keep"'
            " in [source]"
        )
    if suite.credit.rule == "pair" and (len(comparison.chosen), len(comparison.rejected)) != (1, 1):
        raise DataError(
            f"{row.place}: {len(comparison.chosen)} chosen and {len(comparison.rejected)} rejected"
            ' responses; rule "pair" needs one of each, "best-of" takes several'
        )
