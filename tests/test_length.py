"""Length bias within subsets; expected values from statsmodels and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.proportion import proportion_confint

from rmbench.accuracy.credit import Outcome
from rmbench.accuracy.length import LengthBias, common_odds_ratio, length_bias

WON, LOST, TIED = Outcome(1.0, False), Outcome(0.0, False), Outcome(0.0, True)
LETTERS = {"w": WON, "l": LOST, "t": TIED, "d": None}


def outcomes(letters: str) -> list[Outcome | None]:
    return [LETTERS[letter] for letter in letters]


def test_accuracy_is_split_by_the_sign_of_the_difference() -> None:
    bias = length_bias([10, 20, 30, 0, -5, -6, -7], outcomes("wwltlld"))
    assert bias is not None and bias.longer and bias.equal and bias.shorter
    assert (bias.longer.n, bias.longer.wins) == (3, 2)
    assert (bias.equal.n, bias.equal.ties) == (1, 1)
    assert (bias.shorter.n, bias.shorter.accuracy) == (2, 0.0)
    # statsmodels 0.14: Wilson's interval of 2 of 3
    low, high = proportion_confint(2, 3, method="wilson")
    assert (bias.longer.low, bias.longer.high) == pytest.approx((low, high))


def rows(tables: list[list[list[int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return group, won and stratum of each comparison in 2 x 2 tables."""
    cells = [
        (group == 0, won == 0, stratum)
        for stratum, table in enumerate(tables)
        for group in (0, 1)
        for won in (0, 1)
        for _ in range(table[group][won])
    ]
    return tuple(np.array(column) for column in zip(*cells, strict=True))  # type: ignore[return-value]


def test_the_odds_ratio_is_the_mantel_haenszel_one_of_statsmodels() -> None:
    tables = [[[30, 10], [12, 8]], [[5, 9], [20, 31]], [[14, 2], [3, 3]]]
    group, won, strata = rows(tables)
    found = common_odds_ratio(group, won, strata=strata, clusters=np.arange(group.size))
    expected = StratifiedTable([np.array(table) for table in tables])
    assert found is not None
    assert found.ratio == pytest.approx(expected.oddsratio_pooled)
    assert (found.low, found.high) == pytest.approx(expected.oddsratio_pooled_confint(), rel=1e-6)


def test_repeated_comparisons_widen_the_interval_by_the_root_of_their_number() -> None:
    group, won, strata = rows([[[30, 10], [12, 8]], [[5, 9], [20, 31]]])
    alone = np.arange(group.size)
    once = common_odds_ratio(group, won, strata=strata, clusters=alone)
    # Each comparison stands three times, in one cluster: nothing is known three times over.
    again = [np.repeat(column, 3) for column in (group, won, strata, alone)]
    thrice = common_odds_ratio(again[0], again[1], strata=again[2], clusters=again[3])
    naive = common_odds_ratio(
        again[0], again[1], strata=again[2], clusters=np.arange(3 * group.size)
    )
    assert once is not None and thrice is not None and naive is not None
    assert thrice == pytest.approx(once, rel=1e-9)
    widths = [math.log(item.high / item.low) for item in (naive, once)]
    assert widths[0] * math.sqrt(3) == pytest.approx(widths[1])


def test_subsets_of_unlike_difficulty_and_length_are_no_bias() -> None:
    # An easy subset with long chosen sides and a hard one with short ones; none in either.
    differences = [5] * 90 + [-5] * 10 + [5] * 10 + [-5] * 90
    easy, hard = "w" * 72 + "l" * 18 + "w" * 8 + "l" * 2, "w" * 3 + "l" * 7 + "w" * 27 + "l" * 63
    mixed = length_bias(differences, outcomes(easy + hard))
    apart = length_bias(differences, outcomes(easy + hard), subsets=["a"] * 100 + ["b"] * 100)
    assert mixed is not None and apart is not None
    assert mixed.is_notable and not apart.is_notable
    assert apart.odds is not None and apart.odds.ratio == pytest.approx(1.0)


@pytest.mark.slow
def test_without_an_effect_the_odds_tell_in_one_run_of_twenty() -> None:
    rng = np.random.default_rng(7)
    told, runs = 0, 400
    strata = np.repeat(np.arange(4), [358, 456, 740, 1431])
    longer_share, accuracy = np.array([0.9, 0.3, 0.5, 0.2]), np.array([0.94, 0.6, 0.87, 0.75])
    for _ in range(runs):
        longer = rng.random(strata.size) < longer_share[strata]
        won = rng.random(strata.size) < accuracy[strata]
        found = common_odds_ratio(longer, won, strata=strata, clusters=np.arange(strata.size))
        told += found is not None and not found.low <= 1.0 <= found.high
    # Three standard errors of 5 % in 400 draws are 3.3 points.
    assert told / runs <= 0.083


def test_a_length_judge_tells_with_finite_odds() -> None:
    bias = length_bias([-2, -1] * 10 + [1, 2] * 10, outcomes("l" * 20 + "w" * 20))
    assert bias is not None and bias.odds is not None
    assert 1.0 < bias.odds.low < bias.odds.ratio < bias.odds.high < math.inf
    assert bias.is_notable


def test_equal_lengths_throughout_have_no_odds() -> None:
    bias = length_bias([7, 7, 7], outcomes("wlw"))
    assert bias is not None
    assert bias.odds is None
    assert bias.shorter is None and bias.equal is None


def test_without_a_scored_comparison_there_is_no_bias() -> None:
    assert length_bias([1, 2], outcomes("dd")) is None


@given(
    st.lists(
        st.tuples(st.integers(-500, 500), st.sampled_from([WON, LOST, TIED])),
        min_size=1,
        max_size=300,
    )
)
def test_bins_hold_every_comparison_once_and_never_both_signs(
    pairs: list[tuple[int, Outcome]],
) -> None:
    bias = length_bias([d for d, _ in pairs], [outcome for _, outcome in pairs])
    assert bias is not None
    assert sum(each.accuracy.n or 0 for each in bias.bins) == len(pairs)
    for each in bias.bins:
        assert each.low <= each.middle <= each.high
        assert each.low * each.high > 0 or each.low == each.high == 0
    assert [each.low for each in bias.bins] == sorted(each.low for each in bias.bins)
    wins = sum((each.accuracy.wins or 0) for each in bias.bins)
    assert wins == sum(outcome is WON for _, outcome in pairs)


@pytest.mark.parametrize(
    ("letters", "tells"), [("w" * 20 + "l" * 20, True), ("wl" * 20, False), ("w" * 40, False)]
)
def test_length_tells_where_the_odds_differ(letters: str, tells: bool) -> None:
    bias = length_bias([1] * 20 + [-1] * 20, outcomes(letters))
    assert bias is not None
    assert bias.is_notable == tells


def test_length_cannot_tell_with_one_side_alone() -> None:
    bias = length_bias([1, 2, 0], outcomes("wlt"))
    assert isinstance(bias, LengthBias)
    assert not bias.is_notable


def test_equal_differences_share_a_bin() -> None:
    rng = np.random.default_rng(3)
    differences = rng.integers(-4, 5, size=500).tolist()
    bias = length_bias(differences, outcomes("wl" * 250))
    assert bias is not None
    for before, after in zip(bias.bins, bias.bins[1:], strict=False):
        assert before.high < after.low


def test_lengths_that_are_not_one_per_comparison_are_refused() -> None:
    with pytest.raises(ValueError, match="2 differences in length for 1 outcomes"):
        length_bias([1, 2], outcomes("w"))
