"""Measure the gate: how often an unchanged model fails it, and how often a worse one does.

    python benchmarks/gate_power.py [--reruns 1000] [--worse 200]

A simulated model has a true margin for each of RewardBench's 2,985 comparisons, normal with a mean
that gives each section the accuracy of a published 1.7B model. A run of it sees that margin plus
normal noise, as other batches, kernels or bfloat16 would add, so that only near-ties change sides.
The scale of the noise is set so that two runs disagree on a given share of the comparisons. Rewards
in bfloat16 are rounded to it, which makes ties, and RewardBench counts a tie as lost. Two trainings
of one recipe are drawn again for each problem: the six languages of a problem share a part. Credits
go through the gate's own tests: exact signs of clusters, adjusted by the largest of all rows.

Only the standard library, numpy and rmbench are used; nothing is read and nothing written.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.signs import sign_test
from rmbench.compare.family import max_t

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator

# RewardBench's sections with the comparisons each has, and how Reasoning weighs its two parts.
COUNTS = {"Chat": 358, "Chat Hard": 456, "Safety": 740, "math-prm": 447, "code": 984}
SECTIONS = {
    "Chat": {"Chat": 1.0},
    "Chat Hard": {"Chat Hard": 1.0},
    "Safety": {"Safety": 1.0},
    "Reasoning": {"math-prm": 0.5, "code": 0.5},
}
ACCURACIES = {"Chat": 0.94, "Chat Hard": 0.44, "Safety": 0.76, "Reasoning": 0.68}
SUBSETS = np.repeat(list(COUNTS), list(COUNTS.values()))
TOTAL = SUBSETS.size
# The code of RewardBench is 164 problems in six languages; everything else is its own sample.
NUMBERS = np.where(SUBSETS == "code", np.arange(TOTAL) % 164, 1000 + np.arange(TOTAL))
CLUSTERS = np.unique(NUMBERS, return_inverse=True)[1]
OWNERS = np.array([next(n for n, parts in SECTIONS.items() if name in parts) for name in SUBSETS])
MEANS = np.array([NormalDist().inv_cdf(ACCURACIES[name]) for name in OWNERS])
NOISE = (0.01, 0.05)
DROPS = (0.5, 1.0, 2.0, 4.0)
CORRELATIONS = (0.0, 0.6)


def shares() -> Floats:
    """Return how far each comparison moves each row of the gate, shape (comparisons, rows)."""
    columns = [
        sum(weight * (name == SUBSETS) / COUNTS[name] for name, weight in parts.items())
        for parts in SECTIONS.values()
    ]
    columns += [sum(columns) / len(columns), np.full(TOTAL, 1.0 / TOTAL)]
    return np.column_stack(columns)


SHARES = shares()


def gate(old: Floats, new: Floats, alpha: float) -> list[bool]:
    """Return which rows of the gate fail: the sections, then both averages.

    Args:
        old: credits of the baseline, 0 or 1.
        new: credits of the result.
        alpha: of the gate.
    """
    steps = (new - old)[:, None] * SHARES
    sums = np.column_stack([np.bincount(CLUSTERS, weights=column) for column in steps.T])
    found = max_t(sums, [sign_test(c).p_drop for c in sums.T], alpha=alpha, drops=True)
    return [p <= alpha for p in found.adjusted]


def rounded(values: Floats) -> Floats:
    """Return numbers rounded to bfloat16, to nearest."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def credits(margins: Floats, levels: Floats, dtype: str = "float32") -> Floats:
    """Return what a run earns that saw these margins above rejected rewards ``levels``."""
    chosen, rejected = levels + margins, levels
    if dtype == "bfloat16":
        chosen, rejected = rounded(chosen), rounded(rejected)
    return np.asarray(chosen > rejected, dtype=np.float64)


def noise_for(disagreement: float) -> float:
    """Return the noise with which two runs of a model disagree on this share of comparisons."""
    generator = np.random.default_rng(0)
    true = MEANS + generator.normal(size=(40, TOTAL))
    draws = generator.normal(size=(2, *true.shape))
    low, high = 0.0, 2.0
    for _ in range(20):
        scale = (low + high) / 2.0
        first, second = (true + scale * draw > 0.0 for draw in draws)
        low, high = (scale, high) if np.mean(first != second) < disagreement else (low, scale)
    return (low + high) / 2.0


Pair = Callable[[Generator], tuple[Floats, Floats]]


def rerun(disagreement: float, *, before: str = "float32", after: str = "float32") -> Pair:
    """Return what draws a model and two runs of it, each with its own noise.

    Args:
        disagreement: share of comparisons on which two runs disagree for their noise; 0 for none.
        before: precision of the baseline.
        after: precision of the rerun.
    """
    scale = noise_for(disagreement) if disagreement else 0.0

    def draw(generator: Generator) -> tuple[Floats, Floats]:
        true = MEANS + generator.normal(size=TOTAL)
        levels = generator.normal(0.0, 4.0, size=TOTAL)
        one, two = true + scale * generator.normal(size=(2, TOTAL))
        return credits(one, levels, before), credits(two, levels, after)

    return draw


def trainings(correlation: float) -> Pair:
    """Return what draws two equally good trainings of one recipe.

    Their margins correlate by 0.6, and what is their own correlates within a problem.
    """

    def draw(generator: Generator) -> tuple[Floats, Floats]:
        common = generator.normal(size=TOTAL)
        sides = []
        for _ in range(2):
            own = math.sqrt(correlation) * generator.normal(size=CLUSTERS.max() + 1)[CLUSTERS]
            own += math.sqrt(1.0 - correlation) * generator.normal(size=TOTAL)
            margins = MEANS + math.sqrt(0.6) * common + math.sqrt(0.4) * own
            sides.append(credits(margins, np.zeros(TOTAL)))
        return sides[0], sides[1]

    return draw


def false_alarms(draw: Pair, *, reruns: int, alpha: float) -> tuple[int, float]:
    """Return how many pairs fail though nothing got worse, and the share that changed sides."""
    generator = np.random.default_rng(1)
    failed, changed = 0, 0.0
    for _ in range(reruns):
        old, new = draw(generator)
        changed += float(np.mean(old != new)) / reruns
        failed += any(gate(old, new, alpha))
    return failed, changed


def power(section: str, points: float, *, runs: int, alpha: float = 0.01) -> tuple[int, int]:
    """Return how many runs fail, at all and in the section itself, when it has become worse.

    A random part of the section's won comparisons is lost, so that its accuracy drops by
    ``points`` on average; beside it, 1 % of all comparisons flips either way.
    """
    scale, levels = noise_for(0.01), np.zeros(TOTAL)
    generator = np.random.default_rng(2)
    chance = np.where(section == OWNERS, points / 100.0 / ACCURACIES[section], 0.0)
    failed = inside = 0
    for _ in range(runs):
        true = MEANS + generator.normal(size=TOTAL)
        old, new = (credits(true + scale * generator.normal(size=TOTAL), levels) for _ in range(2))
        new = np.where(generator.random(TOTAL) < chance, 0.0, new)
        found = gate(old, new, alpha)
        failed += any(found)
        inside += found[list(SECTIONS).index(section)]
    return failed, inside


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--reruns", type=int, default=1000, help="for each false-alarm rate; 0 for none"
    )
    parser.add_argument("--worse", type=int, default=200, help="runs for each power; 0 for none")
    options = parser.parse_args(arguments)
    if options.reruns:
        print_false_alarms(options.reruns)
    if options.worse:
        print_power(options.worse)


def print_false_alarms(reruns: int) -> None:
    """Print how often the gate fails where nothing got worse."""
    cases: list[tuple[str, Pair, float]] = [
        *((f"rerun, noise on {share:.0%}", rerun(share), 0.01) for share in NOISE),
        ("rerun, both in bfloat16", rerun(0.01, before="bfloat16", after="bfloat16"), 0.01),
        ("float32, then bfloat16", rerun(0.0, after="bfloat16"), 0.01),
        *((f"another training, {c:g} within a problem", trainings(c), 0.05) for c in CORRELATIONS),
    ]
    print("| pair | alpha | changed sides | failed | rate |\n|---|--:|--:|--:|--:|")
    for name, draw, alpha in cases:
        failed, changed = false_alarms(draw, reruns=reruns, alpha=alpha)
        rate = failed / reruns
        print(f"| {name} | {alpha:g} | {changed:.1%} | {failed} | {rate:.1%} |", flush=True)


def print_power(runs: int) -> None:
    """Print how often a worse model fails."""
    print("| section | points | gate fails | section fails |\n|---|--:|--:|--:|")
    for section in ACCURACIES:
        for points in DROPS:
            failed, inside = power(section, points, runs=runs)
            shares = (f"{count / runs:.0%}" for count in (failed, inside))
            print(f"| {section} | {points:g} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
