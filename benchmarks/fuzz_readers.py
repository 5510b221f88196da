#!/usr/bin/env python3
"""Feed the readers mutated files: each is read, or refused with an RmbenchError; nothing else.

    python benchmarks/fuzz_readers.py                        # 10,000 inputs for each format
    python benchmarks/fuzz_readers.py --kind csv --count 100 --seed 7

hypothesis changes good files in bytes (flips, cuts, repeats, splices of what parsers stumble over)
and in structure (values exchanged for other kinds, columns renamed, rows nested); templates it also
builds from their grammar. What counts as a failure: any other exception, more than ``LIMIT_S``
seconds of the processor, more than ``LIMIT_BYTES`` of memory beside what the process had before, or
a killed process. Exit code 1 with one; the smallest such input that hypothesis finds stays in the
folder that is printed. The same seed tries the same inputs.
"""

import argparse
import io
import json
import logging
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow
import pyarrow.parquet
from fuzz_seeds import (
    ANSWER,
    BY_COLUMN,
    CARD,
    FLAT,
    FORMS,
    GROUP,
    JUDGE,
    LINES,
    MATTER,
    READER,
    RECORD,
    REWARDS,
    ROWS,
    RUN,
    SCORES,
    SUITE,
    SUITES,
    SUMMARY,
    SWEEP,
    TEMPLATE,
)
from fuzz_templates import jinja_files
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rmbench.answers.jobs import read_sweep
from rmbench.answers.ledger import RunKeys, RunLedger
from rmbench.answers.lines import read_judgements
from rmbench.api import evaluate
from rmbench.cache import FILE, Cache
from rmbench.checkpoint import enclosure
from rmbench.checkpoint.encode import load_template, render
from rmbench.checkpoint.reader_file import find_reader
from rmbench.errors import DataError, RmbenchError
from rmbench.importing import import_results
from rmbench.result.store import read_result, write_result
from rmbench.scorers.judge_file import load_judge
from rmbench.show.model_card import merge_card
from rmbench.suite import footer
from rmbench.suite.catalogue import bundled_folder, load_suite
from rmbench.suite.comparison import Conversation, Message
from rmbench.suite.feed import open_feed
from rmbench.suite.group import find_group, suites_of
from rmbench.suite.recognise import recognise

LIMIT_S: Final = 10
LIMIT_BYTES: Final = 2**30
TEMPLATE_S: Final = 0.5
"""What a template may take here instead of its 5 s, so that those that loop are soon over."""

# --- what is put in ------------------------------------------------------------------------------

TEXTS: Final = st.text(max_size=8) | st.sampled_from(
    ["", "\0", "\x1b[2J", "\ud800", "\u202e", "a" * 5000, "../../x", "NaN", "a/b"]
)
NUMBERS: Final = (
    st.integers(-3, 3)
    | st.floats()
    | st.sampled_from([10**400, -(2**63), 2**64, 1e308, -0.0, float("nan"), float("inf")])
)
SHAPES: Final[list[Any]] = [
    [], {}, [[]], [None], {"role": 1}, {"": {}}, [1, "a"], {"a": {"a": {"a": []}}},
    [{"role": "assistant", "content": None}], [{"role": "user", "content": "a"}],
]  # fmt: skip
ODD: Final = st.one_of(
    st.none(), st.booleans(), NUMBERS, TEXTS, st.sampled_from(SHAPES), st.lists(TEXTS, max_size=3)
)
SPLICES: Final = st.binary(min_size=1, max_size=8) | st.sampled_from([
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b\x08", b'"', b"'", b"{", b"[" * 3000, b"}",
    b"\n", b"\r", b",", b"=", b"[[a]]", b'"""', b"\\u0000", b"\\ud800", b"1e999", b"-", b"NaN",
    b"PAR1", b"9" * 5000, b"\xc0\x80", b"\xed\xa0\x80", b"1979-05-27T07:32:00Z", b"inf",
    b"a.b.c = 1\n", b"{{", b"}}", b"{%", b"%}", b"{#", b"|", b"(" * 300, b"* 10**9",
    b"range(99999)",
])  # fmt: skip


# --- mutations -----------------------------------------------------------------------------------


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Change one to eight places of a file."""
    content = bytearray(data)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4, 8]))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([1, 2, 8, 64])))
        match draw(st.sampled_from(["flip", "splice", "cut", "repeat", "replace", "end"])):
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "splice":
                content[start:start] = draw(SPLICES)
            case "cut":
                del content[start:stop]
            case "repeat":
                content[start:start] = content[start:stop] * draw(st.sampled_from([1, 2, 50]))
            case "replace":
                content[start:stop] = draw(SPLICES)
            case "end" if draw(st.integers(0, 4)) == 0:
                del content[start:]
    return bytes(content)


@st.composite
def changed_value(draw: st.DrawFn, value: Any) -> Any:
    """Change one place of a JSON value: another kind, a missing or a renamed key, a repeat."""
    if isinstance(value, str) and draw(st.booleans()):
        return value + draw(TEXTS)
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 6)) == 0:
        return draw(ODD)
    way = draw(st.sampled_from(["inside"] * 8 + ["without", "again"]))
    if isinstance(value, list):
        i = draw(st.integers(0, len(value) - 1))
        new = {"inside": [draw(changed_value(value[i]))], "without": [], "again": [value[i]] * 2}
        return [*value[:i], *new[way], *value[i + 1 :]]
    key = draw(st.sampled_from(sorted(value)))
    rest = {name: item for name, item in value.items() if name != key}
    if way == "inside":
        return rest | {key: draw(changed_value(value[key]))}
    return rest if way == "without" else rest | {key + "x": value[key]}


@st.composite
def json_files(draw: st.DrawFn, value: Any) -> bytes:
    """Return JSON with up to three places changed."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        value = draw(changed_value(value))
    # Half a surrogate pair stays an escape, which JSON allows.
    return json.dumps(value).encode()


@st.composite
def jsonl_files(draw: st.DrawFn) -> bytes:
    """Return JSON Lines of which one is changed."""
    rows = [json.dumps(row).encode() for row in ROWS]
    number = draw(st.integers(0, len(ROWS) - 1))
    rows[number] = draw(json_files(ROWS[number]))
    return b"\n".join(rows) + b"\n"


@st.composite
def toml_files(draw: st.DrawFn, files: list[bytes], more: list[str] | None = None) -> bytes:
    """Return one of some TOML files with lines dropped, repeated, moved, or with other values.

    Args:
        draw: hypothesis's.
        files: good ones.
        more: lines that are put in.
    """
    lines = draw(st.sampled_from(files)).splitlines(keepends=True)
    ways = ["value", "value", "value", "drop", "repeat", "move", *(["put"] * 3 if more else [])]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        i = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(ways)):
            case "value":
                key, equals, _ = lines[i].partition(b"=")
                lines[i] = key + equals + json.dumps(draw(ODD)).encode() + b"\n"
            case "put":
                lines[i] += draw(st.sampled_from(more or [""])).encode() + b"\n"
            case "drop":
                lines[i] = b""
            case "repeat":
                lines[i] *= 2
            case "move":
                lines[i] += draw(st.sampled_from(lines))
    return b"".join(lines)


@st.composite
def form_files(draw: st.DrawFn) -> bytes:
    """Return a row in one of the forms that a suite file may state, changed."""
    _, row = draw(st.sampled_from(FORMS))
    rows = [json.dumps(row).encode(), draw(json_files(row))]
    return b"\n".join(draw(st.permutations(rows))) + b"\n"


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Return CSV with other columns, cells and quotes."""
    header = list(FLAT[0])
    rows = [header, *([row.get(key, "") for key in header] for row in FLAT)]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        row = draw(st.sampled_from(rows))
        row[draw(st.integers(0, len(row) - 1))] = str(draw(ODD))
        if draw(st.integers(0, 4)) == 0:
            row.append("more")
    quote = draw(st.sampled_from(["", '"', "'"]))
    text = "\n".join(",".join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    return text.encode(errors="replace")


ODD_YAML: Final = st.sampled_from([
    "2024-02-30", "0x_", "0b_", "0o9", "25:61:61", "1e", ".", "-", "!!binary a", "!!set {a}", "&a",
    "*a", "&a [*a]", "<<", "!!python/none", "!!timestamp x", "!!int 1.5", "{a: *b}", "[[[[", "|",
    ">", "%TAG", "---", "...", "\t", "'", "\"\\u12", "? [a]", "!<x>", "0" * 5000, "1_" * 3000,
    "2001-01-01 00:00:00 +99:99", "!!omap [a]", "!!pairs [a: b, c]",
])  # fmt: skip


@st.composite
def card_files(draw: st.DrawFn) -> bytes:
    """Return a model card with odd values, or lines dropped, repeated and moved."""
    lines = MATTER.decode().splitlines()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        i = draw(st.integers(1, len(lines) - 3))
        odd = draw(ODD_YAML | TEXTS)
        match draw(st.sampled_from(["value", "value", "value", "drop", "repeat", "move"])):
            case "value":
                key, colon, _ = lines[i].partition(":")
                lines[i] = f"{key}{colon} {odd}"
            case "drop":
                lines[i] = ""
            case "repeat":
                lines[i] += f"\n{lines[i]}"
            case "move":
                lines[i] += f"\n{draw(st.sampled_from(lines))}"
    return "\n".join(lines).encode(errors="replace")


COLUMNS: Final[list[list[Any]]] = [
    [1, 2], [None, None], [b"\xff", b"a"], [1.5, 2.5], [["a"], []], [{"x": 1}] * 2,
    [[{"role": "user", "content": "a"}]] * 2, [True, False], ["", "\0"], [float("nan"), 1.0],
    [{"role": "user", "content": "a"}] * 2,
]  # fmt: skip


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    """Return parquet with columns of other kinds."""
    columns: dict[str, Any] = {key: [row.get(key) for row in FLAT[:2]] for key in FLAT[0]}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(list(columns)))
        texts = st.lists(st.text(max_size=5), min_size=2, max_size=2)
        columns[name] = draw(st.sampled_from(COLUMNS) | texts)
    return _parquet(columns, draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])))


def _parquet(columns: Any, compression: str) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream, compression=compression)
    return stream.getvalue()


# --- readers -------------------------------------------------------------------------------------


def read_suite(path: Path) -> None:
    """Read a suite file."""
    load_suite(str(path))


def read_rows(path: Path) -> None:
    """Read a data file as comparisons, twice, as a run does."""
    suite = path.parent / "suite.toml"
    suite.write_bytes(SUITE)
    for _ in open_feed(load_suite(str(suite)), data=str(path)):
        pass


def read_template(path: Path) -> None:
    """Write a conversation with a Jinja file."""
    prompt = (Message("system", "Be kind."), Message("user", "Why a {{ 7 }}?"))
    words = _tokenizer()
    render(Conversation(prompt, "Because.", "a/1"), load_template(str(path), words, "fuzz"), words)


def read_scores(path: Path) -> None:
    """Import scores of another program."""
    (path.parent / "suite.toml").write_bytes(SUITE)
    (path.parent / "rows.jsonl").write_bytes(SEEDS["jsonl"])
    import_results(path, load_suite(str(path.parent / "suite.toml")), model="m")


def read_own(path: Path) -> None:
    """Say what rows without a suite file compare, and read them so."""
    suite, _, _ = recognise(str(path))
    for _ in open_feed(suite, data=str(path)):
        pass


def read_forms(path: Path) -> None:
    """Read rows under every suite of ``FORMS``; refused where none of them reads them."""
    refused: list[RmbenchError] = []
    for columns, _ in FORMS:
        suite = path.parent / "suite.toml"
        top = b'name = "f"\n[source]\npath = "rows.jsonl"\n[columns]\nprompt = "prompt"\n'
        suite.write_bytes(top + columns)
        try:
            for _ in open_feed(load_suite(str(suite)), data=str(path)):
                pass
        except RmbenchError as error:
            assert str(error).isprintable(), error
            refused.append(error)
    if len(refused) == len(FORMS):
        raise refused[0]


def read_group(path: Path) -> None:
    """Read a file of a group of suites."""
    group = find_group(str(path))
    if group is not None:
        suites_of(group)


def read_cache(path: Path) -> None:
    """Take up what stands in a cache instead of an answer, a reply and a finished run."""
    content = path.read_bytes()
    keys = RunKeys(b"r" * 16, b"a" * 16, b"f" * 16)
    with Cache(path.parent) as cache:
        cache.put_run(keys.facts, content)
        cache.put_rows("answers", keys.answers, {0: ANSWER, 1: content})
        text = content.decode(errors="replace")
        cache.put_rows("replies", keys.replies, {0: text, 1: content})
        found = RunLedger(2, cache=cache, keys=keys)
        assert found.known(0) == 0.0, "the good row is taken up"
        for number in (0, 1):
            found.known(number)
            found.reply(number)
        if found.finished() is None and not found.answered()[1]:
            raise DataError("neither row nor run is taken up: all is asked again")


def read_database(path: Path) -> None:
    """Use a cache whose file is damaged, as a run does."""
    for rest in path.parent.glob(f"{FILE}*"):
        rest.unlink()
    path.replace(path.parent / FILE)
    keys = RunKeys(b"r" * 16, b"a" * 16, b"f" * 16)
    with Cache(path.parent) as cache:
        found = RunLedger(2, cache=cache, keys=keys)
        found.finished()
        found.record({0: 1.0})
        cache.info()
        if cache._database is None:
            raise DataError("the cache cannot be used: the run goes on without it")


def read_card(path: Path) -> None:
    """Put results into a model card."""
    merge_card(path, [{"name": "m", "results": [CARD["model-index"][0]["results"][0]]}])


@cache
def _tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(bundled_folder("tiny"))


def _record() -> tuple[bytes, bytes]:
    """Return a record of the present schema, and the lines beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_result(evaluate("mini", "length", limit=12), Path(folder))
        return path.read_bytes(), path.with_suffix(".jsonl").read_bytes()


def _database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with Cache(Path(folder)) as cache:
            cache.put_rows("answers", b"a" * 16, {0: ANSWER, 1: ANSWER})
            cache.put_run(b"f" * 16, json.dumps(RUN).encode())
            assert cache._database is not None, "just made"
            cache._database.execute("PRAGMA journal_mode = DELETE")
        return Path(folder, FILE).read_bytes()


NOW, LINES_NOW = _record()
PREFERENCE: Final = b'{"id": "a", "sides": [1, 1], "preferences": [[[0, 1], [0.7, 0.3]]]}\n'
JUDGEMENTS: Final = [
    json.loads(line) for line in (REWARDS, PREFERENCE, *LINES_NOW.splitlines()[:2])
]


def _json_of(*values: Any) -> st.SearchStrategy[bytes]:
    return st.sampled_from(values).flatmap(json_files)


Kind = tuple[str, st.SearchStrategy[bytes], Callable[[Path], object]]
KINDS: Final[dict[str, Kind]] = {
    "toml": ("mutated.toml", toml_files(SUITES, LINES), read_suite),
    "group": ("mutated.toml", toml_files([GROUP], LINES), read_group),
    "jsonl": ("mutated.jsonl", jsonl_files(), read_rows),
    "json": ("mutated.json", _json_of(ROWS, {"data": ROWS}), read_rows),
    "csv": ("mutated.csv", csv_files(), read_rows),
    "parquet": ("mutated.parquet", parquet_files(), read_rows),
    "forms": ("mutated.jsonl", form_files(), read_forms),
    "own": ("mutated.jsonl", jsonl_files() | form_files(), read_own),
    "result": ("mutated.json", _json_of(RECORD, json.loads(NOW)), read_result),
    "rewards": ("mutated.jsonl", _json_of(*JUDGEMENTS), read_judgements),
    "scores": ("mutated.jsonl", _json_of(*SCORES), read_scores),
    "columns": ("mutated.json", _json_of(BY_COLUMN, SUMMARY), read_scores),
    "card": ("mutated.md", card_files(), read_card),
    "template": ("mutated.jinja", jinja_files(), read_template),
    "judge": ("mutated.toml", toml_files([JUDGE]), lambda path: load_judge(str(path))),
    "reader": ("reader.toml", toml_files([READER]), lambda path: find_reader(None, path.parent)),
    "sweep": ("mutated.toml", toml_files([SWEEP]), read_sweep),
    "cache": ("mutated", _json_of(RUN) | changed_bytes(ANSWER), read_cache),
    "database": ("mutated", changed_bytes(_database()), read_database),
}
SEEDS: Final[dict[str, bytes]] = {
    "toml": SUITE,
    "group": GROUP,
    "jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS),
    "json": json.dumps(ROWS, indent=2).encode(),
    "csv": b'id,subset,prompt,chosen,rejected\n1,a,How?,So.,No.\n2,b,Why?,"x, y",No.\n',
    "parquet": _parquet({key: [row.get(key) for row in FLAT] for key in FLAT[0]}, "none"),
    "forms": b"".join(json.dumps(FORMS[0][1]).encode() + b"\n" for _ in range(2)),
    "own": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS[:2]),
    "result": NOW,
    "rewards": REWARDS + REWARDS.replace(b"a/1", b"a/2"),
    "scores": b"".join(json.dumps(row).encode() + b"\n" for row in SCORES[:2]),
    "columns": json.dumps(BY_COLUMN).encode(),
    "card": MATTER,
    "template": TEMPLATE,
    "judge": JUDGE,
    "reader": READER,
    "sweep": SWEEP,
    "cache": json.dumps(RUN).encode(),
    "database": _database(),
}


def inputs(kind: str) -> st.SearchStrategy[bytes]:
    """Return files of a kind: changed in bytes, in structure, or in both."""
    structure = KINDS[kind][1]
    return st.one_of(changed_bytes(SEEDS[kind]), structure, structure.flatmap(changed_bytes))


_LARGEST: Final = [2**62]
"""Bytes of memory that this process may have held at most."""


class Hang(Exception):  # noqa: N818
    """An input that takes too long; no OSError, which the readers refuse themselves."""


def _hang(*_: object) -> None:
    raise Hang(f"more than {LIMIT_S} s of the processor")


def try_one(kind: str, content: bytes, folder: Path) -> str:
    """Return ``read`` or ``refused``; everything else passes through as it comes."""
    name, _, read = KINDS[kind]
    path = folder / name
    path.write_bytes(content)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)  # a busy machine is no hang
    try:
        read(path)
    except RmbenchError as error:
        message = str(error)
        assert message.isprintable(), f"not printable: {message!r}"
        assert ";" in message or ":" in message, f"no remedy: {message}"
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert size < _LARGEST[0], f"more than {LIMIT_BYTES} bytes of memory"
    return "read"


def try_many(kind: str, count: int, folder: Path, *, start: int = 0) -> Counter[str]:
    """Try as many inputs of a kind and count how they ended.

    Args:
        kind: one of ``KINDS``.
        count: of inputs.
        folder: where each is written; after a failure it holds the smallest that fails.
        start: the seed.
    """
    counts: Counter[str] = Counter()

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,  # each input has a limit of its own
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(kind))
    def each(content: bytes) -> None:
        counts[try_one(kind, content, folder)] += 1

    before = signal.signal(signal.SIGPROF, _hang), enclosure.MAX_SECONDS
    enclosure.MAX_SECONDS = TEMPLATE_S  # type: ignore[misc]
    try:
        each()
    finally:
        signal.signal(signal.SIGPROF, before[0])
        enclosure.MAX_SECONDS = before[1]  # type: ignore[misc]
    return counts


def _forked(stream: Any, path: Path) -> tuple[int, str]:
    """Do what ``footer.read_elsewhere`` does in a fork, which takes a hundredth of the time."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            metadata = pyarrow.parquet.ParquetFile(stream).metadata
            for group in range(metadata.num_row_groups):
                for column in range(metadata.num_columns):
                    metadata.row_group(group).column(column)
        except BaseException:
            os._exit(1)
        os._exit(0)
    stream.seek(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ""


def _work(kind: str, count: int, start: int, folder: Path, results: Any) -> None:
    footer.read_elsewhere = _forked
    logging.disable()  # a cache that cannot be used says so
    if kind == "template":
        _tokenizer()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _LARGEST[0] = before + LIMIT_BYTES
    counts = try_many(kind, count, folder, start=start)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    results.put((counts, largest - before))


def fuzz(kind: str, count: int, start: int, folder: Path) -> tuple[Counter[str], int] | None:
    """Try inputs in a process of its own; None when it died of one, which stays in ``folder``.

    Returns:
        How they ended, and by how many bytes the process grew at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: Any = multiprocessing.SimpleQueue()
    process = multiprocessing.Process(target=_work, args=(kind, count, start, folder, results))
    process.start()
    process.join()
    return None if process.exitcode else results.get()


def _seconds_of_children() -> float:
    """Return the processor time of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    """Fuzz every kind of file and print one line for each; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"seed {args.seed}\nformat    inputs    read  refused  CPU seconds  MiB more")
    failed = False
    for kind in args.kind or KINDS:
        start = _seconds_of_children()
        found = fuzz(kind, args.count, args.seed, folder / kind)
        seconds = _seconds_of_children() - start
        if found is None:
            print(f"{kind:8}  failed, and the input is kept in {folder / kind}", flush=True)
            failed = True
            continue
        counts, size = found
        read, refused = counts["read"], counts["refused"]
        print(
            f"{kind:8}  {read + refused:6}  {read:6}  {refused:7}  {seconds:11.1f}  {size >> 20:8}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
