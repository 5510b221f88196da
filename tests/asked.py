"""What a scorer records of conversations, in their order."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rmbench.scorers.contract import MemoryLedger
from rmbench.suite.comparison import Conversation


class Scored(NamedTuple):
    """Rewards, None for a question without an answer, and the facts."""

    rewards: list[Any]
    inputs: list[int] | None
    audit: Mapping[str, Any]
    timing: Mapping[str, Any]
    environment: Mapping[str, Any]


def score(scorer: Any, conversations: Iterable[Conversation]) -> Scored:
    questions = list(conversations)
    ledger = MemoryLedger()
    facts = scorer.score(questions, ledger)
    assert ledger.answers.keys() | facts.unanswered.keys() == set(range(len(questions)))
    return Scored(
        rewards=[ledger.answers.get(number) for number in range(len(questions))],
        inputs=None if facts.inputs is None else list(facts.inputs),
        audit=facts.audit,
        timing=facts.timing,
        environment=facts.environment,
    )


class Given:
    """A scorer that records rewards it was given; None stands for a question it cannot answer."""

    def __init__(self, info: Any, rewards: Iterable[Any], **facts: Any) -> None:
        self.info = info
        self.rewards = list(rewards)
        self.facts = facts

    def score(self, conversations: Iterable[Conversation], ledger: Any) -> Any:
        from rmbench.scorers.contract import Facts

        rewards = (
            self.rewards[: sum(1 for _ in conversations)] if self.facts == {} else self.rewards
        )
        ledger.record({i: reward for i, reward in enumerate(rewards) if reward is not None})
        dropped = {i: "too long" for i, reward in enumerate(rewards) if reward is None}
        return Facts(unanswered=dropped, **self.facts)
