"""Agreement of two models, against statsmodels and by hand."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from rmbench.accuracy.agreement import agreement, cohen_kappa
from rmbench.accuracy.credit import Outcome

LETTERS = {"w": Outcome(1.0, False), "l": Outcome(0.0, False), "t": Outcome(0.0, True), "d": None}


def outcomes(letters: str) -> list[Outcome | None]:
    return [LETTERS[letter] for letter in letters]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_kappa_is_that_of_statsmodels(seed: int) -> None:
    a, b = np.random.default_rng(seed).integers(0, 3, size=(2, 40))
    table = np.zeros((3, 3))
    np.add.at(table, (a, b), 1)
    expected = cohens_kappa(table)
    assert cohen_kappa(a, b) == pytest.approx((expected.kappa, expected.std_kappa), abs=1e-12)


def test_kappa_reads_text_and_knows_full_agreement() -> None:
    labels = ["human", "model", "model"]
    assert cohen_kappa(labels, labels).value == pytest.approx(1.0)
    # By hand: they agree on 1 of 3, and by chance on 1/3 * 1/3 + 2/3 * 2/3 = 5/9 of them.
    found = cohen_kappa(labels, ["model", "model", "human"])
    assert found.value == pytest.approx((1 / 3 - 5 / 9) / (1 - 5 / 9))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "two equally long, non-empty lists"),
        ([1, 2], [1], r"got shapes \(2,\) and \(1,\)"),
        (["x", "x"], ["x", "x"], "undefined when every label is the same, here x"),
    ],
)
def test_kappa_says_what_is_wrong(a: npt.ArrayLike, b: npt.ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cohen_kappa(a, b)


def test_error_consistency_is_the_kappa_of_the_outcomes() -> None:
    rng = np.random.default_rng(11)
    first = rng.choice(list("wlt"), 300, p=[0.6, 0.3, 0.1])
    second = np.where(rng.random(300) < 0.6, first, rng.choice(list("wlt"), 300))
    table = [[int(np.sum((first == a) & (second == b))) for b in "wlt"] for a in "wlt"]
    found = agreement(outcomes("".join(first)), outcomes("".join(second)))
    assert found is not None and found.kappa is not None
    expected = cohens_kappa(np.array(table))
    assert found.kappa == pytest.approx(expected.kappa)
    assert found.standard_error == pytest.approx(expected.std_kappa)
    assert found.same == pytest.approx(np.mean(first == second))


def test_only_comparisons_that_both_scored_count() -> None:
    found = agreement(outcomes("wwdl"), outcomes("wldd"))
    assert found is not None
    assert (found.n, found.same) == (2, 0.5)


def test_models_that_always_win_agree_but_have_no_kappa() -> None:
    found = agreement(outcomes("www"), outcomes("www"))
    assert found is not None
    assert (found.same, found.kappa) == (1.0, None)


def test_models_that_share_no_comparison_have_no_agreement() -> None:
    assert agreement(outcomes("wd"), outcomes("dw")) is None
