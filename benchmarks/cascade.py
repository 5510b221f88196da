"""The cascade against float32 on a model of real size: are all credits equal, and what is saved?

    python benchmarks/cascade.py MODEL rewardbench_v1.jsonl.gz --comparisons 200 --draws 3

Each draw takes other comparisons of RewardBench at random and scores them with ``--dtype float32``
and with ``--dtype cascade``, in turn in one process. MODEL is a folder, such as
the one that ``benchmarks/parity.py`` builds. Exit code 1 when a credit differs.
"""

import argparse
import sys
from functools import partial
from typing import Any

import numpy as np
import torch

from rmbench.checkpoint.options import ModelOptions
from rmbench.scorers.cascade import Cascade
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.contract import Facts, MemoryLedger
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation
from rmbench.suite.feed import open_feed


def draw(path: str, count: int, *, seed: int) -> list[Conversation]:
    """Return the conversations of so many different comparisons."""
    found = list(open_feed(load_suite("rewardbench"), data=path))
    numbers = np.random.default_rng(seed).choice(len(found), count, replace=False)
    return [item for i in sorted(numbers.tolist()) for item in found[i].conversations()]


def score(scorer: Any, conversations: list[Conversation]) -> tuple[Any, Facts]:
    """Return the rewards, shape (comparisons, 2), and the facts."""
    ledger = MemoryLedger()
    facts = scorer.score(conversations, ledger)
    rewards = np.array([ledger.answers[i] for i in range(len(conversations))], np.float32)
    return rewards.reshape(-1, 2), facts


def compare(number: int, exact: tuple[Any, Facts], found: tuple[Any, Facts]) -> int:
    """Print a draw and return how many credits differ."""
    credits = [rewards[:, 0] > rewards[:, 1] for rewards, _ in (exact, found)]
    differ = int((credits[0] != credits[1]).sum())
    told = found[1].audit["cascade"]
    seconds = [facts.timing["score"] for _, facts in (exact, found)]
    again = found[1].timing["score_again"]
    print(
        f"draw {number}: {told['comparisons']} comparisons, credits that differ: {differ};"
        f" {told['again']} scored again ({100 * told['share']:.1f} %), bound {told['bound']:.3g},"
        f" largest error {told['largest_error']:.3g}, {told['turned']} decided otherwise by"
        f" {told['fast']}; float32 {seconds[0]:.1f} s, cascade {seconds[1]:.1f} s"
        f" ({seconds[1] - again:.1f} and {again:.1f}), {seconds[0] / seconds[1]:.2f} times as fast",
        flush=True,
    )
    return differ


def main() -> int:
    """Print every draw; return 1 when a credit differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args()
    exact, fast = (
        load_classifier(arguments.model, ModelOptions(dtype=dtype))
        for dtype in ("float32", "cascade")
    )
    load_again = partial(load_classifier, arguments.model, ModelOptions(dtype="float32"))
    cascade = Cascade(fast, load_again)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    differ = 0
    for number in range(arguments.draws):
        conversations = draw(arguments.data, arguments.comparisons, seed=number)
        differ += compare(number, score(exact, conversations), score(cascade, conversations))
    print("every credit is float32's" if not differ else f"{differ} credits differ")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
