#!/usr/bin/env python3
"""Put faults into attention over packed rows: does the proof find each, and take the sound way?

    python benchmarks/proof_faults.py --model FOLDER               # 20 samples, both precisions
    python benchmarks/proof_faults.py --model FOLDER --samples 2 --dtype bfloat16

FOLDER holds a sequence classifier of real size, such as the one that `make parity` builds. A sample
is four comparisons of `mini`, of at most ``MOST`` tokens each. The faults are those of the tests
(``tests/faults.py``): masks, positions, scores and heads, each wrong in one way. Exit code 1 when a
fault passes, or the sound way is refused.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

COMPARISONS: Final = 4
MOST: Final = 130


def samples(folder: Path, count: int) -> Iterator[list[Any]]:
    """Yield samples of token ids, as the engine asks for them."""
    from transformers import AutoTokenizer

    from rmbench.engine.reading import Ask
    from rmbench.suite.catalogue import load_suite
    from rmbench.suite.feed import open_feed

    words = AutoTokenizer.from_pretrained(folder)
    asks: list[Any] = []
    for comparison in open_feed(load_suite("mini")):
        pair = []
        for conversation in comparison.conversations():
            text = words.apply_chat_template(conversation.messages, tokenize=False)
            ids = words(text, add_special_tokens=False)["input_ids"]
            pair.append(Ask(ids=np.array(ids, dtype=np.int32)))
        asks += pair if max(ask.ids.size for ask in pair) <= MOST else []
        if len(asks) == 2 * COMPARISONS:
            yield asks
            asks, count = [], count - 1
        if not count:
            return
    raise SystemExit(f"mini has no more comparisons of up to {MOST} tokens")


def differences(model: Any, asks: list[Any]) -> dict[str, tuple[bool, float, float]]:
    """Return for each fault, and without one, whether packing is taken, its difference, the limit.

    The truth of a sample is computed once.
    """
    import torch
    from faults import FAULTS, fault

    from rmbench.engine import proof
    from rmbench.engine.scoring import Engine

    engine = Engine(model)
    truths: list[Any] = []

    def once(ways: Any, asked: Any, numbers: Any) -> Any:
        if not truths:
            truths.append(find(ways, asked, numbers))
        ways.put_back()
        return truths[0]

    found: dict[str, tuple[bool, float, float]] = {}
    find = proof.find_truth
    with torch.inference_mode(), mock.patch.object(proof, "find_truth", once):
        sound = proof.prove(engine.ways, engine.planner, asks, {"hidden", "padded", "alone"})
        state = sound.refused.get("packed", sound.state or 0.0)
        found["none"] = (sound.way == "packed", state, sound.limit or 0.0)
        for name in FAULTS:
            with fault(name):
                seen = proof.prove(engine.ways, engine.planner, asks, {"hidden", "padded", "alone"})
            state = seen.refused.get("packed", seen.state or 0.0)
            found[name] = (seen.way == "packed", state, seen.limit or 0.0)
    return found


def main() -> int:
    """Print a line for each fault and precision; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--dtype", action="append", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    import torch
    from transformers import AutoModelForSequenceClassification

    loader: Any = AutoModelForSequenceClassification
    wrong = 0
    for dtype in args.dtype or ("float32", "bfloat16"):
        start = time.perf_counter()
        model = loader.from_pretrained(args.model, dtype=getattr(torch, dtype)).eval()
        seen: dict[str, list[tuple[bool, float, float]]] = {}
        for asks in samples(args.model, args.samples):
            for name, outcome in differences(model, asks).items():
                seen.setdefault(name, []).append(outcome)
        limit = max(outcome[2] for outcomes in seen.values() for outcome in outcomes)
        print(f"{dtype}: {args.samples} samples, {time.perf_counter() - start:.0f} s", end="")
        print(f", limit at most {limit:.2g}\n| fault | refused | worst token |\n|---|--:|--:|")
        for name, outcomes in seen.items():
            refused = sum(not taken for taken, _, _ in outcomes)
            wrong += refused != (0 if name == "none" else len(outcomes))
            low, high = min(o[1] for o in outcomes), max(o[1] for o in outcomes)
            print(
                f"| {name} | {refused} of {len(outcomes)} | {low:.2g} to {high:.2g} |", flush=True
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
