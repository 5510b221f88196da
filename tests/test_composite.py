"""Scores that are no plain mean: by hand, against the plain cases, and by simulation."""

import math

import numpy as np
import pytest

from rmbench.accuracy.clusters import credit_interval, sample_of
from rmbench.accuracy.composite import (
    SuiteCredits,
    mean_over_suites,
    process_f1,
    repeated_mean,
)


def plain(values: np.ndarray) -> "object":
    return sample_of(values, np.zeros(values.size, dtype=np.int64), weights=[1.0])


# --- F1, judges ----------------------------------------------------------------------------------


def test_f1_of_equal_parts_by_hand() -> None:
    a, b = np.arange(200) < 120, np.arange(200) < 160
    found = process_f1(plain(a), plain(b))  # type: ignore[arg-type]
    f = 2 * 0.6 * 0.8 / 1.4
    assert found.mean == pytest.approx(f)
    # Delta method: slopes 2 * .64 / 1.96 and 2 * .36 / 1.96.
    variance = (1.28 / 1.96) ** 2 * 0.24 / 200 + (0.72 / 1.96) ** 2 * 0.16 / 200
    reach = 1.96 * math.sqrt(variance)
    assert found.interval == pytest.approx((f - reach, f + reach), abs=0.004)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 30), (30, 30)])
def test_f1_at_its_ends_stays_inside_0_and_1(a: int, b: int) -> None:
    found = process_f1(plain(np.arange(30) < a), plain(np.arange(30) < b))  # type: ignore[arg-type]
    assert 0.0 <= found.interval.low <= found.mean <= found.interval.high <= 1.0


def test_a_judges_mean_is_that_of_its_items() -> None:
    rng = np.random.default_rng(3)
    runs = (rng.random((300, 4)) < rng.beta(2, 1, (300, 1))).astype(float)
    found = repeated_mean(runs)
    expected = credit_interval(plain(runs.mean(axis=1)))  # type: ignore[arg-type]
    assert found.estimate == expected
    between = math.sqrt(runs.var(axis=1, ddof=1).mean() / 1200)
    assert found.between_runs == pytest.approx(between)
    assert found.between_runs is not None and found.between_runs < found.deviation
    assert repeated_mean(runs[:, :1]).between_runs is None


def test_runs_that_agree_add_nothing() -> None:
    runs = np.repeat(np.resize([1.0, 0.0], (40, 1)), 5, axis=1)
    assert repeated_mean(runs).between_runs == 0.0


# --- several suites ------------------------------------------------------------------------------


def part(values: np.ndarray, clusters: np.ndarray | None = None) -> SuiteCredits:
    return SuiteCredits(
        values.astype(float), np.zeros(values.size, dtype=np.int64), [1.0], clusters
    )


def test_suites_without_a_shared_prompt_are_strata() -> None:
    one, two = np.arange(100) < 80, np.arange(300) < 150
    found = mean_over_suites([part(one), part(two)])
    strata = np.repeat([0, 1], [100, 300])
    expected = credit_interval(sample_of(np.concatenate([one, two]), strata, weights=[1, 1]))
    assert found == expected
    assert found.mean == pytest.approx(0.65)


def test_prompts_that_two_suites_share_widen_the_interval() -> None:
    values, clusters = np.resize([True, False], 200), np.arange(200)
    shared = mean_over_suites([part(values, clusters), part(values, clusters)])
    apart = mean_over_suites([part(values, clusters), part(values, clusters + 200)])
    once = credit_interval(plain(values))  # type: ignore[arg-type]
    assert shared.interval == pytest.approx(once.interval, abs=1e-3)
    widths = [item.interval.high - item.interval.low for item in (shared, apart)]
    assert widths[0] == pytest.approx(widths[1] * math.sqrt(2), rel=0.02)


def test_weights_of_suites_are_those_of_the_mean() -> None:
    one, two = np.arange(10) < 8, np.arange(10) < 4
    assert mean_over_suites([part(one), part(two)], weights=[3, 1]).mean == pytest.approx(0.7)
    with pytest.raises(ValueError, match="each suite needs one weight, got 1 for 2"):
        mean_over_suites([part(one), part(two)], weights=[1])
