"""What could mislead about a number, counted: ties, near-ties, dropped and identical sides."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import average_weights
from rmbench.accuracy.credit import Outcomes
from rmbench.accuracy.intervals import Floats
from rmbench.accuracy.orders import count_cycles, order_effects
from rmbench.accuracy.signs import sign_test
from rmbench.answers.ask import Asked
from rmbench.answers.judgements import Judgements, Preference
from rmbench.engine.precision import steps
from rmbench.scorers.contract import Facts, ScorerInfo
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Feed

__all__ = ["audit", "audit_answers", "is_below_chance", "rounding_spread"]

_REVERSED: Final = 0.025


def audit(feed: Feed, asked: Asked, outcomes: Outcomes) -> dict[str, Any]:
    """Return everything about a run that could mislead: of data, answers and accuracies."""
    judgements, suite = asked.judgements, feed.suite
    found: dict[str, Any] = dict(feed.contents.audit)
    found |= audit_answers(judgements, outcomes, asked.facts, asked.info)
    found["below_chance"] = is_below_chance(suite, outcomes, clusters=judgements.clusters)
    if judgements.preferences is None:
        dtype = str(asked.info.settings.get("dtype", "float32"))
        found["rounding"] = rounding_spread(suite, feed.contents.subsets, judgements, dtype=dtype)
    return found


def audit_answers(
    judgements: Judgements, outcomes: Outcomes, facts: Facts, info: ScorerInfo
) -> dict[str, Any]:
    """Return the audit of one run.

    Keys: ``ties`` and ``dropped`` (comparisons without credit); for rewards ``near_ties`` (best
    chosen and best rejected reward differ, by less than one step of the model's precision) and
    ``identical_inputs`` (texts differ, yet the model saw the same tokens on a chosen and a rejected
    side); for preferences ``unanswered`` (questions), ``one_order`` (comparisons with an answer
    to one question and none to another) and ``orders_disagree`` (comparisons of which one order
    prefers the chosen response and another the rejected one), ``orders`` (see
    ``order_effects``) and ``circles`` (see ``count_cycles``); and whatever the scorer counted.
    """
    counts: dict[str, Any] = {
        "ties": int(outcomes.tied.sum()),
        "dropped": int(outcomes.dropped.sum()),
    }
    if judgements.preferences is None:
        dtype = str(info.settings.get("dtype", "float32"))
        counts["near_ties"] = _near_ties(judgements, dtype)
        counts["identical_inputs"] = _identical_inputs(judgements, facts.inputs)
    else:
        num_chosen = judgements.sides[:, 0].tolist()
        counts |= _orders(judgements.preferences, num_chosen)
        orders = order_effects(judgements.preferences, num_chosen)
        circles = count_cycles(judgements.preferences)
        counts |= ({"orders": orders} if orders else {}) | ({"circles": circles} if circles else {})
        return counts | dict(facts.audit)
    return counts | dict(facts.audit)


def _near_ties(judgements: Judgements, dtype: str) -> int:
    count = 0
    for block in judgements.blocks():
        assert block.chosen is not None and block.rejected is not None, "only asked for rewards"
        if not block.rejected.shape[1]:  # a solution in steps, compared with nothing
            continue
        chosen, rejected = block.chosen.max(axis=1), block.rejected.max(axis=1)
        apart = np.abs(chosen.astype(np.float64) - rejected)
        near = apart < steps(np.maximum(np.abs(chosen), np.abs(rejected)), dtype)
        count += int((near & (apart > 0.0)).sum())
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
    unanswered = partly = disagree = 0
    for asked, chosen in zip(preferences, num_chosen, strict=True):
        missing = sum(item.shares is None for item in asked)
        unanswered += missing
        partly += 0 < missing < len(asked)
        leads: dict[frozenset[int], set[float]] = {}
        for order, shares in asked:
            if shares is not None:
                sides = dict(zip(order, shares, strict=True))
                best = max(share for number, share in sides.items() if number < chosen)
                rival = max(share for number, share in sides.items() if number >= chosen)
                leads.setdefault(frozenset(order), set()).add(float(np.sign(best - rival)))
        disagree += any({1.0, -1.0} <= signs for signs in leads.values())
    return {"unanswered": unanswered, "one_order": partly, "orders_disagree": disagree}


def is_below_chance(
    suite: Suite, outcomes: Outcomes, *, clusters: npt.ArrayLike | None = None
) -> bool:
    """Whether a pairwise scorer loses more than it wins, beyond chance.

    Then it knows something and says the opposite: a cost model, or swapped columns. Ties say
    nothing: a model that often gives both sides one reward is not reversed.

    Args:
        suite: whose rule it is.
        outcomes: of each comparison.
        clusters: a whole number for each, equal where they were sampled together; None for no
            repeats.

    Returns:
        Whether the one-sided p value of the sign test over clusters, wins against losses, is at
        most 0.025; False for other rules than ``pair``.
    """
    if suite.credit.rule != "pair":
        return False
    signs: Floats = outcomes.won.astype(np.float64) - outcomes.lost
    if clusters is not None:
        numbers = np.unique(np.asarray(clusters), return_inverse=True)[1]
        signs = np.bincount(numbers, weights=signs).astype(np.float64)
    return bool(signs.size) and sign_test(signs).p_drop <= _REVERSED


def rounding_spread(
    suite: Suite, subsets: Sequence[str], judgements: Judgements, *, dtype: str
) -> float | None:
    """Return by how much rounding alone moves the headline from run to run.

    A comparison with share a of the headline and margin m changes sides with the chance
    q = P(noise > |m|) when normal noise of one step of the precision is added, 1/2 at a tie. The
    headline then has the standard deviation sqrt(sum a^2 q (1 - q)).

    Args:
        suite: says what the headline is.
        subsets: of each comparison.
        judgements: on each comparison; those with a response without a reward count nowhere.
        dtype: the precision of the rewards.

    Returns:
        A standard deviation in [0, 0.5]; None where the headline was not measured, or the scorer
        gave preferences, which have no step, or more than the best of each side decides.
    """
    if judgements.preferences is not None or suite.credit.rules - {"pair", "best-of"}:
        return None
    flips = np.full(len(judgements), np.nan)
    for block in judgements.blocks():
        assert block.chosen is not None and block.rejected is not None, "these are rewards"
        best, rival = block.chosen.max(axis=1), block.rejected.max(axis=1)
        scale = steps(np.maximum(np.abs(best), np.abs(rival)), dtype)
        with np.errstate(over="ignore"):
            distance = np.abs(best.astype(np.float64) - rival) / scale
        flips[block.indices] = [math.erfc(x / math.sqrt(2.0)) / 2.0 for x in distance.tolist()]
    shares = _headline_shares(suite, subsets, ~np.isnan(flips))
    if shares is None:
        return None
    kept = np.nan_to_num(flips)
    return math.sqrt(float((shares**2) @ (kept * (1.0 - kept))))


def _headline_shares(
    suite: Suite, subsets: Sequence[str], scored: npt.NDArray[np.bool_]
) -> Floats | None:
    """Return how far each comparison moves the headline; None where it cannot be had."""
    counts = Counter(name for name, kept in zip(subsets, scored.tolist(), strict=True) if kept)
    weights = average_weights(suite, counts).get(suite.headline) if counts else None
    if weights is None:
        return None
    total = sum(weights.values())
    share = {name: weight / total / counts[name] for name, weight in weights.items()}
    return np.array([share.get(name, 0.0) for name in subsets]) * scored
