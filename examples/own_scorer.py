"""An own scorer in thirty lines: what rewards answers that take up the words of the question.

    python examples/own_scorer.py
    rmbench run --model file:examples/own_scorer.py:SharedWords

A scorer is any object with `info` (who answers) and `score` (conversations in, one answer for each
into the ledger). Put your own model, rule or server where the count of shared words stands, and
everything else of rmbench works on it: suites, intervals, records, tables, resumed runs.
"""

from collections.abc import Iterable

import rmbench
from rmbench.show.formats import format_table
from rmbench.show.result import result_table


class SharedWords:
    """Rewards a response for how much of it takes up the words of the last question."""

    # The id names the result's file; what can move a reward belongs into the settings.
    info = rmbench.ScorerInfo(id="example/shared-words", kind="own", settings={"shortest_word": 4})

    def score(
        self, conversations: Iterable[rmbench.Conversation], ledger: rmbench.Ledger
    ) -> rmbench.Facts:
        """Record one reward per conversation; only their order within a comparison counts."""
        for number, conversation in enumerate(conversations):
            if ledger.known(number) is None:  # else an earlier run has answered it
                ledger.record({number: self.reward(conversation)})
        return rmbench.Facts()

    def reward(self, conversation: rmbench.Conversation) -> float:
        """Return a number in [0, 1]; any finite float32 would do."""
        # A prompt is one or more messages, the last of them the user's.
        asked = {word for word in conversation.prompt[-1].content.lower().split() if len(word) > 3}
        answered = set(conversation.response.lower().split())
        return len(asked & answered) / (1 + len(answered))


if __name__ == "__main__":
    result = rmbench.evaluate("mini", SharedWords())
    print(format_table(result_table(result, rmbench.load_suite("mini")), "table"))
