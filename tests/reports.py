"""Suites and results for the tests of the report."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asked import Given

from rmbench.result.store import write_result
from rmbench.run import evaluate_feed
from rmbench.scorers.contract import ScorerInfo
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed

HOSTILE_TEXTS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "<!--<script>document.title='owned'",
    "[click](javascript:document.title='owned') <a href=\"javascript:alert(1)\">x</a>",
    "]]><svg/onload=document.title='owned'>",
    "{{ 7 * 7 }} {% for x in y %} ${7*7} &lt;b&gt; &amp;amp;",
    "\u202egnp.elif\u202c \u2066isolated\u2069 end",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f next \x85 line\u2028para\u2029end \ufeff",
    "\U0001f469\u200d\U0001f4bb \u05e9\u05dc\u05d5\u05dd \u4f60\u597d e\u0301",
    "__proto__ constructor \\u003c \\ ' \" `",
)
LONG_LINE = "x" * 200_000


def fixed(name: str, rewards: Sequence[float | None]) -> Given:
    """Return a scorer that gives these rewards, in the order of what it is asked."""
    settings = {"dtype": "float32"}
    info = ScorerInfo(id=name, kind="classifier", scale="log-odds", settings=settings)
    return Given(info, rewards)


def write_suite(folder: Path, rows: Sequence[dict[str, Any]], *, rule: str = "pair") -> Path:
    """Write a suite called ``own`` with these rows; return its file."""
    lines = (json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    subsets = json.dumps(sorted({row["subset"] for row in rows}))
    path = folder / "own.toml"
    path.write_text(
        f"""
name = "own"
title = "Own <b>suite</b>"
version = 1
reference = "javascript:alert(1)"
[source]
path = "rows.jsonl"
[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
[credit]
rule = "{rule}"
[sections]
"<i>All</i>" = {subsets}
[averages]
pooled = "comparisons"
headline = "pooled"
""",
        encoding="utf-8",
    )
    return path


def make_rows(texts: Sequence[str], *, subset: str = "plain") -> list[dict[str, Any]]:
    """Return one comparison for each text, which stands in the prompt and on both sides."""
    return [
        {
            "id": f"{number:04}",
            "subset": subset,
            "prompt": f"prompt {number}: {text}",
            "chosen": f"chosen {number}: {text}",
            "rejected": f"rejected {number}: {text}",
        }
        for number, text in enumerate(texts)
    ]


def write_results(suite: Path, folder: Path, **rewards: Sequence[float | None]) -> list[str]:
    """Score a suite with fixed rewards under these names; return the records' paths."""
    feed = open_feed(load_suite(str(suite)))
    return [
        os.fspath(write_result(evaluate_feed(feed, fixed(name, values)), folder))
        for name, values in rewards.items()
    ]
