"""A small suite with weighted sections, and results on it made of rewards alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmbench.accuracy.aggregate import summarize
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgement
from rmbench.result.record import Result
from rmbench.suite.definition import Average, Columns, Credit, Section, Source, Suite

# Comparisons per subset; the weights of Y are not in proportion to its counts.
COUNTS = {"a": 40, "b": 25, "c": 30, "d": 60}


def toy_suite(*, tie: float = 0.0, rule: str = "pair", folder: Path = Path()) -> Suite:
    return Suite(
        name="toy",
        title="Toy",
        version=1,
        source=Source(path="toy.jsonl"),
        columns=(Columns(chosen="chosen", rejected="rejected"),),
        credit=Credit(rule=rule, tie=tie if rule == "pair" else None, several=rule == "best-of"),
        sections=(
            Section(name="X", subsets=("a", "b")),
            Section(name="Y", subsets=("c", "d"), weights={"c": 3.0, "d": 1.0}),
        ),
        averages=(Average(name="pooled"), Average(name="sections", sections=("X", "Y"))),
        headline="sections",
        folder=folder,
    )


TOY = toy_suite()


def toy_ids(counts: Mapping[str, int] = COUNTS) -> list[str]:
    return [f"{subset}/{i}" for subset, n in counts.items() for i in range(n)]


def toy_result(
    margins: Sequence[float | None],
    *,
    model: str = "new",
    suite: Suite = TOY,
    ids: Sequence[str] | None = None,
    **changes: Any,
) -> Result:
    """Return the result of a model whose rejected rewards are all 0; None is a dropped one."""
    names = toy_ids() if ids is None else list(ids)
    rewards = [
        Judgement(name, (None if margin is None else float(np.float32(margin)),), (0.0,))
        for name, margin in zip(names, margins, strict=True)
    ]
    subsets = [name.partition("/")[0] for name in names]
    summary = summarize(
        suite, subsets, judge(suite, rewards), partial=changes.get("partial") is not None
    )
    fields: dict[str, Any] = {
        "source": "measured",
        "suite": {
            "name": suite.name,
            "version": suite.version,
            "sha256": "0" * 64,
            "comparisons": len(names),
            "headline": suite.headline,
            "origin": "toy.jsonl",
        },
        "model": {"id": model, "revision": None, "kind": "own", "parameters": None},
        "settings": {"dtype": "float32"},
        "usual": {"dtype": "float32"},
        "signature": f"toy:1|{model}",
        "averages": summary.averages,
        "sections": summary.sections,
        "subsets": summary.subsets,
        "rewards": rewards,
    }
    return Result(**fields | changes)


def toy_margins(seed: int, *, shift: float = 0.0) -> list[float]:
    """Return margins of which a good half is above 0."""
    generator = np.random.default_rng(seed)
    margins: list[float] = (generator.normal(0.5 + shift, 1.0, sum(COUNTS.values()))).tolist()
    return margins


def published(accuracies: Mapping[str, float], **changes: Any) -> Result:
    """Return a published result of toy with these sections and averages."""
    from rmbench.accuracy.aggregate import Accuracy

    items = {name: Accuracy(accuracy=value) for name, value in accuracies.items()}
    sections = {name: item for name, item in items.items() if name in ("X", "Y")}
    averages = {name: item for name, item in items.items() if name not in sections}
    fields: dict[str, Any] = {
        "source": "published",
        "citation": "a card",
        "suite": {"name": "toy", "version": 1, "headline": "sections"},
        "model": {"id": "new"},
        "averages": averages,
        "sections": sections,
    }
    return Result(**fields | changes)
