"""Calls to a server: so many at once, tried again where that can help, and counted."""

import email.utils
import os
import queue
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field

from rmbench.errors import ScorerError, install
from rmbench.options import Options, option

__all__ = ["CallOptions", "Caller", "FailedCallError", "in_flight"]

RETRIED: Final = frozenset({408, 409, 425, 429, *range(500, 600)})
FATAL: Final = {
    401: "the server wants a key; put it into the environment variable {key_env}",
    403: "the key has no access; give another in the environment variable {key_env}",
    404: "no such model or path on the server; check both",
}
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 60.0
FIRST_TRIES: Final = 3
"""Of a server that was never reached: its address may be wrong."""
_STOP: Final = object()

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class CallOptions(Options):
    """How a server is called; none of it can move an answer.

    The server's key stands in no option and in no record: ``key_env`` names the environment
    variable that holds it.
    """

    in_flight: Annotated[int, Field(ge=1, le=1024)] = option(
        8, help="Requests at a time.", moves="nothing"
    )
    timeout: Annotated[float, Field(gt=0)] = option(
        300.0, help="Seconds until a request is given up and tried again.", moves="nothing"
    )
    tries: Annotated[int, Field(ge=1)] = option(
        8, help="Tries of one request before it counts as failed.", moves="nothing"
    )
    patience: Annotated[float, Field(gt=0)] = option(
        600.0,
        help="Seconds for all tries of one request, the waits between them included.",
        moves="nothing",
    )
    per_minute: Annotated[int, Field(ge=1)] | None = option(
        None, help="Requests begun in a minute at most.", moves="nothing"
    )
    key_env: str = option(
        "RMBENCH_API_KEY",
        help="Name of the environment variable that holds the server's key.",
        moves="nothing",
    )


class FailedCallError(Exception):
    """One request that has no answer; the run goes on without it, and counts it.

    ``kind`` is a word to count by: a status code, ``timeout`` or ``malformed``.
    """

    def __init__(self, kind: str, finding: str) -> None:
        super().__init__(finding)
        self.kind = kind


class Caller:
    """Sends JSON to one server and returns its JSON; may be used from many threads.

    ``faults`` counts what went wrong by kind, whether or not another try fixed it.
    """

    def __init__(self, url: str, options: CallOptions) -> None:
        """Open no connection yet.

        Args:
            url: of the server, ``http://`` or ``https://``; paths are put behind it.
            options: how to call it.

        Raises:
            ScorerError: the package httpx2 is missing, or the address is none.
        """
        try:
            import httpx2
        except ImportError:
            raise ScorerError(
                f"{url}: calling a server needs httpx2; {install('httpx2')}"
            ) from None
        try:
            is_address = httpx2.URL(url).scheme in ("http", "https") and httpx2.URL(url).host
        except httpx2.InvalidURL:
            is_address = False
        if not is_address:
            raise ScorerError(f"{url}: no address of a server; give http://HOST:PORT")
        self.url = url.rstrip("/")
        self.options = options
        self.faults: Counter[str] = Counter()
        self._http = httpx2
        self._opened: Any = None
        self._lock = threading.Lock()
        self._under_way = 0
        self._ended = threading.Condition(self._lock)
        self._next_start = 0.0
        self._was_reached = False

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._opened is None:
                key, size = os.environ.get(self.options.key_env), self.options.in_flight
                timeout = self.options.timeout
                self._opened = self._http.Client(
                    headers={"Authorization": f"Bearer {key}"} if key else {},
                    timeout=self._http.Timeout(timeout, connect=min(timeout, 10.0)),
                    limits=self._http.Limits(max_connections=size, max_keepalive_connections=size),
                )
                # Who gives a caller up without closing it leaves no connection open.
                weakref.finalize(self, self._opened.close)
            return self._opened

    def close(self) -> None:
        """Close all connections, once calls under way have ended or a second is over."""
        with self._lock:
            # A connection that is given back to a closed client would stay open.
            self._ended.wait_for(lambda: self._under_way == 0, timeout=1.0)
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a call as under way."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._ended.notify_all()

    def get(self, path: str) -> Any:
        """Return what a path answers, as JSON; None where the server has no such path."""
        try:
            response = self._client.get(self.url + path)
            return response.json() if response.is_success else None
        except (self._http.HTTPError, ValueError):
            return None

    def post(self, path: str, body: Any) -> Any:
        """Send JSON and return the JSON that comes back.

        Raises:
            ScorerError: there is no server, or it refuses every such request: no access, or no
                such path.
            FailedCallError: this request has no answer, however often it was tried.
        """
        deadline = time.monotonic() + self.options.patience
        for number in range(1, self.options.tries + 1):
            wait = FIRST_WAIT_S * 2 ** (number - 1) * random.uniform(0.5, 1.5)
            try:
                return self._try(path, body)
            except _AgainError as fault:
                with self._lock:
                    self.faults[fault.kind] += 1
                wait = min(wait, LONGEST_WAIT_S) if fault.wait is None else fault.wait
                is_nowhere = fault.kind == "connection" and not self._was_reached
                most = min(FIRST_TRIES, self.options.tries) if is_nowhere else self.options.tries
                if number >= most or time.monotonic() + wait > deadline:
                    raise self._give_up(fault, number) from None
                time.sleep(wait)
        raise AssertionError("a last try returns or raises")

    def _give_up(self, fault: "_AgainError", tries: int) -> Exception:
        if fault.kind != "connection":
            return FailedCallError(fault.kind, f"{fault} after {tries} tries")
        return ScorerError(
            f"{self.url}: no server answers there ({fault}); start it, or check the address: what"
            " was answered is kept"
        )

    def _try(self, path: str, body: Any) -> Any:
        self._wait_for_turn()
        try:
            with self._counted():
                response = self._client.post(self.url + path, json=body)
        except self._http.TimeoutException:
            raise _AgainError("timeout", f"no answer in {self.options.timeout:g} s") from None
        except (self._http.TransportError, self._http.DecodingError) as error:
            raise _AgainError("connection", str(error) or type(error).__name__) from None
        self._was_reached = True
        status = response.status_code
        if status in RETRIED:
            finding = f"status {status}: {_said(response)}"
            raise _AgainError(str(status), finding, wait=_retry_after(response.headers))
        if status in FATAL:
            remedy = FATAL[status].format(key_env=self.options.key_env)
            raise ScorerError(f"{self.url}{path}: status {status}: {_said(response)}; {remedy}")
        if not response.is_success:
            with self._lock:
                self.faults[str(status)] += 1
            raise FailedCallError(str(status), f"status {status}: {_said(response)}")
        try:
            return response.json()
        except ValueError:
            raise _AgainError("malformed", "the answer is no JSON") from None

    def _wait_for_turn(self) -> None:
        if self.options.per_minute is None:
            return
        with self._lock:
            start = max(time.monotonic(), self._next_start)
            self._next_start = start + 60.0 / self.options.per_minute
        time.sleep(max(0.0, start - time.monotonic()))


class _AgainError(Exception):
    """A request that another try may help; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, kind: str, finding: str, wait: float | None = None) -> None:
        super().__init__(finding)
        self.kind = kind
        self.wait = wait


def _said(response: Any) -> str:
    """Return the first words of a server's complaint, in one line."""
    text = " ".join(response.text.split())
    return text[:200] or "without a word"


def _retry_after(headers: Any) -> float | None:
    """Return the seconds that ``Retry-After`` asks for: a number or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def in_flight(
    items: Iterable[Item], ask: Callable[[Item], Reply], *, at_once: int
) -> Iterator[tuple[Item, Reply]]:
    """Yield items with what ``ask`` returned, as they finish; no more than ``at_once`` are held.

    When one raises, no further item is begun, those under way are still yielded, and only then is
    the error raised: what was answered is not lost.

    Args:
        items: read by the calling thread, only as fast as they are asked.
        ask: called in threads of its own.
        at_once: how many.
    """
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Any, Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        while (item := tasks.get()) is not _STOP:
            try:
                done.put((item, ask(item), None))
            except BaseException as error:  # handed to the thread that waits for it
                done.put((item, None, error))

    # Daemons, so that Ctrl-C need not wait for a server.
    for _ in range(at_once):
        threading.Thread(target=work, daemon=True, name="call").start()
    try:
        yield from _feed(iter(items), tasks, done, at_once)
    finally:
        for _ in range(at_once):
            tasks.put(_STOP)


def _feed(
    items: Iterator[Any],
    tasks: "queue.SimpleQueue[Any]",
    done: "queue.SimpleQueue[tuple[Any, Any, BaseException | None]]",
    at_once: int,
) -> Iterator[tuple[Any, Any]]:
    pending = 0
    failure: BaseException | None = None
    while True:
        while failure is None and pending < at_once:
            try:
                item = next(items, _STOP)
            except Exception as error:  # raised below, once those under way have answered
                failure = error
                break
            if item is _STOP:
                break
            tasks.put(item)
            pending += 1
        if not pending:
            break
        item, reply, raised = done.get()
        pending -= 1
        if raised is None:
            yield item, reply
        failure = failure or raised
    if failure is not None:
        raise failure
