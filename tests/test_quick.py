"""The quick sample: every subset, the same each time, and the narrowest interval for its size."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import rmbench
from rmbench.accuracy.quick import allocate, open_part
from rmbench.compare.comparable import check_comparable
from rmbench.compare.reproduction import command_of
from rmbench.errors import ResultError, SuiteError
from rmbench.result.names import file_stem, kept_stem
from rmbench.result.store import read_result, write_result
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Feed, Part, open_feed

SUITE = """
name = "mine"
version = 1
[source]
path = "rows.jsonl"
[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
[sections]
Left = ["a", "b"]
Right = ["c"]
[averages]
sections = { mean = ["Left", "Right"] }
"""


def made(folder: Path, sizes: dict[str, int], *, prompts: int = 10**6, more: str = "") -> Suite:
    """Write a suite of so many rows in each subset, over so many prompts, and return it."""
    rows: list[dict[str, Any]] = [
        {"id": f"{i}", "subset": name, "prompt": f"ask {i % prompts}", "chosen": "yes" * (i + 1)}
        | {"rejected": f"{name} {i}"}
        for name, size in sizes.items()
        for i in range(size)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.toml").write_text(SUITE + more)
    return load_suite(str(folder / "mine.toml"))


def quick(suite: Suite, size: int) -> Feed:
    return open_part(suite, part=Part(size, "quick"))


@pytest.mark.parametrize("total", [6, 7, 9, 12])
def test_no_other_allocation_has_a_smaller_variance(total: int) -> None:
    weights = {"a": 0.5, "b": 0.1, "c": 0.4}
    sizes = {"a": [1] * 9, "b": [1] * 9, "c": [1] * 3}
    found = allocate(weights, sizes, total)

    def variance(numbers: tuple[int, ...]) -> float:
        return sum(w * w / n for w, n in zip(weights.values(), numbers, strict=True))

    every = itertools.product(range(2, 10), range(2, 10), range(2, 4))
    best = min(variance(numbers) for numbers in every if sum(numbers) == total)
    assert sum(found.values()) == total
    assert variance(tuple(found.values())) == pytest.approx(best, abs=1e-12)


def test_subsets_are_drawn_by_what_they_weigh(tmp_path: Path) -> None:
    # Left is a by 90 and b by 10 rows, and half of the mean: 0.45, 0.05 and 0.5.
    feed = quick(made(tmp_path, {"a": 90, "b": 10, "c": 900}), 40)
    counts = {name: feed.contents.subsets.count(name) for name in "abc"}
    assert counts == {"a": 18, "b": 2, "c": 20}
    assert feed.indices == sorted(set(feed.indices or ()))
    assert [item.id for item in feed] == feed.contents.ids


def test_the_sample_is_the_same_each_time_and_needs_no_order_of_the_rows(tmp_path: Path) -> None:
    suite = made(tmp_path, {"a": 50, "b": 50, "c": 50})
    before = quick(suite, 20).contents.ids
    assert quick(suite, 20).contents.ids == before
    rows = (tmp_path / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join(reversed(rows)) + "\n")
    assert sorted(quick(suite, 20).contents.ids) == sorted(before)


def test_prompts_are_new_ones_while_there_are_any(tmp_path: Path) -> None:
    suite = made(tmp_path, {"a": 40, "b": 40, "c": 40}, prompts=20)
    assert quick(suite, 18).contents.num_clusters == 18
    assert open_part(suite, part=Part(18)).contents.num_clusters < 18


def test_its_interval_is_narrower_than_that_of_evenly_spread_comparisons(tmp_path: Path) -> None:
    suite = made(tmp_path, {"a": 300, "b": 20, "c": 30})
    scorer = rmbench.scorer("me/parity", lambda asked: float(len(asked.response) % 7))
    widths = []
    for part in ({"quick": 60}, {"limit": 60}):
        headline = rmbench.evaluate(suite, scorer, **part).averages["sections"]
        assert headline.low is not None and headline.high is not None
        widths.append(headline.high - headline.low)
    assert widths[0] < widths[1]


def test_too_small_a_sample_is_refused_and_a_large_one_is_the_suite(tmp_path: Path) -> None:
    suite = made(tmp_path, {"a": 4, "b": 4, "c": 4})
    with pytest.raises(SuiteError, match="its 3 subsets must all be in it; give 3 or more"):
        quick(suite, 2)
    assert set(quick(suite, 3).contents.subsets) == {"a", "b", "c"}
    whole = quick(suite, 12)
    assert (whole.indices, whole.sample) == (None, None)


def test_comparisons_that_are_judged_in_pairs_stay_together(tmp_path: Path) -> None:
    suite = made(
        tmp_path, {"a": 4, "b": 4}, more='[credit]\nrule = "best-of"\n[credit.c]\nrule="ties"\n'
    )
    rows = (tmp_path / "rows.jsonl").read_text()
    for number in range(8):
        for kind in ("ref", "tied"):
            row = {"id": f"{kind}:{number}", "subset": "c", "prompt": f"{kind} {number}"}
            rows += json.dumps(row | {"chosen": "x" * (number + 2), "rejected": "y"}) + "\n"
    (tmp_path / "rows.jsonl").write_text(rows)
    feed = quick(suite, 13)
    pairs = [identity for identity in feed.contents.ids if identity.startswith("c/")]
    names = {identity.rpartition(":")[2] for identity in pairs}
    assert sorted(pairs) == sorted(f"c/{kind}:{n}" for kind in ("ref", "tied") for n in names)
    assert len(feed.contents.ids) in (12, 13)


def test_a_quick_result_says_so_and_stands_for_nothing_else(tmp_path: Path) -> None:
    quick_one, spread, whole = (
        rmbench.evaluate("mini", rmbench.load_scorer("length"), **part)
        for part in ({"quick": 40}, {"limit": 40}, {})
    )
    assert (quick_one.partial, quick_one.sample, spread.sample) == (40, "quick", None)
    assert "|quick:40|" in str(quick_one.signature) and "|partial:40|" in str(spread.signature)
    assert file_stem(quick_one) == "length.quick-40"
    assert kept_stem(quick_one).startswith("length+") and kept_stem(quick_one).endswith(".quick-40")
    assert list(quick_one.sections) == list(whole.sections)
    for other in (spread, whole):
        with pytest.raises(ResultError, match="a quick sample of 40 comparisons"):
            check_comparable(quick_one, other)
    path = write_result(quick_one, tmp_path)
    assert read_result(path).part == "quick:40"
    assert command_of(quick_one, given={}).text.endswith("--quick 40 --no-cache")


def test_held_comparisons_are_not_read_again(tmp_path: Path) -> None:
    suite = made(tmp_path, {"a": 9, "b": 9, "c": 9})
    held = quick(suite, 10).hold()
    (tmp_path / "rows.jsonl").unlink()
    assert [item.id for item in held] == held.contents.ids


def test_limit_and_quick_exclude_each_other() -> None:
    with pytest.raises(TypeError, match="give one of them"):
        rmbench.evaluate("mini", "length", limit=3, quick=3)
    with pytest.raises(ValueError, match="quick must be at least 1, got 0"):
        rmbench.evaluate("mini", "length", quick=0)


def test_the_whole_suite_is_read_as_before() -> None:
    assert open_part(load_suite("mini")).contents == open_feed(load_suite("mini")).contents
