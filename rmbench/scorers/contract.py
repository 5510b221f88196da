"""What turns conversations into rewards: the protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rmbench.suite.comparison import Conversation

__all__ = ["Progress", "Scored", "Scorer", "ScorerInfo"]

Progress = Callable[[int, int], None]
"""Called with the tokens (or conversations) done so far and all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInfo:
    """Who gave the rewards.

    Attributes:
        id: the model's name; names the result file.
        kind: ``classifier``, ``builtin``, or a word of your own.
        revision: commit on the Hub, or a digest of local weights; None where there are none.
        parameters: number of weights; None where there are none.
        settings: what can move a reward (dtype, template, ...), in the order to be written.
    """

    id: str
    kind: str
    revision: str | None = None
    parameters: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Rewards, and what happened on the way.

    Attributes:
        rewards: one per conversation, in their order; None for a dropped conversation.
        inputs: one number per conversation, equal where the model saw equal inputs; None where
            there is nothing to tell.
        audit: counts and findings for the result's ``audit``.
        timing: seconds and tokens for the result's ``timing``.
        environment: what the result's ``environment`` should say besides versions.
    """

    rewards: Sequence[float | None]
    inputs: Sequence[int] | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Anything that gives conversations a reward; see ``examples/own_scorer.py``."""

    @property
    def info(self) -> ScorerInfo:
        """Who gives the rewards, and under which settings."""

    def score(self, conversations: Iterable[Conversation]) -> Scored:
        """Return one reward per conversation, in their order; only order and differences count."""
