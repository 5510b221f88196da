"""The child process in which chat templates are rendered and texts tokenised; see ``enclosure``.

It imports little, since each run starts one. A job comes as a pickle on standard input; the answer
is a line of JSON and bytes on what was standard output. Before each step its number is written at
the beginning of standard error, a file, so that whoever started the process can tell what it was
at when it was stopped.
"""

import json
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from rmbench.checkpoint.template import render_template
from rmbench.checkpoint.written import losses

__all__ = ["MARK_BYTES", "Failure", "ids_of", "main", "render_all"]

MARK_BYTES: Final = 24
MAX_BYTES: Final = 2**30
"""Of memory, beyond what the process and its tokenizer hold; on Linux."""
CHARACTERS_PER_SECOND: Final = 50_000
"""What the slowest template or tokenizer is sure to do."""
MAX_FINDING: Final = 1000


class Failure(Exception):  # noqa: N818
    """A step that failed: its stage, the number of its text, and what was found."""

    def __init__(self, stage: str, number: int, finding: str) -> None:
        super().__init__(stage, number, finding)
        self.stage, self.number, self.finding = stage, number, finding


def main() -> None:
    """Answer jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    os.write(2, b" " * MARK_BYTES)
    _limit_memory(0)
    while True:
        try:
            job = pickle.load(jobs)
        except EOFError:
            return
        try:
            header, payload = _answer(job)
        except Failure as failure:
            header, payload = {"failure": [failure.stage, failure.number, failure.finding]}, b""
        _send(answers, header, payload)


def _send(answers: BinaryIO, header: Mapping[str, Any], payload: bytes) -> None:
    line = json.dumps({**header, "bytes": len(payload)}).encode()
    answers.write(line + b"\n" + payload)
    answers.flush()


def _answer(job: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the answer to a job: texts where it names no tokenizer, else token ids."""
    texts: Sequence[str] = job["texts"]
    notes: list[tuple[int, str]] = []
    if job["template"] is not None:
        seconds = job["seconds"] + job["characters"] / CHARACTERS_PER_SECOND
        texts, notes = render_all(job["template"], job["variables"], texts, seconds)
    if job["tokenizer"] is None:
        written = [text.encode("utf-8", "surrogatepass") for text in texts]
        return {"kind": "texts", "sizes": list(map(len, written)), "notes": notes}, b"".join(
            written
        )
    sequences = _tokenise(job, texts)
    ids = np.concatenate([np.zeros(0, np.int32), *sequences]).astype(np.int32)
    return {"kind": "ids", "sizes": [len(one) for one in sequences], "notes": notes}, ids.tobytes()


def render_all(
    template: str, variables: Mapping[str, Any], chats: Sequence[Any], seconds: float
) -> tuple[list[str], list[tuple[int, str]]]:
    """Return what a template writes of each conversation, and what of their messages it does not.

    Raises:
        Failure: the template fails.
    """
    texts: list[str] = []
    notes: list[tuple[int, str]] = []
    with _within(seconds):
        for number, messages in enumerate(chats):
            with _step("template", number):
                text = render_template(template, {**variables, "messages": messages})
                notes += [(number, loss) for loss in losses(messages, text)]
            texts.append(text)
    return texts, notes


def _tokenise(job: Mapping[str, Any], texts: Sequence[str]) -> list[Any]:
    special = job["add_special"]
    with _within(job["seconds"] + sum(map(len, texts)) / CHARACTERS_PER_SECOND):
        with _step("tokenizer", 0):
            tokenizer = _tokenizer(job["tokenizer"])
            tokenizer.encode_special_tokens = job["split_special"]
        try:
            with _step("tokenizer", 0):
                return ids_of(tokenizer, texts, special)
        except Failure:
            for number, text in enumerate(texts):  # the one at fault is named
                with _step("tokenizer", number):
                    ids_of(tokenizer, [text], special)
            raise


def ids_of(tokenizer: Any, texts: Sequence[str], add_special: bool) -> list[Any]:
    """Return the token ids of texts, as the tokenizers library gives them."""
    encode: Callable[..., Any] = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    found = encode(list(texts), add_special_tokens=add_special)
    return [np.asarray(encoding.ids, np.int32) for encoding in found]


@lru_cache(maxsize=2)
def _tokenizer(source: str) -> Any:
    import tokenizers

    _limit_memory(len(source) * 40)
    tokenizer = tokenizers.Tokenizer.from_str(source)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _limit_memory(0)
    return tokenizer


@contextmanager
def _step(stage: str, number: int) -> Iterator[None]:
    """Say what is being done, and tell whatever it raises as a ``Failure``."""
    if hasattr(os, "pwrite"):  # not on Windows, where the first text is named instead
        os.pwrite(2, f"{stage} {number}".ljust(MARK_BYTES).encode(), 0)
    try:
        yield
    except BaseException as error:  # also a panic of Rust, which is no Exception
        raise Failure(stage, number, _finding(error)) from error


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Let the system end this process after so much time of the processor."""
    has_timer = hasattr(signal, "setitimer")
    if has_timer:
        signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        if has_timer:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _finding(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than it may take"
    text = " ".join(str(error)[:MAX_FINDING].split()) or type(error).__name__
    line = getattr(error, "lineno", None)
    return f"{text} (line {line})" if isinstance(line, int) else text


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes beyond what it has and every step may take."""
    try:
        import resource

        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):  # no Linux: the limit of time remains
        return
    held = next(int(line.split()[1]) for line in status.splitlines() if line[:7] == "VmData:")
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = held * 1024 + more + MAX_BYTES
    if hard == resource.RLIM_INFINITY or allowed < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
