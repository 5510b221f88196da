"""A sweep: every model of a file on its suites, one table, and a failure that stops no other."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmbench.answers.jobs import read_sweep
from rmbench.cli import main
from rmbench.errors import SuiteError

SWEEP = """suites = ["mini"]
[options]
seed = 3
[[models]]
model = "length"
[[models]]
model = "random"
name = "dice"
"""


def run(folder: Path, text: str, *more: str) -> tuple[int, str, str]:
    file = folder / "sweep.toml"
    file.write_text(text)
    output = ["--output", str(folder / "out"), "--no-cache"]
    done = CliRunner().invoke(main, ["run", "--config", str(file), *output, *more])
    return done.exit_code, done.stdout, done.stderr


def test_every_model_is_run_and_stands_in_one_table(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, SWEEP, "--format", "json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [row["model"] for row in rows] == ["length", "dice"]
    written = {path.name for path in (tmp_path / "out").rglob("*.json")}
    assert written == {"length.json", "dice+seed-3.json"}  # length knows no seed


def test_a_model_that_fails_stops_no_other(tmp_path: Path) -> None:
    gone = '[[models]]\nmodel = "no such folder"\nname = "gone"\n'
    code, out, err = run(tmp_path, SWEEP + gone)
    assert code == 2
    assert "no such folder" in err
    assert "length" in out
    assert "dice" in out


def test_an_option_of_a_model_must_be_known_to_it(tmp_path: Path) -> None:
    wrong = '[[models]]\nmodel = "shorter"\noptions = { sed = 1 }\n'
    code, _, err = run(tmp_path, SWEEP + wrong)
    assert code == 2
    assert 'unknown option "sed"; did you mean "seed"?' in err


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, SWEEP + '[[models]]\nmodel = "shorter"\nname = "dice"\n')
    assert code == 2
    assert 'two models are called "dice"' in err


@pytest.mark.parametrize("more", [("--model", "tiny"), ("--suite", "mini"), ("--plan",)])
def test_what_the_file_says_is_not_said_again(tmp_path: Path, more: tuple[str, ...]) -> None:
    code, _, err = run(tmp_path, SWEEP, *more)
    assert code == 2
    assert "leave the others out" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('suites = ["mini"]', "models is missing"),
        ("dat = {}\n" + SWEEP, 'unknown key "dat"; did you mean "data"'),
        (SWEEP.replace('model = "length"', "model = 3"), "model is a whole number"),
        ("suites = [", "not TOML"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(SuiteError, match=message) as error:
        read_sweep(file)
    assert str(error.value).startswith(str(file))
