"""Encoding in the background: the same ids, windows that never differ, and errors in time."""

import threading
from collections.abc import Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import models
import pytest
from asked import score

from rmbench.checkpoint.encode import Encoder, encode, load_template
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.reader import EncodingAhead
from rmbench.engine.packing import window_sizes
from rmbench.errors import DataError, ScorerError
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.plan import plan_scoring
from rmbench.suite.comparison import Conversation, Message

WORDS = models.tokenizer()
TEMPLATE = load_template("tokenizer", WORDS, "model")


def conversations(count: int) -> list[Conversation]:
    return [Conversation((Message("user", f"question {i}"),), f"{i}") for i in range(count)]


def encoder(**options: Any) -> Encoder:
    return Encoder(WORDS, TEMPLATE, **({"max_length": None, "on_overflow": "error"} | options))


def accept(_: Any) -> None:
    return None


def test_windows_double_from_512_to_65536() -> None:
    sizes = list(islice(window_sizes(), 10))
    assert sizes == [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 65536, 65536]


@pytest.mark.parametrize("count", [0, 1, 512, 513, 1536, 2000])
def test_the_windows_hold_what_encoding_at_once_gives(count: int) -> None:
    texts = conversations(count)
    with EncodingAhead(encoder(), texts, accept=accept) as ahead:
        windows = list(ahead.windows())
        encoded = ahead.finish()
    whole = encode(texts, tokenizer=WORDS, template=TEMPLATE, max_length=None, on_overflow="error")
    ends = list(accumulate(len(window) for window in windows))
    assert ends == [end for end in (512, 1536) if end < count] + ([count] if count else [])
    flat = [ids.tolist() for window in windows for ids in window]
    assert flat == [ids.tolist() for ids in whole.sequences if ids is not None]
    assert encoded.keys == whole.keys
    assert ahead.encoder.tokens == sum(map(len, flat))


def test_dropped_conversations_are_in_no_window() -> None:
    texts = [*conversations(3), Conversation((Message("user", "x" * 500),), "long")]
    options = {"max_length": 100, "on_overflow": "drop"}
    with EncodingAhead(encoder(**options), texts, accept=accept) as ahead:
        assert [len(window) for window in ahead.windows()] == [3]
        assert ahead.finish().dropped == 1


def test_what_is_wrong_with_a_late_conversation_stops_the_scoring_of_the_first() -> None:
    texts = [*conversations(1000), Conversation((Message("user", "x" * 500),), "long")]
    with EncodingAhead(encoder(max_length=100), texts, accept=accept) as ahead:
        windows = ahead.windows()
        assert len(next(windows)) == 512
        with pytest.raises(ScorerError, match="1 of 1001 conversations have more than 100 tokens"):
            ahead.finish()
        with pytest.raises(ScorerError, match="pass --on-overflow"):
            ahead.check()
        with pytest.raises(ScorerError, match="pass --on-overflow"):
            next(windows)


def test_an_error_of_the_feed_comes_through() -> None:
    def broken() -> Iterator[Conversation]:
        yield from conversations(600)
        raise DataError("rows.jsonl:601: not an object; fix the line")

    with EncodingAhead(encoder(), broken(), accept=accept) as ahead:  # noqa: SIM117
        with pytest.raises(DataError, match="an object; fix"):
            list(ahead.windows())


def test_leaving_early_stops_the_thread() -> None:
    read = 0

    def endless() -> Iterator[Conversation]:
        nonlocal read
        while True:
            read += 1
            yield Conversation((Message("user", "again"),), "and again")

    with EncodingAhead(encoder(), endless(), accept=accept) as ahead:
        next(ahead.windows())
    after = read
    assert after >= 512
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encode")]
    assert read == after


def test_a_refusal_in_the_background_ends_a_run_before_its_last_batch(tmp_path: Path) -> None:
    folder = models.save(tmp_path, models.classifier("llama"))
    options = ModelOptions(device="cpu", max_length=100, batch_tokens=32)
    texts = [*conversations(2000), Conversation((Message("user", "x" * 100),), "long")]
    scorer, ledger = load_classifier(str(folder), options), MemoryLedger()
    with pytest.raises(ScorerError, match="1 of 2001 conversations have more than 100 tokens"):
        scorer.score(texts, ledger)
    assert len(ledger.answers) < 1000


def test_the_plan_of_a_large_run_is_what_its_scoring_computes(tmp_path: Path) -> None:
    folder = models.save(tmp_path, models.classifier("llama"))
    texts = [*conversations(1600), *conversations(300)]
    options = ModelOptions(device="cpu")
    plan = plan_scoring(str(folder), options, texts, estimate=False)
    scorer = load_classifier(str(folder), options)
    timing = score(scorer, texts).timing
    proof = load_classifier(str(folder), options)
    # The sample that is scored alone and packed before the run comes on top.
    sample = [ids for ids in encode_all(texts[:512]) if ids is not None]
    computed = proof.engine.score(sample).tokens_computed
    packed = plan_scoring(str(folder), options, texts[:512], estimate=False).shared
    assert timing["tokens_computed"] == plan.shared + computed - packed
    assert plan.distinct == 1600


def encode_all(texts: list[Conversation]) -> Any:
    options = {"max_length": None, "on_overflow": "error"}
    return encode(texts, tokenizer=WORDS, template=TEMPLATE, **options).sequences  # type: ignore[arg-type]
