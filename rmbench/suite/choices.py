"""Prompts with candidates of which none is known to be the better: what is to be ranked."""

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rmbench.errors import DataError
from rmbench.suite.catalogue import suite_from
from rmbench.suite.comparison import Comparison, Message
from rmbench.suite.feed import Contents, Feed
from rmbench.suite.fields import label_of
from rmbench.suite.messages import read_messages
from rmbench.suite.row import Row
from rmbench.suite.rows import open_rows
from rmbench.suite.sides import read_prompt

__all__ = ["Choices", "open_choices"]

_PROMPTS: Final = ("prompt", "question", "instruction", "query", "messages", "input")
_RESPONSES: Final = ("responses", "candidates", "completions", "outputs", "generations", "samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(Feed):
    """Prompts and their candidates, in memory; each stands as a comparison without a loser.

    Attributes:
        held: one for each prompt; the candidates are its ``chosen``.
    """

    held: tuple[Comparison, ...]

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the prompts in the order of their rows."""
        return iter(self.held)


def open_choices(place: str, *, prompt: str | None = None, responses: str | None = None) -> Choices:
    """Return prompts and their candidates from rows.

    Args:
        place: a file of rows (JSON lines, JSON, CSV, parquet), or a folder of them.
        prompt: the column of the prompt, a text or messages; None for the usual names.
        responses: the column of the candidates, a list of texts or of lists of messages; likewise.

    Raises:
        DataError: a row lacks one of them, has fewer than two candidates, or an id appears twice.
    """
    path = Path(place)
    if not path.exists():
        raise DataError(f"{place}: no such file or folder of rows; check the path")
    content = {
        "name": "candidates",
        "title": path.name,
        "source": {"path": path.name},
        "columns": {"chosen": "chosen", "rejected": "rejected"},
    }
    suite = suite_from(content, path.absolute())
    rows = open_rows(suite, data=place)
    held: dict[str, Comparison] = {}
    names: tuple[str, str] | None = None
    for number, row in enumerate(rows):
        names = names or (_column(row, prompt, _PROMPTS), _column(row, responses, _RESPONSES))
        item = _read(row, number, names)
        if item.id in held:
            raise DataError(f'{row.place}: id "{item.id}" is in an earlier row too; rename one')
        held[item.id] = item
    if not held:
        raise DataError(f"{place}: no rows; give a file that has some")
    items = tuple(held.values())
    return Choices(suite=suite, rows=rows, contents=_contents(items), held=items)


def _column(row: Row, given: str | None, usual: tuple[str, ...]) -> str:
    """Return the column that was named, or the one of the usual names that the row has."""
    found = [name for name in usual if name in row.fields] if given is None else [given]
    if found and found[0] in row.fields:
        return found[0]
    option = "--prompt" if usual is _PROMPTS else "--responses"
    wanted = f'"{given}"' if given else " or ".join(f'"{name}"' for name in usual[:3])
    listed = ", ".join(list(map(str, row.fields))[:20])
    raise DataError(
        f"{row.place}: no column {wanted}; it has {listed}: name it with {option} COLUMN"
    )


def _read(row: Row, number: int, names: tuple[str, str]) -> Comparison:
    identity = label_of(row, "id") if row.fields.get("id") is not None else str(number + 1)
    place = f'{row.place}: column "{names[1]}"'
    value = row.fields.get(names[1])
    if not isinstance(value, list) or len(value) < 2:
        raise DataError(f"{place} must be a list of two or more candidates")
    read = [_candidate(item, place) for item in value]
    turns = tuple(own for _, own in read)
    return Comparison(
        id=identity,
        subset="",
        prompt=read_prompt(row, names[0]),
        chosen=tuple(text for text, _ in read),
        rejected=(),
        turns=turns if any(turns) else (),
    )


def _candidate(value: Any, place: str) -> tuple[str, tuple[Message, ...]]:
    """Return a candidate as a text, and its messages where they say more than that."""
    if isinstance(value, str):
        return value, ()
    messages = read_messages(value, place) if isinstance(value, list | Mapping) else None
    if not messages or any(message.role == "user" for message in messages):
        raise DataError(f"{place}: a candidate must be a text, or messages of the assistant")
    is_plain = len(messages) == 1 and not messages[0].rest
    return "\n\n".join(item.text for item in messages), () if is_plain else messages


def _contents(items: tuple[Comparison, ...]) -> Contents:
    digest = hashlib.sha256()
    for item in items:
        try:
            digest.update(item.canonical())
        except UnicodeEncodeError:
            raise DataError(f'"{item.id}": text with half a surrogate pair; fix the text') from None
    return Contents(
        ids=[item.id for item in items],
        subsets=[""] * len(items),
        sides=[(len(item.chosen), 0) for item in items],
        differences=array("i", [0] * len(items)),
        sha256=digest.hexdigest(),
        audit={},
        clusters=array("q", range(len(items))),
    )
