"""Several models as one: rewards by hand, what it is made of, and what cannot be combined."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from recorded import changed
from scored import TOY, toy_margins, toy_result

from rmbench.answers.judgements import Judgement, Judgements, Preference
from rmbench.cli import main
from rmbench.compare.contrast import compare
from rmbench.compare.ensemble import ensemble
from rmbench.errors import ResultError
from rmbench.result.find import read_with_rewards
from rmbench.result.store import write_result

FIRST, SECOND = (toy_result(toy_margins(seed), model=f"m{seed}") for seed in (1, 2))


def test_every_member_counts_by_its_own_standard_deviation() -> None:
    # The second has a hundred times the scale of the first, and no more say.
    large = toy_result([100.0 * x for x in toy_margins(2)], model="m2")
    found = ensemble([FIRST, large], TOY)
    columns = [Judgements.of(item.rewards).rewards.astype(float) for item in (FIRST, large)]
    expected = sum(rewards / rewards.std() for rewards in columns) / 2
    assert Judgements.of(found.rewards).rewards == pytest.approx(expected, rel=1e-6)
    # All rejected rewards are 0: won where the standardised margins sum to more than 0.
    won = int((expected[::2] > 0).sum())
    assert found.averages["pooled"].wins == won
    alone = ensemble([FIRST, SECOND], TOY)
    assert alone.averages["pooled"] == found.averages["pooled"]


def test_members_that_agree_make_the_same_verdicts() -> None:
    twin = changed(FIRST, model={"id": "twin"}, signature="toy:1|twin")
    found = ensemble([FIRST, twin], TOY)
    assert found.sections == FIRST.sections
    contrast = compare(FIRST, found, TOY)
    assert all(row.gained == row.lost == 0 for row in contrast.verdicts)


def test_a_record_says_what_it_is_made_of() -> None:
    found = ensemble([FIRST, SECOND], TOY)
    assert found.model["id"] == "m1+m2" and found.model["kind"] == "ensemble"
    assert found.settings["members"] == [FIRST.signature, SECOND.signature]
    other = ensemble([FIRST, toy_result(toy_margins(3), model="m3")], TOY, name="m1+m2")
    assert other.signature != found.signature and other.model["id"] == "m1+m2"


def test_a_comparison_that_one_of_them_dropped_is_dropped() -> None:
    gaps = toy_result([None, *toy_margins(2)[1:]], model="gaps")
    assert ensemble([FIRST, gaps], TOY).audit["dropped"] == 1


def test_answers_in_another_order_are_put_in_the_first_ones() -> None:
    turned = changed(SECOND, rewards=list(SECOND.rewards)[::-1])
    assert ensemble([FIRST, turned], TOY).rewards == ensemble([FIRST, SECOND], TOY).rewards


def test_clusters_of_any_member_are_kept() -> None:
    numbers = np.arange(155) // 2
    known = changed(SECOND, rewards=Judgements.of(SECOND.rewards).in_clusters(numbers))
    found = Judgements.of(ensemble([FIRST, known], TOY).rewards).clusters
    assert found is not None and found.tolist() == numbers.tolist()


def test_what_cannot_be_combined_is_refused() -> None:
    share = [
        Judgement(item.id, (None,), (None,), (Preference((0, 1), (0.6, 0.4)),))
        for item in FIRST.rewards
    ]
    cases = [
        ([FIRST], "needs two results"),
        ([FIRST, FIRST], "m1 on toy: named twice"),
        ([FIRST, changed(SECOND, rewards=())], "m2 on toy: no rewards"),
        ([FIRST, changed(SECOND, rewards=share)], "gives preferences"),
        ([FIRST, toy_result([0.0] * 155, model="flat")], "flat: its rewards do not differ"),
        ([FIRST, changed(SECOND, suite=SECOND.suite | {"sha256": "1" * 64})], "texts differ"),
    ]
    for members, message in cases:
        with pytest.raises(ResultError, match=message):
            ensemble(members, TOY)


def test_the_command_writes_a_result_like_any_other(tmp_path: Path) -> None:
    define = {"definition": TOY.model_dump(mode="json", exclude_defaults=True)}
    paths = [write_result(changed(r, suite=r.suite | define), tmp_path) for r in (FIRST, SECOND)]
    command = ["ensemble", *map(str, paths), "--name", "duo", "--output", str(tmp_path)]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    assert "A m1, B the ensemble: " in shown.stdout
    written = read_with_rewards(tmp_path / "toy" / "duo.json")
    assert written.rewards == ensemble([FIRST, SECOND], TOY).rewards
    board = CliRunner().invoke(main, ["leaderboard", str(tmp_path)])
    assert board.exit_code == 0 and "duo" in board.stdout
