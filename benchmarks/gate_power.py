"""Measure the gate: how often an unchanged model fails it, and how often a worse one does.

    python benchmarks/gate_power.py [--reruns 200] [--worse 100]

A simulated model has a true margin for each of RewardBench's 2,985 comparisons, normal with a mean
that gives each section the accuracy of a published 1.7B model. A run of it sees that margin plus
normal noise, as other batches, kernels or bfloat16 would add, so that only near-ties change sides.
The scale of the noise is set so that two runs disagree on a given share of the comparisons. Rewards
in bfloat16 are rounded to it, which makes ties, and RewardBench counts a tie as lost. Two trainings
of one recipe are drawn anew for each problem: the six languages of a problem share a part. Every
rerun goes through ``rmbench.compare.contrast.compare`` and ``rmbench.compare.gate.check``, as the
command does.

Only the standard library, numpy and rmbench are used; nothing is read and nothing written.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.aggregate import Accuracy
from rmbench.answers.judgements import Judgement
from rmbench.compare.contrast import compare
from rmbench.compare.gate import Gate, Limits, check
from rmbench.result.record import Result
from rmbench.suite.definition import Section, load_suite

Floats = npt.NDArray[np.float64]

# RewardBench's sections with the comparisons each has. Subsets whose comparisons weigh the same are
# one here: the gate tests sections and averages, and sees the same numbers, in a third of the time.
COUNTS = {"Chat": 358, "Chat Hard": 456, "Safety": 740, "math-prm": 447, "code": 984}
REWARDBENCH = load_suite("rewardbench")
SUITE = REWARDBENCH.model_copy(
    update={
        "sections": (
            *(Section(name=name, subsets=(name,)) for name in list(COUNTS)[:3]),
            Section(
                name="Reasoning",
                subsets=("math-prm", "code"),
                weights={"math-prm": 984.0, "code": 984.0},
            ),
        )
    }
)
ACCURACIES = {"Chat": 0.94, "Chat Hard": 0.44, "Safety": 0.76, "Reasoning": 0.68}
# What a comparison reads of a record beside its rewards is the names of its subsets.
SUBSET_NAMES = {name: Accuracy(accuracy=0.0) for name in COUNTS}
SUBSETS = [name for name, n in COUNTS.items() for _ in range(n)]
IDS = [f"{name}/{i}" for i, name in enumerate(SUBSETS)]
# The code of RewardBench is 164 problems in six languages; everything else is its own sample.
CODE = np.array(SUBSETS) == "code"
CLUSTERS = np.where(CODE, np.arange(len(IDS)) % 164, 1000 + np.arange(len(IDS)))
SECTION_OF = {subset: section.name for section in SUITE.sections for subset in section.subsets}
SECTIONS = np.array([SECTION_OF[subset] for subset in SUBSETS])
MEANS = np.array([NormalDist().inv_cdf(ACCURACIES[name]) for name in SECTIONS])
DISAGREEMENTS = (0.01, 0.05)
DROPS = (0.5, 1.0, 2.0, 4.0)
CORRELATIONS = (0.0, 0.6)


def rounded(values: Floats) -> Floats:
    """Return numbers rounded to bfloat16, to nearest."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def result(margins: Floats, *, levels: Floats | None = None, dtype: str = "float32") -> Result:
    """Return the result of a run that saw these margins.

    Args:
        margins: of each comparison.
        levels: the rejected reward of each; 0 where None.
        dtype: ``bfloat16`` rounds both rewards to it.
    """
    rejected = np.zeros(len(IDS)) if levels is None else levels
    chosen = rejected + margins
    if dtype == "bfloat16":
        chosen, rejected = rounded(chosen), rounded(rejected)
    rewards = [
        Judgement(name, (one,), (two,), (), cluster)
        for name, one, two, cluster in zip(
            IDS,
            chosen.astype(np.float32).tolist(),
            rejected.astype(np.float32).tolist(),
            CLUSTERS.tolist(),
            strict=True,
        )
    ]
    return Result(
        source="measured",
        suite={"name": SUITE.name, "version": SUITE.version, "headline": SUITE.headline}
        | {"sha256": "0", "comparisons": len(IDS)},
        model={"id": "simulated"},
        settings={"dtype": dtype},
        averages={},
        subsets=SUBSET_NAMES,
        rewards=rewards,
    )


def gate(old: Result, new: Result, alpha: float) -> Gate:
    """Return what the gate says of two runs."""
    limits = Limits(alpha=alpha, across_precisions=True)
    return check(compare(old, new, SUITE), limits)


def noise_for(disagreement: float) -> float:
    """Return the noise with which two runs of a model disagree on this share of comparisons."""
    generator = np.random.default_rng(0)
    true = MEANS + generator.normal(size=(40, len(IDS)))
    draws = generator.normal(size=(2, *true.shape))
    low, high = 0.0, 2.0
    for _ in range(30):
        scale = (low + high) / 2.0
        first, second = (true + scale * draw > 0.0 for draw in draws)
        low, high = (scale, high) if np.mean(first != second) < disagreement else (low, scale)
    return (low + high) / 2.0


Pair = Callable[[np.random.Generator], tuple[Result, Result]]


def rerun(disagreement: float, *, before: str = "float32", after: str = "float32") -> Pair:
    """Return what draws a model and two runs of it, each with its own noise.

    Args:
        disagreement: share of comparisons on which two runs disagree for their noise; 0 for none.
        before: precision of the baseline.
        after: precision of the rerun.
    """
    scale = noise_for(disagreement) if disagreement else 0.0

    def draw(generator: np.random.Generator) -> tuple[Result, Result]:
        true = MEANS + generator.normal(size=len(IDS))
        levels = generator.normal(0.0, 4.0, size=len(IDS))
        one, two = true + scale * generator.normal(size=(2, len(IDS)))
        return (
            result(one, levels=levels, dtype=before),
            result(two, levels=levels, dtype=after),
        )

    return draw


def trainings(correlation: float) -> Pair:
    """Return what draws two equally good trainings of one recipe.

    Their margins correlate by 0.6, and what is their own correlates within a problem.
    """

    def draw(generator: np.random.Generator) -> tuple[Result, Result]:
        common = generator.normal(size=len(IDS))
        sides = []
        for _ in range(2):
            within = generator.normal(size=CLUSTERS.max() + 1)[CLUSTERS]
            own = math.sqrt(correlation) * within
            own += math.sqrt(1.0 - correlation) * generator.normal(size=len(IDS))
            sides.append(result(MEANS + math.sqrt(0.6) * common + math.sqrt(0.4) * own))
        return sides[0], sides[1]

    return draw


def false_alarms(draw: Pair, *, reruns: int, alpha: float) -> tuple[int, float]:
    """Return how many pairs fail though nothing got worse, and the share that changed sides."""
    generator = np.random.default_rng(1)
    failed, flipped = 0, 0.0
    for _ in range(reruns):
        old, new = draw(generator)
        found = gate(old, new, alpha)
        pooled = next(f.verdict for f in found.findings if f.verdict.name == "pooled")
        changed = (pooled.gained or 0) + (pooled.lost or 0)
        flipped += changed / len(IDS) / reruns
        failed += not found.passed
    return failed, flipped


def power(section: str, points: float, *, reruns: int, alpha: float = 0.01) -> tuple[int, int]:
    """Return how many runs fail, at all and in the section itself, when it has become worse.

    A random part of the section's won comparisons is lost, so that its accuracy drops by
    ``points`` on average; beside it, 1 % of all comparisons flips either way.
    """
    scale = noise_for(0.01)
    generator = np.random.default_rng(2)
    chance = np.where(section == SECTIONS, points / 100.0 / ACCURACIES[section], 0.0)
    failed = inside = 0
    for _ in range(reruns):
        true = MEANS + generator.normal(size=len(IDS))
        old, new = true + scale * generator.normal(size=(2, len(IDS)))
        new = np.where((generator.random(len(IDS)) < chance) & (new > 0.0), -new, new)
        found = gate(result(old), result(new), alpha)
        failed += not found.passed
        inside += any(f.reason and f.verdict.name == section for f in found.findings)
    return failed, inside


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--reruns", type=int, default=200, help="for each false-alarm rate; 0 for none"
    )
    parser.add_argument("--worse", type=int, default=100, help="runs for each power; 0 for none")
    options = parser.parse_args(arguments)
    if options.reruns:
        print_false_alarms(options.reruns)
    if options.worse:
        print_power(options.worse)


def print_false_alarms(reruns: int) -> None:
    """Print how often the gate fails where nothing got worse."""
    cases: list[tuple[str, Pair, float]] = [
        *((f"rerun, {share:.1%} noise", rerun(share), 0.01) for share in DISAGREEMENTS),
        ("rerun in bfloat16", rerun(0.01, before="bfloat16", after="bfloat16"), 0.01),
        ("float32, then bfloat16", rerun(0.0, after="bfloat16"), 0.01),
        *((f"another training, {c:g} within a problem", trainings(c), 0.05) for c in CORRELATIONS),
    ]
    print("| pair | alpha | changed sides | failed | rate |\n|---|--:|--:|--:|--:|")
    for name, draw, alpha in cases:
        failed, flipped = false_alarms(draw, reruns=reruns, alpha=alpha)
        rate = failed / reruns
        print(f"| {name} | {alpha:g} | {flipped:.2%} | {failed} | {rate:.2%} |", flush=True)


def print_power(runs: int) -> None:
    """Print how often a worse model fails."""
    print("| section | points | gate fails | section fails |\n|---|--:|--:|--:|")
    for section in ACCURACIES:
        for points in DROPS:
            failed, inside = power(section, points, reruns=runs)
            shares = (f"{count / runs:.0%}" for count in (failed, inside))
            print(f"| {section} | {points:g} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
