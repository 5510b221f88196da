"""What every scorer must do, as tests: for rmbench's own kinds and for those of plug-ins.

    from rmbench.testing import ScorerContract

    class TestMine(ScorerContract):
        def make(self):
            return MyScorer(...)

pytest collects the tests of the subclass; nothing here needs pytest itself.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from rmbench.answers.ask import Asked, ask
from rmbench.answers.questions import CandidateQuestions, Conversations
from rmbench.result.measured import suite_facts
from rmbench.result.signature import sign
from rmbench.scorers.contract import Answer, MemoryLedger, Scorer, is_listwise
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison
from rmbench.suite.feed import Feed, open_feed

__all__ = ["ScorerContract"]


class ScorerContract:
    """Tests that a scorer passes; ``make`` returns a new one, the same each time.

    Attributes:
        limit: comparisons of the suite ``mini`` that are asked about.
        tolerance: how far an answer may differ when it is asked once more, or beside others.
    """

    limit: ClassVar[int] = 6
    tolerance: ClassVar[float] = 1e-4

    def make(self) -> Scorer:
        """Return the scorer under test."""
        raise NotImplementedError("a subclass says which scorer is tested")

    def ask(self, feed: Feed | None = None) -> Asked:
        """Return what a new scorer answers."""
        return ask(feed or self.feed(), self.make())

    def feed(self) -> Feed:
        """Return the comparisons that are asked about, one chosen and one rejected each."""
        return open_feed(load_suite("mini"), limit=self.limit)

    def test_every_question_has_an_answer_or_a_reason(self) -> None:
        """As many answers as questions, each a finite number or shares; see ``ask``."""
        asked = self.ask()
        assert len(asked.judgements) == self.limit
        reasons = asked.facts.unanswered.values()
        assert all(isinstance(reason, str) and reason for reason in reasons)

    def test_asked_again_it_answers_the_same(self) -> None:
        """A new scorer of the same settings gives the same margins."""
        first, again = (self.ask().judgements.best_margins() for _ in range(2))
        np.testing.assert_allclose(again, first, rtol=0, atol=self.tolerance)

    def test_what_is_known_already_is_kept_and_the_rest_is_answered(self) -> None:
        """A run that goes on after a kill ends with the answers of a whole one."""
        whole, _ = self._record({})
        half = {number: whole[number] for number in sorted(whole)[::2]}
        rest, unanswered = self._record(half)
        assert half.keys() | rest.keys() | unanswered == whole.keys() | unanswered
        for number, answer in rest.items():
            np.testing.assert_allclose(answer, whole[number], rtol=0, atol=self.tolerance)

    def test_swapped_sides_turn_every_margin(self) -> None:
        """What is better does not hang on which side it stands on."""
        margins = self.ask().judgements.best_margins()
        swapped = self.ask(cast(Feed, _Swapped(self.feed()))).judgements.best_margins()
        np.testing.assert_allclose(swapped, -margins, rtol=0, atol=self.tolerance)

    def test_who_answers_is_said_and_goes_into_the_signature(self) -> None:
        """``info`` names the scorer; what was chosen stands in its signature."""
        info = self.ask().info
        assert info.id.strip() and info.kind.strip()
        assert json.loads(json.dumps(dict(info.settings))) is not None
        assert info.gives in ("rewards", "steps", "preferences")
        assert info.scale in ("log-odds", "probability", "ordinal")
        assert is_listwise(self.make()) == (info.gives == "preferences")
        facts = suite_facts(self.feed())
        odd = replace(info, settings={**info.settings, "an_odd_one": 7})
        assert sign(facts, odd, part=None) != sign(facts, info, part=None)

    def _record(self, known: dict[int, Answer]) -> tuple[dict[int, Answer], set[int]]:
        scorer, ledger = self.make(), MemoryLedger(known)
        if is_listwise(scorer):
            orders: Any = getattr(scorer, "orders", "both")
            facts = scorer.prefer(CandidateQuestions(self.feed(), scorer.most, orders), ledger)
        else:
            pointwise: Any = scorer
            facts = pointwise.score(Conversations(self.feed()), ledger)
        return ledger.answers, set(facts.unanswered)


@dataclass(frozen=True)
class _Swapped:
    """A feed of pairs whose chosen and rejected responses have changed places."""

    feed: Feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)

    def __iter__(self) -> Iterator[Comparison]:
        for item in self.feed:
            yield replace(item, chosen=item.rejected, rejected=item.chosen)
