"""Layer by layer against all of a model in memory: seconds, peak memory, and equal rewards.

    python benchmarks/layers.py build FOLDER TOKENIZER --shape 8b
    python benchmarks/layers.py score FOLDER DATA.jsonl.gz --layers streamed --limit-gb 6
    python benchmarks/layers.py score FOLDER DATA.jsonl.gz --layers together --rewards earlier.npy

``build`` writes random weights in bfloat16, layer by layer, so that it needs little memory itself.
``score`` scores the shortest comparisons of RewardBench under a limit on the data that the process
may hold (RLIMIT_DATA: the page cache does not count), and prints what it took; with ``--rewards``
it keeps the rewards, or compares with those that are there.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden": 64, "inner": 128, "layers": 4, "heads": 4, "key_heads": 2, "words": 0},
    "1.7b": {
        "hidden": 2048,
        "inner": 8192,
        "layers": 24,
        "heads": 32,
        "key_heads": 32,
        "words": 49152,
    },
    "8b": {
        "hidden": 4096,
        "inner": 14336,
        "layers": 32,
        "heads": 32,
        "key_heads": 8,
        "words": 128256,
    },
}
LARGE = 70.6e9
"""Weights of Llama 3.1 70B, 80 layers."""


def build(folder: Path, tokenizer: str, shape: str) -> int:
    """Write a random reward model of a shape, one shard for each layer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig

    words = AutoTokenizer.from_pretrained(tokenizer)
    size = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=size["hidden"],
        intermediate_size=size["inner"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["key_heads"],
        vocab_size=size["words"] or len(words),
        max_position_embeddings=8192,
        num_labels=1,
        pad_token_id=words.pad_token_id or 0,
        architectures=["LlamaForSequenceClassification"],
    )
    config.save_pretrained(folder)
    words.save_pretrained(folder)
    torch.manual_seed(0)
    _write(folder, config)
    return 0


def _write(folder: Path, config: Any) -> None:
    """Write the weights, part by part, and the index of the parts."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaForSequenceClassification

    with torch.device("meta"):
        model = LlamaForSequenceClassification(config)
    parts: dict[str, dict[str, Any]] = {}
    for name, weight in model.named_parameters():
        key = name.split(".")[2] if name.startswith("model.layers.") else "rest"
        parts.setdefault(key, {})[name] = weight
    where, total = {}, 0
    for number, part in enumerate(parts.values(), 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        weights = {name: _random(name, weight.shape) for name, weight in part.items()}
        save_file(weights, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(weights, file)
        total += sum(weight.nbytes for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    print(f"{total / 1e9:.1f} GB of weights in {folder}")


def _random(name: str, shape: Any) -> Any:
    import torch

    if "norm" in name:
        return torch.ones(shape, dtype=torch.bfloat16)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0.0, 0.02)


def score(arguments: argparse.Namespace) -> int:
    """Score and print; return 1 when rewards differ from those that were kept."""
    if arguments.limit_gb:
        limit = int(arguments.limit_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    import numpy as np

    from rmbench.checkpoint.encode import encode
    from rmbench.checkpoint.options import ModelOptions
    from rmbench.scorers.classifier import load_classifier
    from rmbench.suite.catalogue import load_suite
    from rmbench.suite.feed import open_feed

    options = ModelOptions(layers=arguments.layers, dtype=arguments.dtype)
    start = time.perf_counter()
    scorer = load_classifier(arguments.folder, options, digest=lambda path: path.name)
    loaded = time.perf_counter() - start
    feed = list(open_feed(load_suite("rewardbench"), data=arguments.data))
    short = sorted(
        feed, key=lambda pair: sum(map(len, pair.responses)) + len(pair.prompt[0].content)
    )
    asked = [item for pair in short[: arguments.comparisons] for item in pair.conversations()]
    encoded = encode(
        asked,
        tokenizer=scorer.tokenizer,
        template=scorer.template,
        max_length=None,
        on_overflow="error",
    )
    spent = time.process_time()
    scoring = scorer.engine.score([ids for ids in encoded.sequences if ids is not None])
    spent = time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _print(arguments, scorer, scoring, f"loaded in {loaded:.1f} s, {spent:.1f} CPU seconds", peak)
    share = LARGE / (scorer.info.parameters or 1)
    print(f"70B at this rate (an estimate): {share * scoring.seconds / 3600:.1f} hours")
    return _compare(arguments.rewards, scoring.rewards, np) if arguments.rewards else 0


def _print(arguments: argparse.Namespace, scorer: Any, scoring: Any, more: str, peak: int) -> None:
    streamed = scorer.engine.ways.streamed is not None
    print(
        f"{Path(arguments.folder).name}, {arguments.dtype},"
        f" {'layer by layer' if streamed else 'all in memory'}:"
        f" {arguments.comparisons} comparisons, {scoring.tokens_computed} tokens computed, {more},"
        f" scored in {scoring.seconds:.1f} s,"
        f" {scoring.tokens_computed / scoring.seconds:.1f} tokens/s,"
        f" {scoring.way}, peak memory {peak / 1e9:.2f} GB"
    )


def _compare(path: Path, rewards: Any, np: Any) -> int:
    if not path.exists():
        np.save(path, rewards)
        return 0
    differs = np.abs(np.load(path) - rewards).max()
    print(f"largest difference of a reward: {differs:g}")
    return int(differs > 0)


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build")
    builder.add_argument("folder", type=Path)
    builder.add_argument("tokenizer")
    builder.add_argument("--shape", choices=list(SHAPES), default="8b")
    scorer = commands.add_parser("score")
    scorer.add_argument("folder")
    scorer.add_argument("data")
    scorer.add_argument("--layers", default="streamed")
    scorer.add_argument("--dtype", default="bfloat16")
    scorer.add_argument("--comparisons", type=int, default=40)
    scorer.add_argument("--limit-gb", type=float)
    scorer.add_argument("--rewards", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "score":
        return score(arguments)
    arguments.folder.mkdir(parents=True)
    return build(arguments.folder, arguments.tokenizer, arguments.shape)


if __name__ == "__main__":
    sys.exit(main())
