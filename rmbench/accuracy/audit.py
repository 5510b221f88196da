"""What could mislead about a number, counted: ties, near-ties, dropped and identical sides."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import numpy as np

from rmbench.accuracy.aggregate import Accuracy, average_weights, section_weights
from rmbench.accuracy.credit import Outcome, Outcomes
from rmbench.answers.judgements import Judgements, Preference
from rmbench.engine.precision import step
from rmbench.scorers.contract import Facts, Scored, ScorerInfo
from rmbench.suite.definition import Suite

__all__ = ["audit_answers", "flips_to_move", "is_below_chance"]

MOVE: Final = 0.001
"""A tenth of a point of the headline: what people compare models by."""


def audit_answers(
    judgements: Judgements, outcomes: Outcomes, facts: Facts | Scored, info: ScorerInfo
) -> dict[str, Any]:
    """Return the audit of one run.

    Keys: ``ties`` and ``dropped`` (comparisons without credit); for rewards ``near_ties`` (best
    chosen and best rejected reward differ, by less than one step of the model's precision) and
    ``identical_inputs`` (texts differ, yet the model saw the same tokens on a chosen and a rejected
    side); for preferences ``unanswered`` (questions) and ``orders_disagree`` (comparisons of which
    one order prefers the chosen response and another the rejected one); and whatever the scorer
    counted.
    """
    counts = {"ties": int(outcomes.tied.sum()), "dropped": int(outcomes.dropped.sum())}
    if judgements.preferences is None:
        dtype = str(info.settings.get("dtype", "float32"))
        counts["near_ties"] = _near_ties(judgements, dtype)
        counts["identical_inputs"] = _identical_inputs(judgements, facts.inputs)
    else:
        counts |= _orders(judgements.preferences, judgements.sides[:, 0].tolist())
    return counts | dict(facts.audit)


def _near_ties(judgements: Judgements, dtype: str) -> int:
    count = 0
    for block in judgements.blocks():
        assert block.chosen is not None and block.rejected is not None, "only asked for rewards"
        chosen, rejected = block.chosen.max(axis=1), block.rejected.max(axis=1)
        for best, rival in zip(chosen.tolist(), rejected.tolist(), strict=True):
            count += 0.0 < abs(best - rival) < step(max(abs(best), abs(rival)), dtype)
    return count


def _identical_inputs(judgements: Judgements, inputs: Sequence[int] | None) -> int:
    if inputs is None:
        return 0
    numbers = iter(inputs)
    count = 0
    for num_chosen, num_rejected in judgements.sides.tolist():
        chosen = set(islice(numbers, num_chosen))
        rejected = set(islice(numbers, num_rejected))
        count += not chosen.isdisjoint(rejected)
    return count


def _orders(
    preferences: Sequence[Sequence[Preference]], num_chosen: Sequence[int]
) -> dict[str, int]:
    """Count what a listwise scorer left open or answered by the place of a response."""
    unanswered = disagree = 0
    for asked, chosen in zip(preferences, num_chosen, strict=True):
        unanswered += sum(item.shares is None for item in asked)
        leads: dict[frozenset[int], set[float]] = {}
        for order, shares in asked:
            if shares is not None:
                sides = dict(zip(order, shares, strict=True))
                best = max(share for number, share in sides.items() if number < chosen)
                rival = max(share for number, share in sides.items() if number >= chosen)
                leads.setdefault(frozenset(order), set()).add(float(np.sign(best - rival)))
        disagree += any({1.0, -1.0} <= signs for signs in leads.values())
    return {"unanswered": unanswered, "orders_disagree": disagree}


def is_below_chance(suite: Suite, headline: Accuracy | None) -> bool:
    """Whether a pairwise headline lies below one half with its whole interval.

    Then the model knows something and says the opposite: a cost model, or swapped columns.
    """
    high = headline.high if headline is not None else None
    return suite.credit.rule == "pair" and high is not None and high < 0.5


def flips_to_move(
    suite: Suite, subsets: Sequence[str], outcomes: Sequence[Outcome | None], *, move: float = MOVE
) -> int | None:
    """Return how few comparisons would have to flip to move the headline.

    A comparison of subset s moves the headline by W_s / n_s, its subset's weight over its count;
    those that move it furthest are taken first.

    Args:
        suite: says what the headline is.
        subsets: of each comparison.
        outcomes: of each comparison; None for a dropped one, which moves nothing.
        move: by how much, in [0, 1].

    Returns:
        None where the headline was not measured, or all comparisons together do not move it so far.
    """
    counts: dict[str, int] = {}
    for subset, outcome in zip(subsets, outcomes, strict=True):
        counts[subset] = counts.get(subset, 0) + (outcome is not None)
    counts = {subset: count for subset, count in counts.items() if count}
    sections = next(item.sections for item in suite.averages if item.name == suite.headline)
    weighed = section_weights(suite, counts)
    if not counts or not weighed.keys() >= set(sections):
        return None
    weights = average_weights(sections, weighed, counts)
    total = sum(weights.values())
    names = sorted(weights, key=lambda name: weights[name] / counts[name], reverse=True)
    shares = [weights[name] / total / counts[name] for name in names]
    steps = np.repeat(shares, [counts[name] for name in names])
    # Sums of shares such as 1/1000 fall short of their decimal value by a few last digits.
    reached = np.cumsum(steps) >= move * (1 - 1e-9)
    return int(np.argmax(reached)) + 1 if reached.any() else None
