"""Groups of suites: the seven of model cards, their mean, and what is missing of it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from rmbench.accuracy.aggregate import Accuracy
from rmbench.cli import main
from rmbench.errors import SuiteError
from rmbench.result.record import Result
from rmbench.result.store import read_published
from rmbench.show.group import MISSING, group_table
from rmbench.suite.catalogue import load_suite
from rmbench.suite.group import expand_groups, find_group, list_groups, suites_of

# README of SkyworkAI/Skywork-Reward-V2, commit 4f380f4.
MEANS = {
    "Skywork/Skywork-Reward-V2-Llama-3.1-8B": "85.8",
    "infly/INF-ORM-Llama3.1-70B": "73.5",
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": "70.9",
    "RLHFlow/ArmoRM-Llama3-8B-v0.1": "67.4",
}


def test_the_published_means_of_seven_are_those_of_their_source() -> None:
    group = find_group("cards")
    assert group is not None
    table = group_table(group, suites_of(group), read_published())
    whole = [row for row in table.texts if row[-1] != MISSING]
    assert {row[0].split(" †")[0]: f"{float(row[-1]):.1f}" for row in whole} == MEANS
    assert all(MISSING not in row for row in whole)


def test_a_weighted_mean_is_the_leaderboards_score() -> None:
    # ArmoRM: 96.9, 76.8, 92.2, 97.3 and 74.3 of the prior sets are printed as 89.0.
    group = find_group("rewardbench-score")
    assert group is not None
    shares = {"Chat": 0.969, "Chat Hard": 0.768, "Safety": 0.922, "Reasoning": 0.973}
    main_part = published("rewardbench", sections=shares)
    prior = published("rewardbench-prior", averages={"mean": 0.743})
    (row,) = group_table(group, suites_of(group), [main_part, prior]).texts
    assert row[1:] == ["96.90", "76.80", "92.20", "97.30", "74.30", "88.97"]
    (row,) = group_table(group, suites_of(group), [main_part]).texts
    assert row[-2:] == [MISSING, MISSING]


def published(suite: str, **groups: dict[str, float]) -> Result:
    numbers = {
        name: {key: Accuracy(accuracy=value) for key, value in group.items()}
        for name, group in groups.items()
    }
    facts = {"name": suite, "version": 1, "headline": load_suite(suite).headline}
    return Result.model_validate(
        {
            "source": "published",
            "citation": "a card",
            "suite": facts,
            "model": {"id": "org/rm"},
            "averages": {},
            **numbers,
        }
    )


def test_a_mean_of_missing_numbers_is_not_shown_and_sources_do_not_mix() -> None:
    group = find_group("cards")
    assert group is not None
    table = group_table(group, suites_of(group), read_published())
    alone = [row for row in table.texts if "Tulu-3-8B-SFT-RM-RB2" in row[0]]
    assert [row[1:] for row in alone] == [[MISSING, "68.21", *[MISSING] * 6]]
    twice = [row for row in table.texts if "Skywork-Reward-V2-Qwen3-0.6B" in row[0]]
    assert sorted(row[2] for row in twice) == ["61.25", "61.30"]


def test_the_command_prints_the_group_and_takes_no_other_suite_beside_it() -> None:
    done = CliRunner().invoke(main, ["leaderboard", "--suite", "cards"])
    assert done.exit_code == 0
    assert "85.77" in done.stdout
    both = ["leaderboard", "--suite", "cards", "--suite", "mini"]
    assert CliRunner().invoke(main, both).exit_code == 2


def test_a_group_is_run_as_its_suites() -> None:
    assert list_groups() == ["cards", "rewardbench-score"]
    assert expand_groups(["rewardbench-score"]) == ["rewardbench", "rewardbench-prior"]
    assert len(expand_groups(["cards"])) == 7
    assert expand_groups(["mini", "rmb", "cards"])[:2] == ["mini", "rmb"]
    assert expand_groups(["mini"]) == ["mini"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[group]\nmini = "pooled"', "name is missing; add it (a text)"),
        ('name = "g"\ntitle = "G"\n[group]\nmini = 1', "mini is a whole number"),
        ('name = "g"\ntitle = "G"\n[group]\nmini = ""', "names no average"),
        ('name = "g"\ntitel = "G"\n[group]\nmini = "pooled"', "title is missing"),
    ],
)
def test_a_wrong_group_is_told_place_finding_and_remedy(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "g.toml"
    path.write_text(text)
    with pytest.raises(SuiteError) as caught:
        find_group(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_an_average_that_a_suite_has_not_is_told(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text('name = "g"\ntitle = "G"\n[group]\nmini = "mean"')
    group = find_group(str(path))
    assert group is not None
    with pytest.raises(SuiteError, match='mini = "mean" is no average of mini; it has pooled'):
        suites_of(group)
