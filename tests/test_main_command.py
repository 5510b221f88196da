"""The main command, word for word, through the Hub's real clients against a stand-in."""

import gzip
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from families import ROWS as PAIRS
from families import adapter, conversation
from hub_server import Hub, serve

from rmbench.checkpoint.adapter import combine

TINY = Path(__file__).parent.parent / "rmbench" / "tiny"
MODEL = "SultanR/SmolTulu-1.7b-RM"
ROWS = [
    {"id": i, "subset": "toy", "prompt": f"Say {i}.", "chosen": f"{i}!", "rejected": "No, never."}
    for i in range(20)
]
CONFIGS = """---
configs:
- config_name: first
  data_files:
  - split: test
    path: first/test-*
- config_name: second
  data_files:
  - split: test
    path: second/test-*
---
"""
SUITE = """
name = "demo"
version = 1
title = "Demo"

[source]
path = "org/rows"
split = "test"
{more}

[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"

[credit]
rule = "pair"
tie = 0.5

[averages]
pooled = "comparisons"
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as served:
        served.add(f"models/{MODEL}", TINY)
        yield served


class Machine:
    """A machine with a home of its own that runs rmbench and sees the stand-in Hub alone."""

    def __init__(self, home: Path, address: str) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "RMB"))
        } | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(home / "hf"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(TINY.parent.parent),
        }

    def run(self, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "rmbench", *words],
            capture_output=True,
            text=True,
            env=self.environment | more,
            cwd=self.home,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub.address)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


def test_a_model_of_the_hub_is_scored_cached_and_scored_offline(hub: Hub, machine: Machine) -> None:
    words = ("run", "--model", MODEL, "--suite", "mini")
    first = machine.run(*words)
    commit = str(hub.repositories[f"models/{MODEL}"].commit("main"))
    assert re.search(rf"\|{MODEL}@{commit[:7]}\|", first.stdout)
    record = json.loads((machine.home / "results/mini/SultanR--SmolTulu-1.7b-RM.json").read_text())
    assert record["model"]["id"] == MODEL
    assert record["model"]["revision"] == commit
    tiny = machine.run("run", "--model", "tiny", "--suite", "mini", "--no-cache")
    accuracies = re.findall(r"(?m)^[A-Za-z ]+ +(\d+\.\d\d) ", first.stdout)
    assert accuracies == re.findall(r"(?m)^[A-Za-z ]+ +(\d+\.\d\d) ", tiny.stdout)
    hub.asked.clear()
    assert machine.run(*words).stdout == first.stdout
    assert not any(line.startswith("GET") and "/resolve/" in line for line in hub.asked)
    hub.asked.clear()
    assert machine.run(*words, HF_HUB_OFFLINE="1").stdout == first.stdout
    assert machine.run(*words, HF_ENDPOINT="http://127.0.0.1:9").stdout == first.stdout
    assert hub.asked == []


@pytest.mark.slow
def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, machine: Machine) -> None:
    repository = hub.repositories[f"models/{MODEL}"]
    other = dict(repository.branches["main"])
    other["README.md"] = b"another commit"
    repository.branches["v2"] = other
    commit = str(repository.commit("v2"))
    words = ("run", "--model", MODEL, "--suite", "mini", "--revision")
    assert f"@{commit[:7]}|" in machine.run(*words, "v2").stdout
    assert f"@{commit[:7]}|" in machine.run(*words, commit).stdout
    refused = machine.run(*words, "v3", code=2)
    assert last_line(refused).startswith(f"rmbench: {MODEL}: no such revision on the Hub")


def test_a_repository_that_does_not_exist_is_told_so(machine: Machine) -> None:
    refused = machine.run("run", "--model", "org/none", "--suite", "mini", code=2)
    assert last_line(refused).startswith("rmbench: org/none: no such repository on the Hub")


def test_a_gated_repository_is_told_how_to_get_access(hub: Hub, machine: Machine) -> None:
    hub.add("models/org/gated", TINY, gated=True)
    refused = machine.run("run", "--model", "org/gated", "--suite", "mini", code=2)
    assert last_line(refused).startswith(
        "rmbench: org/gated: its authors give access on request; ask for it"
    )


def test_a_hub_that_is_down_is_told_at_once(machine: Machine) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    refused = machine.run(
        "run", "--model", "org/none", "--suite", "mini", code=2, HF_ENDPOINT=address
    )
    assert time.monotonic() - began < 60  # it took minutes
    assert last_line(refused).startswith(
        f"rmbench: org/none: not in the cache, and the Hub ({address})"
    )


def test_a_hub_that_is_out_of_order_is_told_with_its_status(hub: Hub, machine: Machine) -> None:
    hub.status = 400
    refused = machine.run("run", "--model", "org/none", "--suite", "mini", code=2)
    assert "400" in last_line(refused) or "cannot be reached" in last_line(refused)


@pytest.mark.slow
def test_a_download_that_breaks_goes_on(hub: Hub, machine: Machine) -> None:
    hub.cut["model.safetensors"] = 1_000_000
    done = machine.run("run", "--model", MODEL, "--suite", "mini")
    assert f"{MODEL}@" in done.stdout
    assert "model.safetensors" not in hub.cut


@pytest.mark.slow
def test_pickle_weights_are_not_fetched_unless_they_are_trusted(hub: Hub, machine: Machine) -> None:
    files = dict(hub.repositories[f"models/{MODEL}"].branches["main"])
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    hub.add("models/org/pickle", files)
    refused = machine.run("run", "--model", "org/pickle", "--suite", "mini", code=2)
    assert last_line(refused).startswith(
        "rmbench: org/pickle: no safetensors weights; pickle weights can run code"
    )
    assert not any("pytorch_model.bin" in line for line in hub.asked)


@pytest.mark.parametrize(
    ("more", "files"),
    [
        ("", {"data/test-00000-of-00001.parquet": parquet(ROWS)}),
        ("", {"test.jsonl": json_lines(ROWS), "train.jsonl": json_lines(ROWS[:3])}),
        ("", {"data/test.jsonl.gz": gzip.compress(json_lines(ROWS))}),
        (
            'name = "second"',
            {
                "first/test-00000-of-00001.parquet": parquet(ROWS[:3]),
                "second/test-00000-of-00001.parquet": parquet(ROWS),
                "README.md": CONFIGS.encode(),
            },
        ),
    ],
    ids=["parquet", "jsonl", "gzip", "configs"],
)
def test_a_data_set_is_read_in_its_layout_on_the_hub(
    hub: Hub, machine: Machine, more: str, files: dict[str, bytes]
) -> None:
    commit = hub.add("datasets/org/rows", files).commit("main")
    (machine.home / "demo.toml").write_text(SUITE.format(more=more))
    words = ("run", "--model", "length", "--suite", "demo.toml")
    first = machine.run(*words)
    record = json.loads((machine.home / "results/demo/length.json").read_text())
    assert record["suite"]["revision"] == commit
    assert re.search(r"(?m)^pooled .* 20 ", first.stdout)
    assert machine.run(*words, HF_HUB_OFFLINE="1").stdout == first.stdout


def test_data_that_are_not_there_are_told_with_the_way_on(hub: Hub, machine: Machine) -> None:
    (machine.home / "demo.toml").write_text(SUITE.format(more=""))
    words = ("run", "--model", "length", "--suite", "demo.toml")
    refused = machine.run(*words, code=2)
    assert last_line(refused).startswith("rmbench: org/rows (split test): ")
    assert "doesn't exist on the Hub or cannot be accessed" in last_line(refused)
    assert last_line(refused).endswith("pass --data demo=PATH with a local copy")
    hub.add("datasets/org/rows", {"test.jsonl": json_lines(ROWS)}, gated=True)
    assert "access" in last_line(machine.run(*words, code=2))
    down = machine.run(*words, code=2, HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be reached" in last_line(down)


@pytest.mark.slow
def test_the_card_s_table_is_printed_by_the_main_command(
    hub: Hub, machine: Machine, test_data: Path
) -> None:
    with gzip.open(test_data / "rewardbench_v1.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    columns = ("prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset", "id")
    bench = [{name: row.get(name) for name in columns} for row in rows]
    files = {"data/filtered-0.parquet": parquet(bench), "data/raw-0.parquet": parquet(bench[:9])}
    hub.add("datasets/allenai/reward-bench", files | card("raw", "filtered"))
    with gzip.open(test_data / "ultrafeedback_binarized_sample.jsonl.gz", "rt") as stream:
        sample = [json.loads(line) for line in stream][:200]
    hub.add(
        "datasets/allenai/ultrafeedback_binarized_cleaned",
        {"data/test_prefs-0.parquet": parquet([as_on_the_hub(row) for row in sample])}
        | card("test_prefs"),
    )
    words = ("run", "--model", MODEL)
    first = machine.run(*words)
    for figure in ("94.13", "96.27", "72.43", "81.34", "73.17", "77.34"):
        assert figure in first.stdout
    names = ("Chat", "Chat Hard", "Safety", "Reasoning", r"Average \(pooled\)")
    for line in (*(f"RB {name}" for name in names), "UFB"):
        assert re.search(rf"(?m)^{line} +\d+\.\d\d", first.stdout), line
    assert machine.run(*words).stdout == first.stdout
    assert machine.run(*words, HF_HUB_OFFLINE="1").stdout == first.stdout


def card(*splits: str) -> dict[str, bytes]:
    """Return a data set's card that says which files are which split."""
    files = "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in splits)
    text = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    return {"README.md": text.encode()}


def as_on_the_hub(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in the columns of UltraFeedback's binarized form."""
    ask = {"role": "user", "content": row["prompt"]}
    sides = {
        side: [ask, {"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")
    }
    scores = {f"score_{side}": row.get(f"score_{side}", 0.0) for side in ("chosen", "rejected")}
    return {
        "prompt": row["prompt"],
        "prompt_id": str(row["id"]),
        **sides,
        "messages": sides["chosen"],
        **scores,
    }


@pytest.mark.slow
def test_an_adapter_is_scored_on_the_revision_of_its_base_that_it_states(
    hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    folder = tmp_path / "build" / "adapter"
    truth = adapter(folder)
    stated = json.loads((folder / "adapter_config.json").read_text())
    stated |= {"base_model_name_or_path": "org/base", "revision": "trained-on"}
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    own = hub.add("models/org/adapter", folder)
    base = hub.add("models/org/base", folder.parent / "base")
    base.branches["trained-on"] = base.branches["main"]
    base.branches["main"] = {"README.md": b"no model any more"}
    (machine.home / "rows.jsonl").write_bytes(json_lines(list(PAIRS)))

    words = ("run", "rows.jsonl", "--model", "org/adapter", "--device", "cpu")
    machine.run(*words, "--output", "out")
    (record,) = (machine.home / "out").rglob("*.json")
    found = list(map(json.loads, record.with_suffix(".jsonl").read_text().splitlines()))
    for row, line in zip(PAIRS, found, strict=True):
        for side in ("chosen", "rejected"):
            assert line[side] == pytest.approx([truth(conversation(row, side))], abs=1e-5)
    both = combine(str(own.commit("main")), str(base.commit("trained-on")))
    assert json.loads(record.read_text())["model"]["revision"] == both
    del base.branches["trained-on"]
    gone = last_line(machine.run(*words, "--output", "other", code=2))
    assert "org/adapter: its base model: org/base: no such revision" in gone
