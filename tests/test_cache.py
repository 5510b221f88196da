"""The cache file: shared by processes, and never in the way when it breaks."""

import hashlib
import logging
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rmbench.cache
from rmbench.cache import FILE, Cache, clear_cache, make_key


def test_rows_come_back_as_they_were_put_and_belong_to_their_run(tmp_path: Path) -> None:
    rows = {n: f"{n}".encode() for n in range(1200)}
    with Cache(tmp_path) as cache:
        cache.put_rows("answers", b"run", rows)
        cache.put_rows("answers", b"other", {0: b"x"})
        cache.put_rows("replies", b"run", {3: "said"})
    with Cache(tmp_path) as again:
        assert again.get_rows("answers", b"run") == rows
        assert again.get_rows("replies", b"run") == {3: "said"}
        assert again.info()[1:4] == (1201, 1, 0)
        again.forget(b"run")
        assert again.get_rows("answers", b"run") == {}
        assert again.get_rows("answers", b"other") == {0: b"x"}
        assert again.get_rows("replies", b"run") == {3: "said"}


@given(st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.none()), max_size=5), st.data())
def test_no_two_lists_of_parts_have_one_key(parts: list[object], data: st.DataObject) -> None:
    others = data.draw(
        st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.none()), max_size=5)
    )
    assert (make_key(*parts) == make_key(*others)) == (parts == others)  # type: ignore[arg-type]


def test_moving_a_border_between_parts_changes_the_key() -> None:
    assert make_key("ab", "c") != make_key("a", "bc")
    assert make_key(b"ab") != make_key("ab")


def test_a_run_comes_back_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put_run(b"k", b"content")
        assert cache.get_run(b"k") == b"content"
        assert cache.get_run(b"other") is None
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE runs SET content = x'00ff'")
    with Cache(tmp_path) as cache:
        assert cache.get_run(b"k") is None


def test_a_file_is_hashed_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    hashed: list[str] = []
    real = hashlib.file_digest
    monkeypatch.setattr(rmbench.cache, "SETTLED_NS", -1)
    monkeypatch.setattr(
        hashlib, "file_digest", lambda stream, kind: hashed.append(kind) or real(stream, kind)
    )
    with Cache(tmp_path / "cache") as cache:
        first = cache.file_digest(file)
        assert cache.file_digest(file) == first == hashlib.sha256(b"one").hexdigest()
        assert len(hashed) == 1
        status = file.stat()
        file.write_bytes(b"two")  # the same size, and below the same time of change
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert cache.file_digest(file) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_was_just_written_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    with Cache(tmp_path / "cache") as cache:
        for content in (b"one", b"two", b"six"):
            file.write_bytes(content)
            assert cache.file_digest(file) == hashlib.sha256(content).hexdigest()


def test_a_corrupt_cache_is_one_warning_and_the_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING), Cache(tmp_path) as cache:
        cache.put_rows("answers", b"a", {0: b"x"})
        assert cache.get_rows("answers", b"a") == {}
        assert cache.get_run(b"a") is None
        assert cache.info().answers == 0
    assert len(caplog.records) == 1
    assert caplog.text.rstrip().endswith("going on without it (rmbench cache clear fixes it)")


def test_a_folder_that_cannot_be_made_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert Cache(tmp_path / "file" / "cache").get_rows("answers", b"a") == {}
    assert len(caplog.records) == 1
    assert caplog.text.rstrip().endswith("going on without it (--cache DIR takes another)")


def test_a_full_cache_is_one_warning_and_keeps_nothing_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = dict.fromkeys(range(20000), b"an answer")
    with caplog.at_level(logging.WARNING), Cache(tmp_path) as cache:
        assert cache._database is not None
        cache._database.execute("PRAGMA max_page_count = 20")
        cache.put_rows("answers", b"run", many)
        assert cache.get_rows("answers", b"run") == {}
    assert "full" in caplog.text
    with Cache(tmp_path) as again:
        assert again.info().answers == 0


def test_clearing_removes_even_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    assert clear_cache(tmp_path) == tmp_path / FILE
    with Cache(tmp_path) as fresh:
        fresh.put_rows("answers", b"a", {0: b"x"})
        assert fresh.info().answers == 1


def test_many_processes_may_begin_a_cache_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from rmbench.cache import Cache\n"
        "while time.time() < float(sys.argv[2]): pass\n"
        "Cache(Path(sys.argv[1])).put_rows('answers', sys.argv[3].encode(), {0: b'x'})\n"
    )
    start = str(time.time() + 2)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), start, str(number)],
            stderr=subprocess.PIPE,
        )
        for number in range(6)
    ]
    assert [worker.communicate(timeout=60)[1] for worker in workers] == [b""] * 6
    with Cache(tmp_path) as cache:
        assert cache.info().answers == 6


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rmbench.cache import Cache\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "for n in range(300): cache.put_rows('answers', sys.argv[2].encode(), {n: b'x'})\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name], stderr=subprocess.PIPE
        )
        for name in "ab"
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0
        assert errors == b""
    with Cache(tmp_path) as cache:
        assert cache.info().answers == 600


def test_a_schema_that_is_no_text_is_a_damaged_file(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put_run(b"a", b"x")
    content = (tmp_path / FILE).read_bytes()
    assert b"CREATE TABLE runs" in content
    (tmp_path / FILE).write_bytes(content.replace(b"CREATE TABLE runs", b"CREATE TABL\x80 runs"))
    with Cache(tmp_path) as cache:
        assert cache.get_run(b"a") is None
