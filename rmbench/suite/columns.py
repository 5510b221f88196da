"""One row → its comparisons, by the shapes of row that a suite's ``[columns]`` names."""

import hashlib
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError, did_you_mean
from rmbench.suite.comparison import Comparison, Message, prompt_digest
from rmbench.suite.definition import Columns, Suite, Transcript
from rmbench.suite.doubts import check_preference
from rmbench.suite.fields import has_field, label_of, number_of, value_of
from rmbench.suite.forms import (
    candidate_sides,
    first_is_preferred,
    is_skipped,
    place_of,
    read_steps,
)
from rmbench.suite.messages import is_said, read_messages
from rmbench.suite.rows import Row, Rows
from rmbench.suite.transcripts import split_transcripts

__all__ = ["Read", "has_empty_text", "read_comparisons", "read_prompt"]

_ANSWERED: Final = ("user", "tool", "function", "ipython")
"""Roles that an assistant answers; the last two are what some models call the result of a tool."""


class Read(NamedTuple):
    """A comparison as it was read from a row.

    ``line`` is its canonical form. ``is_even`` says whether the annotators gave both sides the same
    score; None where the row has no two scores. ``cluster`` is 16 bytes that comparisons of one
    sample share.
    """

    comparison: Comparison
    line: bytes
    is_even: bool | None
    cluster: bytes


def has_empty_text(comparison: Comparison) -> bool:
    """Return whether a message or a response says nothing: spaces alone count as nothing."""
    is_full = all(map(str.strip, comparison.responses)) and all(map(is_said, comparison.prompt))
    return not is_full


def read_comparisons(
    suite: Suite, rows: Rows, left_out: "Counter[str] | None" = None
) -> Iterator[Read]:
    """Yield each row's comparisons, their canonical form, and what the row's scores say.

    Args:
        suite: what a row holds, and which rows do not count.
        rows: to read.
        left_out: counts the rows that the suite leaves out: ``skipped``, ``even``, ``one_sided``.

    Raises:
        DataError: a row is wrong, or belongs to no section of a suite that has sections.
    """
    reader = _Reader(suite, Counter() if left_out is None else left_out)
    for row in rows:
        yield from reader.read(row)


@dataclass(slots=True)
class _Reader:
    """What is kept from one row to the next.

    The shape is chosen anew for each file, whose rows have one mapping of where they are.
    """

    suite: Suite
    left_out: "Counter[str]"
    shape: Columns | None = None
    where: Mapping[str, str] | None = None
    counts: "Counter[str]" = field(default_factory=Counter)

    def read(self, row: Row) -> Iterator[Read]:
        if self.shape is None or row.where is not self.where:
            self.shape, self.where = _find_shape(self.suite, row), row.where
        shape = self.shape
        if shape.skip and is_skipped(shape, row):
            self.left_out["skipped"] += 1
            return
        subset = _subset(self.suite, shape, row)
        _check_section(self.suite, subset, row)
        self.counts[subset] += 1
        found = 0
        for comparison in _comparisons(shape, row, subset):
            found += 1
            _check_comparison(self.suite, comparison, row)
            try:
                line = comparison.canonical()
            except UnicodeEncodeError:
                finding = "text with half a surrogate pair; mend the text"
                raise DataError(f"{row.place}: {finding}") from None
            cluster = self._cluster(shape, row, subset, line)
            yield Read(comparison, line, _is_even(shape, row), cluster)
        if not found and shape.pairs is None:
            self.left_out["even" if shape.preferred is not None else "one_sided"] += 1

    def _cluster(self, shape: Columns, row: Row, subset: str, line: bytes) -> bytes:
        if subset in shape.parallel:
            # Rows of parallel subsets are one sample where their numbers are the same.
            words = ["parallel", str(self.counts[subset])]
        elif shape.cluster:
            words = [label_of(row, name) for name in shape.cluster]
        else:
            return prompt_digest(line)
        return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).digest()


def _check_section(suite: Suite, subset: str, row: Row) -> None:
    if not suite.is_named(subset):
        raise DataError(
            f'{row.place}: subset "{subset}" is in no section of the suite "{suite.name}";'
            f" {did_you_mean(subset, suite.named)}"
        )


def _find_shape(suite: Suite, row: Row) -> Columns:
    """Return the first ``[columns]`` whose columns the first row has."""
    for shape in suite.columns:
        if all(has_field(row, name) for name in shape.needed):
            if shape.chosen is not None and shape.rejected is not None:
                check_preference(shape.chosen, shape.rejected, row.fields, row.place)
            return shape
    missing = [name for name in suite.columns[0].needed if not has_field(row, name)]
    # Where a file is no table at all, a "column" can be a page of text.
    names = [textwrap.shorten(str(name), 40, placeholder=" …") for name in row.fields][:20]
    raise DataError(
        f'{row.place}: no column "{missing[0]}"; it has {", ".join(names)};'
        " rename the columns, write a suite file with other [columns], or give the file the"
        " suffix of its format"
    )


def _subset(suite: Suite, shape: Columns, row: Row) -> str:
    for name in shape.needed:
        if value_of(row, name) is None and name not in shape.skip:
            finding = "is null" if name in row.fields else "is missing"
            raise DataError(f'{row.place}: column "{name}" {finding}; every row needs it')
    section = () if shape.section is None else (shape.section,)
    if shape.subset is not None:
        names = (*section, *shape.subset)
        return "/".join(
            label_of(row, name) if isinstance(name, str) else place_of(row, name.origin)
            for name in names
        )
    rest = row.part or suite.source.split or suite.name
    return "/".join([*(label_of(row, name) for name in section), rest])


def _comparisons(shape: Columns, row: Row, subset: str) -> Iterator[Comparison]:
    """Yield the comparisons of a row, in the order of its pairs."""
    identity = _identity(shape, row, subset)
    if shape.steps is not None:
        yield _of_steps(shape, row, subset, identity)
        return
    for number, (prompt, chosen, rejected) in enumerate(_sides(shape, row)):
        turns = (*chosen.turns, *rejected.turns)
        yield Comparison(
            id=identity if shape.pairs is None else f"{identity}/{number}",
            subset=subset,
            prompt=prompt,
            chosen=chosen.texts,
            rejected=rejected.texts,
            turns=turns if any(turns) else (),
        )


def _of_steps(shape: Columns, row: Row, subset: str, identity: str) -> Comparison:
    prompt = _own_prompt(shape, row)
    _check_prompt(row, prompt)
    steps, faulty = read_steps(shape, row)
    return Comparison(
        id=identity,
        subset=subset,
        prompt=prompt,
        chosen=("\n\n".join(steps),),
        rejected=(),
        steps=steps,
        faulty=faulty,
    )


def _identity(shape: Columns, row: Row, subset: str) -> str:
    """Return the id, which always begins with the subset, so that a record needs no other key."""
    identity = "/".join(label_of(row, name) for name in shape.id) or str(row.number)
    prefix = f"{subset}/"
    return identity if identity.startswith(prefix) else prefix + identity


def _is_even(shape: Columns, row: Row) -> bool | None:
    """Return whether both sides have the same score; None where a row has not two of them."""
    if shape.scores is None:
        return None
    chosen, rejected = (number_of(row, name) for name in shape.scores)
    return None if chosen is None or rejected is None else chosen == rejected


def _own_prompt(shape: Columns, row: Row) -> tuple[Message, ...]:
    """Return the prompt that stands in a column, after the system prompt that stands in another."""
    assert shape.prompt is not None, "a shape whose rows have a prompt"
    prompt = _prompt(row, shape.prompt)
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


def _sides(shape: Columns, row: Row) -> Iterator[_Sides]:
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
    prompt = _own_prompt(shape, row)
    _check_prompt(row, prompt)
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
        prompt = _own_prompt(shape, row)
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
    prompt = _prompt(row, name)
    _check_prompt(row, prompt)
    return prompt


def _prompt(row: Row, name: str) -> tuple[Message, ...]:
    value = value_of(row, name)
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
    finding = suite.credit.of(comparison.subset).misfit(
        len(comparison.chosen), len(comparison.rejected)
    )
    if finding:
        raise DataError(
            f"{row.place}: {len(comparison.chosen)} chosen and {len(comparison.rejected)} rejected"
            f" responses; {finding}"
        )
