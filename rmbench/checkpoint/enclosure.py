"""Templates and tokenizers of others, run in a child process with limits of memory and time.

Jinja can loop for hours or fill the memory in a single step, and a tokenizer can abort the process
that it runs in. So both run in another one, which the system ends at its limits; what it was at is
told in one line. It also leaves this process's interpreter to the scoring.
"""

import atexit
import json
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np

from rmbench.checkpoint.child import MARK_BYTES, Failure

__all__ = ["MAX_SECONDS", "Child", "TextAnswer", "TextTask", "lease", "prepare"]

MAX_SECONDS: Final = 5.0
"""Of processor time for a few hundred conversations, beside what their length takes."""
_START: Final = (
    "import json, sys; sys.path = json.loads(sys.argv[1]);"
    " from rmbench.checkpoint.child import main; main()"
)


class TextTask(NamedTuple):
    """What to do with some texts.

    Attributes:
        texts: conversations as lists of messages; ready texts where there is no template.
        template: in Jinja.
        variables: what it may name besides ``messages``.
        tokenizer: the JSON of a tokenizer; None to get the rendered texts back.
        add_special: whether the tokenizer adds its special tokens.
        split_special: whether special tokens within the texts are taken for texts.
    """

    texts: Sequence[Any]
    template: str | None = None
    variables: Mapping[str, Any] = {}
    tokenizer: str | None = None
    add_special: bool = False
    split_special: bool = False


class TextAnswer(NamedTuple):
    """What came of a job.

    Attributes:
        texts: what the template wrote; empty where the job named a tokenizer.
        sequences: int32 token ids of each text; empty where it named none.
        notes: number of a conversation, and what of it the template does not write.
    """

    texts: list[str]
    sequences: list[Any]
    notes: list[tuple[int, str]]


class Child:
    """One such process. It takes a job at a time; after a failure it is restarted."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: Any = None

    def start(self) -> None:
        """Start the process, if there is none; nothing waits for it to be ready."""
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    if stream is not None:
                        stream.close()
            process.wait()
            self._errors.close()

    def send(self, job: TextTask) -> None:
        """Hand over a job; ``receive`` must follow before the next one.

        Raises:
            Failure: the process ended.
        """
        self.start()
        assert self._process is not None, "just started"
        assert self._process.stdin is not None, "a pipe"
        try:
            limits = {"seconds": MAX_SECONDS, "characters": _characters(job)}
            pickle.dump({**job._asdict(), **limits}, self._process.stdin, -1)
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None

    def receive(self) -> TextAnswer:
        """Wait for the answer to the job that was sent.

        Raises:
            Failure: the template or the tokenizer fails, or passes a limit.
        """
        assert self._process is not None, "a job was sent"
        assert self._process.stdout is not None, "a pipe"
        line = self._process.stdout.readline()
        header: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"bytes": -1}
        payload = self._process.stdout.read(max(header["bytes"], 0))
        if len(payload) != header["bytes"]:
            raise self._ended()
        if "failure" in header:
            stage, number, finding = header["failure"]
            raise Failure(stage, number, finding)
        return _unpack(header, payload)

    def _ended(self) -> Failure:
        """Return why the process ended by itself, and what it was at."""
        assert self._process is not None, "it was running"
        code = self._process.wait()
        self._errors.seek(0)
        mark = self._errors.read(MARK_BYTES).decode(errors="replace").strip()
        said = self._errors.read(2000).decode(errors="replace").strip().splitlines()
        self.close()
        stage, _, number = mark.partition(" ")
        return Failure(stage or "template", int(number or 0), _why(code, said))


def _characters(job: TextTask) -> int:
    """Return how long the messages of a job are; 0 where they are ready texts."""
    if job.template is None:
        return 0
    return sum(len(message["content"] or "") for chat in job.texts for message in chat)


def _why(code: int, said: Sequence[str]) -> str:
    if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
        return f"it computes for more than {MAX_SECONDS:g} s, the limit for short texts"
    if any("memory" in line.lower() for line in said) or code in (-signal.SIGKILL, -signal.SIGABRT):
        return "it needs more memory than the 1 GiB that it may take"
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"its process ended ({ending}{': ' + said[-1] if said else ''})"


def _unpack(header: Mapping[str, Any], payload: bytes) -> TextAnswer:
    notes = [(int(number), str(loss)) for number, loss in header["notes"]]
    sizes = header["sizes"]
    ends = list(accumulate(sizes))
    if header["kind"] == "ids":
        ids = np.frombuffer(payload, np.int32)
        return TextAnswer(
            [], [ids[end - n : end] for n, end in zip(sizes, ends, strict=True)], notes
        )
    parts = [payload[end - n : end] for n, end in zip(sizes, ends, strict=True)]
    return TextAnswer([part.decode("utf-8", "surrogatepass") for part in parts], [], notes)


MOST: Final = 4
"""Child processes at once; whoever asks for more waits."""
_IDLE: list[Child] = []
_LOCK: Final = threading.Lock()
_FREE: Final = threading.BoundedSemaphore(MOST)


def prepare() -> None:
    """Start a child process for the next who asks, who then need not wait for it."""
    with _LOCK:
        if not _IDLE:
            _IDLE.append(Child())
        _IDLE[-1].start()


@contextmanager
def lease() -> Iterator[Child]:
    """Give a child process that nobody else uses meanwhile; it is kept for the next who asks.

    One that is left in the middle of a job is ended.
    """
    with _FREE:
        with _LOCK:
            child = _IDLE.pop() if _IDLE else Child()
        try:
            yield child
        except BaseException as error:
            if not isinstance(error, Failure):
                child.close()
            raise
        finally:
            with _LOCK:
                _IDLE.append(child)


@atexit.register
def _close_all() -> None:
    with _LOCK:
        for child in _IDLE:
            child.close()
