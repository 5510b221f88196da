"""Conversation → token ids: the chat template, special tokens, and the limit of length."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from rmbench.checkpoint.chat import Template, Tokenizer, load_template, with_format
from rmbench.checkpoint.enclosure import TextAnswer, lease
from rmbench.checkpoint.writing import Way, render, render_prompt, told
from rmbench.checkpoint.written import LEFT_OUT
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation, Key

__all__ = [
    "Encoded",
    "Encoder",
    "Template",
    "Tokenizer",
    "encode",
    "load_template",
    "render",
    "render_prompt",
    "with_format",
]

_CHUNK: Final = 512
_CHUNK_CHARACTERS: Final = 4_000_000

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of conversations, in their order, and which responses of the suite they are.

    ``sequences`` holds None for a dropped conversation. ``overflowed`` counts the conversations
    over the limit, ``dropped`` those of them that were dropped, ``longest`` is in tokens.
    ``altered`` counts the messages that the template does not write as they are, by role and kind.
    """

    sequences: list[Ids | None]
    keys: list[Key | None]
    longest: int
    overflowed: int
    dropped: int
    altered: Mapping[str, int] = field(default_factory=dict)


def encode(
    conversations: Iterable[Conversation],
    *,
    tokenizer: Tokenizer,
    template: Template,
    max_length: int | None,
    on_overflow: str,
) -> Encoded:
    """Return the token ids of conversations.

    Args:
        conversations: what to encode; rendered and tokenised in chunks.
        tokenizer: the model's.
        template: text from a template carries its special tokens, so none are added to it; without
            a template the tokenizer adds its own.
        max_length: the most tokens a conversation may have; None for no limit.
        on_overflow: ``error``, ``truncate-left`` (the last tokens are kept) or ``drop``.

    Raises:
        ScorerError: a conversation is empty in tokens, or over the limit with ``error``.
    """
    encoder = Encoder(tokenizer, template, max_length=max_length, on_overflow=on_overflow)
    deque(encoder.encode(conversations), maxlen=0)
    return encoder.finish()


class Encoder:
    """Encodes conversations chunk by chunk; arguments as of ``encode``.

    ``sequences`` and ``tokens`` grow with every chunk: the ids so far, and how many there are.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Template,
        *,
        max_length: int | None,
        on_overflow: str,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.on_overflow = on_overflow
        self.tokens = 0
        self.sequences: list[Ids | None] = []
        self._keys: list[Key | None] = []
        self._overflowed = self._longest = 0
        self._worst = ""
        self._altered: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def encode(self, conversations: Iterable[Conversation]) -> Iterator[list[Ids | None]]:
        """Yield the token ids of a few hundred conversations at a time; None for a dropped one.

        Raises:
            ScorerError: a conversation is empty in tokens, or cannot be written by the template.
        """
        way = Way(self.tokenizer, self.template)
        chunks = _chunks(conversations)
        chunk = next(chunks, [])
        with lease() as child:
            while chunk:
                with told(chunk, self.template):
                    answer = way.send(chunk, child)
                following = next(chunks, [])  # read while the child is at work
                with told(chunk, self.template):
                    answer = answer or child.receive()
                yield self._add(chunk, answer)
                chunk = following

    def _add(self, chunk: Sequence[Conversation], answer: TextAnswer) -> list[Ids | None]:
        for number, loss in answer.notes:
            self._altered[loss] += 1
            self._first.setdefault(loss, chunk[number].name)
        names = [conversation.name for conversation in chunk]
        added = [self._fit(*one) for one in zip(names, answer.sequences, strict=True)]
        self.sequences += added
        self._keys += [conversation.key for conversation in chunk]
        self.tokens += sum(ids.size for ids in added if ids is not None)
        return added

    def finish(self) -> Encoded:
        """Return everything that was encoded.

        Raises:
            ScorerError: conversations are over the limit, and ``on_overflow`` is ``error``; or the
                template leaves messages out.
        """
        self._check_left_out()
        if self._overflowed and self.on_overflow == "error":
            raise ScorerError(
                f"{self._overflowed} of {len(self.sequences)} conversations have more"
                f" than {self.max_length} tokens, {self._worst} has {self._longest}; pass"
                " --on-overflow truncate-left or drop"
            )
        return Encoded(
            sequences=self.sequences,
            keys=self._keys,
            longest=self._longest,
            overflowed=self._overflowed,
            dropped=self._overflowed if self.on_overflow == "drop" else 0,
            altered=dict(self._altered),
        )

    def _check_left_out(self) -> None:
        """Refuse a template that drops what was said."""
        lost = {loss: n for loss, n in self._altered.items() if loss.endswith(LEFT_OUT)}
        if lost:
            found = ", ".join(f"{loss} ({n:,} times)" for loss, n in lost.items())
            raise ScorerError(
                f"{self.template.title} leaves out what was said in {len(self.sequences):,}"
                f" conversations: {found}, first in {self._first[next(iter(lost))]}; give a"
                " template that writes all of it with --template FILE"
            )

    def _fit(self, name: str, tokens: Ids) -> Ids | None:
        """Return the ids of one conversation, cut or dropped where it is over the limit."""
        ids = _finish(tokens, self.template)
        if not ids.size:
            raise ScorerError(
                f"{name}: no tokens at all: its texts are empty, or the template writes nothing;"
                " give another with --template FILE"
            )
        if ids.size > self._longest:
            self._longest, self._worst = ids.size, name
        if self.max_length is None or ids.size <= self.max_length:
            return ids
        self._overflowed += 1
        if self.on_overflow == "truncate-left":
            return _keep_right(ids, self.max_length, self.template)
        return None


def _chunks(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Yield conversations in pieces of bounded number and size."""
    chunk: list[Conversation] = []
    size = 0
    for conversation in conversations:
        chunk.append(conversation)
        size += len(conversation.response) + sum(len(m.content) for m in conversation.prompt)
        if len(chunk) == _CHUNK or size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _finish(ids: Ids, template: Template) -> Ids:
    """Return token ids with the BOS and EOS that were asked for."""
    start, stop = 0, ids.size
    while start < stop and ids[start] == template.strip_bos:
        start += 1
    while stop > start and ids[stop - 1] == template.strip_eos:
        stop -= 1
    first = [] if template.bos is None else [template.bos]
    last = [] if template.eos is None else [template.eos]
    whole = np.concatenate([first, ids[start:stop], last]).astype(np.int32)
    behind = np.array(template.append, dtype=np.int32)
    if behind.size and np.array_equal(whole[-behind.size :], behind):
        return whole  # the template has written it
    return np.concatenate([whole, behind])


def _keep_right(ids: Ids, length: int, template: Template) -> Ids:
    """Return the last ``length`` tokens, after the BOS that was asked for always."""
    if template.bos is None or length == 1:
        return ids[-length:]
    return np.concatenate([ids[:1], ids[1 - length :]])
