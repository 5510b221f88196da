"""Random-weight reward models of real shapes on all of RewardBench, on one GPU.

    python benchmarks/gpu.py TOKENIZER_FOLDER DATA.jsonl.gz --shape smoltulu --loop --command
    python benchmarks/gpu.py TOKENIZER_FOLDER DATA.jsonl.gz --shape llama-8b

The weights are random (speed does not care), the texts and their lengths are real. Prints seconds,
tokens per second, peak memory, the share of the bf16 matrix rate measured in the same process, and
with ``--loop`` how much faster that is than RewardBench's loop in the same run, with ``--command``
what a whole ``rmbench run`` of the saved model takes. To try the script itself on any machine:
``--device cpu --layers 1 --limit 20``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from throughput import rewardbench_loop
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from rmbench.answers.questions import Conversations
from rmbench.checkpoint.encode import encode, load_template
from rmbench.engine.rate import layer_weights, matrix_rate
from rmbench.engine.scoring import Engine
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed

SHAPES: dict[str, dict[str, Any]] = {
    # SmolLM2-1.7B, the backbone of SmolTulu-1.7b-RM
    "smoltulu": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 49152,
    },
    # Llama 3.1 8B
    "llama-8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}


def build(arguments: argparse.Namespace, pad: int) -> Any:
    """Return a random-weight classifier in bfloat16 on the device."""
    torch.manual_seed(0)
    shape = SHAPES[arguments.shape] | {"num_labels": 1, "pad_token_id": pad}
    if arguments.layers:
        shape["num_hidden_layers"] = arguments.layers
    config = LlamaConfig(**shape, max_position_embeddings=8192)
    with torch.device(arguments.device):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForSequenceClassification(config).eval()
        torch.set_default_dtype(torch.float32)
    return model


def read(arguments: argparse.Namespace, tokenizer: Any) -> list[Any]:
    """Return the token ids of all conversations."""
    feed = open_feed(load_suite("rewardbench"), data=arguments.data, limit=arguments.limit)
    encoded = encode(
        Conversations(feed),
        tokenizer=tokenizer,
        template=load_template("tokenizer", tokenizer, arguments.tokenizer),
        max_length=None,
        on_overflow="error",
    )
    return [ids for ids in encoded.sequences if ids is not None]


def measure(model: Any, sequences: list[Any], batch_tokens: int | None) -> Any:
    """Score all sequences and print what it took."""
    rate = matrix_rate(model, device=model.device, dtype=model.dtype, seconds=0.5)
    print(f"{rate / 1e12:.1f} TFLOP/s in products of the model's shape")
    scoring = Engine(model, batch_tokens=batch_tokens).score(sequences)
    achieved = 2 * layer_weights(model) * scoring.tokens_computed / scoring.seconds
    print(
        f"rmbench ({scoring.way}, refused {scoring.refused}, states {scoring.proof.state} off of"
        f" {scoring.proof.limit}): {scoring.seconds:.1f} s,"
        f" {scoring.tokens} tokens, {scoring.tokens_computed} computed,"
        f" {scoring.tokens / scoring.seconds:.0f} tokens/s,"
        f" {100 * achieved / rate:.0f} % of the matrix rate,"
        f" {scoring.difference:.1e} from the lone forward"
    )
    if model.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    return scoring


def compare(model: Any, sequences: list[Any], scoring: Any) -> None:
    """Run RewardBench's loop on the same sequences and print how much longer it took."""
    start = time.perf_counter()
    with torch.inference_mode():
        rewards, padded = rewardbench_loop(model, sequences, model.config.pad_token_id)
    seconds = time.perf_counter() - start
    largest = np.abs(np.array(rewards) - scoring.rewards).max()
    print(
        f"RewardBench's loop: {seconds:.1f} s, {padded} computed; {seconds / scoring.seconds:.2f}"
        f" times as long, rewards differ by up to {largest:.1e}"
    )


def run_command(model: Any, tokenizer: Any, arguments: argparse.Namespace) -> None:
    """Time the command line as a whole process: start, weights, tokens, rewards, result."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        options = {
            "--model": folder,
            "--suite": "rewardbench",
            "--data": f"rewardbench={arguments.data}",
            "--device": arguments.device,
            "--output": f"{folder}/results",
        }
        if arguments.limit:
            options["--limit"] = str(arguments.limit)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "rmbench", "run", "--no-cache"]
            + [part for option in options.items() for part in option],
            check=True,
        )
        print(f"rmbench run, the whole command: {time.perf_counter() - start:.1f} s")


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("data")
    parser.add_argument("--shape", choices=list(SHAPES), default="smoltulu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--layers", type=int, default=None, help="fewer than the shape has")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--command", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Measure and print; return 1 when the fastest way was not taken."""
    arguments = parse()
    start = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer)
    sequences = read(arguments, tokenizer)
    print(f"read and tokenised in {time.perf_counter() - start:.1f} s")
    model = build(arguments, tokenizer.pad_token_id)
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else arguments.device
    print(f"{arguments.shape} on {device}")
    print("first, with all that a device sets up:")
    measure(model, sequences, arguments.batch_tokens)
    print("again, warm:")
    scoring = measure(model, sequences, arguments.batch_tokens)
    if arguments.loop:
        compare(model, sequences, scoring)
    if arguments.command:
        run_command(model, tokenizer, arguments)
    expected = "fused" if model.device.type == "cuda" else "packed"
    if scoring.way != expected:
        print(f"NOT the {expected} way")
    return int(scoring.way != expected)


if __name__ == "__main__":
    sys.exit(main())
