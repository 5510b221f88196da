"""An own scorer in twenty lines: what rewards answers that take up the words of the question.

    python examples/own_scorer.py

A scorer is any object with `info` (who gives the rewards) and `score` (conversations in, one
reward each out, in their order). Put your own model, rule or server where the count of shared
words stands, and everything else of rmbench works on it: suites, intervals, records, tables.
"""

from collections.abc import Iterable

import rmbench
from rmbench.show.table import format_table, result_table


class SharedWords:
    """Rewards a response for how much of it takes up the words of the last question."""

    # The id names the result's file; what can move a reward belongs into the settings.
    info = rmbench.ScorerInfo(id="example/shared-words", kind="rule", settings={"shortest_word": 4})

    def score(self, conversations: Iterable[rmbench.Conversation]) -> rmbench.Scored:
        """Return one reward per conversation; only their order within a comparison counts."""
        return rmbench.Scored(rewards=[self.reward(item) for item in conversations])

    def reward(self, conversation: rmbench.Conversation) -> float:
        """Return a number in [0, 1]; any finite float32 would do."""
        # A prompt is one or more messages, the last of them the user's.
        asked = {word for word in conversation.prompt[-1].content.lower().split() if len(word) > 3}
        answered = set(conversation.response.lower().split())
        return len(asked & answered) / (1 + len(answered))


if __name__ == "__main__":
    result = rmbench.evaluate("mini", SharedWords())
    print(format_table(result_table(result, rmbench.load_suite("mini")), "table"))
