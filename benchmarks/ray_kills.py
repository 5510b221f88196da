"""Kills a worker, then a whole node, of a Ray cluster of two in the middle of 8 jobs.

    python benchmarks/ray_kills.py --runs 20

The cluster is made on this machine, by Ray's own means for tests. 8 jobs are run undisturbed, and
then as often as asked for: when half of the answers of a job are there its worker is killed
(SIGKILL), a moment later a node with all that runs on it, and a new node takes its place. The
answers that a run has written must be those of the undisturbed one, byte for byte. Exit code 1
where any is not.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = 8
SCORER = """
import hashlib, os, time
from pathlib import Path
FOLDER = Path(os.environ.get("RAY_KILLS", "."))

def make(seed):
    def reward(conversation):
        with (FOLDER / f"{seed}.pid").open("a") as log:
            log.write(f"{os.getpid()}\\n")
        time.sleep(0.02)
        text = f"{seed} {conversation.response}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:3]) / 1e5
    return reward
"""


def main() -> int:
    """Run the benchmark; 0 when every run ended in the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="ray-kills-") as name:
        folder = Path(name)
        names = [f"job{seed}" for seed in range(MODELS)]
        lines = [SCORER, *(f"{name} = make({i})" for i, name in enumerate(names))]
        (folder / "scorers.py").write_text("\n".join(lines))
        undisturbed, _ = run(folder, names, "undisturbed", is_disturbed=False)
        equal = 0
        for number in range(runs):
            found, told = run(folder, names, str(number), is_disturbed=True)
            equal += found == undisturbed and len(found) == MODELS
            print(f"run {number + 1}: {told}; same bytes: {found == undisturbed}", flush=True)
    print(f"{equal} of {runs} runs ended in the bytes of the undisturbed one")
    return 0 if equal == runs else 1


def run(
    folder: Path, names: list[str], label: str, *, is_disturbed: bool
) -> tuple[dict[str, bytes], str]:
    """Return what a run has written, by file, and what was killed on the way."""
    from ray.cluster_utils import Cluster

    output, traces = folder / f"out-{label}", folder / f"pids-{label}"
    traces.mkdir()
    os.environ |= {"RAY_KILLS": str(traces), "RAY_USAGE_STATS_ENABLED": "0"}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    node = cluster.add_node(num_cpus=2)
    told = "nothing killed"
    try:
        models = [part for name in names for part in ("--model", f"file:scorers.py:{name}")]
        command = [sys.executable, "-m", "rmbench", "run", *models, "--suite", "mini"]
        command += ["--limit", "120", "--output", str(output), "--no-cache", "--no-progress"]
        driver = subprocess.Popen(
            [*command, "--ray", cluster.address],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        if is_disturbed:
            told = kill_worker(traces, driver)
            time.sleep(1.5)
            told += f", then a node with {len(answered(traces))} jobs begun"
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(num_cpus=2)
        if driver.wait(timeout=600) != 0:
            told += f"; exit code {driver.returncode}"
    finally:
        cluster.shutdown()
    return {path.name: path.read_bytes() for path in output.rglob("*.jsonl")}, told


def answered(traces: Path) -> dict[str, list[int]]:
    """Return which processes have answered for each job so far, once for each answer."""
    return {path.stem: list(map(int, path.read_text().split())) for path in traces.glob("*.pid")}


def kill_worker(traces: Path, driver: "subprocess.Popen[bytes]") -> str:
    """Kill the worker of the first job that is half done, and say which."""
    while driver.poll() is None:
        for name, pids in sorted(answered(traces).items()):
            if len(pids) >= 120:
                os.kill(pids[-1], signal.SIGKILL)
                return f"killed the worker of job {name} after {len(pids)} of 240 answers"
        time.sleep(0.05)
    return "nothing killed: the run ended before"


if __name__ == "__main__":
    sys.exit(main())
