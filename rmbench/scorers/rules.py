"""Baselines without a model: longer is better, shorter is better, and chance."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated, Final

from pydantic import Field

from rmbench.errors import ScorerError, did_you_mean
from rmbench.options import Options, option
from rmbench.scorers.contract import Facts, Ledger, ScorerInfo
from rmbench.scorers.kind import Kind
from rmbench.suite.comparison import Conversation

__all__ = ["KIND", "RuleOptions", "RuleScorer"]

_AT_ONCE: Final = 4096


class RuleOptions(Options):
    """Options of a rule."""

    seed: Annotated[int, Field(ge=0)] = option(0, help="Of the random baseline.", flag=True)


class RuleScorer:
    """A rule that looks at the text alone.

    * ``length``: the reward is the number of characters (code points) of the response.
    * ``shorter``: its negative.
    * ``random``: uniform in [0, 1) with 24 bits, drawn from seed and text, so that the same
      conversation always gets the same reward, whatever stands around it.

    Raises:
        ScorerError: there is no rule of this name.
    """

    def __init__(self, name: str, options: RuleOptions | None = None) -> None:
        if name not in RULES:
            raise ScorerError(f"rule:{name}: no such rule; {did_you_mean(name, RULES)}")
        self._rule = RULES[name]
        self._seed = (options or RuleOptions()).seed
        settings = {"seed": self._seed} if name == "random" else {}
        self.info = ScorerInfo(id=name, kind="rule", settings=settings, usual={"seed": 0})

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the rule's rewards; nothing is dropped."""
        rewards: dict[int, float] = {}
        for number, conversation in enumerate(conversations):
            rewards[number] = self._rule(conversation, self._seed)
            if len(rewards) == _AT_ONCE:
                ledger.record(rewards)
                rewards = {}
        ledger.record(rewards)
        return Facts()


def _chance(conversation: Conversation, seed: int) -> float:
    text = repr((seed, conversation.prompt, conversation.response))
    digest = hashlib.blake2b(text.encode(), digest_size=3).digest()
    return int.from_bytes(digest) / 2**24


RULES: Final[dict[str, Callable[[Conversation, int], float]]] = {
    "length": lambda conversation, _: float(len(conversation.response)),
    "shorter": lambda conversation, _: -float(len(conversation.response)),
    "random": _chance,
}

KIND: Final = Kind(
    open=RuleScorer,
    options=RuleOptions,
    summary="A rule that looks at the text alone: " + ", ".join(RULES) + ".",
    metavar="NAME",
    names=tuple(RULES),
)
