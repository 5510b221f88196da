"""Files: JSON in which nothing is said twice; texts written whole or not at all."""

import json
import os
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.errors import ResultError

__all__ = [
    "BEGIN",
    "END",
    "RepeatedKeyError",
    "Stamp",
    "parse_json",
    "read_text",
    "replace_block",
    "stamp",
    "write_bytes",
    "write_text",
]

BEGIN: Final = "<!-- rmbench:leaderboard -->"
END: Final = "<!-- /rmbench:leaderboard -->"


def read_text(path: Path) -> str:
    """Return a text file, its line ends and byte order mark as they are.

    Raises:
        ResultError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ResultError(f"{path}: not UTF-8; convert the file") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror or error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step; its permissions stay, and folders that lack are made.

    What is no file, a pipe or a device, is written to as it is.

    Raises:
        ResultError: it cannot be written; the file is then as it was.
    """
    # Through a link, so that the link stays one.
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode if target.exists() else 0o644
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".rmbench-", suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            temporary.chmod(mode & 0o777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be written: {error.strerror or error}; make room, or give another file"
        ) from None


class Stamp(NamedTuple):
    """What the system says of a file; another content has another stamp.

    Size and time of change alone do not tell: copies, archives and syncs set the time as they like.
    The inode and the time of its last change (ctime) cannot be set.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file, through links; times are in nanoseconds.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    return Stamp(found.st_dev, found.st_ino, found.st_size, *times)


def replace_block(text: str, content: str, *, place: str) -> str:
    """Return a text with what stands between ``BEGIN`` and ``END`` replaced.

    Args:
        text: holds each marker once, on a line of its own.
        content: what goes between them; written with the text's own line ends.
        place: what the text is called, for the message.

    Raises:
        ResultError: a marker is missing, appears twice, or the two are the wrong way round.
    """
    found = [list(re.finditer(rf"(?m)^{re.escape(mark)}[ \t]*\r?$", text)) for mark in (BEGIN, END)]
    if [len(matches) for matches in found] != [1, 1]:
        raise ResultError(
            f"{place}: needs the lines {BEGIN} and {END}, once each; put them where the table goes"
        )
    begin, end = found[0][0], found[1][0]
    if begin.start() > end.start():
        raise ResultError(f"{place}: {END} stands before {BEGIN}; exchange them")
    newline = "\r\n" if "\r\n" in text else "\n"
    body = f"\n\n{content.strip()}\n\n".replace("\n", newline)
    head = text[: begin.start()] + BEGIN
    return head + body + END + text[end.start() + len(END) :]


class RepeatedKeyError(ValueError):
    """An object has a key twice; one line says which."""


def parse_json(text: str | bytes) -> Any:
    """Return what JSON text holds, as ``json.loads`` does, but refuse a key that appears twice.

    RFC 8259, section 4, leaves open which of two values counts; a reader that takes the last one
    would show a number that a person who reads the file may not see.

    Raises:
        RepeatedKeyError: an object has a key twice.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise RepeatedKeyError(f'the key "{twice}" appears twice in one object')
    return found
