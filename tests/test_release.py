"""What a release is made of: its version, its page on an index, its documents, its image."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

import rmbench

ROOT = Path(__file__).parent.parent


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_installed_distributions() -> None:
    assert re.match(r"\d+\.\d+", rmbench.__version__)


def test_an_archive_without_history_is_told_its_version() -> None:
    assert "export-subst" in text_of(".gitattributes")
    assert "describe-name: $Format:%(describe:tags=true,match=v*)$" in text_of(".git_archival.txt")


@pytest.fixture
def links() -> object:
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.absolute_links


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md)", "[a](https://github.com/o/r/blob/v1/docs/a.md)"),
        ("[a](docs/a.md#b)", "[a](https://github.com/o/r/blob/v1/docs/a.md#b)"),
        ("![a](docs/a.png)", "![a](https://raw.githubusercontent.com/o/r/v1/docs/a.png)"),
        ("[a](#b)", "[a](#b)"),
        ("[a](https://x.org/y)", "[a](https://x.org/y)"),
    ],
)
def test_links_of_the_readme_lead_somewhere_on_the_index(
    links: object, text: str, expected: str
) -> None:
    assert callable(links)
    assert links(text, "https://github.com/o/r", "v1") == expected


def test_every_file_that_the_image_copies_is_there_and_is_not_ignored() -> None:
    ignored = text_of(".dockerignore").split()
    copied = re.findall(r"(?m)^COPY (?!--from)(\S+)", text_of("Dockerfile"))
    assert copied == [".", "constraints.txt"]
    assert all((ROOT / path).exists() and path not in ignored for path in copied)


def test_the_image_asks_for_extras_that_there_are_and_starts_the_command() -> None:
    import tomllib

    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    docker = text_of("Dockerfile")
    asked = re.findall(r"whl\)\[([a-z,]+)\]", docker)
    assert len(asked) == 2  # with CUDA and without
    assert all(set(extras.split(",")) <= set(project["optional-dependencies"]) for extras in asked)
    assert docker.count('ENTRYPOINT ["rmbench"]') == 2
    stages = re.findall(r"(?m)^FROM (\S+) AS (\w+)", docker)
    assert [name for _, name in stages] == ["wheel", "base", "cpu", "cuda"]
    known = {name for _, name in stages} | {"python:3.12-slim"}
    assert {base for base, _ in stages} <= known


def test_the_workflow_builds_the_documents_with_the_versions_that_the_tests_use() -> None:
    workflow = text_of(".github/workflows/docs.yml")
    pinned = dict(re.findall(r"(?m)^(mkdocs[a-z-]*)==(\S+)", text_of("constraints.txt")))
    used = dict(re.findall(r"(mkdocs[a-z-]*)==(\S+)", workflow))
    assert used and all(pinned[name] == version for name, version in used.items())


def test_every_supported_python_is_tried_before_a_release() -> None:
    matrix = yaml.safe_load(text_of(".github/workflows/release.yml"))["jobs"]["smoke"]["strategy"]
    tried = matrix["matrix"]["python-version"]
    assert tried == ["3.11", "3.12", "3.13", "3.14"]
    tests = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]["test"]["strategy"]
    assert tests["matrix"]["python-version"] == tried


@pytest.mark.slow
def test_the_documents_build_as_a_site_with_no_dead_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages | {"index", "leaderboard"} <= {path.stem for path in tmp_path.glob("*.html")}


@pytest.mark.slow
def test_a_source_archive_holds_what_builds_and_tests_it(tmp_path: Path) -> None:
    pytest.importorskip("hatch_vcs", reason="hatch-vcs is not installed")
    if not (ROOT / ".git").exists():
        pytest.skip("no history: the files that are tracked are not known")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    environment = {**os.environ, "SETUPTOOLS_SCM_PRETEND_VERSION": "9.8.7"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    assert path.name == "rmbench-9.8.7.tar.gz"
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    missing = {name for name in tracked if name} - names
    assert missing <= {".gitignore", ".gitattributes"}
