"""Without torch, transformers and datasets: results are read, compared and shown all the same."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "light.txt").read_text(encoding="utf-8").splitlines()
LIGHT = {line for line in LINES if not line.startswith("#")}
HEAVY = {"datasets", "pandas", "pyarrow", "safetensors", "tokenizers", "torch", "transformers"}
RESULTS = ROOT / "results"
TINY, LENGTH = (str(RESULTS / "mini" / f"{name}.json") for name in ("tiny", "length"))

# Stands for an environment without the packages: none of them can be imported.
BLOCKED = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from rmbench.cli import main
main()
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_what_a_light_install_has_is_of_the_whole_one() -> None:
    whole = {*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["report"]}
    assert whole >= LIGHT
    assert {line.partition(">=")[0] for line in whole - LIGHT} == HEAVY


@pytest.mark.parametrize(
    "command",
    [
        ("check", TINY, "--baseline", TINY.replace("tiny", "length"), "--max-drop", "100"),
        ("compare", LENGTH, TINY),
        ("leaderboard", str(RESULTS)),
        ("card", TINY),
        ("suites", "check", str(ROOT / "suites" / "mini.toml"), "--rows"),
        ("run", "--model", "length"),
        pytest.param(("report", TINY, "--data", "mini", "-o", "r.html"), marks=pytest.mark.slow),
        pytest.param(("site", str(RESULTS), "-o", "public"), marks=pytest.mark.slow),
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_needs_no_model_runs_without_the_packages_of_models(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout or list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (("run", "--model", "tiny", "--no-cache"), "torch"),
        (("run", "--model", "length", "--suite", "rewardbench"), "datasets"),
        (("doctor", "tiny"), "torch"),
    ],
)
def test_what_needs_them_says_in_one_line_how_they_are_had(
    command: tuple[str, ...], package: str, tmp_path: Path
) -> None:
    done = run(tmp_path, *command)
    line = f"rmbench: {command[0]}: {package} is not installed; pip install rmbench\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.slow
def test_a_real_light_install_compares_and_makes_a_report(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    light = [*pip, "--constraint", str(ROOT / "constraints.txt"), "-r", str(ROOT / "light.txt")]
    if subprocess.run(light, check=False, capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    for command in (
        ("compare", LENGTH, TINY),
        ("report", TINY, "-o", "r.html"),
        ("leaderboard", str(RESULTS)),
    ):
        done = subprocess.run(
            [str(tmp_path / "venv" / "bin" / "rmbench"), *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    site = next((tmp_path / "venv" / "lib").glob("*/site-packages"))
    assert not HEAVY & {path.name for path in site.iterdir()}
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert size < 250e6
