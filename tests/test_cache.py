"""Rewards on disk: kept batch by batch, shared, and never in the way when they break."""

import hashlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rmbench.cache
from rmbench.cache import FILE, Cache, clear_cache, make_key
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Conversation, Message

TINY = Path(__file__).parent.parent / "rmbench" / "tiny"
CONVERSATIONS = [
    Conversation((Message("user", f"What is {n} and one?"),), f"It is {n + 1}.") for n in range(12)
]


def test_rewards_come_back_as_they_were_put(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        rewards = {make_key(n): float(np.float32(n) / 3) for n in range(1200)}
        cache.put_rewards(rewards.items())
        assert cache.get_rewards([*rewards, make_key("unknown")]) == rewards
    with Cache(tmp_path) as again:
        assert again.get_rewards(list(rewards)) == rewards
        assert again.info().rewards == 1200


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put_rewards([(b"a", 1.0)])
        cache.put_rewards([(b"a", 2.0), (b"b", 3.0)])
        assert cache.get_rewards([b"a", b"b"]) == {b"a": 1.0, b"b": 3.0}


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
        cache.put_run(b"k", {"rewards": [0.1, None]})
        assert cache.get_run(b"k") == {"rewards": [0.1, None]}
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
        cache.put_rewards([(b"a", 1.0)])
        assert cache.get_rewards([b"a"]) == {}
        assert cache.get_run(b"a") is None
        assert cache.info().rewards == 0
    assert len(caplog.records) == 1
    assert caplog.text.rstrip().endswith("going on without it (rmbench cache clear mends it)")


def test_a_folder_that_cannot_be_made_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert Cache(tmp_path / "file" / "cache").get_rewards([b"a"]) == {}
    assert len(caplog.records) == 1
    assert caplog.text.rstrip().endswith("going on without it (--cache DIR takes another)")


def test_a_full_cache_is_one_warning_and_keeps_nothing_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = [(make_key(n), float(n)) for n in range(20_000)]
    with caplog.at_level(logging.WARNING), Cache(tmp_path) as cache:
        assert cache._database is not None
        cache._database.execute("PRAGMA max_page_count = 20")
        cache.put_rewards(many)
        assert cache.get_rewards([many[0][0]]) == {}
    assert "full" in caplog.text
    with Cache(tmp_path) as again:
        assert again.info().rewards == 0


def test_clearing_removes_even_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    assert clear_cache(tmp_path) == tmp_path / FILE
    with Cache(tmp_path) as fresh:
        fresh.put_rewards([(b"a", 1.0)])
        assert fresh.info().rewards == 1


def test_many_processes_may_begin_a_cache_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from rmbench.cache import Cache, make_key\n"
        "while time.time() < float(sys.argv[2]): pass\n"
        "Cache(Path(sys.argv[1])).put_rewards([(make_key(sys.argv[3]), 1.0)])\n"
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
        assert cache.info().rewards == 6


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from rmbench.cache import Cache, make_key\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "for n in range(300): cache.put_rewards([(make_key(sys.argv[2], n), float(n))])\n"
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
        assert cache.info().rewards == 600


# --- a scorer behind the cache -------------------------------------------------------------------


def test_a_second_call_gives_the_same_and_loads_neither_torch_nor_model(tmp_path: Path) -> None:
    script = (
        "import sys, json; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from rmbench.cache import Cache; from rmbench.scorers.registry import load_scorer\n"
        "from test_cache_conversations import CONVERSATIONS\n"
        "scorer = load_scorer('tiny', cache=Cache(Path(sys.argv[1])))\n"
        "scored = scorer.score(iter(CONVERSATIONS))\n"
        "print(json.dumps([scored.rewards, scorer.info.parameters, 'torch' in sys.modules]))\n"
    )
    (tmp_path / "test_cache_conversations.py").write_text(
        "from rmbench.suite.comparison import Conversation, Message\n"
        "CONVERSATIONS = [Conversation((Message('user', f'{n}?'),), str(n)) for n in range(5)]\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "cache"), str(tmp_path)]
    first, second = (
        json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)
        for _ in range(2)
    )
    assert first[:2] == second[:2]
    assert (first[2], second[2]) == (True, False)


def test_single_rewards_are_shared_between_calls(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        whole = load_scorer("tiny", cache=cache).score(CONVERSATIONS)
        part = load_scorer("tiny", cache=cache).score(CONVERSATIONS[3:7])
    assert list(part.rewards) == list(whole.rewards)[3:7]
    # Only the sample that proves the way is computed; every reward was known.
    assert part.timing["tokens_computed"] <= 2 * part.timing["tokens"]


def test_another_template_or_other_weights_are_computed_anew(tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    other = tmp_path / "other.jinja"
    other.write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with Cache(tmp_path / "cache") as cache:
        plain = load_scorer(str(model), cache=cache).score(CONVERSATIONS).rewards
        changed = ModelOptions(template=str(other))
        assert load_scorer(str(model), changed, cache=cache).score(CONVERSATIONS).rewards != plain
        other.write_text("{% for m in messages %}{{ m['content'] }}!\n{% endfor %}")
        again = load_scorer(str(model), changed, cache=cache).score(CONVERSATIONS).rewards
        assert again == load_scorer(str(model), changed).score(CONVERSATIONS).rewards
        _double_the_head(model / "model.safetensors")
        doubled = load_scorer(str(model), cache=cache).score(CONVERSATIONS).rewards
    assert np.allclose(np.array(doubled, dtype=float), 2 * np.array(plain, dtype=float), rtol=1e-3)


def test_a_copy_of_a_model_keeps_its_own_name_and_templates_theirs(tmp_path: Path) -> None:
    import shutil

    names, text = [], "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with Cache(tmp_path / "cache") as cache:
        for name in ("a", "b"):
            folder = shutil.copytree(TINY, tmp_path / name)
            template = tmp_path / f"{name}.jinja"
            template.write_text(text)
            scorer = load_scorer(str(folder), ModelOptions(template=str(template)), cache=cache)
            scorer.score(CONVERSATIONS)
            names.append((scorer.info.id, scorer.info.settings["template"]))
    assert names == [("a", "a.jinja"), ("b", "b.jinja")]


def test_a_revision_of_a_folder_is_refused_with_the_cache_too(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        load_scorer(str(TINY), cache=cache).score(CONVERSATIONS)  # known from now on
        with pytest.raises(ScorerError, match="a local folder has no revisions"):
            load_scorer(str(TINY), ModelOptions(revision="x"), cache=cache).score(CONVERSATIONS)


def test_rewards_that_are_no_numbers_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmbench.engine.scoring import Engine

    compute = Engine._compute

    def breaks(self: Engine, *given: Any) -> Any:
        rewards = compute(self, *given)
        rewards[0] = np.nan
        return rewards

    with Cache(tmp_path) as cache:
        truth = load_scorer("tiny").score(CONVERSATIONS).rewards
        monkeypatch.setattr(Engine, "_compute", breaks)
        broken = load_scorer("tiny", cache=cache).score(CONVERSATIONS).rewards
        monkeypatch.undo()
        again = load_scorer("tiny", cache=cache).score(CONVERSATIONS).rewards
    assert not all(map(np.isfinite, broken))
    assert np.allclose(list(again), list(truth), rtol=0, atol=1e-4)


def _double_the_head(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    weights["score.weight"] = weights["score.weight"] * 2
    save_file(weights, file, metadata={"format": "pt"})


def test_killed_in_the_middle_a_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    _run(whole, tmp_path / "cache-of-whole").wait(timeout=120)
    output, folder = tmp_path / "killed", tmp_path / "cache"
    worker = _run(output, folder)
    try:
        _wait_for_rewards(folder, worker)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with Cache(folder) as cache:
        kept = cache.info().rewards
    assert 0 < kept < 480
    assert not list(output.rglob("*.json*"))
    assert _run(output, folder).wait(timeout=120) == 0
    with Cache(folder) as cache:
        assert cache.info().rewards == 480
    name = "mini/tiny.jsonl"
    assert (output / name).read_bytes() == (whole / name).read_bytes()


def _run(output: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from rmbench.cli import main; main()", "run"]
    options = ["--output", str(output), "--cache", str(cache), "--batch-tokens", "256"]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for_rewards(folder: Path, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and worker.poll() is None:
        if (folder / FILE).exists():
            with sqlite3.connect(folder / FILE, timeout=10) as database:
                found = database.execute("SELECT name FROM sqlite_master").fetchall()
                if ("rewards",) in found:
                    (count,) = database.execute("SELECT COUNT(*) FROM rewards").fetchone()
                    if count > 20:
                        return
        time.sleep(0.02)
    raise AssertionError("the run kept no rewards before it ended")
