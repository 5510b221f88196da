"""Quiet and talkative runs, several models in one table, committed results left alone."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rmbench.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rmbench(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def git(*arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def test_quiet_says_nothing_but_the_result_and_what_is_wrong() -> None:
    done = rmbench("run", "--model", "length", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "| pooled" in rmbench("run", "--model", "length", "-q", "--format", "markdown").stdout
    wrong = rmbench("run", "--model", "nowhere", "-q")
    assert wrong.exit_code == 2 and wrong.stderr.startswith("rmbench: nowhere: ")


def test_quiet_and_verbose_are_options_of_every_command_and_have_variables() -> None:
    for name, command in main.commands.items():
        inner = getattr(command, "commands", {"": command})
        for each in inner.values():
            options = {param.name: param.envvar for param in each.params}
            variable = "_".join(
                ["RMBENCH", name.upper(), *([each.name.upper()] if command != each else [])]
            )
            assert options["quiet"] == f"{variable}_QUIET"
            assert options["verbose"] == f"{variable}_VERBOSE"


def test_several_models_stand_in_one_table() -> None:
    done = rmbench("run", "--model", "length", "--model", "shorter")
    table = done.stdout[done.stdout.index("All models") :].splitlines()
    assert [line.split("  ")[0] for line in table[4:6]] == ["length", "shorter"]
    assert table[4].endswith("50.00 (43.7 to 56.3)")
    assert "All models" not in rmbench("run", "--model", "length").stdout


def test_a_committed_result_stays_unless_its_folder_is_asked_for() -> None:
    rmbench("run", "--model", "length")
    record = Path("results/mini/length.json")
    git("init")
    again = rmbench("run", "--model", "length")  # not committed yet
    assert "written: results/mini/length.json" in again.stderr
    git("add", "results")
    git("commit", "-m", "a baseline")
    before = record.stat().st_ino
    done = rmbench("run", "--model", "length")
    assert record.stat().st_ino == before
    assert "results/mini/length.json is committed and stays as it is" in done.stderr
    assert Path("results-new/mini/length.json").is_file()
    asked = rmbench("run", "--model", "length", "--output", "results")
    assert "written: results/mini/length.json" in asked.stderr
    assert record.stat().st_ino != before  # written anew


def test_a_model_is_opened_before_data_are_fetched() -> None:
    Path("broken").mkdir()
    Path("broken/config.json").write_text("{")
    done = rmbench("run", "--model", "./broken", "--suite", "rewardbench")
    assert done.exit_code == 2 and done.stderr.startswith("rmbench: broken: its config.json is")
