"""Both rules for two orders, counted by hand."""

import pytest

from rmbench.accuracy.orders import count_cycles, order_effects
from rmbench.answers.judgements import Preference


def asked(*shares: tuple[float, float] | None) -> list[Preference]:
    """Two responses, the chosen one number 0, shown in both orders."""
    return [Preference(order, given) for order, given in zip(((0, 1), (1, 0)), shares, strict=True)]


def test_strict_and_mean_are_told_apart() -> None:
    right = asked((1.0, 0.0), (0.0, 1.0))
    always_first = asked((1.0, 0.0), (1.0, 0.0))
    wrong = asked((0.0, 1.0), (1.0, 0.0))
    tied = asked((0.5, 0.5), (0.0, 1.0))
    open_ = asked(None, (0.0, 1.0))
    found = order_effects([right, always_first, wrong, tied, open_], [1] * 5)
    assert found is not None
    assert found["pairs"] == 5
    assert found["strict"] == 0.2  # one of five
    assert found["mean"] == 0.55  # 2 + 1 + 0 + 1.5 + 1 of ten
    assert found["chance"] == {"strict": 0.25, "mean": 0.5}
    # Decided answers: A B | A A | B A | B | B; four of eight name the first place.
    assert found["first"] == 0.5
    assert found["first_low"] == pytest.approx(0.2152, abs=1e-4)  # Wilson, 4 of 8
    assert found["first_high"] == pytest.approx(0.7848, abs=1e-4)


def test_one_order_has_no_effect_to_tell() -> None:
    once = [Preference((0, 1), (1.0, 0.0))]
    assert order_effects([once], [1]) is None


def test_pairs_of_a_comparison_with_several_responses() -> None:
    several = [
        Preference((0, 1), (1.0, 0.0)),
        Preference((1, 0), (0.0, 1.0)),
        Preference((0, 2), (0.0, 1.0)),
        Preference((2, 0), (0.0, 1.0)),
        Preference((0, 1, 2), (1.0, 0.0, 0.0)),
    ]
    found = order_effects([several], [1])
    assert found is not None
    assert (found["pairs"], found["strict"], found["mean"]) == (2, 0.5, 0.75)


def every_two(*wins: tuple[int, int]) -> list[Preference]:
    """Pairs in both orders, the first of each pair preferred."""
    both = [((a, b), (1.0, 0.0)) for a, b in wins] + [((b, a), (0.0, 1.0)) for a, b in wins]
    return [Preference(order, shares) for order, shares in both]


def test_circles_of_three_are_counted() -> None:
    circle = every_two((0, 1), (1, 2), (2, 0))
    other_way = every_two((1, 0), (2, 1), (0, 2))
    in_line = every_two((0, 1), (1, 2), (0, 2))
    assert count_cycles([circle, other_way, in_line]) == {"triples": 3, "circles": 2}
    # Four in a line but for the last, who beats the first: of four triples two are circles.
    four = every_two((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 0))
    assert count_cycles([four]) == {"triples": 4, "circles": 2}


def test_two_candidates_and_undecided_pairs_make_no_triple() -> None:
    assert count_cycles([every_two((0, 1)), every_two((0, 1), (2, 1))]) is None
    tied = [*every_two((0, 1), (1, 2)), Preference((0, 2), (0.5, 0.5)), Preference((2, 0), None)]
    assert count_cycles([tied]) is None
