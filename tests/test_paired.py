"""Tests and intervals for differences, against scipy, statsmodels and simulation."""

from __future__ import annotations

import math
import time
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from rmbench.compare import paired as diff

Floats = npt.NDArray[np.float64]

# RewardBench's comparisons per subset, and the weights of two of its averages.
CHAT = [100, 95, 95, 28, 40]
HARD = [37, 100, 134, 92, 47, 46]
SAFETY = [100, 100, 154, 250, 136]
REASONING = [447] + [164] * 6
ALL = CHAT + HARD + SAFETY + REASONING
REASONING_WEIGHTS = [984] + [164] * 6
SECTIONS = [CHAT, HARD, SAFETY, REASONING_WEIGHTS]
MEAN_OF_SECTIONS = [weight / sum(section) / 4 for section in SECTIONS for weight in section]

SHAPES: dict[str, tuple[list[int], list[float]]] = {
    "one plain set": ([1980], [1.0]),
    "chat": (CHAT, [float(n) for n in CHAT]),
    "chat hard": (HARD, [float(n) for n in HARD]),
    "reasoning": (REASONING, [float(n) for n in REASONING_WEIGHTS]),
    "pooled": (ALL, [float(n) for n in ALL]),
    "mean of sections": (ALL, MEAN_OF_SECTIONS),
}

credits_in_strata = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0])),
    min_size=1,
    max_size=40,
)


def _compare(
    rows: list[tuple[int, float]], level: float = 0.95, resamples: int = 200
) -> diff.Difference:
    present = sorted({stratum for stratum, _ in rows})
    return diff.paired_difference(
        [d for _, d in rows],
        [present.index(stratum) for stratum, _ in rows],
        weights=[stratum + 1.0 for stratum in present],
        level=level,
        resampling=diff.Resampling(resamples=resamples),
    )


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_scipys_binomial_test_and_symmetric(won: int, lost: int) -> None:
    expected = scipy_stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert diff.mcnemar(won, lost) == pytest.approx(expected, rel=1e-10)
    assert diff.mcnemar(won, lost) == diff.mcnemar(lost, won)


@pytest.mark.parametrize(
    ("won", "lost"),
    [
        (499_000, 501_000),
        (500_000, 500_001),
        (490_000, 510_000),
        (1, 1000),
        (0, 1000),
        (15, 1001),
        (16, 900),
        (99_000, 101_000),
        (1_700, 2_300),
    ],
)
def test_mcnemar_keeps_ten_digits_for_large_counts(won: int, lost: int) -> None:
    # scipy's binomtest itself is a sum of two tails of the incomplete beta function.
    expected = 2.0 * scipy_stats.binom.cdf(min(won, lost), won + lost, 0.5)
    assert diff.mcnemar(won, lost) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_is_that_of_statsmodels() -> None:
    expected = statsmodels_mcnemar([[50, 12], [25, 100]], exact=True).pvalue
    assert diff.mcnemar(12, 25) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_by_hand_without_discordance_and_below_the_smallest_float() -> None:
    assert diff.mcnemar(0, 0) == 1.0
    assert diff.mcnemar(7, 7) == 1.0
    assert diff.mcnemar(0, 5) == 2 / 32
    assert diff.mcnemar(0, 5000) == 0.0


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="counts must not be negative, got won = -1 and lost = 3"):
        diff.mcnemar(-1, 3)


def test_the_estimate_is_the_weighted_mean_of_strata() -> None:
    # Strata: (1 + 0) / 2 = 0.5 with weight 3, (-1 + 0 + 0 + 0) / 4 = -0.25 with weight 1.
    result = diff.paired_difference([1, 0, -1, 0, 0, 0], [0, 0, 1, 1, 1, 1], weights=[3, 1])
    assert result.estimate == pytest.approx((3 * 0.5 - 0.25) / 4)
    # Plain floats, which json and repr show as numbers.
    numbers = [result.estimate, *result.interval, result.p_value, result.p_drop]
    assert {type(number) for number in numbers} == {float}


@pytest.mark.parametrize(("won", "lost", "n"), [(9, 2, 80), (3, 12, 60), (20, 25, 300), (0, 6, 50)])
def test_sign_flips_of_one_stratum_are_mcnemars_test(won: int, lost: int, n: int) -> None:
    d = [1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost)
    resampling = diff.Resampling(resamples=100_000)
    result = diff.paired_difference(d, [0] * n, weights=[1], resampling=resampling)
    # Five standard errors of a share of 100,000 draws are at most 0.008.
    assert result.p_value == pytest.approx(diff.mcnemar(won, lost), abs=0.008)
    below = scipy_stats.binomtest(won, won + lost, alternative="less").pvalue
    assert result.p_drop == pytest.approx(below, abs=0.008)


def test_sign_flips_over_strata_agree_with_every_sign_pattern_enumerated() -> None:
    d = np.array([1, -1, 1, 1, 0, 1, 0.5, -0.5, 1, 0, 0, 1])
    strata = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2])
    weights = np.array([0.5, 0.3, 0.2])
    steps = d * (weights / np.bincount(strata))[strata]
    moving = np.abs(steps[steps != 0])
    sums = np.array([np.dot(signs, moving) for signs in product([-1, 1], repeat=moving.size)])
    observed = steps.sum()
    result = diff.paired_difference(
        d, strata, weights=weights, resampling=diff.Resampling(resamples=200_000)
    )
    assert result.p_value == pytest.approx(np.mean(np.abs(sums) >= observed - 1e-12), abs=0.006)
    assert result.p_drop == pytest.approx(np.mean(sums <= observed + 1e-12), abs=0.006)


def test_scipys_paired_permutation_test_gives_the_same_p_value() -> None:
    generator = np.random.default_rng(5)
    d = generator.choice([-1.0, 0.0, 0.25, 1.0], size=200, p=[0.15, 0.6, 0.1, 0.15])
    reference = scipy_stats.permutation_test(
        (d, np.zeros_like(d)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(6),
    )
    result = diff.paired_difference(
        d, np.zeros(200, int), weights=[1], resampling=diff.Resampling(resamples=50_000)
    )
    assert result.p_value == pytest.approx(reference.pvalue, abs=0.015)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_a_result_compared_with_itself_differs_by_0_with_p_1(strata: list[int]) -> None:
    result = _compare([(stratum, 0.0) for stratum in strata])
    assert result.estimate == 0.0
    assert (result.p_value, result.p_drop) == (1.0, 1.0)
    assert -1.0 <= result.interval.low < 0.0 < result.interval.high <= 1.0


@given(credits_in_strata)
def test_exchanging_the_results_mirrors_everything(rows: list[tuple[int, float]]) -> None:
    there, back = _compare(rows), _compare([(stratum, -d) for stratum, d in rows])
    assert back.estimate == -there.estimate
    assert back.p_value == there.p_value
    mirrored = (-there.interval.high, -there.interval.low)
    assert back.interval == pytest.approx(mirrored, abs=1e-9)


@given(credits_in_strata, st.floats(0.05, 0.95))
def test_paired_intervals_hold_the_estimate_and_widen_with_the_level(
    rows: list[tuple[int, float]], level: float
) -> None:
    inner, outer = _compare(rows, level=level), _compare(rows, level=0.99)
    assert -1.0 <= outer.interval.low <= inner.interval.low + 1e-12
    assert inner.interval.low <= inner.estimate <= inner.interval.high
    assert inner.interval.high - 1e-12 <= outer.interval.high <= 1.0
    assert 1 / 201 <= inner.p_value <= 1.0
    assert 1 / 201 <= inner.p_drop <= 1.0


def test_strata_without_weight_have_no_influence() -> None:
    d, strata = [1.0, 0.0, 0.0, -1.0, 0.0], [0, 0, 0, 1, 1]
    with_more = diff.paired_difference([*d, 1.0, 1.0], [*strata, 2, 2], weights=[1, 1, 0])
    assert with_more == diff.paired_difference(d, strata, weights=[2, 2])


def test_the_same_seed_gives_the_same_p_value_and_another_seed_another() -> None:
    d = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=300, p=[0.1, 0.75, 0.15])
    strata = np.arange(300) % 3
    first, second, other = (
        diff.paired_difference(d, strata, weights=[1, 2, 3], resampling=diff.Resampling(seed=seed))
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first.p_value != other.p_value
    assert first.p_value == pytest.approx(other.p_value, abs=0.03)


def test_one_stratum_has_tangos_interval() -> None:
    # The limits are where Tango's score statistic is 1.96; the constrained share of losses is
    # found here by maximising the trinomial likelihood, not by Tango's closed form.
    won, lost, n = 5, 14, 84
    d = [1.0] * won + [-1.0] * lost + [0.0] * (n - won - lost)
    low, high = diff.paired_difference(d, [0] * n, weights=[1]).interval

    def score(delta: float) -> float:
        q = np.linspace(max(0.0, -delta), (1 - delta) / 2, 2_000_001)[1:-1]
        likelihood = won * np.log(q + delta) + lost * np.log(q)
        likelihood += (n - won - lost) * np.log1p(-2 * q - delta)
        best = q[np.argmax(likelihood)]
        return float((won - lost - n * delta) / math.sqrt(n * (2 * best + delta - delta**2)))

    assert score(low) == pytest.approx(1.959964, abs=1e-4)
    assert score(high) == pytest.approx(-1.959964, abs=1e-4)


@pytest.mark.parametrize("lean", [0.0, 0.5, -0.9])
@pytest.mark.parametrize("discordance", [0.01, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_paired_intervals_cover_the_truth_about_95_percent_of_the_time(
    shape: str, discordance: float, lean: float
) -> None:
    """`lean` is the share of discordant comparisons won minus lost, over a 1:19 range of shares."""
    n = np.array(SHAPES[shape][0])
    w = np.array(SHAPES[shape][1]) / np.sum(SHAPES[shape][1])
    share = discordance * (np.linspace(0.1, 1.9, n.size) if n.size > 1 else np.ones(1))
    won, lost = share * (1 + lean) / 2, share * (1 - lean) / 2
    generator = np.random.default_rng(20240702)
    cells = np.stack(
        [
            generator.multinomial(size, [a, b, 1 - a - b], 2000)
            for size, a, b in zip(n, won, lost, strict=True)
        ],
        axis=1,
    )
    wins, losses = cells[..., 0] / n, cells[..., 1] / n
    moments = np.stack([wins - losses, wins + losses, wins + losses])
    table = diff._effective_table(moments, n.astype(np.float64), w)
    low, high = diff._tango_limits(*table, 0.95)
    truth = (won - lost) @ w
    covered = np.mean((low <= truth) & (truth <= high))
    # With a handful of discordant comparisons the interval may be wide, but never too narrow.
    many = n.sum() * discordance >= 40
    assert 0.93 <= covered <= (0.97 if many else 1.0)


def test_the_vectorised_core_is_what_paired_difference_returns() -> None:
    n, w = np.array(HARD), np.array([1.0, 2.0, 3.0, 1.0, 1.0, 5.0])
    d = np.random.default_rng(9).choice([-1.0, 0.0, 1.0], size=n.sum(), p=[0.1, 0.7, 0.2])
    strata = np.repeat(np.arange(n.size), n)
    sums = [np.bincount(strata, values) / n for values in (d, np.abs(d), d * d)]
    table = diff._effective_table(np.stack(sums), n.astype(np.float64), w / w.sum())
    expected = [float(limit) for limit in diff._tango_limits(*table, 0.95)]
    result = diff.paired_difference(d, strata, weights=w)
    assert result.interval == pytest.approx(expected, abs=1e-12)


def test_half_credits_have_the_error_of_their_own_size() -> None:
    # 10,000 differences of -0.5, 0 or 0.5, in thirds: variance 1/6, error of the mean 0.40825 %.
    d = np.resize([-0.5, 0.0, 0.5], 10_000 - 1)
    low, high = diff.paired_difference(d, np.zeros(d.size, int), weights=[1]).interval
    assert (low, high) == pytest.approx((-0.0080016, 0.0080016), rel=0.01)


def test_three_thousand_comparisons_are_resampled_ten_thousand_times_within_two_seconds() -> None:
    generator = np.random.default_rng(0)
    d = generator.uniform(-1, 1, size=3000)  # all different: the slowest case
    start = time.process_time()
    diff.paired_difference(d, np.arange(3000) % 23, weights=np.ones(23))
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("d", "strata", "weights", "message"),
    [
        ([], [], [1], "differences must be a non-empty list"),
        ([0.5, math.nan], [0, 0], [1], r"differences\[1\] is nan"),
        ([2.0], [0], [1], r"differences must be in \[-1, 1\], got 2.0 to 2.0"),
        ([1.0, 0.0], [0], [1], "one whole number for each of the 2 differences"),
        ([1.0], [0.5], [1], "one whole number for each of the 1 differences, got float64"),
        ([1.0], [1], [1], "positions in the 1 weights, got 1 to 1"),
        ([1.0], [-1], [1], "positions in the 1 weights, got -1 to -1"),
        ([1.0], [0], [1, 1], "stratum 1 has weight but no comparison"),
        ([1.0], [0], [0], "at least one weight must be above 0"),
        ([1.0], [0], [], "weights must be a non-empty list"),
    ],
)
def test_paired_difference_says_what_is_wrong(
    d: npt.ArrayLike, strata: npt.ArrayLike, weights: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        diff.paired_difference(d, strata, weights=weights)


def test_paired_difference_refuses_to_resample_nothing() -> None:
    none = diff.Resampling(resamples=0)
    with pytest.raises(ValueError, match="at least one draw, got 0"):
        diff.paired_difference([1.0], [0], weights=[1], resampling=none)


def test_unpaired_difference_of_one_stratum_is_newcombes_interval_and_the_pooled_z_test() -> None:
    new, old = diff.Strata([56 / 70], [70]), diff.Strata([48 / 80], [80])
    result = diff.unpaired_difference(new, old, weights=[1])
    expected = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    assert result.interval == pytest.approx(expected, rel=1e-9)
    _, p_value = proportions_ztest([56, 48], [70, 80])
    assert result.p_value == pytest.approx(p_value, rel=1e-9)
    _, p_drop = proportions_ztest([56, 48], [70, 80], alternative="smaller")
    assert result.p_drop == pytest.approx(p_drop, rel=1e-9)


def test_unpaired_intervals_and_p_values_hold_what_they_promise_over_strata() -> None:
    n, w = np.array(HARD), np.array(HARD) / sum(HARD)
    truth = np.linspace(0.4, 0.9, n.size)
    generator = np.random.default_rng(4)
    covered = rejected = 0
    for _ in range(1000):
        new, old = (diff.Strata(generator.binomial(n, truth) / n, n) for _ in range(2))
        result = diff.unpaired_difference(new, old, weights=w)
        covered += result.interval.low <= 0.0 <= result.interval.high
        rejected += result.p_value <= 0.05
    # Four standard errors of a share of 5 % in 1,000 draws are 2.8 points.
    assert 922 <= covered <= 978
    assert 22 <= rejected <= 78


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300), st.floats(0.01, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_unpaired_differences_mirror_and_hold_their_estimate(
    rows: list[tuple[float, float, int, float]],
) -> None:
    new, old, n, w = (list(column) for column in zip(*rows, strict=True))
    there = diff.unpaired_difference(diff.Strata(new, n), diff.Strata(old, n), weights=w)
    back = diff.unpaired_difference(diff.Strata(old, n), diff.Strata(new, n), weights=w)
    assert back.estimate == -there.estimate
    assert back.p_value == pytest.approx(there.p_value, abs=1e-12)
    assert -1 <= there.interval.low <= there.estimate <= there.interval.high <= 1
    assert back.interval == pytest.approx((-there.interval.high, -there.interval.low), abs=1e-12)


@pytest.mark.parametrize("accuracies", [[0.5, 0.9], [1.0, 1.0], [0.0, 1.0]])
def test_accuracies_compared_with_themselves_differ_by_0_with_p_1(accuracies: list[float]) -> None:
    same = diff.Strata(accuracies, [20, 30])
    result = diff.unpaired_difference(same, same, weights=[1, 2])
    assert (result.estimate, result.p_value, result.p_drop) == (0.0, 1.0, 0.5)
    assert result.interval.low < 0.0 < result.interval.high


def test_unpaired_difference_says_what_is_wrong() -> None:
    new, old = diff.Strata([0.5, 0.5], [9, 9]), diff.Strata([0.5], [9])
    with pytest.raises(ValueError, match="one accuracy, one count and one weight, got 1, 1 and 2"):
        diff.unpaired_difference(new, old, weights=[1, 1])


p_value_lists = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(p_value_lists)
@settings(deadline=None, max_examples=12)  # statsmodels takes a tenth of a second for each
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert diff.holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-15)


@given(p_value_lists)
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p: list[float]) -> None:
    adjusted = diff.holm(p)
    pairs = sorted(zip(p, adjusted, strict=True))
    assert [b for _, b in pairs] == sorted(adjusted)
    assert all(a <= b <= 1.0 for a, b in pairs)


def test_holm_by_hand_with_ties() -> None:
    # Sorted: 0.01 * 4, 0.01 * 3, 0.03 * 2, 0.2 * 1, each at least the one before.
    assert diff.holm([0.03, 0.01, 0.2, 0.01]) == pytest.approx([0.06, 0.04, 0.2, 0.04])


@pytest.mark.parametrize(
    ("p", "message"),
    [([], "p_values must be a non-empty list"), ([0.5, 1.1], r"must be in \[0, 1\]")],
)
def test_holm_says_what_is_wrong(p: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diff.holm(p)


@pytest.mark.parametrize(("drop", "share", "power"), [(0.1, 0.3, 0.8), (0.02, 0.1, 0.9)])
def test_connors_sample_size_detects_the_drop_it_was_made_for(
    drop: float, share: float, power: float
) -> None:
    # Connor 1987: n = (z_alpha sqrt(share) + z_beta sqrt(share - drop^2))^2 / drop^2.
    z_alpha, z_beta = scipy_stats.norm.ppf([0.95, power])
    n = (z_alpha * share**0.5 + z_beta * (share - drop**2) ** 0.5) ** 2 / drop**2
    assert diff.detectable_drop(share, [n], weights=[1], power=power) == pytest.approx(drop)


@pytest.mark.parametrize("weights", [HARD, [1.0] * 6])
def test_a_detectable_drop_is_found_as_often_as_promised(weights: list[float]) -> None:
    n, w = np.array(HARD), np.array(weights) / sum(weights)
    drop = diff.detectable_drop(0.2, n, weights=w)
    generator = np.random.default_rng(8)
    strata = np.repeat(np.arange(n.size), n)
    resampling = diff.Resampling(resamples=999)
    found = 0
    for _ in range(500):
        d = generator.choice(
            [1.0, -1.0, 0.0], size=strata.size, p=[(0.2 - drop) / 2, (0.2 + drop) / 2, 0.8]
        )
        result = diff.paired_difference(d, strata, weights=w, resampling=resampling)
        found += result.p_drop <= 0.05
    # Three standard errors of 80 % in 500 draws are 27.
    assert 373 <= found <= 427


@given(st.floats(0.0, 0.9), st.integers(20, 5000))
@settings(deadline=None)
def test_more_comparisons_or_less_discordance_detect_smaller_drops(share: float, n: int) -> None:
    drop = diff.detectable_drop(share, [n], weights=[1])
    assert 0.0 < diff.detectable_drop(share, [2 * n], weights=[1]) < drop < 1.0
    assert drop <= diff.detectable_drop(share + 0.1, [n], weights=[1]) + 1e-12


def test_two_identical_results_still_need_a_few_losses() -> None:
    # With every discordant comparison lost the share is the drop itself: d^2 = z_alpha^2 d / n
    # when power is 1/2, so n d = 1.645^2 = 2.706.
    drop = diff.detectable_drop(0.0, [1000], weights=[1], power=0.5)
    assert 1000 * drop == pytest.approx(2.7055, rel=1e-4)


@pytest.mark.parametrize(
    ("share", "n", "w", "alpha", "message"),
    [
        (0.1, [], [1], 0.05, "counts must be a non-empty list"),
        ([0.1], [10, 10], [1, 1], 0.05, "one discordance, one count and one weight, got 1, 2"),
        (1.1, [10], [1], 0.05, r"discordance must be in \[0, 1\]"),
        (0.1, [0], [1], 0.05, "counts must be at least 1, got 0"),
        (0.1, [10], [1], 0.9, "0 < alpha < power < 1 is needed, got alpha 0.9 and power 0.8"),
        (0.1, [2], [1], 0.05, "2 comparisons are too few to find any drop with power 0.8"),
    ],
)
def test_detectable_drop_says_what_is_wrong(
    share: npt.ArrayLike, n: npt.ArrayLike, w: npt.ArrayLike, alpha: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        diff.detectable_drop(share, n, weights=w, alpha=alpha)


def test_the_weighted_mean_of_a_difference_and_of_its_sides_agree() -> None:
    generator = np.random.default_rng(2)
    strata, w = np.repeat(np.arange(3), 50), [0.2, 0.5, 0.3]
    new, old = generator.integers(0, 2, size=(2, 150)).astype(float)
    paired = diff.paired_difference(new - old, strata, weights=w)
    sides = [diff.Strata(np.bincount(strata, side) / 50, [50] * 3) for side in (new, old)]
    unpaired = diff.unpaired_difference(sides[0], sides[1], weights=w)
    assert paired.estimate == pytest.approx(unpaired.estimate, abs=1e-12)
