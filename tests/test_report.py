"""The report as a file: what it says, and what no text in it can do."""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from reports import HOSTILE_TEXTS, LONG_LINE, make_rows, write_results, write_suite

import rmbench.show.report
from rmbench.accuracy.aggregate import Accuracy
from rmbench.answers.lines import read_judgements
from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.errors import ResultError, RmbenchError, SuiteError
from rmbench.result.store import read_result, write_result
from rmbench.scorers.registry import load_scorer
from rmbench.show.report import gather, render_report
from rmbench.show.report.accuracy_figure import BarRow, accuracy_bars
from rmbench.show.report.margin_figure import RidgeRow, margin_ridges
from rmbench.show.report.svg import FigureLabel


class Page(HTMLParser):
    """What a page is made of: tags with attributes, the text of scripts and styles, all text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str | None, str]] = []
        self.words: list[str] = []
        self._open: tuple[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._open = (tag, dict(attrs).get("id"))
            self.inside.append((*self._open, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is None:
            self.words.append(data)
        else:
            tag, name, text = self.inside[-1]
            self.inside[-1] = (tag, name, text + data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def json(self, name: str) -> object:
        found = [text for _, identity, text in self.inside if identity == name]
        assert len(found) == 1
        return json.loads(found[0])

    def attribute(self, name: str) -> list[str]:
        return [
            value or "" for _, attrs in self.tags for key, value in attrs.items() if key == name
        ]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Results of the built-in rules on mini, by model."""
    folder = tmp_path_factory.mktemp("results")
    return {
        name: str(write_result(evaluate("mini", load_scorer(name)), folder))
        for name in ("length", "shorter", "random")
    }


@pytest.fixture(scope="module")
def single(results: dict[str, str]) -> Page:
    return Page(render_report(gather([results["random"]])))


@pytest.fixture(scope="module")
def double(results: dict[str, str]) -> Page:
    return Page(render_report(gather([results["length"], results["random"]])))


# --- what it says --------------------------------------------------------------------------------


def test_the_headline_is_the_record_s(single: Page, results: dict[str, str]) -> None:
    headline = read_result(Path(results["random"])).headline
    assert headline is not None and headline.low is not None and headline.high is not None
    assert f"{100 * headline.accuracy:.2f} %" in single.text
    assert f"95 % interval {100 * headline.low:.1f} to {100 * headline.high:.1f}" in single.text


def test_every_slice_stands_with_its_interval_in_a_table(
    single: Page, results: dict[str, str]
) -> None:
    record = read_result(Path(results["random"]))
    for name, item in (record.sections | record.subsets).items():
        assert item.low is not None and item.high is not None
        shown = f"{100 * item.accuracy:.2f} ({100 * item.low:.1f} to {100 * item.high:.1f})"
        assert re.search(rf"{re.escape(name)} \s*{item.n} \s*{re.escape(shown)}", single.text)


def test_signature_date_and_versions_stand_at_the_end(
    single: Page, results: dict[str, str]
) -> None:
    record = read_result(Path(results["random"]))
    for expected in (record.signature, record.date, record.environment["numpy"]):
        assert str(expected) in single.text


def test_what_the_script_gets_is_what_was_recorded(double: Page, results: dict[str, str]) -> None:
    data = double.json("suite-mini-data")
    assert isinstance(data, dict)
    for name, shown in zip(("length", "random"), data["results"], strict=True):
        rewards = read_judgements(Path(results[name]))
        assert data["ids"] == [item.id for item in rewards]
        assert shown["chosen"] == [list(item.chosen) for item in rewards]
        assert shown["rejected"] == [list(item.rejected) for item in rewards]
        won = [item.chosen[0] > item.rejected[0] for item in rewards]  # type: ignore[operator]
        assert [letter == "w" for letter in shown["endings"]] == won
    assert data["models"] == ["length", "random"]


def test_two_results_show_what_changed_sides(double: Page, results: dict[str, str]) -> None:
    sides = [
        [item.chosen[0] > item.rejected[0] for item in read_judgements(Path(results[name]))]  # type: ignore[operator]
        for name in ("length", "random")
    ]
    pairs = list(zip(*sides, strict=True))
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    assert (
        f"Both win {counts[True, True]} comparisons; only random wins {counts[False, True]},"
        f" only length {counts[True, False]}, and neither {counts[False, False]}."
    ) in double.text
    assert "Cohen's kappa" in double.text


def test_one_result_says_nothing_of_changes(single: Page) -> None:
    assert "changed sides" not in single.text
    assert "kappa" not in single.text


def test_the_length_baseline_is_found_out(double: Page) -> None:
    assert "length: within subsets, the odds of winning where the chosen response" in double.text
    assert "are over 1,000" in double.text


def test_calibration_is_drawn_for_answers_that_promise_a_probability_alone(
    single: Page, results: dict[str, str]
) -> None:
    assert "Calibration" not in single.text
    mixed = render_report(gather([results["random"], "results/mini/tiny.json"]))
    assert "random is a rule, whose rewards are no log-odds" in mixed
    assert "Calibration" in mixed


def test_two_results_open_with_the_verdict_and_group_what_changed(double: Page) -> None:
    # Of the package's 240 comparisons half have the longer response chosen, which length wins.
    assert "No significant change overall (" in double.text
    groups = [json.loads(choice) for choice in double.attribute("data-show")]
    assert {"length": "longer", "sort": "change"} in groups
    assert {"margin": "3", "model": "0", "sort": "change"} in groups
    assert "Differences on mini" in double.text


def test_published_results_are_drawn_and_cited(tmp_path: Path) -> None:
    rows = make_rows(["a", "b"])
    suite = write_suite(tmp_path, rows)
    paths = write_results(suite, tmp_path / "results", mine=[1.0, 0.0, 0.0, 1.0])
    record = json.loads(Path(paths[0]).read_text())
    record |= {"source": "published", "citation": "a paper of theirs", "signature": None}
    record["model"] = {"id": "theirs"}
    record["averages"] = {"pooled": {"accuracy": 0.75}}
    record |= {"sections": {}, "subsets": {}}
    published = tmp_path / "theirs.published.json"
    published.write_text(json.dumps(record))
    page = Page(render_report(gather([*paths, str(published)], suites=[str(suite)])))
    assert "theirs: a paper of theirs" in page.text
    assert "theirs, published" in page.text
    assert "75.00" in page.text


def test_results_of_one_model_are_told_apart(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a"]))
    paths = write_results(suite, tmp_path / "old", same=[1.0, 0.0])
    paths += write_results(suite, tmp_path / "new", same=[0.0, 1.0])
    for path, revision in zip(paths, ("1111111aaaa", "2222222bbbb"), strict=True):
        record = json.loads(Path(path).read_text())
        record["model"]["revision"] = revision
        Path(path).write_text(json.dumps(record))
    page = Page(render_report(gather(paths, suites=[str(suite)])))
    assert "only same 2222222 wins 0, only same 1111111 1" in page.text


def test_twins_that_nothing_tells_apart_are_numbered(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a"]))
    paths = write_results(suite, tmp_path / "results", same=[1.0, 0.0])
    page = Page(render_report(gather(paths * 2, suites=[str(suite)])))
    assert "same float32 (1) and same float32 (2)" in page.text


def test_several_suites_stand_one_after_the_other(results: dict[str, str], tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a"]))
    paths = write_results(suite, tmp_path / "results", mine=[1.0, 0.0])
    page = Page(render_report(gather([results["random"], *paths], suites=[str(suite)])))
    ids = page.attribute("id")
    assert len(ids) == len(set(ids))
    assert {"suite-mini", "suite-own", "suite-mini-texts", "suite-own-texts"} <= set(ids)


def test_best_of_suites_show_every_response(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "subset": "s", "prompt": "p", "chosen": "c", "rejected": ["r1", "r2"]},
        {"id": "2", "subset": "s", "prompt": "p2", "chosen": "c", "rejected": ["r3", "r4"]},
    ]
    suite = write_suite(tmp_path, rows, rule="best-of")
    paths = write_results(suite, tmp_path / "results", m=[1.0, 0.0, 0.5, 1.0, 1.0, 0.0])
    page = Page(render_report(gather(paths, suites=[str(suite)])))
    assert page.json("suite-own-texts") == [
        [[["user", "p"]], ["c"], ["r1", "r2"]],
        [[["user", "p2"]], ["c"], ["r3", "r4"]],
    ]
    assert "1 won, 1 tied" in page.text


def test_dropped_comparisons_are_listed_and_counted(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a", "b"]))
    paths = write_results(suite, tmp_path / "results", m=[1.0, 0.0, None, 1.0])
    page = Page(render_report(gather(paths, suites=[str(suite)])))
    assert "1 won, 1 dropped" in page.text
    assert ("option", {"value": "d"}) in page.tags


def test_a_partial_run_says_so(tmp_path: Path) -> None:
    path = write_result(evaluate("mini", load_scorer("length"), limit=12), tmp_path)
    page = Page(render_report(gather([str(path)])))
    assert "A partial run: only 12 comparisons, spread over the suite." in page.text


# --- with and without texts ----------------------------------------------------------------------


def test_without_the_texts_length_is_what_the_record_says(tmp_path: Path) -> None:
    texts = ["x" * (1 + i % 7) for i in range(40)]
    suite = write_suite(tmp_path, make_rows(texts))
    rows = tmp_path / "rows.jsonl"
    longer = [json.loads(line) for line in rows.read_text().splitlines()]
    for i, item in enumerate(longer):
        item["chosen"] += "y" * (3 if i % 2 else 0)
    rows.write_text("".join(json.dumps(item) + "\n" for item in longer))
    (path,) = write_results(suite, tmp_path / "out", a=[float(i % 3) for i in range(80)])
    shown = Page(render_report(gather([path], suites=[str(suite)])))
    rows.rename(tmp_path / "elsewhere.jsonl")
    bare = Page(render_report(gather([path], suites=[str(suite)])))
    pattern = r"when the chosen response is .* longer: 20 as long: 0 shorter: 20 .*?Calibration"
    found = [re.search(pattern, page.text) for page in (shown, bare)]
    assert found[0] is not None and found[1] is not None
    assert found[0][0] == found[1][0]
    assert "a: within subsets, the odds of winning" in bare.text


def test_without_the_texts_it_says_how_to_get_them(
    results: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write_suite(tmp_path, make_rows(["a", "b"]))
    paths = write_results(suite, tmp_path / "results", m=[1.0, 0.0, 0.0, 1.0])
    copy = tmp_path / "copy.jsonl"
    (tmp_path / "rows.jsonl").rename(copy)
    page = Page(render_report(gather(paths, suites=[str(suite)])))
    assert "--data own=PATH" in page.text
    assert "suite-own-texts" not in page.attribute("id")
    again = Page(render_report(gather(paths, suites=[str(suite)], data={"own": str(copy)})))
    assert "--data own=PATH" not in again.text
    assert "suite-own-texts" in again.attribute("id")


def test_texts_other_than_the_scored_ones_are_refused(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a", "b"]))
    paths = write_results(suite, tmp_path / "results", m=[1.0, 0.0, 0.0, 1.0])
    other = tmp_path / "other.jsonl"
    other.write_text((tmp_path / "rows.jsonl").read_text().replace("chosen 0", "changed 0"))
    with pytest.raises(SuiteError, match="not the texts that were scored"):
        gather(paths, suites=[str(suite)], data={"own": str(other)})


def test_too_much_text_is_cut_to_what_is_lost_by_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write_suite(tmp_path, make_rows(["a", "b", "c"]))
    paths = write_results(suite, tmp_path / "results", m=[1.0, 0.0, 0.0, 9.0, 0.0, 1.0])
    material = gather(paths, suites=[str(suite)])
    one = sum(map(len, ("prompt 1: b", "chosen 1: b", "rejected 1: b")))
    monkeypatch.setattr(rmbench.show.report, "MAX_TEXT_CHARACTERS", 2 * one)
    page = Page(render_report(material))
    texts = page.json("suite-own-texts")
    assert isinstance(texts, list)
    assert [item is not None for item in texts] == [False, True, True]
    assert "too many for one page" in page.text


# --- safety --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("hostile")
    subset = "<img src=x onerror=alert(1)> $x$ \u202e"
    rows = make_rows([*HOSTILE_TEXTS, LONG_LINE], subset=subset)
    suite = write_suite(folder, rows)
    name = "</script><b>\u202emodel</b>"
    paths = write_results(suite, folder / "results", **{name: [0.0, 1.0] * len(rows)})
    return Page(render_report(gather(paths, suites=[str(suite)])))


def test_no_text_becomes_markup(hostile: Page) -> None:
    tags = {tag for tag, _ in hostile.tags}
    assert tags.isdisjoint({"img", "b", "i", "iframe", "object", "embed", "link", "base"})
    assert len([tag for tag, _ in hostile.tags if tag == "script"]) == 3
    for _, attributes in hostile.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes and "style" not in attributes


def test_no_address_but_places_in_the_page(hostile: Page) -> None:
    addresses = hostile.attribute("href") + hostile.attribute("clip-path")
    assert addresses
    assert all(address.startswith(("#", "url(#")) for address in addresses)


def test_marks_that_reorder_text_are_written_out(hostile: Page) -> None:
    assert "\u202e" not in hostile.text
    assert "\\u202emodel" in hostile.text


def test_hostile_texts_reach_the_script_unchanged(hostile: Page) -> None:
    texts = hostile.json("suite-own-texts")
    assert isinstance(texts, list)
    for number, text in enumerate([*HOSTILE_TEXTS, LONG_LINE]):
        assert texts[number] == [
            [["user", f"prompt {number}: {text}"]],
            [f"chosen {number}: {text}"],
            [f"rejected {number}: {text}"],
        ]


def test_the_policy_lets_nothing_run_but_the_page_s_own_script(hostile: Page) -> None:
    policy = next(
        attributes["content"]
        for tag, attributes in hostile.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    for rule, tag in (("style-src", "style"), ("script-src", "script")):
        own = next(text for kind, name, text in hostile.inside if kind == tag and name is None)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_script_never_writes_markup() -> None:
    script = (Path(rmbench.show.report.__file__).parent / "explorer.js").read_text(encoding="utf-8")
    for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert banned not in script


@given(st.text())
def test_embedded_json_can_end_no_element_and_reads_back(text: str) -> None:
    embedded = rmbench.show.report._embedded([text, {text: text}])
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == [text, {text: text}]


# --- figures -------------------------------------------------------------------------------------


def bars(names: Sequence[str], *, key: str = "f") -> str:
    item = Accuracy(accuracy=0.5, low=0.4, high=0.6, n=10, wins=5, ties=0)
    rows = [BarRow(name, "subset", [item, item], [0.7, None]) for name in names]
    return accuracy_bars(rows, FigureLabel(key, "Bars <&>", "What they show"), width=400)


def test_a_figure_is_an_image_with_a_name_and_a_description() -> None:
    root = ElementTree.fromstring(bars(["a"]))
    assert root.get("role") == "img"
    labels = {child.get("id"): child.text for child in root if child.tag in ("title", "desc")}
    assert labels == {"f-title": "Bars <&>", "f-desc": "What they show"}
    assert root.get("aria-labelledby") == "f-title f-desc"


def test_a_figure_has_only_what_the_policy_lets_through() -> None:
    for element in ElementTree.fromstring(bars(["a"])).iter():
        assert element.tag in {"svg", "title", "desc", "g", "defs", "clipPath", "path", "rect",
                               "use", "text"}  # fmt: skip
        assert "style" not in element.attrib
        assert element.get("id", "f-").startswith("f-")


def test_every_colour_is_one_of_the_page_s() -> None:
    ridges = margin_ridges(
        [RidgeRow("a", np.array([-2.0, 0.0, 0.0, 1.0, 3.0]))], FigureLabel("r", "t", "d"), width=400
    )
    for source in (bars(["a"]), ridges):
        colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', source))
        assert {colour for colour in colours if not colour.startswith("var(--")} <= {"none"}
        style = (Path(rmbench.show.report.__file__).parent / "page.css").read_text(encoding="utf-8")
        for colour in colours - {"none"}:
            assert style.count(f"{colour[4:-1]}:") == 3  # light, dark and print


@pytest.mark.parametrize("name", ["<b>", "$x_1$", "\x00\x1b", "\u202eabc", "漢字", "a" * 500, "&"])
def test_any_name_stands_in_a_figure_as_text(name: str) -> None:
    root = ElementTree.fromstring(bars([name]))
    texts = ["".join(element.itertext()) for element in root.iter("text")]
    expected = {"\x00\x1b": "\\x00\\x1b", "\u202eabc": "\\u202eabc", "a" * 500: "a" * 21 + "…"}
    assert expected.get(name, name) in texts


def test_margins_that_are_all_equal_can_be_drawn() -> None:
    for value in (0.0, 2.5, -1e30):
        rows = [RidgeRow("a", np.array([value]))]
        ElementTree.fromstring(margin_ridges(rows, FigureLabel("r", "t", "d"), width=400))


def test_the_same_rows_make_the_same_figure() -> None:
    assert bars(["a", "b"]) == bars(["a", "b"])


def test_a_matplotlib_style_of_the_user_changes_nothing() -> None:
    import matplotlib as mpl

    plain = bars(["a"])
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30.0, "axes.grid": True}):
        assert bars(["a"]) == plain
        assert mpl.rcParams["font.size"] == 30.0


# --- what is refused -----------------------------------------------------------------------------


def test_published_numbers_alone_make_no_report() -> None:
    with pytest.raises(ResultError, match="published numbers have no rewards"):
        gather(["rewardbench/SultanR/SmolTulu-1.7b-RM"])


def test_more_results_than_fit_side_by_side_are_refused(results: dict[str, str]) -> None:
    with pytest.raises(ResultError, match="5 results of mini: a report shows at most 4"):
        gather([results["length"]] * 5)


def test_results_of_different_comparisons_are_refused(
    results: dict[str, str], tmp_path: Path
) -> None:
    part = write_result(evaluate("mini", load_scorer("length"), limit=12), tmp_path)
    with pytest.raises(ResultError, match="not the comparisons that random scored"):
        gather([results["random"], str(part)])


def test_a_record_without_its_rewards_is_refused(tmp_path: Path) -> None:
    path = write_result(evaluate("mini", load_scorer("length")), tmp_path)
    path.with_suffix(".jsonl").unlink()
    with pytest.raises(ResultError, match="length on mini: no rewards beside the record"):
        gather([str(path)])


def test_another_version_of_the_suite_is_refused(tmp_path: Path) -> None:
    path = write_result(evaluate("mini", load_scorer("length")), tmp_path)
    record = json.loads(path.read_text())
    record["suite"]["version"] = 99
    path.write_text(json.dumps(record))
    with pytest.raises(
        ResultError,
        match=r"suite\.definition: is of mini, version 1, where the result is on mini, version 99",
    ):
        gather([str(path)])


def test_data_of_a_suite_that_is_not_there_is_refused(results: dict[str, str]) -> None:
    with pytest.raises(SuiteError, match=r"--data minj: .* did you mean"):
        gather([results["length"]], data={"minj": "x"})


def test_a_missing_library_is_named_with_its_remedy(
    results: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    material = gather([results["length"]])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    remedy = r"matplotlib is not installed; pip install 'rmbench\[report\]'"
    with pytest.raises(RmbenchError, match=remedy):
        render_report(material)


# --- the command ---------------------------------------------------------------------------------


def write_page(arguments: list[str]) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def test_the_command_writes_one_file(results: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    done = write_page([results["length"], results["random"], "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert re.fullmatch(rf"written: {re.escape(str(output))} \(0\.\d MB\)\n", done.stderr)
    assert output.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_command_takes_a_folder_data_and_suites(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, make_rows(["a", "b"]))
    write_results(suite, tmp_path / "results", m=[1.0, 0.0, 0.0, 1.0], k=[0.0, 1.0, 0.0, 1.0])
    output = tmp_path / "report.html"
    options = ["-o", str(output), "--suite", str(suite), "--data", f"own={tmp_path}/rows.jsonl"]
    done = write_page([str(tmp_path / "results"), *options])
    assert done.exit_code == 0, done.output
    assert "k and m" in Page(output.read_text(encoding="utf-8")).text


def test_data_without_a_path_means_the_suite_s_own_source(
    results: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "report.html"
    done = write_page([results["length"], "--data", "mini", "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "suite-mini-texts" in Page(output.read_text(encoding="utf-8")).attribute("id")


def test_a_place_that_cannot_be_written_is_named(results: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file" / "report.html"
    done = write_page([results["length"], "-o", str(output)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"rmbench: {output}: cannot be written: ")
    assert (tmp_path / "file").read_text() == "mine"
