"""Requests to a judge as files: OpenAI's batch manifests, written for what is missing, and read.

A line of the requests is ``{"custom_id", "method", "url", "body"}``, one of the outputs
``{"custom_id", "response": {"status_code", "body"}, "error"}`` (the Batch API's own form, which
other servers share). ``custom_id`` is a digest of the request, so that neither the order of lines
nor the order of questions matters.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rmbench.errors import ScorerError
from rmbench.files import write_text
from rmbench.scorers.calls import FailedCallError
from rmbench.scorers.chat import PATH, parse_completion
from rmbench.scorers.verdict import Reply
from rmbench.wording import counted

__all__ = ["REQUESTS", "BatchChat"]

REQUESTS: Final = "requests.jsonl"
MISSING: Final = "not in the outputs"


class BatchChat:
    """Replies from a folder: every ``.jsonl`` in it but the requests is an output."""

    def __init__(self, folder: Path) -> None:
        """Read the outputs that are there.

        Raises:
            ScorerError: one cannot be read; the message names the line.
        """
        self.folder = folder
        self._replies: dict[str, Any] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._faults: Counter[str] = Counter()
        for file in sorted(folder.glob("*.jsonl")):
            if file.name != REQUESTS:
                found = ((name, reply) for name, reply in _outputs(file) if reply is not None)
                self._replies.update(found)

    @property
    def at_once(self) -> int:
        """One: nothing is waited for."""
        return 1

    def ask(self, body: Mapping[str, Any], run: int) -> Reply:
        """Return the reply that an output has for a request, or note that it is missing.

        Raises:
            FailedCallError: there is none, or it is an error.
        """
        content = json.dumps(body, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:32]
        name = f"{digest}-{run}"
        reply = self._replies.get(name)
        try:
            if reply is None:
                raise FailedCallError(MISSING, "no output has it yet")
            return parse_completion(reply)
        except FailedCallError as failure:
            self._faults[failure.kind] += 1
            url = f"/v1{PATH}"
            line = {"custom_id": name, "method": "POST", "url": url, "body": dict(body)}
            self._requests[name] = line
            raise

    def faults(self) -> Mapping[str, int]:
        """Return how many requests have no reply, by kind."""
        return dict(self._faults)

    def finish(self) -> None:
        """Write the requests that have no reply.

        Raises:
            ScorerError: there are any; the message says what to do with the file.
        """
        if not self._requests:
            return
        path = self.folder / REQUESTS
        lines = (json.dumps(line, ensure_ascii=False) for line in self._requests.values())
        write_text(path, "".join(f"{line}\n" for line in lines))
        raise ScorerError(
            f"{path}: {counted(len(self._requests), 'requests')} to be answered; send the file as a"
            f" batch, put the output into {self.folder} as a .jsonl, and run again"
        )

    def close(self) -> None:
        """Nothing is open."""


def _outputs(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the id and the completion of each line; None for one that is an error."""
    try:
        lines = file.read_bytes().decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ScorerError(f"{file}: cannot be read: {error}; fetch the output again") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            response = item.get("response") or {}
            is_answered = item.get("error") is None and response.get("status_code", 200) == 200
            yield str(item["custom_id"]), response.get("body") if is_answered else None
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise ScorerError(
                f"{file}, line {number}: no output of a batch (custom_id, response); fetch it again"
            ) from None
