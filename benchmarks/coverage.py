"""Measure the intervals and tests: how often they hold what they promise.

    python benchmarks/coverage.py [--draws 4000] [--boards 1000] [--update docs/statistics.md]

Comparisons are drawn with the shapes of three benchmarks: RewardBench, of which the six subsets hep
are 164 problems in six languages, and three of alpacaeval share 100 prompts; RMB, with one to ten
rows a prompt; and RM-Bench's hard cells, three a prompt. A comparison is won where a normal number
lies below a threshold; numbers of one cluster share a part, so that they correlate. Printed are the
coverage of 95 % intervals, the size of tests at 5 %, and how often the places of all models of a
board hold their true ranks. Only numpy and rmbench are used; nothing is read.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.clusters import Sample, credit_interval, sample_of
from rmbench.compare.family import holm
from rmbench.compare.paired import paired_difference
from rmbench.files import read_text, write_text

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Model(NamedTuple):
    """How often it is right, and how far that goes together within a cluster."""

    accuracy: float
    correlation: float


CHAT = {"alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95, "mt": 68}
OTHERS = {"chat-hard": 456, "safety": 740, "math-prm": 447}
HEP = dict.fromkeys([f"hep-{name}" for name in ("cpp", "go", "java", "js", "python", "rust")], 164)
COUNTS = CHAT | OTHERS | HEP
ACCURACIES = (0.6, 0.8, 0.95)
CORRELATIONS = (0.0, 0.3, 0.6)
PAIRED = (
    "100 prompts, 1 to 10 rows each",
    "129 prompts, 3 cells each",
    "Chat",
    "Reasoning",
    "pooled",
)
MODELS = [Model(accuracy, correlation) for accuracy in ACCURACIES for correlation in CORRELATIONS]
BEGIN, END = "<!-- rmbench:coverage -->", "<!-- /rmbench:coverage -->"


class Shape(NamedTuple):
    """Which comparisons there are: the stratum and cluster of each, and what strata weigh."""

    strata: Ints
    clusters: Ints
    weights: Floats

    def sample(self, values: npt.ArrayLike) -> Sample:
        """Return values of these comparisons."""
        return sample_of(values, self.strata, weights=self.weights, clusters=self.clusters)


def rewardbench_clusters() -> Ints:
    """Return the cluster of each comparison of RewardBench."""
    numbers: list[int] = []
    first = 10_000
    for name, count in COUNTS.items():
        if name.startswith("hep"):
            numbers += range(count)
        elif name.startswith("alpacaeval"):
            numbers += range(1000, 1000 + count)
        else:
            numbers += range(first, first + count)
            first += count
    return np.unique(numbers, return_inverse=True)[1]


def rewardbench() -> dict[str, Shape]:
    """Return RewardBench's slices."""
    names = list(COUNTS)
    counts = np.array(list(COUNTS.values()), dtype=np.float64)
    parts = {
        "Chat": [name in CHAT for name in names],
        "Chat Hard": [name == "chat-hard" for name in names],
        "Safety": [name == "safety" for name in names],
        "Reasoning": [name == "math-prm" or name in HEP for name in names],
    }
    counts_of_reasoning = np.where(np.array(names) == "math-prm", 984.0, counts)
    found = {name: np.array(mask) * counts for name, mask in parts.items()}
    found["Reasoning"] = np.array(parts["Reasoning"]) * counts_of_reasoning
    found["sections"] = sum(item / item.sum() for item in found.values()) / len(found)
    found["pooled"] = counts
    strata, clusters = np.repeat(np.arange(len(names)), list(COUNTS.values())), CLUSTERS
    return {name: Shape(strata, clusters, weights) for name, weights in found.items()}


def one_subset(rows_of_prompts: Sequence[int]) -> Shape:
    """Return one subset of prompts with so many rows each."""
    clusters = np.repeat(np.arange(len(rows_of_prompts)), rows_of_prompts)
    return Shape(np.zeros(clusters.size, dtype=np.int64), clusters, np.ones(1))


CLUSTERS = rewardbench_clusters()
REWARDBENCH = rewardbench()
SHAPES = {
    "a subset of 100 prompts": one_subset([1] * 100),
    "100 prompts, 1 to 10 rows each": one_subset([*range(1, 11)] * 10),
    "129 prompts, 3 cells each": one_subset([3] * 129),
    **{name: REWARDBENCH[name] for name in ("Chat", "Reasoning", "sections", "pooled")},
}


def draws(
    generator: np.random.Generator, clusters: Ints, model: Model, *, shared: Floats | None = None
) -> Floats:
    """Return credits of a model; ``shared`` is what is hard for every model alike."""
    own = generator.normal(size=clusters.max() + 1)[clusters]
    latent = math.sqrt(model.correlation) * own
    latent += math.sqrt(1.0 - model.correlation) * generator.normal(size=clusters.size)
    if shared is not None:
        latent = math.sqrt(0.5) * latent + math.sqrt(0.5) * shared
    return np.asarray(latent < NormalDist().inv_cdf(model.accuracy), dtype=np.float64)


def interval_rows(runs: int) -> Iterator[list[str]]:
    """Yield the coverage of the intervals of one result."""
    generator = np.random.default_rng(1)
    for name, shape in SHAPES.items():
        cells = [f"interval: {name}"]
        for model in MODELS:
            held = 0
            for _ in range(runs):
                values = draws(generator, shape.clusters, model)
                low, high = credit_interval(shape.sample(values)).interval
                held += low <= model.accuracy <= high
            cells.append(f"{100 * held / runs:.1f}")
        yield cells


def paired_rows(runs: int) -> Iterator[list[str]]:
    """Yield coverage and size for differences of two equal models."""
    generator = np.random.default_rng(2)
    for name in PAIRED:
        shape = SHAPES[name]
        held, size = [f"interval of a difference: {name}"], [f"size of its test: {name}"]
        for model in MODELS:
            inside = rejected = 0
            for _ in range(runs):
                shared = generator.normal(size=shape.clusters.size)
                old, new = (
                    draws(generator, shape.clusters, model, shared=shared) for _ in range(2)
                )
                found = paired_difference(shape.sample(new - old))
                inside += found.interval.low <= 0.0 <= found.interval.high
                rejected += found.p_value <= 0.05
            held.append(f"{100 * inside / runs:.1f}")
            size.append(f"{100 * rejected / runs:.1f}")
        yield held
        yield size


def board_rows(boards: int) -> Iterator[list[str]]:
    """Yield how often the places of all of six models hold their true ranks."""
    generator = np.random.default_rng(3)
    # Four equal models and two that are better by steps of a point.
    truths = [0.78, 0.78, 0.78, 0.78, 0.79, 0.80]
    for correlation in CORRELATIONS:
        held = 0
        for _ in range(boards):
            shared = generator.normal(size=CLUSTERS.size)
            credits = [
                draws(generator, CLUSTERS, Model(truth, correlation), shared=shared)
                for truth in truths
            ]
            held += _holds(credits, truths)
        yield [f"{correlation:g}", f"{100 * held / boards:.1f}"]


def _holds(credits: Sequence[Floats], truths: Sequence[float]) -> bool:
    pairs = [(i, j) for i in range(len(truths)) for j in range(i)]
    shape = REWARDBENCH["pooled"]
    tests = [paired_difference(shape.sample(credits[i] - credits[j])) for i, j in pairs]
    for (i, j), test, p in zip(pairs, tests, holm([t.p_value for t in tests]), strict=True):
        # Told apart in an order that is not the true one: some place is lost.
        if p <= 0.05 and (test.estimate > 0) != (truths[i] > truths[j]):
            return False
        if p <= 0.05 and truths[i] == truths[j]:
            return False
    return True


def table(heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def report(options: Mapping[str, int]) -> str:
    """Return all tables."""
    heads = ["accuracy, correlation"]
    heads += [f"{model.accuracy:g}, {model.correlation:g}" for model in MODELS]
    rows = chain(interval_rows(options["draws"]), paired_rows(options["draws"]))
    first = table(heads, rows)
    second = table(["correlation", "all true ranks held, %"], board_rows(options["boards"]))
    words = (
        f"In percent, {options['draws']:,} draws a number and {options['boards']:,} boards"
        " (`python benchmarks/coverage.py`):"
    )
    return f"{words}\n\n{first}\n\n{second}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the marks of a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--boards", type=int, default=1000)
    parser.add_argument("--update", type=Path)
    options = parser.parse_args(arguments)
    text = report({"draws": options.draws, "boards": options.boards})
    if options.update is None:
        print(text)
        return
    old = read_text(options.update)
    start, end = old.index(BEGIN) + len(BEGIN), old.index(END)
    write_text(options.update, f"{old[:start]}\n{text}\n{old[end:]}")


if __name__ == "__main__":
    main()
