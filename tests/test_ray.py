"""A cluster answers as one machine does, whatever dies; what can never be is refused."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmbench.answers.jobs import Needs, read_sweep
from rmbench.cli import main

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def test_needs_of_a_cluster_without_one_are_a_mistake() -> None:
    done = CliRunner().invoke(main, ["run", "--model", "length", "--ray-gpus", "2"])
    assert done.exit_code == 2
    assert "--ray ADDRESS" in done.stderr


def test_a_sweep_says_what_a_model_takes(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('suites = ["mini"]\n[[models]]\nmodel = "a/b"\ngpus = 8\nshard = 2000\n')
    (job,) = read_sweep(file).jobs
    assert job.needs == Needs(gpus=8, shard=2000)
    assert job.needs.over(Needs(cpus=4, gpus=1)) == Needs(cpus=4, gpus=8, shard=2000)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two nodes on this machine."""
    pytest.importorskip("ray", exc_type=ImportError)
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        text=True,
    ) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("", timeout=60)


def run(folder: Path, *args: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "rmbench", "run", "--suite", "mini", "--no-cache"]
    done = subprocess.run(
        [*command, "--output", str(folder), *args],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_cluster_gives_the_bytes_that_this_machine_gives(tmp_path: Path, address: str) -> None:
    models = ["--model", "tiny", "--model", "random", "--limit", "24"]
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(here, *models)[0] == 0
    code, err = run(there, *models, "--ray", address)
    assert code == 0, err
    for model in ("tiny", "random"):
        name = f"mini/{model}.partial-24.jsonl"
        assert (there / name).read_bytes() == (here / name).read_bytes()


@pytest.mark.slow
def test_shards_give_what_the_whole_gives(tmp_path: Path, address: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(whole, "--model", "random")[0] == 0
    code, err = run(cut, "--model", "random", "--ray", address, "--ray-shard", "50")
    assert code == 0, err
    name = "mini/random.jsonl"
    assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_what_the_cluster_can_never_give_is_refused(tmp_path: Path, address: str) -> None:
    code, err = run(tmp_path, "--model", "tiny", "--ray", address, "--ray-gpus", "8")
    assert code == 2
    assert "tiny: needs 1 CPUs and 8 GPUs of one node" in err
    assert "--ray-gpus" in err


@pytest.mark.slow
def test_a_mistake_is_told_with_its_node_and_stops_no_other(tmp_path: Path, address: str) -> None:
    wrong = tmp_path / "mine.py"
    wrong.write_text("def broken(conversation):\n    return 'many'\n")
    models = ["--model", f"file:{wrong}:broken", "--model", "length"]
    code, err = run(tmp_path / "out", *models, "--ray", address)
    assert code == 2
    assert "(on " in err
    assert (tmp_path / "out" / "mini" / "length.json").is_file()


@pytest.mark.slow
def test_an_address_where_nobody_listens_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", exc_type=ImportError)
    code, err = run(tmp_path, "--model", "length", "--ray", "127.0.0.1:9")
    assert code == 2
    assert "--ray 127.0.0.1:9: cannot be reached" in err


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_node_change_no_byte() -> None:
    pytest.importorskip("ray", exc_type=ImportError)
    command = [sys.executable, "benchmarks/ray_kills.py", "--runs", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 of 1 runs ended in the bytes" in done.stdout
