"""How long does the site of 300 models on 7 suites take, and how large is its first page?

    python benchmarks/many_models.py [--models 300] [--suites 7] [--comparisons 300]

Results are made up: each model has a skill, each comparison a difficulty, and rewards follow.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from rmbench.accuracy.aggregate import summarize
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgements
from rmbench.result.find import find_results
from rmbench.result.record import Result
from rmbench.result.store import write_result
from rmbench.show.site import build_site, gather_site
from rmbench.suite.definition import Average, Columns, Credit, Section, Source, Suite


def a_suite(number: int, folder: Path) -> Suite:
    """Return a suite with three sections."""
    names = ("Chat", "Code", "Safety")
    return Suite(
        name=f"suite-{number}",
        title=f"Suite {number}",
        version=1,
        source=Source(path="none.jsonl"),
        columns=(Columns(chosen="chosen", rejected="rejected"),),
        credit=Credit(tie=0.0),
        sections=tuple(Section(name=name, subsets=(name.lower(),)) for name in names),
        averages=(Average(name="pooled"), Average(name="sections", sections=names)),
        headline="sections",
        folder=folder,
    )


def a_result(suite: Suite, model: int, count: int) -> Result:
    """Return the result of a made-up model."""
    chance = np.random.default_rng([model, int(suite.name.rpartition("-")[2])])
    difficulty = np.random.default_rng(int(suite.name.rpartition("-")[2])).normal(size=count)
    margins = (model / 150.0 - difficulty + chance.normal(size=count)).astype(np.float32)
    subsets = [("chat", "code", "safety")[i % 3] for i in range(count)]
    rewards = Judgements(
        [f"{subset}/{i}" for i, subset in enumerate(subsets)],
        [(1, 1)] * count,
        np.column_stack([margins, np.zeros_like(margins)]).ravel(),
    )
    summary = summarize(suite, subsets, judge(suite, rewards), partial=False)
    facts = {"name": suite.name, "version": 1, "headline": "sections", "sha256": "0" * 64}
    size = int(10 ** chance.uniform(8, 10.5))
    return Result(
        source="measured",
        suite=facts | {"comparisons": count},
        model={"id": f"org{model % 17}/model-{model}", "kind": "classifier", "parameters": size},
        signature=f"{suite.name}:1|model-{model}",
        averages=summary.averages,
        sections=summary.sections,
        subsets=summary.subsets,
        date="2026-01-01T00:00:00+00:00",
        rewards=rewards,
    )


def main() -> None:
    """Print seconds and sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--suites", type=int, default=7)
    parser.add_argument("--comparisons", type=int, default=300)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        suites = [a_suite(number, folder) for number in range(given.suites)]
        for suite in suites:
            for model in range(given.models):
                write_result(a_result(suite, model, given.comparisons), folder / "results")
        start = time.perf_counter()
        listing = find_results([str(folder / "results")], rewards=lambda _: True)
        read = time.perf_counter()
        site = gather_site(listing.results, {suite.name: suite for suite in suites})
        paths = build_site(site, given.output or folder / "public")
        done = time.perf_counter()
        print(f"read {read - start:.1f} s, built {done - read:.1f} s, {len(paths)} files")
        print(f"first page {paths[0].stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
