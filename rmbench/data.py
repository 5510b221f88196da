"""Rows → comparisons: every row is read and checked before anything is scored."""

import hashlib
import re
import textwrap
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from rmbench.comparison import Comparison, Message, fingerprint
from rmbench.errors import DataError, SuiteError, did_you_mean
from rmbench.rows import Row, Rows, open_rows
from rmbench.suite import Columns, Suite, Transcript
from rmbench.transcripts import split_transcripts

__all__ = ["Contents", "Feed", "open_feed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a suite holds, text aside: one entry per comparison, in the suite's order.

    Attributes:
        ids: unique, each beginning with its subset and ``/``.
        subsets: the subset of each comparison.
        sides: number of chosen and of rejected responses of each comparison.
        differences: chosen minus rejected length of each, see ``Comparison.length_difference``.
        sha256: of the canonical comparisons of the whole suite, in hexadecimal.
        audit: comparisons counted as ``identical_responses``, ``duplicates``, ``empty``, and, where
            the suite names the columns of scores, ``equal_scores``: None if no row has them.
    """

    ids: list[str]
    subsets: list[str]
    sides: list[tuple[int, int]]
    differences: "array[int]"
    sha256: str
    audit: Mapping[str, int | None]

    def only(self, indices: list[int]) -> "Contents":
        """Return the entries at ``indices``; ``sha256`` stays the whole suite's."""
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            subsets=[self.subsets[i] for i in indices],
            sides=[self.sides[i] for i in indices],
            differences=array("i", [self.differences[i] for i in indices]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A suite's checked comparisons; iterating reads them anew, so that none stays in memory.

    ``indices`` is None for the whole suite, else the rows of a partial run, ascending.
    """

    suite: Suite
    rows: Rows
    contents: Contents
    indices: list[int] | None = None

    @property
    def num_conversations(self) -> int:
        """How many rewards a scorer owes."""
        return sum(chosen + rejected for chosen, rejected in self.contents.sides)

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the comparisons in the suite's order.

        Raises:
            DataError: the data changed since it was checked; known once all of it is read.
        """
        digest = hashlib.sha256()
        wanted = None if self.indices is None else set(self.indices)
        for number, read in enumerate(_comparisons(self.suite, self.rows)):
            digest.update(read.line)
            if wanted is None or number in wanted:
                yield read.comparison
        if digest.hexdigest() != self.contents.sha256:
            raise DataError(f"{self.rows.origin}: the data changed while it was read; run again")


def open_feed(suite: Suite, *, data: str | None = None, limit: int | None = None) -> Feed:
    """Return a suite's comparisons, all of them read and checked once.

    Args:
        suite: what to read and what must hold.
        data: a local file or folder to read instead of the suite's source.
        limit: only so many comparisons, spread evenly over the suite; None means all.

    Raises:
        DataError: a row is wrong; the message names file and row.
        SuiteError: the data is not what the suite says, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise SuiteError(f'suite "{suite.name}": limit = {limit}; it must be 1 or more')
    rows = open_rows(suite, data=data)
    contents = _scan(suite, rows)
    _check_contents(suite, contents, rows.origin)
    total = len(contents.ids)
    if limit is None or limit >= total:
        return Feed(suite=suite, rows=rows, contents=contents)
    indices = [i * total // limit for i in range(limit)]
    part = replace(contents.only(indices), audit=_count(suite, rows, set(indices)))
    return Feed(suite=suite, rows=rows, contents=part, indices=indices)


def _count(suite: Suite, rows: Rows, wanted: set[int]) -> dict[str, int | None]:
    """Return the audit of a part of a suite."""
    tally = _Tally()
    seen: set[bytes] = set()
    for number, read in enumerate(_comparisons(suite, rows)):
        if number in wanted:
            tally.add(read)
            seen.add(fingerprint(read.line))
    return tally.audit(suite, duplicates=len(wanted) - len(seen))


class _Read(NamedTuple):
    """A row as it was read.

    ``line`` is the comparison's canonical form. ``is_even`` says whether the annotators gave both
    sides the same score; None where the row has no two scores.
    """

    comparison: Comparison
    line: bytes
    is_even: bool | None


@dataclass(slots=True)
class _Tally:
    """What could mislead about the data, counted comparison by comparison."""

    identical: int = 0
    empty: int = 0
    scored: int = 0
    even: int = 0

    def add(self, read: _Read) -> None:
        self.identical += not set(read.comparison.chosen).isdisjoint(read.comparison.rejected)
        self.empty += _has_empty_text(read.comparison)
        self.scored += read.is_even is not None
        self.even += bool(read.is_even)

    def audit(self, suite: Suite, *, duplicates: int) -> dict[str, int | None]:
        counts: dict[str, int | None] = {"identical_responses": self.identical}
        counts |= {"duplicates": duplicates, "empty": self.empty}
        if any(shape.scores for shape in suite.columns):
            counts["equal_scores"] = self.even if self.scored else None
        return counts


def _scan(suite: Suite, rows: Rows) -> Contents:
    digest = hashlib.sha256()
    tally = _Tally()
    ids: dict[str, None] = {}  # a dict is an ordered set
    fingerprints = bytearray()
    subsets, sides, differences = [], [], array("i")
    # A million comparisons share a few names and shapes: each is kept once.
    names: dict[str, str] = {}
    shapes: dict[tuple[int, int], tuple[int, int]] = {}
    for number, read in enumerate(_comparisons(suite, rows), 1):
        comparison = read.comparison
        if comparison.id in ids:
            raise DataError(_duplicate(rows, comparison.id, number))
        ids[comparison.id] = None
        subsets.append(names.setdefault(comparison.subset, comparison.subset))
        shape = (len(comparison.chosen), len(comparison.rejected))
        sides.append(shapes.setdefault(shape, shape))
        differences.append(comparison.length_difference())
        digest.update(read.line)
        fingerprints += fingerprint(read.line)
        tally.add(read)
    duplicates = len(ids) - len(np.unique(np.frombuffer(fingerprints, dtype="V16")))
    return Contents(
        ids=list(ids),
        subsets=subsets,
        sides=sides,
        differences=differences,
        sha256=digest.hexdigest(),
        audit=tally.audit(suite, duplicates=duplicates),
    )


def _duplicate(rows: Rows, identity: str, number: int) -> str:
    place = next(row.place for i, row in enumerate(rows, 1) if i == number)
    return f'{place}: id "{identity}" stands in an earlier row too; ids must be unique'


def _has_empty_text(comparison: Comparison) -> bool:
    texts = [message.content for message in comparison.prompt]
    return not all(map(str.strip, (*texts, *comparison.chosen, *comparison.rejected)))


# --- the suite against its data ------------------------------------------------------------------


def _check_contents(suite: Suite, contents: Contents, origin: str) -> None:
    source = suite.source
    place = f'suite "{suite.name}" on {origin}'
    found = len(contents.ids)
    if not found:
        raise SuiteError(f"{place}: no comparisons; check the file and the split")
    if source.comparisons is not None and found != source.comparisons:
        raise SuiteError(
            f"{place}: {found} comparisons where [source] says {source.comparisons};"
            " the data has changed, or it is another split or revision"
        )
    if source.sha256 is not None and contents.sha256 != source.sha256:
        raise SuiteError(
            f"{place}: sha256 {contents.sha256} where [source] says {source.sha256};"
            " the texts differ from the suite's, so numbers would not be comparable"
        )
    _check_subsets(suite, set(contents.subsets), place)
    _check_ids(contents, place)


def _check_subsets(suite: Suite, present: set[str], place: str) -> None:
    """Refuse sections without rows and rows without a section: no silent reweighting."""
    named = {subset for section in suite.sections for subset in section.subsets}
    for section in suite.sections:
        for subset in section.subsets:
            if subset not in present:
                raise SuiteError(
                    f'{place}: [sections] {section.name} names "{subset}", which no row has;'
                    f" {did_you_mean(subset, present)}"
                )
    if named and present - named:
        subset = min(present - named)
        raise SuiteError(f'{place}: subset "{subset}" is in no section; add it to one')


def _check_ids(contents: Contents, place: str) -> None:
    """Refuse subsets that nest so that an id could belong to two of them."""
    names = set(contents.subsets)
    for identity, subset in zip(contents.ids, contents.subsets, strict=True):
        rest = identity.removeprefix(f"{subset}/")
        heads = [f"{subset}/{rest[: match.start()]}" for match in re.finditer("/", rest)]
        if not names.isdisjoint(heads):
            raise SuiteError(f'{place}: id "{identity}" fits two subsets; rename one of them')


# --- one row → one comparison --------------------------------------------------------------------


def _comparisons(suite: Suite, rows: Rows) -> Iterator[_Read]:
    """Yield each row's comparison, its canonical form, and what its scores say."""
    shape: Columns | None = None
    for row in rows:
        shape = shape or _find_shape(suite, row)
        comparison = _comparison(suite, shape, row)
        try:
            line = comparison.canonical()
        except UnicodeEncodeError:
            place = row.place
            raise DataError(f"{place}: text with half a surrogate pair; mend the text") from None
        yield _Read(comparison, line, _is_even(shape, row))


def _find_shape(suite: Suite, row: Row) -> Columns:
    """Return the first ``[columns]`` whose columns the first row has."""
    for shape in suite.columns:
        if all(name in row.fields for name in shape.needed):
            return shape
    missing = [name for name in suite.columns[0].needed if name not in row.fields]
    # Where a file is no table at all, a "column" can be a page of text.
    names = [textwrap.shorten(str(name), 40, placeholder=" …") for name in row.fields][:20]
    raise DataError(
        f'{row.place}: no column "{missing[0]}"; it has {", ".join(names)};'
        " rename the columns, write a suite file with other [columns], or give the file the"
        " suffix of its format"
    )


def _comparison(suite: Suite, shape: Columns, row: Row) -> Comparison:
    for name in shape.needed:
        if row.fields.get(name) is None:
            finding = "is null" if name in row.fields else "is missing"
            raise DataError(f'{row.place}: column "{name}" {finding}; every row needs it')
    prompt, chosen, rejected = _sides(shape, row)
    subset = _label(row, shape.subset) if shape.subset else row.part or suite.source.split
    subset = subset or suite.name
    comparison = Comparison(
        id=_identity(shape, row, subset),
        subset=subset,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
    )
    _check_comparison(suite, comparison, row)
    return comparison


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


def _sides(
    shape: Columns, row: Row
) -> tuple[tuple[Message, ...], tuple[str, ...], tuple[str, ...]]:
    """Return prompt, chosen and rejected responses of a row, whatever its shape."""
    if shape.transcript is not None:
        return _from_transcripts(shape, row, shape.transcript)
    chosen, before_chosen = _responses(row, shape.chosen)
    rejected, before_rejected = _responses(row, shape.rejected)
    if shape.prompt is not None:
        prompt = _prompt(row, shape.prompt)
    elif before_chosen is not None and before_rejected is not None:
        prompt = before_chosen
    else:
        name = shape.chosen if before_chosen is None else shape.rejected
        raise DataError(
            f'{row.place}: column "{name}" must hold messages, since [columns] names'
            " no prompt; name the prompt's column"
        )
    # Beside a prompt of its own, a side may hold the response alone.
    shared = (prompt,) if shape.prompt is None else (prompt, (), None)
    for before, name in ((before_chosen, shape.chosen), (before_rejected, shape.rejected)):
        if before not in shared:
            raise DataError(
                f'{row.place}: the messages before the last of "{name}" are not the prompt;'
                " both sides must share it"
            )
    _check_prompt(row, prompt)
    return prompt, chosen, rejected


def _from_transcripts(
    shape: Columns, row: Row, marks: Transcript
) -> tuple[tuple[Message, ...], tuple[str, ...], tuple[str, ...]]:
    chosen, rejected = row.fields[shape.chosen], row.fields[shape.rejected]
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise DataError(f"{row.place}: a transcript must be a text; check [columns]")
    split = split_transcripts(chosen, rejected, marks)
    if split is None:
        raise DataError(f"{row.place}: the two transcripts share no prompt; remove the row")
    prompt, *answers = split
    return prompt, (answers[0],), (answers[1],)


def _responses(row: Row, name: str) -> tuple[tuple[str, ...], tuple[Message, ...] | None]:
    """Return the responses in a column, and the messages before it if it holds messages."""
    value = row.fields[name]
    if isinstance(value, str):
        return (value,), None
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return tuple(value), None
        if all(isinstance(item, Mapping) for item in value):
            *before, last = _messages(row, name)
            if last.role != "assistant":
                raise DataError(
                    f'{row.place}: the last message of "{name}" is from "{last.role}";'
                    " the response must be the assistant's"
                )
            return (last.content,), tuple(before)
    raise DataError(
        f'{row.place}: column "{name}" is {_kind(value)};'
        " it must be a text, a list of texts, or a list of messages"
    )


def _kind(value: Any) -> str:
    if isinstance(value, list):
        kinds = sorted({type(item).__name__ for item in value})
        return f"a list of {' and '.join(kinds)}" if kinds else "an empty list"
    return type(value).__name__


def _messages(row: Row, name: str) -> tuple[Message, ...]:
    messages = []
    for item in row.fields[name]:
        role, content = item.get("role"), item.get("content")
        if not isinstance(role, str) or not isinstance(content, str) or not role:
            raise DataError(f'{row.place}: column "{name}": a message needs role and content texts')
        messages.append(Message(role, content))
    return tuple(messages)


def _prompt(row: Row, name: str) -> tuple[Message, ...]:
    value = row.fields[name]
    if isinstance(value, str):
        return (Message("user", value),)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return _messages(row, name)
    raise DataError(
        f'{row.place}: column "{name}" is {_kind(value)}; it must be a text or a list of messages'
    )


def _check_prompt(row: Row, prompt: tuple[Message, ...]) -> None:
    if not prompt:
        raise DataError(f"{row.place}: the prompt has no message; it needs a user turn")
    if prompt[-1].role != "user":
        raise DataError(
            f'{row.place}: the prompt ends with the role "{prompt[-1].role}"; it must end with'
            ' "user"'
        )


def _check_comparison(suite: Suite, comparison: Comparison, row: Row) -> None:
    if suite.source.empty == "error" and _has_empty_text(comparison):
        raise DataError(
            f'{row.place}: empty text in prompt or response; remove the row, or set empty = "keep"'
            " in [source]"
        )
    if suite.credit.rule == "pair" and (len(comparison.chosen), len(comparison.rejected)) != (1, 1):
        raise DataError(
            f"{row.place}: {len(comparison.chosen)} chosen and {len(comparison.rejected)} rejected"
            ' responses; rule "pair" needs one of each, "best-of" takes several'
        )
