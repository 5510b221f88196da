"""The wheel holds all that runs: package, suites, published results, tiny; and runs on its own."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = [path for path in (ROOT / "rmbench").rglob("*") if path.is_file()]
    expected = {
        path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts
    }
    suites = {
        f"rmbench/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "suites").rglob("*")
        if path.is_file()
    }
    published = {
        f"rmbench/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "results").glob("*/*.published.json")
    }
    assert suites and published
    assert expected | suites | published <= names


def test_it_holds_nothing_else(wheel: Path) -> None:
    for name in zipfile.ZipFile(wheel).namelist():
        assert name.startswith("rmbench/") or ".dist-info/" in name, name
        assert not name.startswith("rmbench/results/") or name.endswith(".published.json"), name


def test_unpacked_elsewhere_it_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import rmbench;"
        f"assert rmbench.__file__.startswith({str(site)!r}), rmbench.__file__;"
        "from rmbench.cli import main; main()"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", script, "run", "--no-cache", "--output", str(tmp_path / "out")],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "mini:1-1fb88db|tiny@" in outcome.stdout
    assert (tmp_path / "out" / "mini" / "tiny.jsonl").is_file()
