"""What could mislead about a number, counted: ties, near-ties, dropped and identical sides."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rmbench.accuracy.aggregate import Accuracy, average_weights, section_weights
from rmbench.accuracy.credit import Outcome
from rmbench.answers.judgements import Rewards
from rmbench.engine.precision import step
from rmbench.scorers.contract import Scored, ScorerInfo
from rmbench.suite.definition import Suite

__all__ = ["audit_rewards", "flips_to_move", "is_below_chance"]

MOVE: Final = 0.001
"""A tenth of a point of the headline: what people compare models by."""


def audit_rewards(
    rewards: Sequence[Rewards],
    outcomes: Sequence[Outcome | None],
    scored: Scored,
    info: ScorerInfo,
) -> dict[str, Any]:
    """Return the audit of one run.

    Keys: ``ties`` and ``near_ties`` (best chosen and best rejected reward differ, by less than one
    step of the model's precision), ``dropped`` (comparisons without credit), ``identical_inputs``
    (texts differ, yet the model saw the same tokens on a chosen and a rejected side), and whatever
    the scorer counted.
    """
    dtype = str(info.settings.get("dtype", "float32"))
    return {
        "ties": sum(outcome.tied for outcome in outcomes if outcome is not None),
        "near_ties": sum(_is_near_tie(item, dtype) for item in rewards if not item.is_dropped),
        "dropped": sum(outcome is None for outcome in outcomes),
        "identical_inputs": _identical_inputs(rewards, scored.inputs),
        **scored.audit,
    }


def _is_near_tie(item: Rewards, dtype: str) -> bool:
    chosen = max(value for value in item.chosen if value is not None)
    rejected = max(value for value in item.rejected if value is not None)
    return 0.0 < abs(chosen - rejected) < step(max(abs(chosen), abs(rejected)), dtype)


def _identical_inputs(rewards: Sequence[Rewards], inputs: Sequence[int] | None) -> int:
    if inputs is None:
        return 0
    numbers = iter(inputs)
    count = 0
    for item in rewards:
        chosen = {next(numbers) for _ in item.chosen}
        rejected = {next(numbers) for _ in item.rejected}
        count += not chosen.isdisjoint(rejected)
    return count


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
