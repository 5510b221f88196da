"""The questions that a suite puts to a scorer, in their order: a number stands for each.

A pointwise scorer is asked about every response. A listwise scorer is shown all responses of a
comparison at once where it can see that many, else a chosen and a rejected one at a time; and each
of these in both orders, so that it cannot win by the place of a response.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from rmbench.suite.comparison import Candidates, Conversation
from rmbench.suite.feed import Feed

__all__ = ["CandidateQuestions", "Conversations", "Orders"]

Orders = Literal["both", "once"]


@dataclass(frozen=True, slots=True)
class Conversations:
    """A feed's conversations, read again at each iteration: a scorer may go through them twice."""

    feed: Feed

    def __len__(self) -> int:
        return self.feed.num_conversations

    def __iter__(self) -> Iterator[Conversation]:
        """Yield them in the order in which their rewards are recorded."""
        rule = self.feed.suite.credit
        for comparison in self.feed:
            if rule.of(comparison.subset).weighs_distances:
                for conversation in comparison.conversations():
                    yield replace(conversation, weighed=True)
            else:
                yield from comparison.conversations()

    @property
    def name(self) -> str:
        """What tells these questions from all others."""
        return _name(self.feed)


@dataclass(frozen=True, slots=True)
class CandidateQuestions:
    """A feed's comparisons as a listwise scorer is shown them.

    Attributes:
        feed: the comparisons.
        most: how many candidates the scorer can see at once.
        orders: ``both``, or ``once`` for one order, which hangs on the comparison's id alone.
        seed: of the rotation in which more than two candidates are shown, so that the chosen one
            stands in every place alike.
    """

    feed: Feed
    most: int
    orders: Orders = "both"
    seed: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.of_each()))

    def __iter__(self) -> Iterator[Candidates]:
        """Yield the questions on each comparison, one after the other."""
        for comparison, orders in zip(self.feed, self.of_each(), strict=True):
            for order in orders:
                yield comparison.candidates(order)

    def of_each(self) -> Iterator[list[tuple[int, ...]]]:
        """Yield the orders in which the responses of each comparison are shown."""
        contents = self.feed.contents
        for identity, sides in zip(contents.ids, contents.sides, strict=True):
            yield self._orders(identity, *sides)

    def _orders(self, identity: str, num_chosen: int, num_rejected: int) -> list[tuple[int, ...]]:
        total = num_chosen + num_rejected
        turn = self._digest(identity)[0] % total
        every = tuple(range(total))
        shown = [every[turn:] + every[:turn] if total > 2 else every]
        if total > self.most:
            shown = [(i, j) for i in range(num_chosen) for j in range(num_chosen, total)]
            if not num_rejected:  # candidates that are to be ranked: every two of them
                shown = list(combinations(range(total), 2))
        if self.orders == "both":
            return [order for one in shown for order in (one, one[::-1])]
        turned = hashlib.sha256(identity.encode(errors="surrogatepass")).digest()[0] % 2 == 1
        return [one[::-1] if turned else one for one in shown]

    def _digest(self, identity: str) -> bytes:
        text = f"{self.seed} {identity}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).digest()

    @property
    def name(self) -> str:
        """What tells these questions from all others."""
        rotated = f" rotated {self.seed}" if self.most > 2 else ""
        return f"{_name(self.feed)} {self.most} {self.orders}{rotated}"


def _name(feed: Feed) -> str:
    part = "" if feed.indices is None else f" {feed.indices}"
    return f"{feed.contents.sha256}{part}"
