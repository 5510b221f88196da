"""Conversations encoded in the background, while those before them are being scored."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import numpy.typing as npt

from rmbench.checkpoint.encode import Encoded, Encoder
from rmbench.engine.packing import window_sizes
from rmbench.suite.comparison import Conversation

__all__ = ["EncodingAhead"]

Ids = npt.NDArray[np.int32]


class EncodingAhead:
    """Runs an encoder over conversations in a thread of its own, as far ahead as it gets.

    It does not wait for the scoring: what is wrong with a conversation is found as soon as it
    would be without any scoring, and ``check`` tells.

    Args:
        encoder: what renders and tokenises; nobody else may use it meanwhile.
        conversations: gone through once, in the thread.
        accept: called there with the ids of every few hundred; it raises to refuse them.
    """

    def __init__(
        self,
        encoder: Encoder,
        conversations: Iterable[Conversation],
        *,
        accept: Callable[[list[Ids | None]], None],
    ) -> None:
        self.encoder = encoder
        self.conversations = conversations
        self.accept = accept
        self.seconds = 0.0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._ready = threading.Condition()
        self._is_left = False
        self._accepted = 0
        self._encoded: Future[Encoded]

    def __enter__(self) -> "EncodingAhead":
        self._encoded = self._pool.submit(self._encode)
        self._encoded.add_done_callback(lambda _: self._announce(0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_left = True
        self._pool.shutdown()

    def windows(self) -> Iterator[list[Ids]]:
        """Yield the ids of the conversations that were not dropped, window by window.

        The windows depend on nothing but the number of conversations, so that a run cuts them like
        the run that it repeats.

        Raises:
            RmbenchError: what the encoder, the conversations or ``accept`` raise.
        """
        start = 0
        for size in window_sizes():
            window = self._take(start, start + size)
            start += size
            if window:
                yield [ids for ids in window if ids is not None]
            else:
                return

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._encoded.done():
            self._encoded.result()

    def finish(self) -> Encoded:
        """Wait for the last conversation and return all of them.

        Raises:
            RmbenchError: as ``windows``.
        """
        return self._encoded.result()

    def _take(self, start: int, stop: int) -> list[Ids | None]:
        with self._ready:
            self._ready.wait_for(lambda: self._accepted >= stop or self._encoded.done())
        self.check()
        return self.encoder.sequences[start : min(stop, self._accepted)]

    def _encode(self) -> Encoded:
        start = time.perf_counter()
        for chunk in self.encoder.encode(self._until_left()):
            self.accept(chunk)
            self._announce(len(chunk))
        self.seconds = time.perf_counter() - start
        return self.encoder.finish()

    def _until_left(self) -> Iterator[Conversation]:
        for conversation in self.conversations:
            if self._is_left:
                return
            yield conversation

    def _announce(self, count: int) -> None:
        with self._ready:
            self._accepted += count
            self._ready.notify_all()
