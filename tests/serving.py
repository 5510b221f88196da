"""A server on 127.0.0.1 that answers as a test says, so that every fault can be had on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What is sent back; ``content`` as JSON, unless it is bytes."""

    content: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Server(NamedTuple):
    url: str
    requests: list[tuple[str, Any, dict[str, str]]]
    """Path, body and headers of every POST so far."""


@contextmanager
def serving(answer: Callable[[str, Any], Answer], *, port: int = 0) -> Iterator[Server]:
    """Serve until the block is left; ``answer`` is called with path and body (None for GET)."""
    requests: list[tuple[str, Any, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(answer(self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, body, dict(self.headers)))
            self._send(answer(self.path, body))

        def _send(self, given: Answer) -> None:
            content = given.content
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(given.status)
            for name, value in (*given.headers, ("Content-Length", str(len(data)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(text: str, *, finish: str = "stop", tops: dict[str, float] | None = None) -> Answer:
    """Return a chat completion as OpenAI's API gives it."""
    choice: dict[str, Any] = {"message": {"content": text}, "finish_reason": finish}
    if tops is not None:
        listed = [{"token": token, "logprob": value} for token, value in tops.items()]
        choice["logprobs"] = {"content": [{"token": "?", "top_logprobs": listed}]}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Answer({"choices": [choice], "usage": usage})
