"""Answers already given, kept on disk: a crash costs one batch, a second run costs nothing.

One SQLite file in WAL mode, which several processes may share. It holds

* ``answers``: of the questions of a run, committed batch by batch; ``replies``: the texts that some
  of them were read from;
* ``runs``: what happened on the way of a finished run, so that repeating it loads no model;
* ``stamped``: digests of weight files, by path and stamp (size, times, inode), so that they are
  hashed once.

A cache that cannot be read or written is a warning, once, and the run goes on without it.
"""

import hashlib
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

from rmbench.files import Stamp, stamp

__all__ = [
    "SCORING_VERSION",
    "Cache",
    "CacheInfo",
    "clear_cache",
    "default_folder",
    "file_digest",
    "make_key",
]

SCORING_VERSION: Final = 2
"""Raised when a change of rmbench changes rewards; part of every key."""

FILE: Final = "rewards.sqlite"
BUSY_S: Final = 30.0
_BROKEN: Final = (OSError, sqlite3.Error, ValueError, ArithmeticError)
"""What SQLite raises of a damaged file; a schema that is no text is a ValueError."""
SETTLED_NS: Final = 2_000_000_000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS runs (key BLOB PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    run BLOB, number INTEGER, answer BLOB NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    run BLOB, number INTEGER, reply TEXT NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stamped (
    path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL
);
"""
CacheTable = Literal["answers", "replies"]
_CONTENT: Final[dict[CacheTable, str]] = {"answers": "answer", "replies": "reply"}
_T = TypeVar("_T")
_log = logging.getLogger("rmbench")


class CacheInfo(NamedTuple):
    """What a cache holds: number of answers, replies and finished runs, and bytes on disk."""

    path: Path
    answers: int
    replies: int
    runs: int
    size: int


def default_folder() -> Path:
    """Return the user's cache folder for rmbench (``~/.cache/rmbench`` on Linux)."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("rmbench", appauthor=False))


def make_key(*parts: bytes | str | int | float | bool | None) -> bytes:
    """Return 16 bytes that stand for all of ``parts``, in their order.

    Each part is hashed with its type and length, so that no two lists of parts run together.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(f"{type(part).__name__}:{len(content)}:".encode())
        digest.update(content)
    return digest.digest()


def clear_cache(folder: Path) -> Path:
    """Forget everything; the file is removed, also one that is no database any more.

    Returns:
        The file that is no more.

    Raises:
        OSError: a file cannot be removed.
    """
    for file in list(folder.glob(f"{FILE}*")):
        file.unlink()
    return folder / FILE


def _prepare(database: sqlite3.Connection) -> None:
    """Bring a file into use, waiting for others that do so at this moment.

    SQLite waits for a lock by itself, but not while a new file is changed to WAL mode.
    """
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


_digests: list["Cache"] = []
_REMEMBERED: Final[dict[tuple[str, Stamp], str]] = {}
"""Digests of this process, where no cache keeps them."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, through the cache that was opened last, if any.

    Raises:
        OSError: the file cannot be read.
    """
    if _digests:
        return _digests[-1].file_digest(path)
    known = (os.fspath(path.resolve()), stamp(path))
    if known not in _REMEMBERED:
        digest, is_settled = _read_digest(path, known[1])
        if not is_settled:
            return digest
        _REMEMBERED[known] = digest
    return _REMEMBERED[known]


def _read_digest(path: Path, before: Stamp) -> tuple[str, bool]:
    """Return a file's digest, and whether its stamp will tell when the file changes.

    One that was written a moment ago could be written again within one tick of the clock.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    is_settled = time.time_ns() - before.changed > SETTLED_NS
    return digest, is_settled and stamp(path) == before


class Cache:
    """Answers on disk; safe to call from any thread, and whatever has become of the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._database: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            _prepare(self._database)
            _digests.append(self)
        except _BROKEN as error:
            self._give_up(error)

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; afterwards the cache is empty and stays so."""
        if self._database is not None:
            self._database.close()
            self._database = None
        if self in _digests:
            _digests.remove(self)

    def get_run(self, key: bytes) -> bytes | None:
        """Return what ``put_run`` kept under ``key``; None if nothing, or nothing readable."""
        query = "SELECT content FROM runs WHERE key = ?"
        row = self._try(lambda database: database.execute(query, (key,)).fetchone(), None)
        if row is None or not isinstance(row[0], bytes):
            return None
        try:
            return zlib.decompress(row[0])
        except zlib.error:
            return None

    def put_run(self, key: bytes, content: bytes) -> None:
        """Keep a document under ``key``, replacing what is there."""
        packed = (key, zlib.compress(content))
        statement = "INSERT OR REPLACE INTO runs VALUES (?, ?)"
        self._try(lambda database: database.execute(statement, packed), None)

    def get_rows(self, table: CacheTable, run: bytes) -> dict[int, Any]:
        """Return all that was kept of a run, by number, as it stands there."""
        query = f"SELECT number, {_CONTENT[table]} FROM {table} WHERE run = ?"
        return dict(self._try(lambda database: database.execute(query, (run,)).fetchall(), []))

    def put_rows(self, table: CacheTable, run: bytes, rows: Mapping[int, bytes | str]) -> None:
        """Keep rows of a run, all or none, replacing what is there."""
        many = [(run, number, content) for number, content in rows.items()]

        def write(database: sqlite3.Connection) -> None:
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", many)

        self._try(write, None)

    def forget(self, run: bytes) -> None:
        """Forget the answers of a run, not the replies that they were read from."""

        def write(database: sqlite3.Connection) -> None:
            with database:
                database.execute("DELETE FROM answers WHERE run = ?", (run,))

        self._try(write, None)

    def file_digest(self, path: Path) -> str:
        """Return the SHA-256 of a file's content, read again only when the file has changed.

        Raises:
            OSError: the file cannot be read.
        """
        place, before = os.fspath(path.resolve()), stamp(path)
        query = "SELECT sha256 FROM stamped WHERE path = ? AND stamp = ?"
        known = (place, repr(tuple(before)))
        row = self._try(lambda database: database.execute(query, known).fetchone(), None)
        if row is not None:
            return str(row[0])
        digest, is_settled = _read_digest(path, before)
        if is_settled:
            statement = "INSERT OR REPLACE INTO stamped VALUES (?, ?, ?)"
            self._try(lambda database: database.execute(statement, (*known, digest)), None)
        return digest

    def info(self) -> CacheInfo:
        """Return what the cache holds."""

        def count(database: sqlite3.Connection) -> list[int]:
            tables = ("answers", "replies", "runs")
            found = (database.execute(f"SELECT COUNT(*) FROM {table}") for table in tables)
            return [int(rows.fetchone()[0]) for rows in found]

        answers, replies, runs = self._try(count, [0, 0, 0])
        files = self.path.parent.glob(f"{FILE}*") if self.path.parent.is_dir() else ()
        size = sum(file.stat().st_size for file in files)
        return CacheInfo(self.path, answers, replies, runs, size)

    def _try(self, use: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        if self._database is None:
            return otherwise
        try:
            with self._lock:
                return use(self._database)
        except _BROKEN as error:
            self._give_up(error)
            return otherwise

    def _give_up(self, error: Exception) -> None:
        # Of SQLite's errors only the plain one is about the file's content.
        broken = type(error) is sqlite3.DatabaseError or not isinstance(
            error, sqlite3.Error | OSError
        )
        remedy = "rmbench cache clear fixes it" if broken else "--cache DIR takes another"
        _log.warning(
            "%s: the cache cannot be used: %s; going on without it (%s)", self.path, error, remedy
        )
        self.close()
