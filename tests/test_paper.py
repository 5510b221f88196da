"""What a paper wants: charts as files, tables with booktabs, a methods sentence, BibTeX."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from rmbench.cli import main
from rmbench.result.find import find_result
from rmbench.result.store import read_published
from rmbench.show.citation import PAPERS, bibtex, methods
from rmbench.show.formats import format_table
from rmbench.show.table import Table
from rmbench.suite.catalogue import list_suites, load_suite

ROOT = Path(__file__).parent.parent
TINY, LENGTH = (str(ROOT / "results" / "mini" / f"{name}.json") for name in ("tiny", "length"))
FIRST_BYTES = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}


@pytest.mark.slow
def test_every_chart_is_a_file_in_three_formats(tmp_path: Path) -> None:
    page, figures = tmp_path / "r.html", tmp_path / "figures"
    command = ["report", TINY, LENGTH, "-o", str(page), "--figures", str(figures)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    names = {path.name.rpartition(".")[0] for path in figures.iterdir()}
    assert names == {
        "bars-mini",
        "forest-whole-mini",
        "forest-subsets-mini",
        "length-mini",
        "calibration-mini",
        "ridges-mini-0",
        "ridges-mini-1",
    }
    for name in names:
        for suffix, start in FIRST_BYTES.items():
            assert (figures / f"{name}.{suffix}").read_bytes().startswith(start)
    drawn = (figures / "bars-mini.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    # The page's variables are colours here, and none is left that stood for one.
    assert "#1f6fb2" in drawn and not re.search(r"var\(--|#0000[01]\d", drawn)
    plain = tmp_path / "plain.html"
    CliRunner().invoke(main, [*command[:3], "-o", str(plain)])
    assert plain.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


def test_a_latex_table_has_the_rules_of_booktabs_and_no_others() -> None:
    table = Table(title="T", columns=["a", "b"], rows=[["x_1", "50 %"], [r"\hline", "1"]])
    lines = format_table(table, "latex").splitlines()
    assert lines[2].startswith(r"\begin{tabular}{lr}") and lines[-1] == r"\end{tabular}"
    assert [lines.index(rf"\{name}rule") for name in ("top", "mid", "bottom")] == [3, 5, 8]
    assert r"\hline" not in lines and r"x\_1" in lines[6]


def test_a_methods_sentence_says_what_was_measured_and_cites_it() -> None:
    result = find_result(TINY)
    suites = {"mini": load_suite("mini")}
    told = methods([result], suites)
    assert told.startswith(
        "We evaluate tiny on mini (not for ranking models)~\\cite{mini} (version 1,"
    )
    assert "240 comparisons" in told and r"\cite{rmbench}" in told
    assert (
        rf"Signature: \texttt{{{str(result.signature).replace('|', chr(92) + 'textbar{}')}}}."
        in told
    )
    assert bibtex([result], suites).count("@") == 2  # nobody else can find a local model


def test_published_numbers_are_called_so_and_their_model_is_cited() -> None:
    (result,) = [
        item
        for item in read_published()
        if item.model["id"] == "SultanR/SmolTulu-1.7b-RM" and item.suite["name"] == "rewardbench"
    ]
    suites = {"rewardbench": load_suite("rewardbench")}
    assert "we take the published numbers" in methods([result], suites)
    entries = bibtex([result], suites)
    assert r"howpublished = {\url{https://huggingface.co/SultanR/SmolTulu-1.7b-RM}}" in entries
    assert "@misc{lambert2024rewardbench,\n  author = {Lambert, Nathan and others}," in entries
    assert "eprint = {2403.13787}" in entries and "year = {2024}" in entries


def test_every_paper_is_of_a_suite_and_every_suite_on_arxiv_has_one() -> None:
    prefix = "https://arxiv.org/abs/"
    references = {load_suite(name).reference or "" for name in list_suites()}
    assert set(PAPERS) == {
        item.removeprefix(prefix) for item in references if item.startswith(prefix)
    }


def test_the_command_prints_either() -> None:
    for flags, start in (([], "We evaluate tiny"), (["--bibtex"], "@software{rmbench,")):
        done = CliRunner().invoke(main, ["cite", TINY, *flags])
        assert done.exit_code == 0 and done.output.startswith(start)


def test_a_page_is_no_pdf() -> None:
    command = [sys.executable, "-m", "rmbench", "report", TINY, "-o", "x.pdf"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "give a name that ends in .html" in done.stderr
    assert not (ROOT / "x.pdf").exists()
