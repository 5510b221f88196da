#!/usr/bin/env python3
"""Is the run slower than another version's? Two checkouts score the same suite in turn.

    git worktree add /tmp/before COMMIT
    python benchmarks/versus.py /tmp/before --model tiny --rounds 9
    python benchmarks/versus.py /tmp/before --model FOLDER --suite SUITE --limit 40

Each run is a process of its own, ``rmbench run --no-cache``, of the one checkout and then of the
other, so that a machine which is busy now and then slows both alike. What is told is the processor
time of a run and its children: the median and the least of each checkout, and the ratio of the
medians. Exit code 1 when this checkout takes more than 3 % longer by both.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent.parent
ALLOWED: Final = 1.03


def seconds_of(checkout: Path, options: list[str]) -> float:
    """Return the processor time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "rmbench", "run", *options, "--no-cache", "--output", folder],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            check=True,
            capture_output=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the seconds of both checkouts; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--data")
    parser.add_argument("--limit")
    args = parser.parse_args()
    options = ["--model", args.model, "--suite", args.suite]
    for name in ("data", "limit"):
        value = getattr(args, name)
        options += [] if value is None else [f"--{name}", value]
    seconds: dict[Path, list[float]] = {args.other: [], HERE: []}
    for _ in range(args.rounds):
        for checkout, found in seconds.items():
            found.append(seconds_of(checkout, options))
    for checkout, found in seconds.items():
        print(f"{checkout}: median {statistics.median(found):.2f} s, least {min(found):.2f} s")
    ratios = [f(seconds[HERE]) / f(seconds[args.other]) for f in (statistics.median, min)]
    print(f"ratio: {ratios[0]:.3f} of the medians, {ratios[1]:.3f} of the least")
    return 1 if min(ratios) > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
