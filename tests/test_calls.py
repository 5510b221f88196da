"""Calls: so many at once, tried again where that can help, refused where it cannot."""

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from serving import Answer, serving

from rmbench.errors import ScorerError
from rmbench.scorers.calls import Caller, CallOptions, FailedCallError, in_flight


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmbench.scorers.calls.FIRST_WAIT_S", 0.001)


class Flaky:
    """Gives each of these answers once, then an ordinary one."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def __call__(self, path: str, body: Any) -> Answer:
        return self.answers.pop(0) if self.answers else Answer({"ok": body})


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({}, 429), "429"),
        (Answer({}, 500), "500"),
        (Answer({}, 503, (("Retry-After", "0"),)), "503"),
        (Answer(b'{"half": '), "malformed"),
    ],
)
def test_what_another_try_can_help_is_tried_again_and_counted(answer: Answer, kind: str) -> None:
    with serving(Flaky(answer)) as server:
        caller = Caller(server.url, CallOptions())
        assert caller.post("/x", 7) == {"ok": 7}
        assert caller.faults == {kind: 1}
        caller.close()


def test_a_server_that_says_when_is_waited_for() -> None:
    for value in ("0.2", formatdate(time.time() + 1.9, usegmt=True)):
        with serving(Flaky(Answer({}, 429, (("Retry-After", value),)))) as server:
            caller = Caller(server.url, CallOptions())
            start = time.monotonic()
            caller.post("/x", 1)
            assert time.monotonic() - start >= 0.15
            caller.close()


def test_patience_ends_before_a_wait_that_is_too_long() -> None:
    with serving(Flaky(Answer({}, 429, (("Retry-After", "900"),)))) as server:
        caller = Caller(server.url, CallOptions(patience=5))
        with pytest.raises(FailedCallError, match="429"):
            caller.post("/x", 1)
        caller.close()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_try_can_help_stops_the_run(status: int) -> None:
    with serving(lambda path, body: Answer({"error": "no"}, status)) as server:
        caller = Caller(server.url, CallOptions())
        with pytest.raises(ScorerError, match=rf"^{server.url}/x: status {status}: .*; "):
            caller.post("/x", 1)
        assert len(server.requests) == 1
        caller.close()


def test_a_request_that_is_wrong_fails_alone() -> None:
    with serving(lambda path, body: Answer({"error": "too long"}, 400)) as server:
        caller = Caller(server.url, CallOptions())
        with pytest.raises(FailedCallError, match="status 400") as error:
            caller.post("/x", 1)
        assert (error.value.kind, len(server.requests)) == ("400", 1)
        caller.close()


def test_a_hanging_server_is_given_up() -> None:
    gate = threading.Event()

    def hang(path: str, body: Any) -> Answer:
        gate.wait(5)
        return Answer({})

    with serving(hang) as server:
        caller = Caller(server.url, CallOptions(timeout=0.2, tries=2))
        with pytest.raises(FailedCallError) as error:
            caller.post("/x", 1)
        assert (error.value.kind, caller.faults) == ("timeout", {"timeout": 2})
        gate.set()
        caller.close()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with serving(lambda path, body: Answer({})) as server:
        pass
    caller = Caller(server.url, CallOptions())
    with pytest.raises(ScorerError, match=r"no server answers there .*; start it, or check"):
        caller.post("/x", 1)
    assert caller.faults == {"connection": 3}
    caller.close()


def test_one_try_is_one_try() -> None:
    with serving(lambda path, body: Answer({})) as server:
        pass
    caller = Caller(server.url, CallOptions(tries=1))
    with pytest.raises(ScorerError, match="no server answers there"):
        caller.post("/x", 1)
    assert caller.faults == {"connection": 1}
    caller.close()


def test_a_server_may_be_started_again_meanwhile() -> None:
    closing = Answer({"ok": 1}, headers=(("Connection", "close"),))
    with serving(lambda path, body: closing) as server:
        port = int(server.url.rpartition(":")[2])
        caller = Caller(server.url, CallOptions())
        caller.post("/x", 1)
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(caller.post("/x", 2)))
    waiting.start()
    time.sleep(0.01)
    with serving(lambda path, body: Answer({"ok": body}), port=port):
        waiting.join(20)
    assert answers == [{"ok": 2}]
    caller.close()


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    with serving(lambda path, body: Answer({})) as server:
        caller = Caller(server.url, CallOptions(key_env="MY_KEY"))
        caller.post("/x", 1)
        _, _, headers = server.requests[0]
        assert headers["Authorization"] == "Bearer secret"
        assert "secret" not in repr(caller.options)
        caller.close()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ScorerError, match=r"give http://HOST:PORT"):
        Caller(url, CallOptions())


def test_no_more_are_under_way_than_asked() -> None:
    now, most = [0], [0]
    lock = threading.Lock()

    def ask(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return item * item

    read = [0]

    def items() -> Iterator[int]:
        for i in range(60):
            read[0] = i + 1
            yield i

    stream = in_flight(items(), ask, at_once=4)
    next(stream)
    assert read[0] <= 5  # read only as fast as they are asked
    found = dict(stream)
    assert len(found) == 59
    assert all(reply == item * item for item, reply in found.items())
    assert most[0] == 4


def test_what_was_answered_comes_before_the_error() -> None:
    barrier = threading.Barrier(3)

    def ask(item: int) -> int:
        barrier.wait(5)
        if item == 1:
            raise ScorerError("no")
        return item

    found = []
    with pytest.raises(ScorerError):
        for item, _ in in_flight(range(3), ask, at_once=3):
            found.append(item)
    assert sorted(found) == [0, 2]


def test_an_error_of_the_questions_comes_after_the_answers() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ScorerError("spent")

    found = []
    with pytest.raises(ScorerError, match="spent"):
        for item, _ in in_flight(items(), lambda item: item, at_once=8):
            found.append(item)
    assert sorted(found) == [0, 1, 2]
