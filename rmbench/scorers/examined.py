"""A scorer of any kind, examined by asking it: what it is, what it is shown, what it answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.errors import ScorerError
from rmbench.scorers.contract import (
    Answer,
    Facts,
    MemoryLedger,
    PointwiseScorer,
    Scorer,
    is_listwise,
)
from rmbench.suite.comparison import Comparison
from rmbench.wording import counted

__all__ = ["Examined", "examine_by_asking"]


class Examined(NamedTuple):
    """What was found out about a scorer, and the text of its first question."""

    checks: list[Check]
    shown: str


def examine_by_asking(
    scorer: Scorer,
    sample: Sequence[Comparison],
    *,
    recognised: str,
    shown: str,
    known: Sequence[Check] = (),
) -> Examined:
    """Ask a scorer about a few comparisons, and once more about the first of them alone.

    Args:
        scorer: of any kind.
        sample: comparisons, at least one.
        recognised: what it is, and by what that was seen.
        shown: the first question as the scorer is given it.
        known: what was found in its files.

    Returns:
        The checks and the question; where it cannot answer a refused check says why.
    """
    checks = [Check(name="kind", status=OK, seen=recognised), *known]
    try:
        return Examined([*checks, *_asked(scorer, sample)], shown)
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        refused = Check(name="asking", status=REFUSED, seen=seen or remedy, remedy=remedy)
        return Examined([*checks, refused], shown)


def _asked(scorer: Scorer, sample: Sequence[Comparison]) -> list[Check]:
    ledger = MemoryLedger()
    facts = _ask(scorer, sample, ledger)
    alone = MemoryLedger()
    _ask(scorer, sample[:1], alone)
    info = scorer.info
    settings = ", ".join(f"{k} {v}" for k, v in info.settings.items() if v is not None)
    return [
        Check(name="answers", status=OK, seen=f"{info.gives}, on the scale {info.scale}"),
        Check(name="settings", status=OK, seen=settings),
        _check_unanswered(ledger, facts),
        _check_alone(ledger.answers, alone.answers),
        _check_sign(scorer, sample, ledger.answers),
    ]


def _ask(scorer: Scorer, sample: Sequence[Comparison], ledger: MemoryLedger) -> Facts:
    if is_listwise(scorer):
        orders = [(i, order) for i in range(len(sample)) for order in ((0, -1), (-1, 0))]
        return scorer.prefer(
            [sample[i].candidates([_place(sample[i], n) for n in order]) for i, order in orders],
            ledger,
        )
    asked = cast(PointwiseScorer, scorer)  # there is no third kind
    return asked.score([item for pair in sample for item in pair.conversations()], ledger)


def _place(comparison: Comparison, end: int) -> int:
    """Return the number of the first chosen response (0), or of the last rejected one (-1)."""
    return end % len(comparison.responses)


def _check_unanswered(ledger: MemoryLedger, facts: Facts) -> Check:
    name = "questions"
    total = len(ledger.answers) + len(facts.unanswered)
    if not facts.unanswered:
        return Check(name=name, status=OK, seen=f"all of {total} answered")
    reasons = Counter(facts.unanswered.values())
    said = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
    return Check(
        name=name,
        status=WARNING if ledger.answers else REFUSED,
        seen=f"{len(facts.unanswered)} of {total} have no answer: {said}",
        remedy="they are counted, and never scored; see what the scorer is shown below",
    )


def _check_alone(answers: Mapping[int, Answer], alone: Mapping[int, Answer]) -> Check:
    """Compare the answers to the first comparison with those to it alone."""
    name = "asked alone"
    both = answers.keys() & alone.keys()
    pairs = [(_numbers(answers[i]), _numbers(alone[i])) for i in sorted(both)]
    moved = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=False)]
    seen = f"the first comparison's answers are {max(moved, default=0.0):.2g} apart"
    if max(moved, default=0.0) <= 1e-2:
        return Check(name=name, status=OK, seen=seen)
    remedy = "answers depend on what else is asked; repeat runs before comparing them"
    return Check(name=name, status=WARNING, seen=seen, remedy=remedy)


def _numbers(answer: Answer) -> tuple[float, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _check_sign(
    scorer: Scorer, sample: Sequence[Comparison], answers: Mapping[int, Answer]
) -> Check:
    """Count how often the chosen side is ahead; a cost model has it behind nearly always."""
    name = "sign"
    margins = [*_margins(scorer, sample, answers)]
    ahead = sum(margin > 0 for margin in margins)
    seen = f"the chosen response is ahead in {ahead} of {counted(len(margins), 'comparisons')}"
    if not margins or 4 * ahead > len(margins):
        return Check(name=name, status=OK, seen=seen)
    remedy = "does a low answer mean a good response? a few comparisons prove nothing"
    return Check(name=name, status=WARNING, seen=seen, remedy=remedy)


def _margins(
    scorer: Scorer, sample: Sequence[Comparison], answers: Mapping[int, Answer]
) -> Sequence[float]:
    if is_listwise(scorer):
        both = [(answers.get(2 * i), answers.get(2 * i + 1)) for i in range(len(sample))]
        return [
            a[0] - a[1] + b[1] - b[0]
            for a, b in both
            if isinstance(a, tuple) and isinstance(b, tuple)
        ]
    found, number = [], 0
    for comparison in sample:
        sides: list[list[Any]] = [[], []]
        for key in comparison.keys():  # noqa: SIM118
            sides[key.side == "rejected"].append(answers.get(number))
            number += 1
        if None not in sides[0] + sides[1]:
            best = [max(min(_numbers(answer)) for answer in side) for side in sides]
            found.append(best[0] - best[1])
    return found
