"""Message, conversation, candidates, comparison: what a suite is made of."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

__all__ = [
    "Candidates",
    "Comparison",
    "Conversation",
    "Key",
    "Message",
    "Side",
    "fingerprint",
]

Side = Literal["chosen", "rejected"]

# Made once: json.dumps would make one for every comparison.
_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks (``user``, ``assistant``, ``system`` ...) and what is said."""

    role: str
    content: str


class Key(NamedTuple):
    """Which response of a suite a question is about: the ``number``-th of a comparison's side."""

    comparison: str
    side: Side
    number: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and one response: what a pointwise scorer is asked.

    ``name`` says for messages where it comes from (``hep-rust/12, chosen``), and ``key`` which
    response of the suite it is, None for a text of no suite. Neither is part of what is scored:
    conversations that differ in them alone are equal.
    """

    prompt: tuple[Message, ...]
    response: str
    name: str = field(default="", compare=False)
    key: Key | None = field(default=None, compare=False)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as chat templates take them, the response last, as the assistant's."""
        turns = [{"role": message.role, "content": message.content} for message in self.prompt]
        return [*turns, {"role": "assistant", "content": self.response}]


@dataclass(frozen=True, slots=True)
class Candidates:
    """A prompt and two or more responses side by side: what a listwise scorer is asked.

    The order is the one in which the scorer is to see them; ``keys`` says which response of the
    suite each one is, and is no part of what is asked.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    name: str = field(default="", compare=False)
    keys: tuple[Key, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One prompt with the responses people preferred and the others.

    ``id`` is unique in its suite and begins with ``subset/``. ``chosen`` and ``rejected``
    hold at least one response each.
    """

    id: str
    subset: str
    prompt: tuple[Message, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]

    def length_difference(self) -> int:
        """Return the longest chosen response minus the longest rejected one, in characters.

        It is the margin that the ``length`` baseline has.
        """
        return max(map(len, self.chosen)) - max(map(len, self.rejected))

    def conversations(self) -> Iterator[Conversation]:
        """Yield what is to be scored: the chosen sides first, then the rejected ones."""
        for response, key in zip(self.responses, self.keys(), strict=True):
            yield Conversation(self.prompt, response, f"{self.id}, {key.side}", key)

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
        )

    def canonical(self) -> bytes:
        """Return the bytes that stand for this comparison in a suite's ``sha256``.

        One line of JSON in UTF-8: keys id, subset, prompt, chosen, rejected in this order, no
        spaces, the prompt as ``[[role, content], ...]``, a line feed at the end.
        """
        prompt = [[message.role, message.content] for message in self.prompt]
        fields = {
            "id": self.id,
            "subset": self.subset,
            "prompt": prompt,
            "chosen": self.chosen,
            "rejected": self.rejected,
        }
        return _CANONICAL.encode(fields).encode() + b"\n"


def fingerprint(canonical: bytes) -> bytes:
    """Return 16 bytes that two comparisons share when their texts are the same.

    Args:
        canonical: the comparison's, see ``Comparison.canonical``.
    """
    # Inside a JSON text a quote is escaped, so the first of these is the key and no part of an id.
    texts = canonical[canonical.index(b',"prompt":') :]
    return hashlib.sha256(texts).digest()[:16]
