#!/usr/bin/env python3
"""Feed the readers mutated files: each is read, or refused with an RmbenchError; nothing else.

    python benchmarks/fuzz_readers.py                        # 10,000 inputs for each format
    python benchmarks/fuzz_readers.py --kind csv --count 100 --seed 7

hypothesis changes good files in bytes (flips, cuts, repeats, splices of what parsers stumble over)
and in structure (values exchanged for other kinds, columns renamed, rows nested); templates it also
builds from their grammar. What counts as a failure: any other exception, more than ``LIMIT_S``
seconds of the processor, or a killed process. Exit code 1 with one; the smallest such input that
hypothesis finds stays in the folder that is printed. The same seed tries the same inputs.
"""

import argparse
import io
import json
import multiprocessing
import os
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
from fuzz_templates import jinja_files
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rmbench.answers.lines import read_judgements
from rmbench.checkpoint import enclosure
from rmbench.checkpoint.encode import load_template, render
from rmbench.errors import RmbenchError
from rmbench.importing import import_results
from rmbench.result.store import read_result
from rmbench.show.model_card import merge_card
from rmbench.suite.catalogue import bundled_folder, load_suite
from rmbench.suite.comparison import Conversation, Message
from rmbench.suite.feed import open_feed

LIMIT_S: Final = 10
TEMPLATE_S: Final = 0.5
"""What a template may take here instead of its 5 s, so that those that loop are soon over."""

SUITE: Final = b"""name = "fuzz"
title = "Fuzz"
version = 1
[source]
path = "rows.jsonl"
empty = "keep"
[columns]
id = ["subset", "id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
scores = ["good", "bad"]
cluster = "subset"
skip = { id = ["none", 7] }
[credit]
rule = "best-of"
several = true
[credit.a]
rule = "pair"
tie = 0.5
[sections]
Chat = ["a"]
Hard = { subsets = ["b"], weights = { b = 2.5 } }
[averages]
pooled = "comparisons"
sections = { mean = ["Chat", "Hard"] }
weighed = { mean = { sections = 2, Chat = 1 } }
headline = "sections"
"""
CALL: Final = {"type": "function", "function": {"name": "f", "arguments": {"x": [1, None]}}}
ROWS: Final[list[dict[str, Any]]] = [
    {
        "id": "1",
        "subset": "a",
        "prompt": "How?",
        "chosen": "So.",
        "rejected": "No idea.",
        "good": 7,
        "bad": 7.0,
    },
    {
        "id": 2,
        "subset": "b",
        "prompt": [{"role": "user", "content": "Why?"}],
        "chosen": ["Because.", "Therefore."],
        "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "?"}],
    },
    {
        "id": 3,
        "subset": "b",
        "prompt": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            {"from": "human", "value": "4?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "name": "f", "content": "4"},
        ],
        "chosen": [{"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}],
        "rejected": '[{"role": "assistant", "content": "5"}]',
    },
]
FLAT: Final = [
    {key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}
    for row in ROWS
]
NUMBER: Final = {"accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 2, "wins": 1, "ties": 0}
FIT: Final = {"slope": 0.3, "intercept": -0.1, "standard_error": 0.2, "converged": True}
ANALYSES: Final = {
    "length": {
        "longer": NUMBER,
        "equal": None,
        "shorter": NUMBER,
        "fit": FIT,
        "bins": [{"from": -9, "to": -1, "middle": -4.5} | NUMBER],
    },
    "calibration": {"error": 0.1, "brier": 0.2, "confidence": 0.7, "right": 0.6, "n": 2},
}
RECORD: Final = {
    "schema": 1,
    "source": "measured",
    "suite": {"name": "fuzz", "version": 1, "sha256": "0" * 64, "headline": "pooled"},
    "model": {"id": "org/model", "revision": None, "kind": "classifier", "parameters": 3},
    "settings": {"dtype": "float32"},
    "signature": "fuzz:1|org/model",
    "averages": {"pooled": NUMBER},
    "sections": {},
    "subsets": {"a": NUMBER},
    "analyses": ANALYSES,
    "audit": {"ties": 0},
    "environment": {},
    "timing": {"seconds": 1.0},
    "date": "2026-01-01T00:00:00+00:00",
}
REWARDS: Final = b'{"id": "a/1", "chosen": [1.5], "rejected": [-0.5, null]}\n'
SCORES: Final[list[dict[str, Any]]] = [
    {"id": "a/1", "subset": "a", "chosen": 1.5, "rejected": [0.5]},
    {"uid": "b/2", "scores_chosen": [[1], 2], "scores_rejected": -1, "text_chosen": "t"},
]
BY_COLUMN: Final[dict[str, Any]] = {
    "model": "m",
    "id": [1, 2],
    "subset": ["a", "b"],
    "scores_chosen": [1.5, [2.0, 1.0]],
    "scores_rejected": [0.5, 0.5],
}
CARD: Final[dict[str, Any]] = {
    "license": "mit",
    "date": "2024-02-28",
    "model-index": [
        {
            "name": "m",
            "results": [
                {
                    "task": {"type": "preference_evaluation"},
                    "dataset": {"name": "Mini", "type": "mini", "split": None},
                    "metrics": [{"type": "accuracy", "name": "pooled", "value": 50.0}],
                }
            ],
        }
    ],
}
MATTER: Final = b"""---
license: mit
base: &b [x, {y: 0x1f}]
tags: [*b, 2024-02-28, ~, !!str 1, "a\\x41", 1_000, .inf, 12:30:45]
<<: {key: text}
long: |
  text
? a
: b
model-index:
- name: m
  results:
  - task: {type: preference_evaluation}
    dataset: {name: Mini, type: mini}
    metrics: [{type: accuracy, name: pooled, value: 50}]
---
Text
"""
TEMPLATE: Final = b"""{% set ns = namespace(n=0) %}{{ bos_token }}
{%- for message in messages if message.role != 'tool' %}
{%- set ns.n = ns.n + 1 %}{% if loop.first %}{% continue %}{% endif %}
[{{ message['role'] | upper }}]{{ message.content.strip() ~ eos_token }}{% endfor %}
{%- macro twice(x, y='z') %}{{ x }}{{ x * 2 }}{% endmacro %}{{ twice(ns.n) }}
{%- generation %}{{ messages[-1].content | replace('a', 'b') }}{% endgeneration %}"""


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
def toml_files(draw: st.DrawFn) -> bytes:
    """Return a suite file with lines dropped, repeated, moved, or with other values."""
    lines = SUITE.splitlines(keepends=True)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        i = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["value", "value", "value", "drop", "repeat", "move"])):
            case "value":
                key, equals, _ = lines[i].partition(b"=")
                lines[i] = key + equals + json.dumps(draw(ODD)).encode() + b"\n"
            case "drop":
                lines[i] = b""
            case "repeat":
                lines[i] *= 2
            case "move":
                lines[i] += draw(st.sampled_from(lines))
    return b"".join(lines)


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


def read_card(path: Path) -> None:
    """Put results into a model card."""
    merge_card(path, [{"name": "m", "results": [CARD["model-index"][0]["results"][0]]}])


@cache
def _tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(bundled_folder("tiny"))


KINDS: Final[dict[str, tuple[str, st.SearchStrategy[bytes], Callable[[Path], object]]]] = {
    "toml": ("mutated.toml", toml_files(), read_suite),
    "jsonl": ("mutated.jsonl", jsonl_files(), read_rows),
    "csv": ("mutated.csv", csv_files(), read_rows),
    "parquet": ("mutated.parquet", parquet_files(), read_rows),
    "result": ("mutated.json", json_files(RECORD), read_result),
    "rewards": ("mutated.jsonl", json_files(json.loads(REWARDS)), read_judgements),
    "scores": ("mutated.jsonl", json_files(SCORES[0]), read_scores),
    "columns": ("mutated.json", json_files(BY_COLUMN), read_scores),
    "card": ("mutated.md", card_files(), read_card),
    "template": ("mutated.jinja", jinja_files(), read_template),
}
SEEDS: Final[dict[str, bytes]] = {
    "toml": SUITE,
    "jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS),
    "csv": b'id,subset,prompt,chosen,rejected\n1,a,How?,So.,No.\n2,b,Why?,"x, y",No.\n',
    "parquet": _parquet({key: [row.get(key) for row in FLAT] for key in FLAT[0]}, "none"),
    "result": json.dumps(RECORD, indent=2).encode(),
    "rewards": REWARDS + REWARDS.replace(b"a/1", b"a/2"),
    "scores": b"".join(json.dumps(row).encode() + b"\n" for row in SCORES),
    "columns": json.dumps(BY_COLUMN).encode(),
    "card": MATTER,
    "template": TEMPLATE,
}


def inputs(kind: str) -> st.SearchStrategy[bytes]:
    """Return files of a kind: changed in bytes, in structure, or in both."""
    structure = KINDS[kind][1]
    return st.one_of(changed_bytes(SEEDS[kind]), structure, structure.flatmap(changed_bytes))


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


def _work(kind: str, count: int, start: int, folder: Path, results: Any) -> None:
    results.put(try_many(kind, count, folder, start=start))


def fuzz(kind: str, count: int, start: int, folder: Path) -> Counter[str] | None:
    """Try inputs in a process of its own; None when it died of one, which stays in ``folder``."""
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
    print(f"seed {args.seed}\nformat    inputs    read  refused  CPU seconds")
    failed = False
    for kind in args.kind or KINDS:
        start = _seconds_of_children()
        counts = fuzz(kind, args.count, args.seed, folder / kind)
        seconds = _seconds_of_children() - start
        if counts is None:
            print(f"{kind:8}  failed, and the input is kept in {folder / kind}", flush=True)
            failed = True
        else:
            read, refused = counts["read"], counts["refused"]
            print(
                f"{kind:8}  {read + refused:6}  {read:6}  {refused:7}  {seconds:11.1f}", flush=True
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
