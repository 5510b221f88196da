"""The documents say what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import rmbench

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_of_the_command_line_is_what_help_prints(make: ModuleType) -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == make.cli_reference(), (
        "run `make docs`"
    )


def test_the_rooms_are_shown_in_their_own_words(make: ModuleType) -> None:
    page = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    assert page == make.with_tree(page), "run `make docs`"


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_every_command_is_shown_in_a_document(make: ModuleType) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "cli.md")
    for path, command in make.commands(make.main, "rmbench"):
        if path != "rmbench" and not hasattr(command, "commands"):
            assert re.search(rf"\b{path}\b", text), f"{path} is in no document"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    for link in links:
        if "://" not in link:
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_a_document_has_the_options_it_is_shown_with(
    page: Path, make: ModuleType
) -> None:
    known = dict(make.commands(make.main, "rmbench"))
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:sh|console|yaml)?\n(.*?)```", text, flags=re.DOTALL))
    for line in re.findall(r"(?m)^\s*(?:- )?(?:run: )?(rmbench [a-z].*)", blocks):
        words = line.split("#")[0].split()
        path = max((p for p in known if " ".join(words).startswith(p)), key=len)
        options = {name for option in known[path].params for name in option.opts}
        for word in words:
            if re.match("--[a-z]", word):
                assert word.split("=")[0] in options | {"--help"}, f"{page.name}: {line}"


def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from rmbench.cli import main

    outcome = CliRunner().invoke(main, ["run", "--no-cache", "--output", str(tmp_path)])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("<!-- demo -->")[2].partition("<!-- /demo -->")[0]
    # Between releases the version names the commit.
    printed = outcome.stdout.replace(f"rmbench:{rmbench.__version__}", "rmbench:0.1.0")
    assert shown.strip().removeprefix("```").removesuffix("```").strip() == printed.strip()


def test_the_leaderboard_of_the_results_is_what_the_results_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from click.testing import CliRunner

    from rmbench.cli import main

    monkeypatch.chdir(ROOT)
    outcome = CliRunner().invoke(main, ["leaderboard", "--update", "results/README.md", "--verify"])
    assert outcome.exit_code == 0, outcome.output
