"""Measure the gate: how often an unchanged model fails it, and how often a worse one does.

    python benchmarks/gate_power.py [--reruns 2000] [--worse 200]

A simulated model has a true margin for each of RewardBench's 2,985 comparisons, normal with a mean
that gives each section the accuracy of a published 1.7B model. A run of it sees that margin plus
normal noise, as other batches, kernels or bfloat16 would add, so that only near-ties change sides.
The scale of the noise is set so that two runs disagree on a given share of the comparisons. Every
rerun goes through ``rmbench.compare.contrast.compare`` and ``rmbench.compare.gate.check``, as the
command does.

Only the standard library, numpy and rmbench are used; nothing is read and nothing written.
"""

import argparse
import sys
from collections.abc import Sequence
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
SECTION_OF = {subset: section.name for section in SUITE.sections for subset in section.subsets}
SECTIONS = np.array([SECTION_OF[subset] for subset in SUBSETS])
MEANS = np.array([NormalDist().inv_cdf(ACCURACIES[name]) for name in SECTIONS])
DISAGREEMENTS = (0.002, 0.01, 0.05)
DROPS = (0.5, 1.0, 2.0, 4.0)


def result(margins: Floats) -> Result:
    """Return the result of a run that saw these margins."""
    rewards = [
        Judgement(name, (float(margin),), (0.0,))
        for name, margin in zip(IDS, margins.astype(np.float32), strict=True)
    ]
    return Result(
        source="measured",
        suite={"name": SUITE.name, "version": SUITE.version, "headline": SUITE.headline}
        | {"sha256": "0", "comparisons": len(IDS)},
        model={"id": "simulated"},
        averages={},
        subsets=SUBSET_NAMES,
        rewards=rewards,
    )


def gate(old: Floats, new: Floats, alpha: float) -> Gate:
    """Return what the gate says of two runs."""
    return check(compare(result(old), result(new), SUITE), Limits(alpha=alpha))


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


def false_alarms(
    disagreement: float, *, exact_baseline: bool, reruns: int, alpha: float = 0.01
) -> tuple[int, float]:
    """Return how many reruns of an unchanged model fail, and the share that really flipped.

    Args:
        disagreement: share of comparisons on which two runs disagree.
        exact_baseline: whether the baseline saw the true margins, without noise.
        reruns: each with a model of its own.
        alpha: of the gate.
    """
    scale = noise_for(disagreement)
    generator = np.random.default_rng(1)
    failed, flipped = 0, 0.0
    for _ in range(reruns):
        true = MEANS + generator.normal(size=len(IDS))
        old, new = true + scale * generator.normal(size=(2, len(IDS)))
        old = true if exact_baseline else old
        flipped += float(np.mean((old > 0.0) != (new > 0.0))) / reruns
        failed += not gate(old, new, alpha).passed
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
        found = gate(old, new, alpha)
        failed += not found.passed
        inside += any(f.reason and f.verdict.name == section for f in found.findings)
    return failed, inside


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--reruns", type=int, default=2000, help="for each false-alarm rate; 0 for none"
    )
    parser.add_argument("--worse", type=int, default=200, help="runs for each power; 0 for none")
    options = parser.parse_args(arguments)
    if options.reruns:
        print_false_alarms(options.reruns)
    if options.worse:
        print_power(options.worse)


def print_false_alarms(reruns: int) -> None:
    """Print how often an unchanged model fails."""
    print("| baseline | disagree | flipped | failed | rate |\n|---|--:|--:|--:|--:|")
    for exact, share in (*((False, share) for share in DISAGREEMENTS), (True, DISAGREEMENTS[-1])):
        failed, flipped = false_alarms(share, exact_baseline=exact, reruns=reruns)
        name = "exact" if exact else "a run like it"
        rate = failed / reruns
        print(f"| {name} | {share:.1%} | {flipped:.2%} | {failed} | {rate:.2%} |", flush=True)


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
