"""Places in a ranking: against compare, by hand, and how often they hold the truth."""

import numpy as np
import pytest
from recorded import changed
from scored import COUNTS, TOY, published, toy_result

from rmbench.compare.contrast import compare
from rmbench.compare.ranks import Places, places, with_intervals
from rmbench.result.record import Result

CLUSTERS = [number // 2 for number in range(sum(COUNTS.values()))]


def clustered(result: Result) -> Result:
    """Return a result whose comparisons come in pairs."""
    pairs = zip(result.rewards, CLUSTERS, strict=True)
    return changed(result, rewards=[item._replace(cluster=number) for item, number in pairs])


def board(seed: int, count: int, *, spread: float = 0.0, apart: float = 0.4) -> list[Result]:
    """Return results of models that share much of what makes a comparison hard."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.5, 1.0, sum(COUNTS.values()))
    return [
        toy_result((shared + spread * i + rng.normal(0, apart, shared.size)).tolist(), model=str(i))
        for i in range(count)
    ]


def test_three_results_by_hand() -> None:
    first, second, third = board(3, 3, spread=1.2, apart=0.1)
    assert places([first, second, third], TOY, "sections") == [(3, 3), (2, 2), (1, 1)]
    assert places([first, first, third], TOY, "sections") == [(2, 3), (2, 3), (1, 1)]
    assert Places(2, 4).text == "2-4" and Places(3, 3).text == "3"


@pytest.mark.parametrize("name", ["sections", "pooled", "X"])
@pytest.mark.parametrize("in_clusters", [False, True])
def test_what_a_board_tells_apart_compare_marks_too(name: str, in_clusters: bool) -> None:
    seen = 0
    for seed in range(3):
        results = board(seed, 4, spread=0.5)
        results = [clustered(item) for item in results] if in_clusters else results
        found = places(results, TOY, name)
        for i, one in enumerate(results):
            for j, two in enumerate(results):
                a, b = found[i], found[j]
                assert a is not None and b is not None
                if a.worst < b.best:
                    verdicts = compare(two, one, TOY).level("section", "average")
                    mark = next(item.mark(0.05) for item in verdicts if item.name == name)
                    assert mark == "+"
                    seen += 1
    assert seen > 5


def test_a_row_more_never_narrows_the_places() -> None:
    for seed in range(6):
        results = board(seed, 5, spread=0.2)
        before = places(results[:4], TOY, "sections")
        after = places(results, TOY, "sections")
        for a, b in zip(before, after[:4], strict=True):
            assert a is not None and b is not None
            assert b.worst - b.best >= a.worst - a.best


def test_a_published_row_is_tested_by_its_counts_as_compare_does() -> None:
    measured = board(1, 1)[0]
    near, far = (published({"sections": value}, model={"id": "p"}) for value in (0.7, 0.2))
    for other in (near, far):
        found = places([measured, other], TOY, "sections")
        verdict = next(
            item
            for item in compare(other, measured, TOY).level("average")
            if item.name == "sections"
        )
        assert (found == [(1, 2), (1, 2)]) == (verdict.mark(0.05) == "")
    assert places([measured, far], TOY, "sections") == [(1, 1), (2, 2)]


def test_without_counts_there_are_no_places() -> None:
    cards = [published({"sections": value}) for value in (0.9, 0.1)]
    assert places(cards, TOY, "sections") == [None, None]
    witness = board(1, 1)
    assert places(cards, TOY, "sections", witnesses=witness) == [(1, 1), (2, 2)]
    assert with_intervals(cards, TOY) == cards


def test_two_sets_of_texts_are_not_told_apart() -> None:
    first, second = board(3, 2, spread=2.0, apart=0.1)
    other = changed(second, suite={**second.suite, "sha256": "1" * 64})
    assert places([first, other], TOY, "sections") == [(1, 2), (1, 2)]


@pytest.mark.slow
def test_places_hold_all_true_ranks_in_19_boards_of_20() -> None:
    held, boards = 0, 80
    for seed in range(boards):
        # Ten models: four equal ones, three and three, a step apart.
        levels = [0.0] * 4 + [0.25] * 3 + [0.5] * 3
        rng = np.random.default_rng(seed)
        shared = rng.normal(0.5, 1.0, sum(COUNTS.values()))
        results = [
            toy_result((shared + level + rng.normal(0, 0.8, shared.size)).tolist(), model=str(i))
            for i, level in enumerate(levels)
        ]
        found = places(results, TOY, "sections")
        true = [
            (1 + sum(x > level for x in levels), sum(x >= level for x in levels))
            for level in levels
        ]
        held += all(
            item is not None and item.best <= best and item.worst >= worst
            for item, (best, worst) in zip(found, true, strict=True)
        )
    # Three standard errors of 95 % in 80 boards are 7 points.
    assert held / boards >= 0.88
