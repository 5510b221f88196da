"""The smallest drop that a test finds, against Connor's formula and by simulation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scored import TOY

from rmbench.accuracy.clusters import sample_of
from rmbench.compare.paired import paired_difference
from rmbench.compare.planned import expected_differences
from rmbench.compare.power import OneSidedTest, detectable_drop

HARD = [37, 100, 134, 92, 47, 46]


@pytest.mark.parametrize(("drop", "share", "power"), [(0.1, 0.3, 0.8), (0.02, 0.1, 0.9)])
def test_connors_sample_size_detects_the_drop_it_was_made_for(
    drop: float, share: float, power: float
) -> None:
    # Connor 1987: n = (z_alpha sqrt(share) + z_beta sqrt(share - drop^2))^2 / drop^2.
    z_alpha, z_beta = scipy_stats.norm.ppf([0.95, power])
    n = (z_alpha * share**0.5 + z_beta * (share - drop**2) ** 0.5) ** 2 / drop**2
    assert detectable_drop(
        share, [n], weights=[1], trial=OneSidedTest(power=power)
    ) == pytest.approx(drop)


@pytest.mark.parametrize("weights", [HARD, pytest.param([1.0] * 6, marks=pytest.mark.slow)])
def test_a_detectable_drop_is_found_as_often_as_promised(weights: list[float]) -> None:
    n, w = np.array(HARD), np.array(weights) / sum(weights)
    drop = detectable_drop(0.2, n, weights=w)
    generator = np.random.default_rng(8)
    strata = np.repeat(np.arange(n.size), n)
    found = 0
    for _ in range(500):
        d = generator.choice(
            [1.0, -1.0, 0.0], size=strata.size, p=[(0.2 - drop) / 2, (0.2 + drop) / 2, 0.8]
        )
        result = paired_difference(sample_of(d, strata, weights=w))
        found += result.p_drop <= 0.05
    # Three standard errors of 80 % in 500 draws are 27.
    assert 373 <= found <= 427


@given(st.floats(0.0, 0.9), st.integers(20, 5000))
@settings(deadline=None)
def test_more_comparisons_or_less_discordance_detect_smaller_drops(share: float, n: int) -> None:
    drop = detectable_drop(share, [n], weights=[1])
    assert 0.0 < detectable_drop(share, [2 * n], weights=[1]) < drop < 1.0
    assert drop <= detectable_drop(share + 0.1, [n], weights=[1]) + 1e-12


def test_two_identical_results_still_need_a_few_losses() -> None:
    # With every discordant comparison lost the share is the drop itself: d^2 = z_alpha^2 d / n
    # when power is 1/2, so n d = 1.645^2 = 2.706.
    drop = detectable_drop(0.0, [1000], weights=[1], trial=OneSidedTest(power=0.5))
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
        detectable_drop(share, n, weights=w, trial=OneSidedTest(alpha))


def test_the_formula_at_the_numbers_of_a_next_checkpoint_and_of_another_model() -> None:
    # (z_{1 - .01/6} + z_.8) sqrt(psi / n) with psi never below the drop, at n = 456 and 2,985.
    trial = OneSidedTest(alpha=0.01 / 6)
    z = sum(scipy_stats.norm.ppf([1 - 0.01 / 6, 0.8]))
    for n, psi in ((2985, 0.05), (2985, 0.2), (456, 0.2)):
        found = detectable_drop(psi, [n], weights=[1], trial=trial)
        assert found == pytest.approx(z * (psi / n) ** 0.5, rel=0.02)


@given(st.floats(1.0, 8.0))
def test_a_design_effect_counts_as_so_many_comparisons_fewer(design: float) -> None:
    found = detectable_drop(0.2, [4000], weights=[1], design=design)
    assert found == pytest.approx(detectable_drop(0.2, [4000 / design], weights=[1]))


def test_a_design_effect_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a design effect must be above 0, got 0"):
        detectable_drop(0.2, [100], weights=[1], design=0.0)


def test_what_a_suite_can_show_is_told_before_it_is_scored() -> None:
    suite = TOY.model_copy(
        update={"sections": (), "averages": TOY.averages[:1], "headline": "pooled"}
    )
    subsets = ["a"] * 1000 + ["b"] * 1000
    found = expected_differences(suite, subsets)
    z = sum(scipy_stats.norm.ppf([0.975, 0.8]))
    assert found is not None
    assert found.another_model == pytest.approx(z * (0.15 / 2000) ** 0.5, rel=0.02)
    assert found.next_checkpoint < found.another_model / 2
    # Rows of four to a prompt, correlated by 0.2: a design effect of 1.6.
    together = expected_differences(suite, subsets, clusters=np.repeat(range(500), 4))
    assert together is not None
    assert together.another_model == pytest.approx(found.another_model * 1.6**0.5, rel=0.02)
    assert expected_differences(TOY, ["a"] * 10) is None
