"""The good files that ``fuzz_readers.py`` changes, one or several for each reader."""

import json
from typing import Any, Final

from rmbench.suite.catalogue import bundled_folder

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


# --- the other readers ---------------------------------------------------------------------------


def _bundled() -> list[bytes]:
    """Return the suites that come with rmbench, as starting points: they use every key."""
    return [path.read_bytes() for path in sorted(bundled_folder("suites").glob("*.toml"))]


SUITES: Final = [SUITE, *_bundled()]
LINES: Final = (
    """
paths = ["a/b", "c/d"]|configs = ["x"]|data_dirs = ["x", "../y"]|splits = ["test", "train"]
comparisons = 3|revision = "main"|empty = "keep"|wanted = "rows"
section = "subset"|responses = ["chosen", "rejected"]|candidates = "response_{n}"|n = [1, 32]
n = [3, 1]|correct = "label"|pairs = "pairs"|steps = "steps"|first_error = "label"|errors = "wrong"
sides = "conversations"|tools = "tools"|system = "system"|skip = { id = [1, "a", true] }
cluster = ["prompt", "id"]|parallel = ["a", "b"]|scores = ["good", "bad"]
subset = ["subset", { from = "file" }]|subset = { from = "split" }
transcript = { user = "U", assistant = "A" }
preferred = { column = "label", first = ["A"], second = ["B"], even = ["tie"] }
preferred = { column = "label", first = "negative", even = "drop" }
preferred = { columns = ["good", "bad"], first = "higher" }
rule = "all-of"|rule = "all-pairs"|rule = "rank"|rule = "styles"|rule = "ties"
rule = "first-error"
rule = "steps"|several = true|styles = ["concise", "plain"]|threshold = 0.25|tie = "lose"|tie = 0.5
part = 1|part = 2|X = ["a*"]|Y = { subsets = ["b"], weights = { b = 984 } }
Z = { mean = "sections" }
Z = { mean = { X = 2, Y = 1 } }|Z = { mean = ["X"], cells = "above" }|cells = "diagonal"
number = "X"
weight = 0.5|[sections.weights]|[sections.groups]|[[columns]]|[credit.b]|[card]|[group]|[source]
""".strip()
    .replace("\n", "|")
    .split("|")
)
"""Lines that a suite's or a group's file may have."""
GROUP: Final = b"""name = "g"
title = "G"
[group]
mini = "pooled"
Chat = { suite = "rewardbench", number = "Chat", weight = 2 }
"""
JUDGE: Final = rb"""title = "T"
asks = "pairwise"
max_tokens = 9
[[messages]]
role = "system"
text = "{% for turn in prompt %}{{ turn.role }}{% endfor %}"
[[messages]]
insert = "prompt"
[[messages]]
text = "{{ responses[0] }} {{ letters | join(', ') }}"
[verdict]
pattern = '\[\[([AB])\]\]'
"""
READER: Final = b"""layers = ["score.0", "score.2"]
activation = "relu"
place = -2
append = "<x>"
sign = -1
file = "head.safetensors"
[rows]
0 = 1.0
1 = -0.5
"""
SWEEP: Final = b"""suites = ["mini"]
[options]
dtype = "float32"
[data]
mini = "rows.jsonl"
[[models]]
model = "runs/step500"
name = "step 500"
[[models]]
model = "judge:org/name"
suites = ["mini"]
options = { url = "http://127.0.0.1:1/v1", samples = 2 }
"""
CALLED: Final = "[{'role': 'user', 'content': 'Why?'}]"
FORMS: Final[list[tuple[bytes, dict[str, Any]]]] = [
    (
        b'responses = ["a", "b"]\npreferred = { column = "w", first = ["A"], second = ["B"],'
        b' even = ["tie"] }\n[credit]\nrule = "pair"\n',
        {"prompt": "Why?", "a": "So.", "b": "No.", "w": "A", "conversation": CALLED},
    ),
    (
        b'candidates = "c"\ncorrect = "ok"\npairs = "pairs"\n[credit]\nrule = "pair"\n',
        {"prompt": "Why?", "c": ["x", "y", "z"], "ok": [True, False, True], "pairs": [[0, 1]]},
    ),
    (
        b'candidates = "r_{n}"\nn = [1, 3]\ncorrect = "ok"\n[credit]\nrule = "rank"\n',
        {"prompt": "Why?", "r_1": "x", "r_2": "y", "r_3": None, "ok": [1, 0, 0]},
    ),
    (
        b'steps = "steps"\nfirst_error = "label"\n[credit]\nrule = "first-error"\n',
        {"prompt": "2 + 2", "steps": ["2", "4", "5"], "label": 2},
    ),
    (
        b'steps = "steps"\nerrors = "wrong"\n[credit]\nrule = "steps"\n',
        {"prompt": "2 + 2", "steps": ["2", "4", "5"], "wrong": [3]},
    ),
    (
        b'chosen = "chosen"\nrejected = "rejected"\nsides = "conversations"\ntools = "tools"\n',
        {
            "prompt": "Why?",
            "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}],
            "tools": [{"name": "f"}],
        },
    ),
]
"""Forms of a row: what stands in [columns] besides the prompt, and a row."""
SUMMARY: Final[dict[str, Any]] = {
    "accuracy": 0.5, "num_prompts": 2, "model": "m", "a": 0.5, "b": 1.0, "chat_template": "x",
}  # fmt: skip
SCORES += [
    {"id": 7, "subset": "a", "scores": [1.5, 0.5, -1], "num_correct": 1, "text": ["t"] * 3},
    {"id": 1, "subset": "a", "scores": {"m": [1.5, 0.5], "n": [0, 1.0]}},
    {
        "judgments": [{"judgment": {"scores": [1, 2], "judge_model": "m"}}],
        "label": "B>A",
        "response_model": "r",
        "source": "s",
        "pair_id": "p",
    },
]
ANSWER: Final = b"r" + bytes(8)
RUN: Final[dict[str, Any]] = {
    "info": {
        "id": "m", "kind": "classifier", "revision": "x", "parameters": 3, "gives": "rewards",
        "scale": "log-odds", "settings": {"dtype": "float32"}, "usual": {"dtype": "float32"},
    },
    "facts": {
        "audit": {"rechecked": {"contradicts": False}}, "timing": {"score": 1.0},
        "environment": {}, "unanswered": {"1": "too long"}, "is_final": True, "inputs": [0, 1],
    },
}  # fmt: skip
