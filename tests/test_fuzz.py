"""Files from strangers: read or refused, never a traceback, a hang or a terminal command."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

import rmbench.suite.formats
from rmbench.answers.lines import read_judgements
from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.errors import DataError, ResultError, SuiteError
from rmbench.result.store import read_result
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz_readers.py"
INPUTS = 200
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\x08"


def load_script() -> ModuleType:
    sys.path.insert(0, str(SCRIPT.parent))  # as Python does for a script that it runs
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = load_script()


@pytest.mark.skipif(
    not hasattr(signal, "SIGPROF"), reason="no timer of the processor on this system"
)
@pytest.mark.parametrize("kind", list(FUZZ.KINDS))
def test_a_mutated_file_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    counts = FUZZ.try_many(kind, INPUTS, tmp_path)
    assert counts.total() == INPUTS
    assert counts["read"] > 0
    assert counts["refused"] > 0


@pytest.mark.parametrize("kind", list(FUZZ.KINDS))
def test_the_file_that_is_mutated_is_good_by_itself(kind: str, tmp_path: Path) -> None:
    name, _, read = FUZZ.KINDS[kind]
    (tmp_path / name).write_bytes(FUZZ.SEEDS[kind])
    read(tmp_path / name)


@pytest.mark.skipif(
    not hasattr(signal, "SIGPROF"), reason="no timer of the processor on this system"
)
def test_the_same_seed_tries_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []

    def note(kind: str, content: bytes, folder: Path) -> str:
        tried.append(content)
        return "read"

    monkeypatch.setattr(FUZZ, "try_one", note)
    for start in (5, 5, 6):
        FUZZ.try_many("csv", 20, tmp_path, start=start)
    assert tried[:20] == tried[20:40] != tried[40:]


@pytest.mark.skipif(
    not hasattr(signal, "SIGPROF"), reason="no timer of the processor on this system"
)
def test_a_reader_that_fails_or_hangs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        raise KeyError(path.name)

    def hangs(path: Path) -> None:
        try:
            while True:
                path.exists()
        except OSError:  # what the readers refuse, and what an alarm must not be
            raise DataError("read; fine") from None

    monkeypatch.setattr(FUZZ, "LIMIT_S", 1)
    for reader, expected in ((fails, KeyError), (hangs, FUZZ.Hang)):
        monkeypatch.setitem(FUZZ.KINDS, "csv", (*FUZZ.KINDS["csv"][:2], reader))
        with pytest.raises(expected):
            FUZZ.try_many("csv", 1, tmp_path)


# --- bombs ---------------------------------------------------------------------------------------


def read_data(path: Path) -> None:
    (path.parent / "suite.toml").write_bytes(FUZZ.SUITE)
    evaluate(str(path.parent / "suite.toml"), load_scorer("length"), data=str(path))


def test_a_gzip_bomb_stops_at_the_limit_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rmbench.suite.formats, "MAX_RATIO", 2000)
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as stream:
        for _ in range(65):  # 65 MiB without a line feed, in 64 KiB
            stream.write(b"a" * 2**20)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="longer than 67108864 bytes"):
        read_data(path)


@pytest.mark.parametrize("name", ["rows.json.gz", "rows.parquet.gz"])
def test_a_gzip_bomb_that_must_be_unpacked_whole_stops_at_its_limit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rmbench.suite.formats, "MAX_WHOLE_BYTES", 2**20)
    (tmp_path / name).write_bytes(gzip.compress(b"[" + b" " * 2**21))
    with pytest.raises(DataError, match="unpacks to more than 1048576 bytes"):
        read_data(tmp_path / name)


@pytest.mark.parametrize("bomb", [b"[" * 100_000, b'{"a":' * 100_000])
def test_json_nested_without_end_is_refused(bomb: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(bomb)
    with pytest.raises(DataError, match="nested too deeply"):
        read_data(tmp_path / "rows.jsonl")
    (tmp_path / "result.json").write_bytes(bomb)
    with pytest.raises(ResultError):
        read_result(tmp_path / "result.json")


def test_numbers_of_a_million_digits_are_refused(tmp_path: Path) -> None:
    digits = b"9" * 1_000_000
    (tmp_path / "rows.jsonl").write_bytes(b'{"id": ' + digits + b"}")
    with pytest.raises(DataError):
        read_data(tmp_path / "rows.jsonl")
    (tmp_path / "result.jsonl").write_bytes(b'{"id": "a", "chosen": [' + digits + b"]}")
    with pytest.raises(ResultError):
        read_judgements(tmp_path / "result.json")


@pytest.mark.parametrize("size", [1_000_001, 10_000_001])
def test_files_beyond_any_sensible_size_are_refused_unread(size: int, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_bytes(b"#" * size)
    with pytest.raises(SuiteError, match="larger than 1000000 bytes"):
        load_suite(str(suite))
    if size > 10_000_000:
        (tmp_path / "result.json").write_bytes(b" " * size)
        with pytest.raises(ResultError, match="larger than 10000000 bytes"):
            read_result(tmp_path / "result.json")


def test_a_file_that_never_ends_is_refused(tmp_path: Path) -> None:
    zero = Path("/dev/zero")
    if not zero.exists():
        pytest.skip("no /dev/zero on this system")
    (tmp_path / "result.json").symlink_to(zero)
    with pytest.raises(ResultError, match="larger than"):
        read_result(tmp_path / "result.json")


# --- the terminal and the folder -----------------------------------------------------------------


def invoke(*args: str) -> str:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code in (0, 1, 2)  # 70 is a bug
    return result.output


def assert_harmless(text: str) -> None:
    assert all(letter.isprintable() or letter == "\n" for letter in text), repr(text)


@pytest.mark.parametrize("fmt", ["table", "markdown"])
def test_terminal_escapes_of_a_record_are_not_printed(fmt: str, tmp_path: Path) -> None:
    record: dict[str, Any] = json.loads(json.dumps(FUZZ.RECORD))
    record["suite"] |= {"name": "mini", "headline": "sections"}
    record["model"]["id"] = f"org/{ESCAPES}"
    record["signature"] = f"mini:1|{ESCAPES}"
    record["averages"] = {"sections": record["averages"]["pooled"]}
    (tmp_path / "a.json").write_text(json.dumps(record))
    output = invoke("leaderboard", str(tmp_path), "--suite", "mini", "--format", fmt)
    assert "org/" in output
    assert_harmless(output)


def test_terminal_escapes_of_a_suite_file_and_its_rows_are_not_printed(tmp_path: Path) -> None:
    suite = FUZZ.SUITE.decode().replace("Fuzz", json.dumps(ESCAPES)[1:-1])
    (tmp_path / "own.toml").write_text(suite)
    rows = [row | {"subset": f"{row['subset']}{ESCAPES}"} for row in FUZZ.ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for args in (
        ["suites", "show", str(tmp_path / "own.toml")],
        ["run", "--model", "length", "--suite", str(tmp_path / "own.toml")],
    ):
        if args[0] == "run":
            args += ["--output", str(tmp_path / "out")]
        output = invoke(*args)
        assert output
        assert_harmless(output)


@pytest.mark.parametrize(
    "name", ["../../x", "a/../../b", "/etc/x", "a\0b", "x" * 300, "con", "AUX.txt", "..", ".", "~"]
)
def test_no_name_of_a_model_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    from asked import Given

    from rmbench.result.store import write_result
    from rmbench.scorers.contract import ScorerInfo

    named = Given(ScorerInfo(id=name, kind="own"), map(float, range(8)))
    folder = tmp_path / "deep" / "results"
    path = write_result(evaluate("mini", named, limit=4), folder)
    assert path.resolve().is_relative_to(folder.resolve())
    written = [Path(root) / file for root, _, files in os.walk(tmp_path) for file in files]
    assert {one.parent for one in written} == {folder / "mini"}
    assert path.stem.split(".")[0].lower() not in {"con", "aux"}
