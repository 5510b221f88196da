"""Scores the same comparisons as RewardBench's loop does and as rmbench does, side by side.

    python benchmarks/throughput.py MODEL DATA.jsonl.gz --comparisons 60 --draws 3

The loop is rebuilt from its description: chosen and rejected apart, batches of 8 in the order of
the data, padded on the left, the model's own forward as transformers loads it. Both run in turn in
one process, so that a machine that slows down slows both; ratios are of the pairs, and medians are
quoted. Each round draws other comparisons, since how much a batch is padded is a matter of luck.
The share of the matrix rate counts 2 operations per weight of the layers and token computed
(attention's own products come on top and are left out), against a matrix product of the model's
shape measured in the same round.

With ``--alone`` every conversation is also scored alone, by rmbench and by transformers.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification

from rmbench.checkpoint.encode import encode
from rmbench.checkpoint.options import ModelOptions
from rmbench.engine.rate import layer_weights, matrix_rate
from rmbench.engine.scoring import Engine
from rmbench.scorers.classifier import Classifier, load_classifier
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation
from rmbench.suite.feed import open_feed

Ids = npt.NDArray[np.int32]


def draw(path: str, count: int, *, seed: int = 0) -> list[Conversation]:
    """Return the conversations of comparisons drawn evenly from all subsets."""
    feed = open_feed(load_suite("rewardbench"), data=path)
    by_subset: dict[str, list[Any]] = {}
    for comparison in feed:
        by_subset.setdefault(comparison.subset, []).append(comparison)
    generator = np.random.default_rng(seed)
    chosen = []
    for number in range(count):
        rows = list(by_subset.values())[number % len(by_subset)]
        chosen.append(rows[int(generator.integers(len(rows)))])
    return [item for comparison in chosen for item in comparison.conversations()]


def rewardbench_loop(model: Any, sequences: Sequence[Ids], pad: int) -> tuple[list[float], int]:
    """Return rewards and tokens computed of the loop described above."""
    rewards = [0.0] * len(sequences)
    computed = 0
    for side in (0, 1):
        order = list(range(side, len(sequences), 2))
        for start in range(0, len(order), 8):
            batch = order[start : start + 8]
            longest = max(sequences[i].size for i in batch)
            ids = torch.full((len(batch), longest), pad)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(batch):
                ids[row, longest - sequences[i].size :] = torch.from_numpy(sequences[i]).long()
                mask[row, longest - sequences[i].size :] = 1
            ids, mask = ids.to(model.device), mask.to(model.device)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, 0].float().cpu()
            computed += ids.numel()
            for i, value in zip(batch, logits.tolist(), strict=True):
                rewards[i] = value
    return rewards, computed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--comparisons", type=int, default=60)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    options = ModelOptions(device=arguments.device, batch_tokens=arguments.batch_tokens)
    scorer = load_classifier(arguments.model, options)
    plain = load_plain(arguments.model, scorer.engine)
    rounds = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.draws):
        conversations = draw(arguments.data, arguments.comparisons, seed=seed)
        sequences = token_ids(scorer, conversations)
        rounds.append(measure(scorer.engine, plain, sequences))
        print(f"draw {seed}: {rounds[-1].text}", flush=True)
        if arguments.alone:
            print(compare_alone(scorer.engine, plain, sequences, rounds[-1].rewards), flush=True)
    print(
        f"median of {len(rounds)}: {statistics.median(one.ratio for one in rounds):.2f} times as"
        f" fast, {100 * statistics.median(one.share for one in rounds):.0f} % of the matrix rate"
    )


def load_plain(model: str, engine: Engine) -> Any:
    """Return the model as transformers loads it, of the type and on the device of the engine's."""
    loader: Any = AutoModelForSequenceClassification
    plain = loader.from_pretrained(model, dtype=engine.model.dtype)
    return plain.eval().to(engine.device)


def token_ids(scorer: Classifier, conversations: Sequence[Conversation]) -> list[Ids]:
    """Return the token ids of conversations."""
    encoded = encode(
        conversations,
        tokenizer=scorer.tokenizer,
        template=scorer.template,
        max_length=None,
        on_overflow="error",
    )
    return [ids for ids in encoded.sequences if ids is not None]


class Round(NamedTuple):
    """What one round measured."""

    ratio: float
    share: float
    rewards: npt.NDArray[np.float32]
    text: str


def measure(engine: Engine, plain: Any, sequences: Sequence[Ids]) -> Round:
    """Run the loop and the engine in turn."""
    with torch.inference_mode():
        rate = matrix_rate(plain, device=plain.device, dtype=plain.dtype, seconds=1.0)
        start = time.perf_counter()
        slow, padded = rewardbench_loop(plain, sequences, plain.config.pad_token_id or 0)
        loop = time.perf_counter() - start
    scoring = engine.score(sequences)
    share = 2 * layer_weights(plain) * scoring.tokens_computed / scoring.seconds / rate
    difference = np.abs(np.array(slow) - scoring.rewards).max()
    text = (
        f"loop {loop:.1f} s, {padded} tokens; rmbench ({scoring.way}) {scoring.seconds:.1f} s,"
        f" {scoring.tokens_computed} tokens; {loop / scoring.seconds:.2f} times;"
        f" {100 * share:.0f} % of {rate / 1e9:.0f} GFLOP/s; rewards differ by {difference:.1e}"
    )
    return Round(loop / scoring.seconds, share, scoring.rewards, text)


def compare_alone(engine: Engine, plain: Any, sequences: Sequence[Ids], rewards: Any) -> str:
    """Tell how far rewards are from those of the lone forward."""
    with torch.inference_mode():
        theirs = [
            float(plain(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0, 0])
            for ids in sequences
        ]
    ours = engine.score_alone(sequences)
    return (
        f"  from the lone forward of rmbench {np.abs(np.array(ours) - rewards).max():.1e}, of"
        f" transformers {np.abs(np.array(theirs) - rewards).max():.1e}"
    )


if __name__ == "__main__":
    main()
