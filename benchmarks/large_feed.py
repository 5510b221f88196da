"""Time and memory of a run over ever more comparisons, as JSON Lines and as parquet.

    python benchmarks/large_feed.py --rows 10000 100000 1000000
    python benchmarks/large_feed.py --rejected 1 3 --formats jsonl

Each size is written to a temporary folder, then scored by the baseline ``length`` in a process of
its own, whose processor time and peak memory the operating system tells. Texts are never held;
what grows with the rows is what the result itself needs: ids, rewards and credits. With three
rejected responses a comparison is a best of four.
"""

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

SUITE = """name = "synthetic"
[source]
path = "rows.{suffix}"
[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
[credit]
rule = "{rule}"
"""


def rows(count: int, rejected: int) -> Iterator[dict[str, Any]]:
    """Yield comparisons of about a thousand characters each, no two alike."""
    generator = random.Random(0)
    words = ["prefer", "reward", "answer", "because", "model", "prompt", "which", "longer"]
    for number in range(count):
        sizes = [generator.randrange(20, 80) for _ in range(2 + rejected)]
        texts = [" ".join(generator.choices(words, k=size)) for size in sizes]
        yield {
            "id": str(number),
            "subset": f"part-{number % 10}",
            "prompt": f"{number}: {texts[0]}",
            "chosen": texts[1],
            "rejected": texts[2] if rejected == 1 else texts[2:],
        }


def write(folder: Path, suffix: str, count: int, rejected: int) -> None:
    """Write suite and rows."""
    rule = "pair" if rejected == 1 else "best-of"
    (folder / "suite.toml").write_text(SUITE.format(suffix=suffix, rule=rule))
    file = folder / f"rows.{suffix}"
    if suffix == "jsonl":
        with file.open("w") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows(count, rejected))
        return
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    kinds = {"rejected": text if rejected == 1 else pyarrow.list_(text)}
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in next(rows(1, rejected))])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        feed = rows(count, rejected)
        while batch := list(islice(feed, 10_000)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


def measure(folder: Path) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak memory in MB of a whole run."""
    command = [sys.executable, "-c", "from rmbench.cli import main; main()", "run"]
    options = ["--model", "length", "--suite", str(folder / "suite.toml"), "--format", "csv"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, *options, "--output", str(folder / "results")], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the run failed with status {status}")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rejected", type=int, nargs="+", default=[1])
    parser.add_argument("--formats", nargs="+", default=["jsonl", "parquet"])
    arguments = parser.parse_args()
    heads = ["rows", "responses", "format", "data MB", "seconds", "CPU seconds", "us a response"]
    print("| " + " | ".join([*heads, "peak memory MB"]) + " |")
    print("|---:|---:|---|---:|---:|---:|---:|---:|")
    # A child's peak begins at what its parent holds, so that the parent writes nothing itself.
    context = multiprocessing.get_context("spawn")
    for count, rejected, suffix in product(arguments.rows, arguments.rejected, arguments.formats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            writer = context.Process(target=write, args=(folder, suffix, count, rejected))
            writer.start()
            writer.join()
            size = (folder / f"rows.{suffix}").stat().st_size / 1e6
            seconds, processor, memory = measure(folder)
        each = 1e6 * processor / (count * (1 + rejected))
        figures = f"{size:.0f} | {seconds:.1f} | {processor:.1f} | {each:.1f} | {memory:.0f}"
        print(f"| {count} | {1 + rejected} | {suffix} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
