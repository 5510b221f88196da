"""Message, conversation, candidates, comparison: what a suite is made of."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "Candidates",
    "Comparison",
    "Conversation",
    "Key",
    "Message",
    "Side",
    "fingerprint",
    "prompt_digest",
]

Side = Literal["chosen", "rejected"]

SPOKEN: Final = ("reasoning_content", "reasoning", "thinking", "tool_calls", "function_call")
"""What a message may say besides its content: thoughts, and calls of tools."""

# Made once: json.dumps would make one for every comparison.
_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks (``user``, ``assistant``, ``system``, ``tool`` ...) and what is said.

    ``rest`` is what else the message holds, as it stands in the data: ``tool_calls``, ``name``,
    ``reasoning_content`` ..., as the text of a JSON object; empty for a message of role and content
    alone. A content of null, which a message that only calls tools has, stands there too.
    """

    role: str
    content: str
    rest: str = field(default="", repr=False)  # the rule `random` draws from what repr shows

    @property
    def fields(self) -> dict[str, Any]:
        """The message as chat templates take it."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        return plain | json.loads(self.rest) if self.rest else plain

    @property
    def text(self) -> str:
        """Everything that is said, as one text: tool calls and their like follow as JSON."""
        if not self.rest:
            return self.content
        rest = json.loads(self.rest)
        more = [_CANONICAL.encode({key: rest[key]}) for key in SPOKEN if key in rest]
        return "\n".join([self.content, *more] if self.content else more)

    @property
    def parts(self) -> tuple[str, ...]:
        """The texts that tell this message from any other: role, content and, if any, ``rest``."""
        return (self.role, self.content, self.rest) if self.rest else (self.role, self.content)


class Key(NamedTuple):
    """Which response of a suite a question is about: the ``number``-th of a comparison's side."""

    comparison: str
    side: Side
    number: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and one response: what a pointwise scorer is asked.

    ``response`` is all that the response says, as a text. ``turns`` are its messages where they are
    more than one plain text of the assistant's; else empty. ``name`` says for messages where it
    comes from (``hep-rust/12, chosen``), and ``key`` which response of the suite it is, None for a
    text of no suite. Neither is part of what is scored: conversations that differ in them alone are
    equal. ``steps`` are the parts of a response that the suite gives in steps, a blank line between
    two of them; empty where it gives none. ``weighed`` says that the credit of its comparison hangs
    on how far rewards are apart, not on their order alone.
    """

    prompt: tuple[Message, ...]
    response: str
    name: str = field(default="", compare=False)
    key: Key | None = field(default=None, compare=False)
    turns: tuple[Message, ...] = ()
    steps: tuple[str, ...] = field(default=(), compare=False)
    weighed: bool = field(default=False, compare=False)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns as chat templates take them, the response last, as the assistant's."""
        return [message.fields for message in (*self.prompt, *self.answer)]

    @property
    def answer(self) -> tuple[Message, ...]:
        """The response as messages."""
        return self.turns or (Message("assistant", self.response),)

    @property
    def texts(self) -> Iterator[str]:
        """All that is asked, text by text: two conversations with the same texts are equal."""
        for message in self.prompt:
            yield from message.parts
        yield self.response
        for message in self.turns:
            yield from message.parts


@dataclass(frozen=True, slots=True)
class Candidates:
    """A prompt and two or more responses side by side: what a listwise scorer is asked.

    The order is the one in which the scorer is to see them; ``keys`` says which response of the
    suite each one is, and is no part of what is asked. ``turns`` holds the messages of each
    response as in ``Conversation``; it is empty where all are plain texts.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    name: str = field(default="", compare=False)
    keys: tuple[Key, ...] = field(default=(), compare=False)
    turns: tuple[tuple[Message, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One prompt with the responses people preferred and the others.

    ``id`` is unique in its suite and begins with ``subset/``. ``chosen`` and ``rejected``
    hold at least one response each, as texts. ``turns`` holds, for each of ``responses``, its
    messages where they are more than one plain text of the assistant's, else an empty tuple; it is
    empty where all responses are plain texts. Where a solution in steps is judged, ``chosen`` holds
    it alone, ``rejected`` nothing, ``steps`` are its parts, and ``faulty`` the numbers of the wrong
    ones, from 0.
    """

    id: str
    subset: str
    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    turns: tuple[tuple[Message, ...], ...] = ()
    steps: tuple[str, ...] = ()
    faulty: tuple[int, ...] = ()

    def length_difference(self) -> int:
        """Return the longest chosen response minus the longest rejected one, in characters.

        It is the margin that the ``length`` baseline has.
        """
        if not self.rejected:
            return 0
        return max(map(len, self.chosen)) - max(map(len, self.rejected))

    def conversations(self) -> Iterator[Conversation]:
        """Yield what is to be scored: the chosen sides first, then the rejected ones."""
        turns = self.turns or ((),) * len(self.responses)
        for response, key, own in zip(self.responses, self.keys(), turns, strict=True):
            name = f"{self.id}, {key.side}"
            yield Conversation(self.prompt, response, name, key, own, self.steps)

    @property
    def responses(self) -> tuple[str, ...]:
        """All responses: the chosen ones first, then the rejected ones."""
        return self.chosen + self.rejected

    def keys(self) -> Iterator[Key]:
        """Yield the key of each of ``responses``."""
        for number in range(len(self.chosen)):
            yield Key(self.id, "chosen", number)
        for number in range(len(self.rejected)):
            yield Key(self.id, "rejected", number)

    def candidates(self, order: Sequence[int]) -> Candidates:
        """Return a question about some of ``responses``, shown in this order.

        Args:
            order: numbers of ``responses``, two or more, each once.
        """
        keys = tuple(self.keys())
        return Candidates(
            self.prompt,
            tuple(self.responses[i] for i in order),
            self.id,
            tuple(keys[i] for i in order),
            tuple(self.turns[i] for i in order) if self.turns else (),
        )

    def canonical(self) -> bytes:
        """Return the bytes that stand for this comparison in a suite's ``sha256``.

        One line of JSON in UTF-8: keys id, subset, prompt, chosen, rejected in this order, no
        spaces, the prompt as ``[[role, content], ...]``, a line feed at the end. A message that
        holds more has a third entry, its ``rest``; a response that is no plain text is written as
        its messages. Where a solution in steps is judged, the keys steps and faulty follow.
        """
        responses: list[Any] = list(self.responses)
        for number, own in enumerate(self.turns):
            if own:
                responses[number] = [message.parts for message in own]
        fields: dict[str, Any] = {
            "id": self.id,
            "subset": self.subset,
            "prompt": [message.parts for message in self.prompt],
            "chosen": responses[: len(self.chosen)],
            "rejected": responses[len(self.chosen) :],
        }
        if self.steps:
            fields |= {"steps": self.steps, "faulty": self.faulty}
        return _CANONICAL.encode(fields).encode() + b"\n"


def prompt_digest(canonical: bytes) -> bytes:
    """Return 16 bytes that two comparisons share when their prompts are the same.

    Args:
        canonical: the comparison's, see ``Comparison.canonical``.
    """
    start = canonical.index(b',"prompt":')
    end = canonical.index(b',"chosen":', start)
    return hashlib.blake2b(canonical[start:end], digest_size=16).digest()


def fingerprint(canonical: bytes) -> bytes:
    """Return 16 bytes that two comparisons share when their texts are the same.

    Args:
        canonical: the comparison's, see ``Comparison.canonical``.
    """
    # Inside a JSON text a quote is escaped, so the first of these is the key and no part of an id.
    texts = canonical[canonical.index(b',"prompt":') :]
    return hashlib.sha256(texts).digest()[:16]
