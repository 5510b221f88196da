#!/usr/bin/env python3
"""Run mutated model folders: each is scored, or refused in one line; nothing else.

    python benchmarks/fuzz_models.py                          # 300 folders
    python benchmarks/fuzz_models.py --count 2000 --start 300 --folder /tmp/fuzz
    python benchmarks/fuzz_models.py --only 17                # one folder again, its output shown

A folder is a copy of ``tiny`` with one to three changes: values of config.json and of the
tokenizer's files exchanged for other kinds, keys taken out or put in, headers of the weights
edited, files cut, templates spliced, indexes and adapters put beside. ``rmbench run`` takes it in a
forked process, which goes on to the next folder until one is a failure: an exit
code that is not 0 or 2, a traceback, more than ``LIMIT_S`` seconds of the processor, or more than
``LIMIT_BYTES`` of memory. Exit code 1 with one. The same number makes the same folder.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import rmbench

LIMIT_S: Final = 10
LIMIT_BYTES: Final = 2**30
WALL_S: Final = 90
"""After so many seconds by the clock a process is killed: it waits for something."""

AT_ONCE: Final = 50
"""Folders that one process takes, one after the other."""
TINY: Final = Path(rmbench.__file__).parent / "tiny"
ODD: Final[tuple[Any, ...]] = (
    0, -1, 1, 2, 3, 7, 10**5, 10**7, 10**12, 2**63, 0.0, 0.5, -2.5, 1e308, float("nan"), "", " ",
    "none", "linear", "\ud800", "a" * 5000, None, True, False, [], {}, [1], ["x"], {"a": 1},
    [[[]]], {"type": "x"},
)  # fmt: skip
SETTINGS: Final[dict[str, tuple[Any, ...]]] = {
    "model_type": ("gpt2", "bert", "t5", "mixtral", "xlnet", "mamba", "gemma3", "clip", "nosuch"),
    "architectures": (["LlamaForCausalLM"], ["RewardModel"], ["LlamaForTokenClassification"], []),
    "quantization_config": (
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq"},
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"quant_method": "fp8"},
        {"quant_method": "nosuch"},
        {"quant_method": None},
        {},
    ),
    "rope_parameters": (
        {"rope_type": "yarn", "factor": 0},
        {"rope_type": "dynamic"},
        {"rope_type": "longrope", "short_factor": [1], "long_factor": []},
        {"rope_type": "nosuch", "rope_theta": 1e4},
        {"rope_theta": -1},
    ),
    "rope_scaling": ({"type": "linear", "factor": "2"}, {"type": "llama3"}, {"factor": 0}),
    "transformers_weights": ("other.safetensors", "../model.safetensors", 3),
    "text_config": ({"hidden_size": 0}, {"model_type": "llama"}, 3),
    "id2label": ({"0": "a", "1": "b"}, {"x": 1}, {}, {"-1": "a"}),
    "problem_type": ("regression", "single_label_classification", "nosuch"),
    "tie_word_embeddings": (True,),
    "dtype": ("float16", "float8_e4m3fn", "int4", "nosuch"),
    "torch_dtype": ("bfloat16", "nosuch", 3),
    "_attn_implementation": ("flash_attention_2", "nosuch", 3),
    "attn_implementation": ("nosuch",),
    "hidden_act": ("gelu", "nosuch", 3),
    "auto_map": ({"AutoModel": "own.Own"}, {"AutoConfig": 3}, [], "own.Own"),
    "pruned_heads": ({"0": [0]}, {"99": [99]}),
    "is_encoder_decoder": (True,),
    "sliding_window": (1, 0, "4"),
    "layer_types": (["sliding_attention"], ["nosuch", "nosuch"], []),
    "num_local_experts": (10**7, 3),
    "score_type": ("cost", 3),
    "value_head_prefix": ("score", 3),
    "tokenizer_class": ("GPT2Tokenizer", "LlamaTokenizer", "BertTokenizer", "nosuch", 3),
    "model_max_length": (10**30, -1, "512", None),
    "added_tokens_decoder": ({"0": {"content": "x"}}, {"x": 1}, {"99999": {"content": "<y>"}}),
    "extra_special_tokens": (["<z>"], {"image": "<i>"}, 3),
    "chat_template": ("{{ messages }}", "{% if %}", 3, [{"name": "default", "template": "x"}]),
    "pad_token": ("<new>", 3, {"content": "x"}),
    "eos_token": ("nosuch", 3),
    "add_bos_token": (True, "yes"),
    "padding_side": ("left", "up"),
    "normalizer": ({"type": "NFC"}, {"type": "nosuch"}, {"type": "Lowercase"}),
    "pre_tokenizer": ({"type": "Whitespace"}, {"type": "Nosuch"}, None),
    "post_processor": ({"type": "TemplateProcessing", "single": [], "pair": []}, {"type": "x"}),
}


class Outcome(NamedTuple):
    """What became of one folder."""

    fault: str
    code: int
    seconds: float
    size: int
    output: str


# --- changes -------------------------------------------------------------------------------------


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in JSON; of long lists and tables the first few."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in list(value)[:40]:
            found += paths_of(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(min(len(value), 4)):
            found += paths_of(value[i], (*path, i))
    return found


def change_json(file: Path, draw: random.Random) -> None:
    """Exchange a value for another kind, take a key out, or put one in that means something."""
    content = json.loads(file.read_text())
    choice = draw.random()
    if choice < 0.4 and isinstance(content, dict):
        name = draw.choice(sorted(SETTINGS))
        content[name] = draw.choice(SETTINGS[name])
    else:
        *path, last = draw.choice(paths_of(content))
        inside = content
        for part in path:
            inside = inside[part]
        if choice < 0.55 and isinstance(inside, dict):
            del inside[last]
        else:
            inside[last] = draw.choice(ODD)
    file.write_text(json.dumps(content))


def change_bytes(file: Path, draw: random.Random) -> None:
    """Cut a file, flip some of its bytes, or repeat a piece."""
    content = bytearray(file.read_bytes())
    kind = draw.randrange(4)
    at = draw.randrange(min(len(content), 6000) or 1)
    if kind == 0:
        del content[at:]
    elif kind == 1:
        for _ in range(8):
            place = draw.randrange(min(len(content), 6000))
            content[place] = draw.randrange(256)
    elif kind == 2:
        content[at:at] = content[at : at + draw.randrange(200)]
    else:
        content = bytearray(draw.choice([b"", b"{}", b"[]", b"null", b"\xff" * 99, b"[" * 9999]))
    file.write_bytes(content)


def change_header(file: Path, draw: random.Random) -> None:
    """Edit the header of a safetensors file: names, shapes, kinds, places; data stay."""
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = draw.choice(sorted(set(header) - {"__metadata__"}))
    kind = draw.randrange(6)
    if kind == 0:
        del header[name]
    elif kind == 1:
        prefix = draw.choice(["module.", "_orig_mod.", "transformer.", ""])
        header = {prefix + key: value for key, value in header.items()}
    elif kind == 2:
        new = draw.choice(["v_head.weight", "score.bias", name.replace(".0.", ".5."), "x", ""])
        header[new] = header.pop(name)
    elif kind == 3:
        header[name]["shape"] = draw.choice([[], [1], [10**12, 10**9], header[name]["shape"][::-1]])
    elif kind == 4:
        header[name]["dtype"] = draw.choice(["F8_E4M3", "I8", "BF16", "U8", "F64", "nosuch", "F4"])
    else:
        header[name]["data_offsets"] = draw.choice([[0, 0], [0, 10**15], [8, 4], [-1, 5], "x"])
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def add_file(folder: Path, draw: random.Random) -> None:
    """Put a file beside the others that transformers or rmbench would open."""
    choices: dict[str, tuple[str, ...]] = {
        "added_tokens.json": ('{"<x>": 5}', '{"<x>": 10000000}', '{"<x>": "y"}', "[]"),
        "special_tokens_map.json": ('{"pad_token": "<p>"}', '{"eos_token": 3}', "[]"),
        "generation_config.json": ('{"max_length": "x"}', "[]", "{", '{"top_k": -1}'),
        "adapter_config.json": ("{}", '{"peft_type": "LORA"}', "[]", "{"),
        "model.safetensors.index.json": ("{}", '{"weight_map": {"a": "b"}}', "[]"),
        "reader.toml": ("sign = -1", 'layers = ["lm_head"]\n[rows]\n0 = 1', "x", "place = -9"),
        "value_head.safetensors": ("", "x" * 100),
        "additional_chat_templates/default.jinja": ("{{ messages[0]['content'] }}", "{% x"),
        "vocab.json": ('{"a": 0}', "["),
        "merges.txt": ("a b", "\n\n"),
        "tokenizer.model": ("", "x" * 100),
        "config.json": ("{}", "[]", '{"model_type": "llama"}', "3", '{"model_type": 3}'),
    }
    name = draw.choice(sorted(choices))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(draw.choice(choices[name]))
    if name.endswith("index.json") and draw.random() < 0.7:
        (folder / "model.safetensors").unlink(missing_ok=True)


def remove_file(folder: Path, draw: random.Random) -> None:
    """Take one file away."""
    draw.choice(sorted(path for path in folder.iterdir() if path.is_file())).unlink()


def change_folder(folder: Path, draw: random.Random) -> None:
    """Make one to three changes."""
    jsons = ("config.json", "config.json", "config.json", "tokenizer.json", "tokenizer_config.json")
    changes: list[Callable[[], None]] = [
        *[partial(change_json, folder / name, draw) for name in jsons],
        lambda: change_header(folder / "model.safetensors", draw),
        lambda: change_bytes(draw.choice(sorted(x for x in folder.iterdir() if x.is_file())), draw),
        lambda: add_file(folder, draw),
        lambda: remove_file(folder, draw),
    ]
    weights = [4, 4, 4, 3, 4, 5, 3, 4, 1]
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        change = draw.choices(changes, weights)[0]
        try:
            change()
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue  # an earlier change left nothing to be changed so


# --- runs ----------------------------------------------------------------------------------------


def make_folder(number: int, folder: Path) -> Path:
    """Make the folder of a number, instead of what stands there, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    model = folder / "model"
    shutil.copytree(TINY, model)
    change_folder(model, random.Random(number))
    return model


def try_numbers(numbers: Iterable[int], folder: Path) -> Iterator[tuple[int, Outcome]]:
    """Yield what became of the folder of each number.

    A process takes ``AT_ONCE`` of them, so that the enclosure's own process starts once. After a
    fault another one follows: what a fault leaves behind would count for the next folder.
    """
    left = list(numbers)
    while left:
        done = 0
        for outcome in _one_process(left[:AT_ONCE], folder):
            yield left[done], outcome
            done += 1
        left = left[done:]


def _one_process(numbers: Sequence[int], folder: Path) -> Iterator[Outcome]:
    """Yield outcomes until one is a fault; where the process dies, that is the last one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(numbers, folder, writing)
    os.close(writing)
    faulty = False
    with os.fdopen(reading, "rb", buffering=0) as stream:
        for _ in numbers:
            if not select.select([stream], [], [], WALL_S)[0]:
                os.kill(child, signal.SIGKILL)  # it waits for something
            line = stream.readline()
            if not line:
                break
            found = Outcome(*json.loads(line))
            yield found
            faulty = bool(found.fault)
        else:
            faulty = True
    _, status, usage = os.wait4(child, 0)
    if not faulty:  # it said nothing of this one
        code = os.waitstatus_to_exitcode(status)
        output = (folder / "output.txt").read_text(errors="replace")
        yield Outcome(f"its process ended with {code}", code, 0.0, usage.ru_maxrss * 1024, output)


def _work(numbers: Sequence[int], folder: Path, writing: int) -> None:
    """Try numbers in this process, and end it; output and errors go into a file."""
    resource.setrlimit(resource.RLIMIT_AS, (16 * LIMIT_BYTES, 16 * LIMIT_BYTES))
    for number in numbers:
        model = make_folder(number, folder / str(number))
        with (folder / "output.txt").open("wb") as stream:
            for output in (1, 2):
                os.dup2(stream.fileno(), output)
        outcome = _try_folder(model, folder)
        shutil.rmtree(model.parent, ignore_errors=True)
        os.write(writing, json.dumps(outcome).encode() + b"\n")
        if outcome.fault:
            break
    os._exit(0)


def _try_folder(model: Path, folder: Path) -> Outcome:
    """Return what ``rmbench run`` makes of a model's folder."""
    start = time.process_time()
    # Far beyond the limit, so that what breaks it is told as what it is.
    most = int(start) + 3 * LIMIT_S
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    code = _run(model, model.parent / "out")
    seconds = time.process_time() - start
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    output = (folder / "output.txt").read_text(errors="replace")
    return Outcome(_fault(code, seconds, size, output), code, seconds, size, output[-2000:])


def _run(model: Path, out: Path) -> int:
    """Run the command in this process and return its exit code."""
    from rmbench.cli import main

    command = ["run", "--model", str(model), "--suite", "mini", "--limit", "2"]
    code: Any = 70
    try:
        code = main([*command, "--output", str(out), "--no-cache"], standalone_mode=False) or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        code = getattr(error, "exit_code", 1)
        print(f"rmbench: {error}" if code == 2 else repr(error), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def _fault(code: int, seconds: float, size: int, output: str) -> str:
    if code not in (0, 2):
        return f"exit code {code}"
    if "Traceback" in output or "panicked" in output:
        return "traceback"
    if seconds > LIMIT_S:
        return f"{seconds:.0f} s of the processor"
    return f"{size >> 20} MiB" if size > LIMIT_BYTES else ""


def prepare() -> None:
    """Load what every run needs, before processes are forked."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    import torch

    from rmbench.checkpoint import enclosure

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(TINY, Path(folder, "model"))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = _run(Path(folder, "model"), Path(folder, "out"))
    assert code == 0, "the folder that is mutated is good by itself"
    enclosure._close_all()
    enclosure._IDLE.clear()  # each forked process has its own


def main() -> None:
    """Try folders and tell what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", type=int, help="try this one and show its output")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "fuzz-models"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    prepare()
    first, count = (given.start, given.count) if given.only is None else (given.only, 1)
    counts: Counter[str] = Counter()
    seconds, slowest, largest = 0.0, 0.0, 0
    for number, found in try_numbers(range(first, first + count), given.folder):
        counts[found.fault or {0: "scored", 2: "refused"}[found.code]] += 1
        seconds, slowest = seconds + found.seconds, max(slowest, found.seconds)
        largest = max(largest, found.size)
        if found.fault or given.only is not None:
            said = found.output if given.only is not None else found.output[-300:]
            print(f"{number}: {found.fault or found.code}: {said}", flush=True)
    print(dict(counts))
    print(f"{seconds:.0f} CPU seconds, slowest {slowest:.1f} s, at most {largest >> 20} MiB")
    sys.exit(1 if set(counts) - {"scored", "refused"} else 0)


if __name__ == "__main__":
    main()
