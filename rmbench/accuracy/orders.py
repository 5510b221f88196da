"""What the order of responses does: accuracy by both rules, and how often the first place wins.

A scorer that is shown two responses in both orders can be counted in two ways, and papers count in
both: strictly, where both orders must name the chosen response (JudgeBench and others), and as the
mean of the single orders (RewardBench asks one of them, at random). One who guesses gets 25 % by
the first and 50 % by the second, so each is named with its chance level.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from rmbench.accuracy.intervals import wilson
from rmbench.answers.judgements import Preference

__all__ = ["count_cycles", "order_effects"]

CHANCE: Final = {"strict": 0.25, "mean": 0.5}


def order_effects(
    preferences: Iterable[Sequence[Preference]], num_chosen: Iterable[int]
) -> dict[str, Any] | None:
    """Return accuracy by both rules, and how often the first place wins.

    Args:
        preferences: for each comparison its questions and answers.
        num_chosen: how many of the responses are chosen ones, which come first.

    Returns:
        ``pairs`` of questions on one chosen and one rejected response, in both orders; ``strict``
        and ``mean``, each with its ``chance``; ``first``, the share of the decided answers that
        name the response in the first place, with its 95 % Wilson interval; None where nothing was
        asked in both orders. A question without an answer is not right.
    """
    pairs = [
        pair for asked, n in zip(preferences, num_chosen, strict=True) for pair in _both(asked, n)
    ]
    if not pairs:
        return None
    single = [credit for pair in pairs for credit, _ in pair]
    places = [place for pair in pairs for _, place in pair if place is not None]
    first = sum(place == 0 for place in places)
    interval = wilson(first, len(places)) if places else None
    return {
        "pairs": len(pairs),
        "strict": round(sum(a == b == 1.0 for (a, _), (b, _) in pairs) / len(pairs), 6),
        "mean": round(sum(single) / len(single), 6),
        "chance": CHANCE,
        "first": round(first / len(places), 6) if places else None,
        "first_low": round(interval.low, 6) if interval else None,
        "first_high": round(interval.high, 6) if interval else None,
    }


_Judged = tuple[float, int | None]
"""Credit of one answer (1, 0, or 1/2 for a tie), and the place it prefers; None for neither."""


def _both(asked: Sequence[Preference], num_chosen: int) -> Iterator[tuple[_Judged, _Judged]]:
    """Yield what was judged of each chosen and rejected response that stood in both orders."""
    seen: dict[tuple[int, ...], _Judged] = {}
    for order, shares in asked:
        sides = [number < num_chosen for number in order]
        if len(order) != 2 or sides[0] == sides[1]:
            continue
        seen[tuple(order)] = _judge(sides.index(True), shares)
        turned = seen.get(tuple(order[::-1]))
        if turned is not None:
            yield turned, seen[tuple(order)]


def _judge(chosen: int, shares: Sequence[float] | None) -> _Judged:
    if shares is None:
        return 0.0, None
    if shares[0] == shares[1]:
        return 0.5, None
    place = int(shares[1] > shares[0])
    return float(place == chosen), place


def count_cycles(preferences: Iterable[Sequence[Preference]]) -> dict[str, int] | None:
    """Count candidates that are preferred in a circle: a to b, b to c, and c to a.

    No reward for each candidate can say that, so the share of such triples says how far from one
    scale a pairwise scorer is.

    Args:
        preferences: for each comparison its questions and answers.

    Returns:
        ``triples`` of which every two were compared and decided, over the orders that were asked,
        and how many of them are ``circles``; None where there is no such triple.
    """
    triples = circles = 0
    for asked in preferences:
        leads: dict[tuple[int, int], float] = {}
        for order, shares in asked:
            for (i, a), (j, b) in combinations(zip(order, shares or (), strict=False), 2):
                pair, lead = ((i, j), a - b) if i < j else ((j, i), b - a)
                leads[pair] = leads.get(pair, 0.0) + lead
        for i, j, k in combinations(sorted({number for pair in leads for number in pair}), 3):
            sides = [leads.get(pair, 0.0) for pair in ((i, j), (j, k), (i, k))]
            if all(sides):
                triples += 1
                circles += (sides[0] > 0) == (sides[1] > 0) != (sides[2] > 0)
    return {"triples": triples, "circles": circles} if triples else None
