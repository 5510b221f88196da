"""The site: what its pages say, where they link, and that nothing of others runs in them."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from recorded import changed
from reports import HOSTILE_TEXTS, make_rows, write_results, write_suite
from scored import COUNTS, TOY, published, toy_margins, toy_result

from rmbench.cli import main
from rmbench.errors import ResultError
from rmbench.show.site import build_site, gather_site
from rmbench.show.site.material import Site

N = sum(COUNTS.values())


def toy_site(**shifts: float) -> Site:
    results = [
        toy_result(toy_margins(7, shift=shift), model=name, date="2026-01-02")
        for name, shift in shifts.items()
    ]
    rule = toy_result([1.0] * N, model="length")
    rule = changed(rule, model={"id": "length", "kind": "builtin"})
    paper = published({"X": 0.75, "Y": 0.25}, model={"id": "org/paper"})
    return gather_site([*results, rule, paper], {"toy": TOY})


def links(folder: Path) -> set[tuple[str, str]]:
    """Return every link of every page: the page it stands on, and where it leads."""
    found = set()
    for page in folder.glob("*.html"):
        for target in re.findall(r'href="([^"]*)"', page.read_text(encoding="utf-8")):
            found.add((page.name, unescape(target)))
    return found


def test_every_link_of_the_site_leads_somewhere_in_it(tmp_path: Path) -> None:
    build_site(toy_site(good=0.8, fair=0.1), tmp_path)
    for page, target in links(tmp_path):
        name, _, anchor = target.partition("#")
        text = (tmp_path / (name or page)).read_text(encoding="utf-8")
        assert not anchor or f'id="{anchor}"' in text, (page, target)


def test_the_pages_of_a_site(tmp_path: Path) -> None:
    paths = build_site(toy_site(good=0.8, fair=0.1), tmp_path)
    assert paths[0] == tmp_path / "index.html"
    assert sorted(path.name for path in paths) == [
        "comparisons-toy-1.html",
        "comparisons-toy-2.html",
        "index.html",
        "model-fair.html",
        "model-good.html",
        "model-length.html",
        "model-org--paper.published.html",
        "suite-toy.html",
    ]


def test_the_best_model_comes_first_and_baselines_have_no_rank() -> None:
    material = toy_site(good=0.8, fair=0.1, bad=-2.0).suites[0]
    ranks = {entry.name: material.ranks.get(entry.slug) for entry in material.entries}
    assert [name for name in ranks if name not in ("length", "org/paper")] == [
        "good",
        "fair",
        "bad",
    ]
    assert ranks["length"] is None  # the published one, at 50 %, is third
    assert [ranks[name].text for name in ("good", "fair", "bad")] == ["1", "2", "4"]


def test_a_published_average_follows_from_its_sections(tmp_path: Path) -> None:
    build_site(toy_site(good=0.8), tmp_path)
    text = (tmp_path / "model-org--paper.published.html").read_text(encoding="utf-8")
    assert '<span class="big">50.00</span>' in text  # mean of 75 and 25


def test_a_comparison_says_which_models_missed_it(tmp_path: Path) -> None:
    margins = np.ones(N)
    margins[0] = -1.0
    results = [
        toy_result(margins.tolist(), model="misses-one"),
        toy_result([1.0] * N, model="misses-none"),
    ]
    site = gather_site(results, {"toy": TOY})
    assert site.suites[0].solved.tolist() == [0.5] + [1.0] * (N - 1)
    build_site(site, tmp_path)
    text = (tmp_path / "comparisons-toy-1.html").read_text(encoding="utf-8")
    assert "50 % of the models are right. Not right: misses-one." in text
    suite = (tmp_path / "suite-toy.html").read_text(encoding="utf-8")
    assert suite.index('href="comparisons-toy-1.html#c1"') < suite.index("#c2")


def test_the_best_are_marked_as_the_tests_tell_them_apart(tmp_path: Path) -> None:
    half = [1.0, -1.0] * (N // 2) + [1.0] * (N % 2)
    near = [1.0] * (N - 2) + [-1.0] * 2
    results = [
        toy_result([1.0] * N, model="best"),
        toy_result(near, model="near"),
        toy_result(half, model="half"),
    ]
    rule = changed(toy_result([1.0] * N), model={"id": "length", "kind": "rule"})
    site = gather_site([*results, rule], {"toy": TOY})
    build_site(site, tmp_path)
    text = (tmp_path / "suite-toy.html").read_text(encoding="utf-8")
    drawn = re.findall(r'<a href="model-(\w+)\.html" aria-label="([^"]*)"( class="best")?>', text)
    assert [(name, bool(mark)) for name, _, mark in drawn] == [
        ("best", True),
        ("near", True),
        ("half", False),
    ]
    assert drawn[2][1].endswith("rank 3") and drawn[0][1].startswith("best: 100.00 %")
    # The rule has the best number, and stands below all models.
    assert text.index(">half<") < text.index(">length<")


def test_agreement_is_the_share_of_comparisons_with_the_same_credit(tmp_path: Path) -> None:
    margins = [-1.0] * (N // 5) + [1.0] * (N - N // 5)
    results = [toy_result(margins, model="a"), toy_result([1.0] * N, model="b")]
    build_site(gather_site(results, {"toy": TOY}), tmp_path)
    text = (tmp_path / "suite-toy.html").read_text(encoding="utf-8")
    assert re.findall(r'<td class="(h\d|self)">(\d*)</td>', text) == [
        ("self", ""),
        ("h6", "80"),
        ("h6", "80"),
        ("self", ""),
    ]


def test_the_latest_result_counts_and_says_what_changed(tmp_path: Path) -> None:
    old = toy_result([-1.0] * N, model="m", date="2026-01-01T00:00:00")
    new = toy_result([1.0] * N, model="m", date="2026-02-01T00:00:00")
    site = gather_site([new, old], {"toy": TOY})
    assert len(site.entries) == 1
    build_site(site, tmp_path)
    text = (tmp_path / "model-m.html").read_text(encoding="utf-8")
    assert "Since the result of 2026-01-01" in text
    assert "<td>+100.00</td>" in text


def test_two_ways_of_running_a_model_have_a_page_each() -> None:
    plain = toy_result([1.0] * N, model="m")
    bare = changed(plain, settings={**plain.settings, "template": "none"})
    names = [entry.name for entry in gather_site([plain, bare], {"toy": TOY}).entries]
    assert names == ["m", "m (tmpl-none)"]


def test_without_a_whole_result_there_is_no_site() -> None:
    part = changed(toy_result([1.0] * N), partial=3)
    with pytest.raises(ResultError, match="`rmbench run` makes them"):
        gather_site([part], {"toy": TOY})


def test_hostile_texts_and_names_stay_text(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(HOSTILE_TEXTS))
    rewards = [1.0, 0.0] * len(HOSTILE_TEXTS)
    name = "<script>alert(1)</script>\u202e\"'"
    write_results(suite, tmp_path / "results", **{name: rewards, "b": rewards})
    done = CliRunner().invoke(
        main, ["site", str(tmp_path / "results"), "--suite", str(suite), "-o", str(tmp_path / "p")]
    )
    assert done.exit_code == 0, done.stderr
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "p").glob("*.html")]
    for page in pages:
        assert len(re.findall("<script", page)) == 1  # its own
        assert "<img" not in page
        assert "\u202e" not in page
        assert 'href="javascript:' not in page
        assert "default-src 'none'" in unescape(page)
    assert any("&lt;script&gt;alert(1)&lt;/script&gt;" in page for page in pages)


def test_a_record_is_enough_for_a_suite_of_ones_own(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["x", "y"]))
    write_results(suite, tmp_path / "results", a=[1.0, 0.0, 1.0, 0.0])
    suite.unlink()
    (tmp_path / "results" / "check.json").write_text("{}", encoding="utf-8")
    command = ["site", str(tmp_path / "results"), "-o", str(tmp_path / "p")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0
    assert "check.json: not a result of rmbench" in done.stderr
    assert (tmp_path / "p" / "suite-own.html").is_file()
