"""How candidates are shown: every place alike, both orders, the same in every run."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from rmbench.answers.questions import CandidateQuestions


def orders(*sides: tuple[int, int], most: int, **chosen: Any) -> list[list[tuple[int, ...]]]:
    ids = [f"s/{i}" for i in range(len(sides))]
    feed: Any = SimpleNamespace(contents=SimpleNamespace(ids=ids, sides=sides))
    return list(CandidateQuestions(feed, most, **chosen).of_each())


def test_the_right_one_of_four_stands_in_every_place() -> None:
    shown = orders(*[(1, 3)] * 400, most=4)
    for order, turned in shown:
        assert sorted(order) == [0, 1, 2, 3]
        assert turned == order[::-1]
    places = Counter(order.index(0) for order, _ in shown)
    assert set(places) == {0, 1, 2, 3}
    # 400 draws of four: 100 of each, with a standard deviation of 8.7.
    assert all(abs(count - 100) < 5 * 8.7 for count in places.values())


def test_a_seed_shows_them_otherwise_and_always_alike() -> None:
    sides = [(1, 3)] * 20
    assert orders(*sides, most=4) == orders(*sides, most=4)
    assert orders(*sides, most=4) != orders(*sides, most=4, seed=1)


def test_two_are_shown_in_both_orders_whatever_the_seed() -> None:
    for seed in (0, 1):
        assert orders((1, 1), most=2, seed=seed) == [[(0, 1), (1, 0)]]
        assert orders((1, 2), most=2, seed=seed) == [[(0, 1), (1, 0), (0, 2), (2, 0)]]
