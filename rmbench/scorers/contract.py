"""What a scorer is: two protocols, one for each kind of question, and what passes between.

A pointwise scorer is asked about one conversation at a time and answers with a reward, or with a
reward for each step. A listwise scorer is shown two or more responses side by side and answers with
a share for each. Both write their answers into a ledger, in any order and as soon as they are
there, so that a run that is killed goes on where it was; and both return what happened on the way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeGuard

from rmbench.suite.comparison import Candidates, Conversation

__all__ = [
    "Answer",
    "Facts",
    "Gives",
    "Identity",
    "Ledger",
    "ListwiseScorer",
    "MemoryLedger",
    "PointwiseScorer",
    "Progress",
    "Scale",
    "Scorer",
    "ScorerInfo",
    "is_listwise",
    "kind_of_answers",
]

Progress = Callable[[int, int], None]
"""Called with the tokens (or questions) done so far and all there are."""

Answer = float | tuple[float, ...]
"""A reward; or the rewards of a response's steps; or a share for each candidate, as shown."""

Gives = Literal["rewards", "steps", "preferences"]
Scale = Literal["log-odds", "probability", "ordinal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInfo:
    """Who answers; known before a weight is loaded.

    Attributes:
        id: the model's name; names the result file.
        kind: the kind's name, such as ``classifier``, or a word of your own. It is for people:
            nothing follows from it.
        revision: commit on the Hub, or a digest of what answers; None where there is none, and
            then no answer is kept from one run to the next.
        parameters: number of weights; None where there are none.
        gives: what an answer is: ``rewards``, ``steps`` or ``preferences``.
        scale: what a difference of two answers means: ``log-odds``, whose sigmoid is a probability;
            ``probability``, for shares; ``ordinal``, when only the order counts.
        settings: everything that can move an answer (dtype, template, ...), in the order to be
            written.
        usual: the values of a plain run. A setting that differs from them, or is not among them,
            stands in signature and file name.
    """

    id: str
    kind: str
    revision: str | None = None
    parameters: int | None = None
    gives: Gives = "rewards"
    scale: Scale = "ordinal"
    settings: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What happened on the way to the answers.

    Attributes:
        audit: counts and findings for the result's ``audit``.
        timing: seconds and tokens for the result's ``timing``.
        environment: what the result's ``environment`` should say besides versions.
        unanswered: why a question has no answer, by the question's number; every other question
            has one in the ledger.
        is_final: whether asking again would end alike; False where a server failed, so that the
            next run asks what has no answer.
        inputs: one number per question, equal where the model saw equal inputs; None where there
            is nothing to tell.
    """

    audit: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    unanswered: Mapping[int, str] = field(default_factory=dict)
    is_final: bool = True
    inputs: Sequence[int] | None = None


class Identity(NamedTuple):
    """What tells a scorer and its options from every other, before anything is loaded.

    Answers of an earlier run are taken up where these texts are the same; a scorer whose
    ``identity`` is None keeps none. By default it follows from ``info``.

    Attributes:
        replies: what the replies hang on that answers are read from.
        answers: what the answers hang on besides.
        facts: what else is looked at besides, such as an audit.
    """

    replies: str
    answers: str = ""
    facts: str = ""


class Ledger(Protocol):
    """Where answers go. A question's number is its place among the questions, from 0 on.

    A reply is the text that an answer was read from, where there is one. It is kept apart from the
    answers, so that reading it otherwise does not ask again.
    """

    def known(self, number: int) -> Answer | None:
        """Return the answer that an earlier, interrupted run recorded; None if there is none."""

    def record(self, answers: Mapping[int, Answer]) -> None:
        """Keep answers by the number of their question, all of them or none."""

    def reply(self, number: int) -> str | None:
        """Return the reply that an earlier run kept; None if there is none."""

    def keep(self, replies: Mapping[int, str]) -> None:
        """Keep replies by the number of their question, all of them or none."""


class MemoryLedger:
    """A ledger of one run, in memory; for scorers used by themselves, and their tests.

    Attributes:
        answers: by the number of their question.
        replies: likewise.
    """

    def __init__(
        self, answers: Mapping[int, Answer] | None = None, replies: Mapping[int, str] | None = None
    ) -> None:
        """Begin with what an earlier run left."""
        self._known = dict(answers or {})
        self._replies = dict(replies or {})
        self.answers: dict[int, Answer] = {}
        self.replies: dict[int, str] = {}

    def known(self, number: int) -> Answer | None:
        """Return the answer that the ledger began with, if any."""
        return self._known.get(number)

    def record(self, answers: Mapping[int, Answer]) -> None:
        """Keep answers."""
        self.answers |= answers

    def reply(self, number: int) -> str | None:
        """Return the reply that the ledger began with, if any."""
        return self._replies.get(number)

    def keep(self, replies: Mapping[int, str]) -> None:
        """Keep replies."""
        self.replies |= replies


class PointwiseScorer(Protocol):
    """Anything that gives conversations a reward, or a reward for each step of the response.

    Optional members: ``identity``, see ``Identity``; ``gives``, for a scorer whose ``info`` is not
    known before it is loaded; ``alone(conversations)``, the ground truth, one float each;
    ``close()``.
    """

    @property
    def info(self) -> ScorerInfo:
        """Who answers, and under which settings."""

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record one answer per conversation, but for those named in ``Facts.unanswered``.

        Conversations may be iterated more than once; each time they are read again.
        """


class ListwiseScorer(Protocol):
    """Anything that is shown responses side by side and gives each a share of the preference.

    Shares are at least 0 and sum to 1. Optional members: as for ``PointwiseScorer``; and
    ``orders``, ``both`` (the default) or ``once``, for how often a question is asked; and ``seed``
    (0), of the rotation in which more than two candidates are shown.
    """

    @property
    def info(self) -> ScorerInfo:
        """Who answers, and under which settings; ``gives`` is ``preferences``."""

    @property
    def most(self) -> int:
        """How many candidates it can see at once, 2 or more."""

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        """Record one answer per question, a share for each candidate in the order shown."""


Scorer = PointwiseScorer | ListwiseScorer


def is_listwise(scorer: Scorer) -> TypeGuard[ListwiseScorer]:
    """Whether a scorer is shown candidates side by side; looks at nothing that is loaded late."""
    return hasattr(scorer, "prefer")


def kind_of_answers(scorer: Scorer) -> Gives:
    """Return what a scorer's answers are, without loading one that says so itself."""
    gives: Gives | None = getattr(scorer, "gives", None)
    return gives or scorer.info.gives
