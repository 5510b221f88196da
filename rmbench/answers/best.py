"""Candidates in a scorer's order: the best of n, by how much, and where that is chance."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Literal, NamedTuple

import numpy as np

from rmbench.answers.ask import Asked, ask
from rmbench.answers.judgements import Preference
from rmbench.cache import Cache
from rmbench.engine.precision import step
from rmbench.scorers.contract import Progress, Scorer
from rmbench.suite.choices import Choices

__all__ = ["Ranking", "Tie", "rank"]

Tie = Literal["", "near", "tie"]


class Ranking(NamedTuple):
    """The candidates of one prompt, best first.

    Attributes:
        id: of the prompt.
        order: numbers of the candidates, from 0; equal ones as they stand in the row, those
            without an answer last.
        scores: of each candidate by number: its reward, or its mean share of the preference over
            all questions that showed it; None without an answer.
        margin: the best score minus the second; None where fewer than two have one.
        tie: ``tie`` where the best two are equal; ``near`` where they differ by less than one step
            of the model's precision, or where a scorer that sees them side by side prefers another
            one of them in another order; else empty.
    """

    id: str
    order: tuple[int, ...]
    scores: tuple[float | None, ...]
    margin: float | None
    tie: Tie


def rank(
    choices: Choices,
    scorer: Scorer,
    *,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> list[Ranking]:
    """Return the candidates of each prompt in the order that a scorer gives them.

    A pointwise scorer is asked about each candidate; one that compares sees all candidates at once
    where it can see that many, else every two of them, in both orders.

    Args:
        choices: prompts and candidates.
        scorer: what answers.
        cache: where answers are kept; None keeps none.
        progress: called with the number of answers there are, and of all questions.

    Raises:
        RmbenchError: a model or its answers are wrong; the message names place and remedy.
    """
    asked = ask(choices, scorer, cache=cache, progress=progress)
    dtype = str(asked.info.settings.get("dtype", "float32"))
    return list(_rankings(asked, dtype))


def _rankings(asked: Asked, dtype: str) -> Iterator[Ranking]:
    judgements = asked.judgements
    every = iter(judgements.rewards.tolist())  # of steps, after their reduction
    for number, (total, _) in enumerate(judgements.sides.tolist()):
        rewards = [None if math.isnan(value) else value for value in islice(every, total)]
        questions = () if judgements.preferences is None else judgements.preferences[number]
        scores = _mean_shares(questions, total) if questions else rewards
        known = [i for i, score in enumerate(scores) if score is not None]
        order = sorted(known, key=lambda i: -float(scores[i] or 0.0))
        order += [i for i, score in enumerate(scores) if score is None]
        margin: float | None = None
        tie: Tie = ""
        if len(known) > 1:
            best, second = (float(scores[i] or 0.0) for i in order[:2])
            margin = best - second
            is_near = (
                _orders_disagree(questions, order[:2])
                if questions
                else margin < max(step(best, dtype), step(second, dtype))
            )
            tie = "tie" if margin == 0.0 else "near" if is_near else ""
        yield Ranking(judgements.ids[number], tuple(order), tuple(scores), margin, tie)


def _mean_shares(questions: Sequence[Preference], total: int) -> list[float | None]:
    shares: list[list[float]] = [[] for _ in range(total)]
    for order, given in questions:
        for number, share in zip(order, given or (), strict=False):
            shares[number].append(share)
    return [float(np.mean(found)) if found else None for found in shares]


def _orders_disagree(questions: Sequence[Preference], two: Sequence[int]) -> bool:
    """Return whether the one of two that is preferred hangs on the order in which they stand."""
    leads = set()
    for order, given in questions:
        if given is not None and set(two) <= set(order):
            first, second = (given[order.index(number)] for number in two)
            leads.add(float(np.sign(first - second)))
    return any(one * other < 0 for one, other in pairwise(sorted(leads)))
