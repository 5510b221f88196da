"""Answers of a run: taken up after a kill, read back when all are there, and a miss when odd."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Given
from reports import write_suite

from rmbench.answers.ask import ask
from rmbench.answers.judgements import Judgement, Preference
from rmbench.answers.ledger import RunLedger, keys_of
from rmbench.cache import FILE, Cache
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.result.record import Result
from rmbench.run import evaluate_feed
from rmbench.scorers.contract import Answer, Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Candidates
from rmbench.suite.feed import Feed, open_feed

TINY = Path(__file__).parent.parent / "rmbench" / "tiny"
KEYS = keys_of(Identity("who"), "questions")
INFO = ScorerInfo(id="own", kind="own", revision="1", settings={"words": 3})
ROWS = [
    {"id": f"s/{n}", "subset": "s", "prompt": f"{n}?", "chosen": f"{n}", "rejected": f"{n}!"}
    for n in range(6)
]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    (tmp_path / "suite").mkdir()
    return open_feed(load_suite(str(write_suite(tmp_path / "suite", ROWS))))


@pytest.mark.parametrize("answer", [0.1, -3.0, (0.25, 0.75), (1.0,), (0.5, 0.25, 0.125)])
def test_an_answer_comes_back_as_it_was_recorded(answer: Answer, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        RunLedger(3, cache=cache, keys=KEYS).record({1: answer})
        RunLedger(3, cache=cache, keys=KEYS).keep({1: "because"})
        later = RunLedger(3, cache=cache, keys=KEYS)
        assert [later.known(number) for number in range(3)] == [None, answer, None]
        assert [later.reply(number) for number in range(3)] == [None, "because", None]
        assert later.taken_up == 1
        assert RunLedger(3, cache=cache, keys=keys_of(Identity("else"), "questions")).taken_up == 0
        assert RunLedger(3, cache=cache, keys=keys_of(Identity("who"), "others")).taken_up == 0


def test_answers_read_otherwise_have_the_same_replies(tmp_path: Path) -> None:
    one, other = (keys_of(Identity("who", reading), "questions") for reading in ("a", "b"))
    with Cache(tmp_path) as cache:
        ledger = RunLedger(1, cache=cache, keys=one)
        ledger.record({0: 1.0})
        ledger.keep({0: "said"})
        later = RunLedger(1, cache=cache, keys=other)
        assert (later.known(0), later.reply(0)) == (None, "said")


@pytest.mark.parametrize(
    "row",
    [b"", b"r", b"r1234567", b"x12345678", b"r" + b"\0" * 16, b"s", b"r" + b"\xff" * 8, "text", 7],
)
def test_a_row_that_is_no_answer_is_a_miss(row: Any, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        RunLedger(1, cache=cache, keys=KEYS).record({0: 1.0})
        with sqlite3.connect(tmp_path / FILE) as database:
            database.execute("UPDATE answers SET answer = ?", (row,))
        assert RunLedger(1, cache=cache, keys=KEYS).taken_up == 0


def scorer(rewards: Iterable[float | None], info: ScorerInfo = INFO, **facts: Any) -> Given:
    return Given(info, rewards, **{"inputs": None} | facts)


ANSWERS = [1.0, 0.0] * 6


def test_a_finished_run_is_not_asked_again_and_another_one_is(tmp_path: Path, feed: Feed) -> None:
    with Cache(tmp_path) as cache:
        first = ask(feed, scorer(ANSWERS, audit={"seen": 3}), cache=cache)
        again = ask(feed, scorer([]), cache=cache)
        assert again.judgements == first.judgements
        assert (again.info, again.facts.audit) == (INFO, {"seen": 3})
        assert again.facts.timing["cached"]
        others = [replace(INFO, settings={"words": 4}), replace(INFO, revision="2")]
        for info in [*others, replace(INFO, id="else"), replace(INFO, revision=None)]:
            with pytest.raises(ScorerError, match="no answer to 12 of 12 questions"):
                ask(feed, scorer([], info), cache=cache)


def test_a_dropped_question_stays_dropped(tmp_path: Path, feed: Feed) -> None:
    with Cache(tmp_path) as cache:
        first = ask(feed, scorer([None, *ANSWERS[1:]]), cache=cache)
        assert first.judgements[0] == Judgement("s/0", (None,), (0.0,))
        assert ask(feed, scorer([]), cache=cache).judgements == first.judgements


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: {**run, "later": 1},
        lambda run: {"info": run["info"]},
        lambda run: {**run, "facts": {**run["facts"], "later": 1}},
        lambda run: {**run, "info": {**run["info"], "settings": 7}},
        lambda run: {**run, "facts": {**run["facts"], "unanswered": {"x": "y"}}},
        lambda run: [1],
        lambda run: "abc",
    ],
)
def test_a_run_that_another_release_kept_is_asked_anew(
    damage: Any, tmp_path: Path, feed: Feed
) -> None:
    with Cache(tmp_path) as cache:
        ask(feed, scorer(ANSWERS), cache=cache)
        with sqlite3.connect(tmp_path / FILE) as database:
            (content,) = database.execute("SELECT content FROM runs").fetchone()
            changed = json.dumps(damage(json.loads(zlib.decompress(content)))).encode()
            database.execute("UPDATE runs SET content = ?", (zlib.compress(changed),))
        assert "cached" not in ask(feed, scorer(ANSWERS), cache=cache).facts.timing


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b""])
def test_a_run_that_is_no_document_is_asked_anew(
    content: bytes, tmp_path: Path, feed: Feed
) -> None:
    with Cache(tmp_path) as cache:
        ask(feed, scorer(ANSWERS), cache=cache)
        with sqlite3.connect(tmp_path / FILE) as database:
            database.execute("UPDATE runs SET content = ?", (zlib.compress(content),))
        assert "cached" not in ask(feed, scorer(ANSWERS), cache=cache).facts.timing


class Resuming:
    """Takes up what is known and records the rest one by one; breaks off where it is told to."""

    info = INFO

    def __init__(self, breaks: int = 99) -> None:
        self.breaks = breaks
        self.asked: list[int] = []

    def score(self, conversations: Iterable[Any], ledger: Ledger) -> Facts:
        for number, _ in enumerate(conversations):
            if ledger.known(number) is not None:
                continue
            if number == self.breaks:
                raise KeyboardInterrupt
            self.asked.append(number)
            ledger.record({number: float(number)})
        return Facts()


def test_a_run_that_broke_off_asks_only_what_is_missing(tmp_path: Path, feed: Feed) -> None:
    with Cache(tmp_path) as cache:
        with pytest.raises(KeyboardInterrupt):
            ask(feed, Resuming(5), cache=cache)
        rest = Resuming()
        resumed = ask(feed, rest, cache=cache)
    assert rest.asked == list(range(5, 12))
    assert resumed.judgements == ask(feed, Resuming()).judgements


class Moving:
    """Is another one after it was asked."""

    info = INFO
    turn = 0

    @property
    def identity(self) -> Identity:
        self.turn += 1
        return Identity(f"{self.turn}")

    def score(self, conversations: Iterable[Any], ledger: Ledger) -> Facts:
        ledger.record({number: 1.0 for number, _ in enumerate(conversations)})
        return Facts()


def test_a_scorer_that_changes_while_it_is_asked_is_refused(tmp_path: Path, feed: Feed) -> None:
    with Cache(tmp_path) as cache:
        with pytest.raises(ScorerError, match="its files changed after it was opened"):
            ask(feed, Moving(), cache=cache)
        assert cache.info().answers == 0


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (ANSWERS[:5], "no answer to 7 of 12 questions, such as number 5"),
        ([*ANSWERS, 1.0], "an answer to question 12, where there are 12"),
        ([(1.0, 2.0), *ANSWERS[1:]], "the answer to question 0 has several numbers"),
        (["good", *ANSWERS[1:]], "the answer to question 0 is str"),
        ([float("nan"), *ANSWERS[1:]], r'the reward of "s/0" \(chosen\) is nan in float32'),
        ([1.0, 1e39, *ANSWERS[2:]], r'the reward of "s/0" \(rejected\) is inf in float32'),
    ],
)
def test_answers_that_are_not_one_number_for_each_question_are_refused(
    rewards: Any, message: str, feed: Feed
) -> None:
    with pytest.raises(ScorerError, match=message):
        ask(feed, scorer(rewards))


# --- steps and preferences -----------------------------------------------------------------------


def test_steps_are_reduced_as_the_settings_say(feed: Feed) -> None:
    info = replace(INFO, gives="steps", settings={"reduce": "min"})
    steps = [(0.5, 0.25), (0.75,)] * 6
    judgements = ask(feed, scorer(steps, info)).judgements
    assert judgements[0] == Judgement("s/0", ((0.5, 0.25),), ((0.75,),))
    assert judgements.rewards[:2].tolist() == [0.25, 0.75]
    with pytest.raises(ScorerError, match='reduce = "most"; known: geometric-mean, last'):
        ask(feed, scorer(steps, replace(info, settings={"reduce": "most"})))


class Prefers:
    """Prefers the shorter response, by three to one."""

    info = replace(INFO, gives="preferences", scale="probability")
    most = 2

    def __init__(self, orders: str = "both", shares: tuple[float, ...] = (0.75, 0.25)) -> None:
        self.orders = orders
        self.shares = shares

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        for number, item in enumerate(questions):
            turned = len(item.responses[0]) > len(item.responses[-1])
            ledger.record({number: self.shares[::-1] if turned else self.shares})
        return Facts()


def test_a_listwise_scorer_is_asked_in_both_orders(feed: Feed) -> None:
    judgements = ask(feed, Prefers()).judgements
    assert judgements[0].preferences == (
        Preference((0, 1), (0.75, 0.25)),
        Preference((1, 0), (0.25, 0.75)),
    )
    assert judgements.best_margins().tolist() == [0.5] * 6


def test_asked_once_the_order_hangs_on_the_comparison(feed: Feed) -> None:
    orders = {item.preferences[0].order for item in ask(feed, Prefers("once")).judgements}
    assert orders == {(0, 1), (1, 0)}
    assert ask(feed, Prefers("once")).judgements.best_margins().tolist() == [0.5] * 6


@pytest.mark.parametrize("shares", [(1.0,), (0.7, 0.7), (1.5, -0.5), (float("nan"), 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...], feed: Feed) -> None:
    with pytest.raises(ScorerError, match=r"own: s/0: .*shares"):
        ask(feed, Prefers(shares=shares))


def test_what_failed_is_asked_again_by_the_next_run(feed: Feed, tmp_path: Path) -> None:
    asked: list[int] = []

    class Fails:
        info = ScorerInfo(id="own", kind="own", revision="1", gives="preferences")
        most = 2

        def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
            missing = [n for n, _ in enumerate(questions) if ledger.known(n) is None]
            asked.append(len(missing))
            lost = missing[:1] if len(asked) == 1 else []
            ledger.record({n: (0.5, 0.5) for n in missing if n not in lost})
            why = dict.fromkeys(lost, "failed: time-out")
            return Facts(unanswered=why, is_final=not why)

    with Cache(tmp_path) as cache:
        for _ in range(3):
            ask(feed, Fails(), cache=cache)
    assert asked == [12, 1]  # what failed alone, and then nothing


def test_weights_that_change_after_loading_do_not_answer_for_the_new_ones(
    tmp_path: Path,
) -> None:
    model = Path(shutil.copytree(TINY, tmp_path / "model"))
    scorer = load_scorer(str(model))
    feed = open_feed(load_suite("mini"), limit=4)
    with Cache(tmp_path / "cache") as cache:
        evaluate_feed(feed, scorer, cache=cache)
        _double_the_head(model / "model.safetensors")
        other = open_feed(load_suite("mini"), limit=6)
        with pytest.raises(ScorerError, match="changed after it was"):
            evaluate_feed(other, scorer, cache=cache)


# --- models --------------------------------------------------------------------------------------


def on_mini(model: Path | str, cache: Cache | None, **options: Any) -> Result:
    feed = open_feed(load_suite("mini"), limit=4)
    return evaluate_feed(feed, load_scorer(str(model), **options), cache=cache)


def test_a_second_run_gives_the_same_and_loads_neither_torch_nor_model(tmp_path: Path) -> None:
    script = (
        "import sys; from rmbench.cli import main\n"
        "try: main(['run', '--limit', '4', '--cache', sys.argv[1], '--output', sys.argv[2]])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "cache"), str(tmp_path / "out")]
    ends, lines = [], []
    for _ in range(2):
        done = subprocess.run(arguments, capture_output=True, check=True, text=True)
        ends.append(done.stdout.splitlines()[-1])
        lines.append((tmp_path / "out/mini/tiny.partial-4.jsonl").read_bytes())
    assert ends == ["True", "False"]
    assert lines[0] == lines[1]


def test_other_weights_or_another_template_are_asked_anew(tmp_path: Path) -> None:
    model = shutil.copytree(TINY, tmp_path / "model")
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with Cache(tmp_path / "cache") as cache:
        plain = on_mini(model, cache).rewards
        changed = on_mini(model, cache, template=str(own)).rewards
        assert changed != plain
        own.write_text("{% for m in messages %}{{ m['content'] }}!\n{% endfor %}")
        again = on_mini(model, cache, template=str(own)).rewards
        assert again not in (plain, changed)
        _double_the_head(model / "model.safetensors")
        doubled = on_mini(model, cache).rewards
    before, after = (np.array([item.chosen for item in found]) for found in (plain, doubled))
    assert np.allclose(after, 2 * before, rtol=1e-3)


def test_a_copy_of_a_model_keeps_its_own_name(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        folders = [shutil.copytree(TINY, tmp_path / name) for name in ("a", "b")]
        assert [on_mini(folder, cache).model["id"] for folder in folders] == ["a", "b"]


def test_a_revision_of_a_folder_is_refused_with_the_cache_too(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        on_mini(TINY, cache)  # known from now on
        with pytest.raises(ScorerError, match="a local folder has no revisions"):
            on_mini(TINY, cache, revision="x")


def test_a_model_that_is_replaced_while_it_is_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmbench.scorers import unloaded

    model = shutil.copytree(TINY, tmp_path / "model")
    load = unloaded._load_classifier

    def then_replace(model: str, options: ModelOptions) -> Any:
        loaded = load(model, options)
        _double_the_head(Path(model) / "model.safetensors")
        return loaded

    monkeypatch.setattr(unloaded, "_load_classifier", then_replace)
    with Cache(tmp_path / "cache") as cache:
        with pytest.raises(ScorerError, match="changed while"):
            on_mini(model, cache)
        assert cache.info().answers == 0


def _double_the_head(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    weights["score.weight"] = weights["score.weight"] * 2
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.slow
def test_killed_in_the_middle_a_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    _run(whole, tmp_path / "cache-of-whole").wait(timeout=300)
    output, folder = tmp_path / "killed", tmp_path / "cache"
    worker = _run(output, folder)
    try:
        _wait_for_answers(folder, worker)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with Cache(folder) as cache:
        kept = cache.info().answers
    assert 0 < kept < 480
    assert not list(output.rglob("*.json*"))
    assert _run(output, folder).wait(timeout=300) == 0
    with Cache(folder) as cache:
        assert cache.info().answers == 480
    name = "mini/tiny.jsonl"
    assert (output / name).read_bytes() == (whole / name).read_bytes()


def _run(output: Path, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from rmbench.cli import main; main()", "run"]
    options = ["--output", str(output), "--cache", str(cache), "--batch-tokens", "256"]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for_answers(folder: Path, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and worker.poll() is None:
        if (folder / FILE).exists():
            with sqlite3.connect(folder / FILE, timeout=10) as database:
                found = database.execute("SELECT name FROM sqlite_master").fetchall()
                if ("answers",) in found:
                    (count,) = database.execute("SELECT COUNT(*) FROM answers").fetchone()
                    if count > 20:
                        return
        time.sleep(0.02)
    raise AssertionError("the run kept no rewards before it ended")


@pytest.mark.slow
def test_a_scorer_of_ones_own_resumes_after_a_kill_too(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import time\n"
        "def words(asked):\n"
        "    time.sleep(0.02)\n"
        f"    open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        "    return float(len(set(asked.response.split())))\n"
    )
    command = [sys.executable, "-c", "from rmbench.cli import main; main()", "run", "--suite"]
    command += ["mini", "--model", f"file:{own}:words", "--cache", str(tmp_path / "cache")]
    worker = subprocess.Popen([*command, "--output", str(tmp_path / "out")])
    try:
        _wait_for_answers(tmp_path / "cache", worker)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    before = (tmp_path / "calls").stat().st_size
    with Cache(tmp_path / "cache") as cache:
        kept = cache.info().answers
    assert 0 < kept <= before < 480
    subprocess.run([*command, "--output", str(tmp_path / "out")], check=True, timeout=300)
    assert (tmp_path / "calls").stat().st_size - before == 480 - kept
