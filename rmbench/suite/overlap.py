"""What a suite shares with training data: prompts and responses, the same or nearly so."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from rmbench.errors import DataError
from rmbench.suite.comparison import Comparison, Message
from rmbench.suite.feed import Feed
from rmbench.suite.messages import read_messages
from rmbench.suite.row import Rows
from rmbench.suite.shingles import NEAR, NearTexts, digest_of, shingles_of, words_in

__all__ = ["LEAST_WORDS", "Overlap", "Shared", "find_overlap"]

LEAST_WORDS: Final = 5
"""Of a response that says something; a shorter one ("Yes.") is shared by chance."""
Match = Literal["exact", "near", ""]
_TURN: Final = re.compile(r"\n\n(Human|Assistant):")


class Shared(NamedTuple):
    """What of a comparison stands in the training data, and where first.

    ``prompt`` and ``response`` say how near the nearest text is, the latter of all responses; they
    are empty where there is none.
    """

    prompt: Match
    response: Match
    prompt_place: str = ""
    response_place: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether the training data has the prompt or a response."""
        return bool(self.prompt or self.response)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A suite beside training data.

    Attributes:
        train: where the training data came from.
        rows: how many rows it has.
        unread: cells of it that hold messages of a form that is not known.
        ids: of the suite's comparisons, in its order.
        subsets: of each.
        shared: of each.
    """

    train: str
    rows: int
    unread: int
    ids: Sequence[str]
    subsets: Sequence[str]
    shared: Sequence[Shared]

    @property
    def shared_ids(self) -> list[str]:
        """The comparisons of which the training data has the prompt or a response."""
        return [i for i, item in zip(self.ids, self.shared, strict=True) if item.is_shared]


def find_overlap(feed: Feed, rows: Rows, *, near: float | None = NEAR) -> Overlap:
    """Return what a suite's comparisons share with the rows of training data.

    The suite is held in memory, the training data is read once and never held. Every text of a row
    counts, whatever its column is called: a text by itself, each message of a conversation, and the
    whole of a conversation before each answer. System messages do not count.

    Args:
        feed: the comparisons.
        rows: the training data.
        near: from which share of common runs of words on two texts are near, in (0, 1]; None looks
            for equal words alone.

    Raises:
        DataError: a file is broken, or the library for near texts is not installed.
    """
    index = _Index(None if near is None else NearTexts(near))
    members = [index.members(comparison) for comparison in feed]
    count = unread = 0
    for row in rows:
        count += 1
        texts = _Texts(row.place)
        for text in texts.of(row.fields):
            index.look_up(text, row.place)
        unread += texts.unread
    if not count:
        raise DataError(f"{rows.origin}: no rows; give the training data's")
    return Overlap(
        train=rows.origin,
        rows=count,
        unread=unread,
        ids=feed.contents.ids,
        subsets=feed.contents.subsets,
        shared=[_shared(index, *numbers) for numbers in members],
    )


@dataclass(slots=True)
class _Index:
    """The suite's texts by number, and what was found of each."""

    near: NearTexts | None
    numbers: dict[bytes, int] = field(default_factory=dict)
    found: dict[int, tuple[Match, str]] = field(default_factory=dict)

    def members(self, comparison: Comparison) -> tuple[list[int], list[int]]:
        """Return the numbers of a comparison's prompt and of its responses that say something."""
        prompt = _joined(comparison.prompt)
        said = [text for text in comparison.responses if len(words_in(text)) >= LEAST_WORDS]
        return [self._number(prompt)], [self._number(text) for text in said]

    def _number(self, text: str) -> int:
        words = words_in(text)
        key = digest_of(words)
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers)
            if self.near is not None:
                self.near.add(self.numbers[key], shingles_of(words))
        return self.numbers[key]

    def look_up(self, text: str, place: str) -> None:
        """Note which texts of the suite a text of the training data is equal or near to."""
        words = words_in(text)
        if not words:
            return
        number = self.numbers.get(digest_of(words))
        if number is not None and self.found.get(number, ("", ""))[0] != "exact":
            self.found[number] = ("exact", place)
        if self.near is not None:
            for close in self.near.find(shingles_of(words)):
                self.found.setdefault(close, ("near", place))


def _shared(index: _Index, prompts: Sequence[int], responses: Sequence[int]) -> Shared:
    prompt, prompt_place = _nearest(index, prompts)
    response, response_place = _nearest(index, responses)
    return Shared(prompt, response, prompt_place, response_place)


def _nearest(index: _Index, numbers: Sequence[int]) -> tuple[Match, str]:
    found = [index.found[number] for number in numbers if number in index.found]
    return min(found, key=lambda item: item[0] != "exact") if found else ("", "")


def _joined(messages: Sequence[Message]) -> str:
    return "\n".join(message.text for message in messages if message.role != "system")


@dataclass(slots=True)
class _Texts:
    """Takes the texts out of a row, and counts the cells that cannot be read."""

    place: str
    unread: int = 0

    def of(self, value: Any) -> Iterator[str]:
        """Yield every text in a value that may be told by itself."""
        if isinstance(value, str) and _TURN.match(value):
            yield from _said(_turns(value))
        elif (messages := self._messages(value)) is not None:
            yield from _said(messages)
        elif isinstance(value, str):
            yield value
        elif isinstance(value, Mapping | list):
            for item in value.values() if isinstance(value, Mapping) else value:
                yield from self.of(item)

    def _messages(self, value: Any) -> Sequence[Message] | None:
        """Return the messages that a value holds; none where they are of no known form."""
        if not isinstance(value, str | list):
            return None
        try:
            return read_messages(value, self.place)
        except DataError:
            self.unread += 1
            return ()


def _turns(transcript: str) -> list[Message]:
    """Return the turns of a transcript as HH-RLHF has them."""
    _, *parts = _TURN.split(transcript)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        Message(roles[speaker], said) for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def _said(messages: Sequence[Message]) -> Iterator[str]:
    """Yield each message, and all that is said before each answer and at the end."""
    for number, message in enumerate(messages):
        if message.role == "system":
            continue
        yield message.text
        is_prompt = message.role != "assistant" and number > 0
        if is_prompt:
            yield _joined(messages[: number + 1])
