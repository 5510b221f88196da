"""Is the GPU engine right? Correctness first, in some minutes; figures are for benchmarks/gpu.py.

    python benchmarks/gpu_check.py cuda
    python benchmarks/gpu_check.py cpu       # a dry run: the same steps, the kernel by a stand-in

Needs torch, transformers and rmbench alone, and no data: sequences that share prefixes are drawn.
Stops at the first step that fails, since figures of a wrong way are worth nothing; exit code 1.

1. The kernel for all branches against attention written out, in float32, branch by branch; and
   keys in wrong places must show.
2. Rewards of small models of five kinds against the model's own forward, alone, and by which way.
3. Long rows against short ones.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoConfig, AutoModelForSequenceClassification

from rmbench.engine import kernels
from rmbench.engine.packing import PackedRow, pack
from rmbench.engine.scoring import Engine

HEADS = ((32, 32, 64), (32, 8, 128), (9, 3, 64), (8, 1, 256), (16, 4, 80))
"""Heads, key heads and width, as models have them."""
KERNEL_LIMIT = 0.03
SHAPE: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 4096,
    "max_position_embeddings": 8192,
    "num_labels": 1,
    "pad_token_id": 2,
}
MODELS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {}),
    ("qwen3", {}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"sliding_window": 64}),
    ("gemma2", {}),
)
LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Of a reward's difference from the lone forward in float32, as a share of the rewards' range."""


def sequences(count: int) -> list[Any]:
    """Return pairs that share a prompt, all behind one system prompt."""
    generator = np.random.default_rng(0)

    def words(low: int, high: int) -> Any:
        return generator.integers(4, SHAPE["vocab_size"], generator.integers(low, high))

    system = words(24, 25)
    found = []
    for _ in range(count // 2):
        prompt = words(20, 200)
        found += [np.concatenate([system, prompt, words(5, 300)]).astype(np.int32) for _ in "ab"]
    return found


def stand_in() -> kernels.Kernel:
    """Return a kernel of the same meaning for a CPU, one branch after the other."""

    def compute(query: Any, key: Any, value: Any, call: kernels.Call) -> Any:
        ends = (call.group.query_ends.tolist(), call.group.key_ends.tolist())
        out = torch.empty_like(query)
        share = query.shape[1] // key.shape[1]
        for a, b, c, d in zip(ends[0], ends[0][1:], ends[1], ends[1][1:], strict=False):
            seen = torch.ones(b - a, d - c, dtype=torch.bool).tril((d - c) - (b - a))
            if call.window is not None:
                seen &= ~torch.ones_like(seen).tril((d - c) - (b - a) - call.window)
            parts = (x[s].transpose(0, 1) for x, s in ((key, slice(c, d)), (value, slice(c, d))))
            keys, values = (part.repeat_interleave(share, 0) for part in parts)
            one = query[a:b].transpose(0, 1)
            mixed = scaled_dot_product_attention(one, keys, values, seen, scale=call.scaling)
            out[a:b] = mixed.transpose(0, 1)
        return out

    return kernels.Kernel("stand-in", compute)


def written_out(row: PackedRow, query: Any, key: Any, value: Any) -> Any:
    """Return a row's attention in float32, branch by branch, its mask written out."""
    out = torch.empty(query.shape[2], query.shape[1], value.shape[3])
    for number, branch in enumerate(row.branches):
        if not branch.length:
            continue
        path = [*row.prefix(number), slice(branch.offset, branch.offset + branch.length)]
        places = torch.cat([torch.arange(piece.start, piece.stop) for piece in path])
        seen = torch.ones(branch.length, len(places), dtype=torch.bool).tril(branch.depth)
        share = query.shape[1] // key.shape[1]
        keys, values = (x[:, :, places].float().repeat_interleave(share, 1) for x in (key, value))
        own = query[:, :, path[-1]].float()
        mixed = scaled_dot_product_attention(own, keys, values, attn_mask=seen.to(own.device))
        out[path[-1]] = mixed[0].transpose(0, 1).cpu()
    return out


def check_kernel(device: torch.device, kernel: kernels.Kernel, count: int) -> None:
    """Step 1."""
    for heads, key_heads, width in HEADS:
        for row in pack(sequences(count), row_tokens=4096)[:2]:
            given = tuple(
                torch.randn(1, row.size, n, width, device=device, dtype=torch.bfloat16)
                for n in (heads, key_heads, key_heads)
            )
            states = tuple(x.transpose(1, 2) for x in given)
            wanted = written_out(row, *states)
            groups = kernels.group_branches(row, slice(0, row.size), device)
            off = _off(kernel, states, groups, wanted)
            spoilt = [group._replace(keys=group.keys.roll(1)) for group in groups]
            shown = _off(kernel, states, spoilt, wanted)
            print(f"  {heads}/{key_heads} heads of {width}: {off:.1e} off, spoilt {shown:.1e}")
            assert off < KERNEL_LIMIT, "the kernel is not the attention that it stands for"
            assert shown > 10 * KERNEL_LIMIT, "wrong keys do not show"


def _off(kernel: kernels.Kernel, states: Any, groups: Any, wanted: Any) -> float:
    found = kernels.attend(kernel, states, groups, scaling=None, window=None)[0].float().cpu()
    return float(((found - wanted).norm(dim=-1) / wanted.norm(dim=-1)).max())


def models(device: torch.device, layers: int) -> Iterator[tuple[str, Any, Any]]:
    """Yield a name, a model in float32 and the same in bfloat16."""
    for kind, more in MODELS:
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **SHAPE | {"num_hidden_layers": layers} | more)
        # Of PyTorch's own attention none knows soft caps.
        chosen = {"attn_implementation": "eager"} if kind == "gemma2" else {}
        exact, half = (
            AutoModelForSequenceClassification.from_config(config, **chosen).eval().to(device)
            for _ in range(2)
        )
        half.load_state_dict(exact.state_dict())
        yield f"{kind} {more or ''}".strip(), exact, half.bfloat16()


def check_models(device: torch.device, count: int, layers: int) -> None:
    """Steps 2 and 3."""
    asked = sequences(count)
    for name, exact, half in models(device, layers):
        truth = np.array(Engine(exact).score_alone(asked))
        for model in (exact, half):
            for tokens in (None, 512):
                engine = Engine(model, batch_tokens=tokens)
                scoring = engine.score(asked)
                off = float(np.abs(scoring.rewards - truth).max() / np.ptp(truth))
                kernel = None if engine.ways.kernel is None else engine.ways.kernel.name
                print(f"  {name} {model.dtype}: {scoring.way} ({kernel}), {off:.1e} off", end="")
                print(f", refused {scoring.refused}" if scoring.refused else "")
                assert off < LIMITS[model.dtype], "rewards are not the model's own"
                fused = kernel is not None and "gemma2" not in name
                assert scoring.way == ("fused" if fused else "packed"), "the way is too slow"


def main() -> int:
    """Check and print; return 1 at the first step that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("device")
    parser.add_argument("--sequences", type=int, default=40)
    parser.add_argument("--layers", type=int, default=6)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {name}")
    kernel = kernels.choose_kernel(device, torch.bfloat16)
    assert kernel is not None or device.type == "cpu", "this GPU has no kernel for all branches"
    kernel = kernel or stand_in()
    steps = {
        f"the kernel {kernel.name}": lambda: check_kernel(device, kernel, arguments.sequences),
        "models": lambda: check_models(device, arguments.sequences, arguments.layers),
    }
    for title, step in steps.items():
        print(title)
        start = time.perf_counter()
        try:
            step()
        except AssertionError as error:
            print(f"WRONG: {error}")
            return 1
        print(f"  {time.perf_counter() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
