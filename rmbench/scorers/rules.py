"""Baselines without a model: longer is better, shorter is better, and chance."""

import hashlib
from array import array
from collections.abc import Callable, Iterable
from typing import Final

from rmbench.scorers.contract import Scored, ScorerInfo
from rmbench.suite.comparison import Conversation

__all__ = ["Baseline"]


class Baseline:
    """A rule that looks at the text alone.

    * ``length``: the reward is the number of characters (code points) of the response.
    * ``shorter``: its negative.
    * ``random``: uniform in [0, 1) with 24 bits, drawn from seed and text, so that the same
      conversation always gets the same reward, whatever stands around it.
    """

    def __init__(self, name: str, *, seed: int = 0) -> None:
        self._rule = RULES[name]
        self._seed = seed
        settings = {"seed": seed} if name == "random" else {}
        self.info = ScorerInfo(id=name, kind="builtin", settings=settings, usual={"seed": 0})

    def score(self, conversations: Iterable[Conversation]) -> Scored:
        """Return the rule's rewards; nothing is dropped."""
        # An array takes 8 bytes a reward where a list of floats takes 32.
        return Scored(rewards=array("d", (self._rule(item, self._seed) for item in conversations)))


def _chance(conversation: Conversation, seed: int) -> float:
    text = repr((seed, conversation.prompt, conversation.response))
    digest = hashlib.blake2b(text.encode(), digest_size=3).digest()
    return int.from_bytes(digest) / 2**24


RULES: Final[dict[str, Callable[[Conversation, int], float]]] = {
    "length": lambda conversation, _: float(len(conversation.response)),
    "shorter": lambda conversation, _: -float(len(conversation.response)),
    "random": _chance,
}
