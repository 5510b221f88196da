#!/usr/bin/env python3
"""10,000 conversations against a reward server that is restarted, by an rmbench that is killed.

    python benchmarks/servers.py [--comparisons 5000] [--in-flight 64]

The server is a stand-in on 127.0.0.1 that speaks vLLM's /classify and gives each conversation a
reward made of its token ids. Once it is killed and started again in the middle of the run; then
rmbench itself is killed (SIGKILL) and run again. Shown are: whether every reward is the one that
the server gives, how many answered conversations were asked twice (none but those under way when
rmbench was killed), and by how much rmbench's memory grew while it asked.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BATCH = 8
SUITE = """name = "many"
title = "Many"
version = 1
[source]
path = "rows.jsonl"
[columns]
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
[credit]
rule = "pair"
"""


def main() -> None:
    """Measure, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LOG"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        _serve(int(args.serve[0]), Path(args.serve[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), args.comparisons, args.in_flight)


# --- the server ----------------------------------------------------------------------------------


def _reward_of(ids: list[int]) -> float:
    return float(sum((i % 7 + 1) * token for i, token in enumerate(ids)) % 20011) / 100 - 90


def _serve(port: int, log: Path) -> None:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = {
                "/version": {"version": "stand-in"},
                "/v1/models": {"data": [{"id": "served", "max_model_len": 4096}]},
            }
            self.reply(200 if self.path in known else 404, known.get(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rewards = [_reward_of(ids) for ids in body["input"]]
            if body["use_activation"]:
                rewards = [1 / (1 + 2.718281828459045**-r) for r in rewards]
            tokens = sum(map(len, body["input"]))
            rows = [{"index": i, "probs": [r], "num_classes": 1} for i, r in enumerate(rewards)]
            self.reply(200, {"data": rows, "usage": {"prompt_tokens": tokens}})
            with lock, log.open("a") as stream:
                stream.writelines(f"{hash(tuple(ids))}\n" for ids in body["input"])

        def reply(self, status: int, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who asked was killed

    Server(("127.0.0.1", port), Handler).serve_forever()


# --- the run -------------------------------------------------------------------------------------


def _measure(folder: Path, comparisons: int, in_flight: int) -> None:
    _write_suite(folder, comparisons)
    port, log = _free_port(), folder / "log"
    log.touch()
    servers = [_start_server(port, log)]
    try:
        run = _start_run(folder, port, in_flight)
        _wait_for(log, comparisons // 3, run)
        memory = Memory(run.pid)
        _wait_for(log, comparisons * 2 // 3, run)
        servers.append(_restarted(servers[-1], port, log))
        _wait_for(log, comparisons * 4 // 3, run)
        grown, asked = memory.stop(), _lines(log)
        run.send_signal(signal.SIGKILL)
        run.wait()
        if _start_run(folder, port, in_flight).wait() != 0:
            raise SystemExit("the second run failed")
    finally:
        servers[-1].kill()
    repeated = _lines(log) - len(set(log.read_text().split()))
    bound = 2 * in_flight * BATCH + 2 * 3 * BATCH
    print(
        f"conversations                               {2 * comparisons:>8,}",
        f"answered before the kill                    {asked:>8,}",
        f"asked in all                                {_lines(log):>8,}",
        f"asked twice (proofs, under way: {bound} at most) {repeated:>8,}",
        f"wrong rewards                               {_wrong(folder):>8,}",
        f"memory grew while it asked, MB              {grown:>8.1f}",
        sep="\n",
    )


def _restarted(
    server: "subprocess.Popen[bytes]", port: int, log: Path
) -> "subprocess.Popen[bytes]":
    server.kill()
    server.wait()
    time.sleep(1.0)
    return _start_server(port, log)


def _write_suite(folder: Path, comparisons: int) -> None:
    (folder / "many.toml").write_text(SUITE)
    with (folder / "rows.jsonl").open("w") as stream:
        for i in range(comparisons):
            row = {"prompt": f"Question {i}: " + "word " * (i % 200)}
            row |= {"chosen": f"yes {i} " * (1 + i % 30), "rejected": f"no {i} " * (1 + i % 23)}
            stream.write(json.dumps(row) + "\n")


def _start_server(port: int, log: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, __file__, "--serve", str(port), str(log)]
    server = subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "0"})
    time.sleep(1.0)
    return server


def _start_run(folder: Path, port: int, in_flight: int) -> "subprocess.Popen[bytes]":
    options = ["model=tiny", "check=never", f"in_flight={in_flight}", f"batch={BATCH}"]
    command = [sys.executable, "-m", "rmbench", "run", "--model", f"server:http://127.0.0.1:{port}"]
    command += [part for option in options for part in ("-o", option)]
    command += ["--suite", str(folder / "many.toml"), "--data", f"many={folder / 'rows.jsonl'}"]
    command += ["--output", str(folder / "results"), "--cache", str(folder / "cache")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _wait_for(log: Path, count: int, run: "subprocess.Popen[bytes]") -> None:
    while _lines(log) < count:
        if run.poll() is not None:
            raise SystemExit("the run ended too early")
        time.sleep(0.02)


def _lines(log: Path) -> int:
    with log.open("rb") as stream:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 16), b""))


def _wrong(folder: Path) -> int:
    """Return how many rewards are not the server's, by the small model's tokenizer alone."""
    from transformers import AutoTokenizer

    import rmbench

    tokenizer = AutoTokenizer.from_pretrained(str(Path(rmbench.__file__).parent / "tiny"))
    (file,) = (folder / "results").rglob("*.jsonl")
    judged = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    count = 0
    for item, row in zip(judged, rows, strict=True):
        for side in ("chosen", "rejected"):
            turns = [{"role": "user", "content": row["prompt"]}]
            turns.append({"role": "assistant", "content": row[side]})
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            count += abs(item[side][0] - _reward_of(ids)) > 1e-4
    return count


class Memory:
    """Samples the resident memory of a process; ``stop`` returns its growth in megabytes."""

    def __init__(self, pid: int) -> None:
        self.file = Path(f"/proc/{pid}/status")
        self.sizes: list[float] = []
        self.is_stopped = False
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.is_stopped and self.file.exists():
            found = [line for line in self.file.read_text().splitlines() if "VmRSS" in line]
            if not found:
                return
            self.sizes.append(float(found[0].split()[1]) / 1024)
            time.sleep(0.2)

    def stop(self) -> float:
        """Return by how much the memory grew since the first sample."""
        self.is_stopped = True
        self.thread.join()
        return max(self.sizes) - self.sizes[0] if self.sizes else 0.0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
