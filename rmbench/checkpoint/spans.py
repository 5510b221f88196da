"""Where the answer stands among a conversation's tokens: found by offsets, never by counting.

The conversation is written once, by the template, and tokenised once. The answer begins with the
first token that reaches beyond the prompt as the template writes it with its generation prompt. A
token count of the prompt alone is no boundary: its last newline can melt into the answer's first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.checkpoint.chat import Template, Tokenizer
from rmbench.checkpoint.writing import render_all, render_prompts
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation

__all__ = ["Span", "SpanEncoder"]

Ids = npt.NDArray[np.int32]


class Span(NamedTuple):
    """Token ids of a conversation, and where its answer stands among them.

    ``first`` is the place of the answer's first token, 1 or more; ``places`` those of the tokens
    that hold the characters asked about.
    """

    ids: Ids
    first: int
    places: tuple[int, ...] = ()


class _Coded(NamedTuple):
    """A prompt, the whole text, its token ids, and where each token begins and ends in it."""

    head: str
    text: str
    ids: Sequence[int]
    offsets: Sequence[tuple[int, int]]


class SpanEncoder:
    """Encodes conversations with their answers' places.

    Args:
        tokenizer: the model's; it must tell offsets.
        template: how conversations become text.
        max_length: the most tokens of a conversation; None for no limit.
        on_overflow: ``error``, ``truncate-left`` (the last tokens are kept) or ``drop``.

    Attributes:
        overflowed: conversations over the limit so far; ``longest`` of all, in tokens.
        answer_tokens: of all answers that were not dropped.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: Template, *, max_length: int | None, on_overflow: str
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ScorerError(
                "its tokenizer does not tell where in a text a token stands; save it again as a"
                " fast one (tokenizer.json)"
            )
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.on_overflow = on_overflow
        self.overflowed = self.longest = self.answer_tokens = 0

    def encode(
        self,
        conversations: Sequence[Conversation],
        ends: Sequence[Sequence[int]] | None = None,
    ) -> list[Span | None]:
        """Return the spans of conversations; None for a dropped one.

        Args:
            conversations: what to encode.
            ends: for each, ends of parts of its response, in characters from its beginning; the
                token that holds a part's last character is the part's place.

        Raises:
            ScorerError: a conversation is too long, has no answer, or the template does not write
                the prompt as the beginning of the whole.
        """
        texts = render_all(conversations, self.template, self.tokenizer)
        heads = render_prompts(conversations, self.template, self.tokenizer)
        coded = self.tokenizer(
            texts,
            add_special_tokens=self.template.text is None,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        parts = zip(heads, texts, coded["input_ids"], coded["offset_mapping"], strict=True)
        asked = ends if ends is not None else [()] * len(texts)
        return [
            self._fit(item, self._span(item, _Coded(*own), sought))
            for item, own, sought in zip(conversations, parts, asked, strict=True)
        ]

    def _span(self, conversation: Conversation, coded: "_Coded", ends: Sequence[int]) -> Span:
        head, text, ids, offsets = coded
        # Some templates write less behind a prompt that awaits an answer than before a given one.
        boundary = _shared(head, text)
        asked, answered = conversation.prompt[-1], conversation.answer[0]
        is_prompt_first = asked.content.strip() in text[:boundary]
        if not is_prompt_first or answered.content.strip() not in text[boundary:]:
            raise ScorerError(
                f"{conversation.name}: {self.template.title} writes the prompt otherwise when the"
                " answer follows; give another with --template FILE"
            )
        first = next((i for i, (_, end) in enumerate(offsets) if end > boundary), len(ids))
        begin, stop = self._stripped(ids)
        lead = [] if self.template.bos is None else [self.template.bos]
        tail = [] if self.template.eos is None else [self.template.eos]
        kept = np.array([*lead, *ids[begin:stop], *tail], dtype=np.int32)
        first = first - begin + len(lead)
        if first >= kept.size:
            raise ScorerError(f"{conversation.name}: its answer has no tokens; drop the row")
        begin_of_answer = text.find(conversation.response, boundary)
        if ends and begin_of_answer < 0:
            raise ScorerError(
                f"{conversation.name}: {self.template.title} changes the response, so that its"
                " steps cannot be found; give another with --template FILE"
            )
        last = [begin_of_answer + end - 1 for end in ends]
        found = [_holding(offsets, character) - begin + len(lead) for character in last]
        return Span(kept, max(first, 1), tuple(found))

    def _stripped(self, ids: Sequence[int]) -> tuple[int, int]:
        """Return what is left of token ids without the BOS and EOS that are not wanted."""
        begin, stop = 0, len(ids)
        while begin < stop and ids[begin] == self.template.strip_bos:
            begin += 1
        while stop > begin and ids[stop - 1] == self.template.strip_eos:
            stop -= 1
        return begin, stop

    def _fit(self, conversation: Conversation, span: Span) -> Span | None:
        size, limit = int(span.ids.size), self.max_length
        self.longest = max(self.longest, size)
        if limit is not None and size > limit:
            self.overflowed += 1
            if self.on_overflow == "drop":
                return None
            if self.on_overflow == "error":
                raise ScorerError(
                    f"{conversation.name}: {size} tokens, and the limit is {limit}; pass"
                    " --on-overflow truncate-left or drop"
                )
            cut = size - limit
            places = tuple(place - cut for place in span.places)
            span = Span(span.ids[-limit:], max(span.first - cut, 1), places)
        self.answer_tokens += int(span.ids.size) - span.first
        return span


def _holding(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Return the place of the token that holds a character."""
    return next(i for i, (begin, end) in enumerate(offsets) if begin <= character < end)


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
