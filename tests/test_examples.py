"""Every file in examples/ is run here, as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"
NUMBER = r"-?\d+\.\d{4}"


def run(name: str, *arguments: str, warnings: str = "error") -> str:
    """Return what an example prints; it must end well, and without a warning."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_below() -> None:
    named = set(re.findall(r'run\(\s*"(\w+\.py)"', Path(__file__).read_text(encoding="utf-8")))
    assert {path.name for path in EXAMPLES.glob("*.py")} == named


def test_an_own_scorer_prints_a_table_of_the_mini_suite() -> None:
    lines = run("own_scorer.py").splitlines()
    assert lines[0].endswith(": example/shared-words")
    assert lines[2].split() == ["accuracy", "%", "95", "%", "interval", "n", "won", "tied"]
    assert [line.split("  ")[0] for line in lines[4:10]] == [
        "Chat",
        "Chat Hard",
        "Safety",
        "Reasoning",
        "pooled",
        "sections",
    ]
    assert lines[-1].startswith("mini:1-1fb88db|example/shared-words|")


def test_an_own_scorer_takes_thirty_lines() -> None:
    source = (EXAMPLES / "own_scorer.py").read_text(encoding="utf-8").split('"""', 2)[2]
    code = [line for line in source.splitlines() if line.strip() and line.strip()[0] not in '#"']
    assert len(code) <= 30


def test_an_own_judge_is_asked_in_both_orders() -> None:
    lines = run("own_judge.py").splitlines()
    assert lines[1].split()[1:4] == ["average", "pooled", "0.475000"]
    assert lines[-1] == "the order decided: 33 of 240 comparisons"


def test_two_responses_are_scored_by_a_baseline() -> None:
    *lines, empty, verdict = run("score_two_responses.py", "length").splitlines()
    # The number of characters of each response, counted in another way.
    texts = [line.split("  ", 1)[1].strip() for line in map(str.strip, lines)]
    sizes = [len(text.encode()) for text in texts]
    assert [float(line.split()[0]) for line in lines] == sizes
    assert (empty, verdict) == ("", f"length prefers the second, by {sizes[1] - sizes[0]}.0000")


def test_two_responses_are_scored_by_the_small_model() -> None:
    *lines, _, verdict = run("score_two_responses.py").splitlines()
    assert len(lines) == 2
    assert all(re.fullmatch(rf" *{NUMBER}  \S.*", line) for line in lines)
    first, second = (float(line.split()[0]) for line in lines)
    assert verdict.startswith(f"tiny prefers the {'first' if first > second else 'second'}, by ")


def test_a_wrong_model_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "score_two_responses.py"), "no-such-model"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("score_two_responses.py: no-such-model: no such folder and no ")


def test_the_training_of_tiny_runs_in_short(test_data: Path, tmp_path: Path) -> None:
    run("train_tiny_rm.py", "--quick", "--data", str(test_data), "--output", str(tmp_path))
    assert {"config.json", "model.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    assert re.search(rf" *{NUMBER}  ", run("score_two_responses.py", str(tmp_path)))


def test_a_training_loop_evaluates_and_compares_its_steps() -> None:
    lines = run("evaluate_in_training.py").splitlines()
    assert [line.split(":")[0] for line in lines] == ["run7/step0", "run7/step2", "run7/step4"]
    assert all("since then" in line for line in lines[1:])


def test_a_training_on_spoiled_data_is_stopped() -> None:
    pytest.importorskip("trl", reason="trl is not installed")
    lines = run("stop_on_regression.py", warnings="error::DeprecationWarning").splitlines()
    told = [line for line in lines if line.startswith(("spoiled/", "stopped"))]
    assert told[0].startswith("spoiled/step0: ")
    shares = [float(line.split()[1]) for line in told[:-1]]
    assert shares[-1] < shares[0]
    assert re.fullmatch(r"stopped at step \d+0 of 200", told[-1])
    assert len(shares) < 10
