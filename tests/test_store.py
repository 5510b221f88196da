"""Results to and from files, whatever their names and whatever goes wrong."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from recorded import a_result, analyses, changed, files, published

import rmbench
from rmbench.accuracy.analysis import confidence_of
from rmbench.answers.judgements import Judgement
from rmbench.answers.lines import read_judgements
from rmbench.errors import ResultError
from rmbench.result import store as module
from rmbench.result.definition import definition_of, embed, suites_of
from rmbench.result.find import find_results
from rmbench.result.names import file_stem
from rmbench.result.record import Result
from rmbench.result.signature import sign_again
from rmbench.result.store import (
    check_folder,
    find_replaced,
    read_published,
    read_result,
    write_result,
)
from rmbench.result.verify import recomputed
from rmbench.suite.catalogue import load_suite

RESULTS = Path(__file__).parent.parent / "results"


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result", [a_result(), a_result(partial=3), a_result(analyses=analyses()), published()]
)
def test_a_record_reads_back_as_it_was_written(result: Result, tmp_path: Path) -> None:
    path = write_result(result, tmp_path)
    assert read_result(path).to_dict() == result.to_dict()
    assert json.loads(path.read_text()) == result.to_dict()


def test_a_record_and_its_rewards_as_they_stand_on_disk(tmp_path: Path) -> None:
    write_result(a_result(), tmp_path)
    record = """\
{
  "schema": 2,
  "source": "measured",
  "suite": {
    "name": "small",
    "version": 1,
    "headline": "pooled"
  },
  "model": {
    "id": "org/name"
  },
  "settings": {
    "template": "tokenizer"
  },
  "usual": {
    "template": "tokenizer"
  },
  "signature": "small:1|org/name",
  "averages": {
    "pooled": {
      "accuracy": 0.3333333333333333,
      "low": 0.0614915,
      "high": 0.7923404,
      "n": 3,
      "wins": 1,
      "ties": 1
    }
  },
  "sections": {},
  "subsets": {
    "a": {
      "accuracy": 0.3333333333333333,
      "low": 0.0614915,
      "high": 0.7923404,
      "n": 3,
      "wins": 1,
      "ties": 1
    }
  },
  "audit": {
    "ties": 1
  },
  "environment": {},
  "timing": {},
  "date": "2025-01-02T03:04:05+00:00"
}
"""
    rewards = """\
{"id": "a/1", "chosen": [0.1], "rejected": [-2.0]}
{"id": "a/2", "chosen": [1.5], "rejected": [1.5]}
{"id": "a/3", "chosen": [null], "rejected": [1e-07]}
"""
    assert files(tmp_path) == {"small/org--name.json": record, "small/org--name.jsonl": rewards}


def test_a_published_record_has_no_rewards_file(tmp_path: Path) -> None:
    path = write_result(published(), tmp_path)
    assert list(files(tmp_path)) == ["small/org--name.published.json"]
    with pytest.raises(ResultError, match=r"\.published\.jsonl: cannot be read: No such file"):
        read_judgements(path)


def test_half_a_surrogate_pair_becomes_the_text_of_its_escape(tmp_path: Path) -> None:
    path = write_result(a_result("folder-\udcff"), tmp_path)
    assert read_result(path).model["id"] == r"folder-\udcff"


def test_results_are_found_in_folders_and_by_name(tmp_path: Path) -> None:
    paths = [str(write_result(a_result(model), tmp_path)) for model in ("b", "a")]
    for places in ([str(tmp_path)], paths[::-1]):
        assert [item.name for item in find_results(places).found] == paths[::-1]
    with pytest.raises(ResultError, match=r"nowhere: no such file; give a result's .json"):
        find_results(["nowhere"])


STRAYS = {
    "check.json": (b'{"passed": true}', "not a result of rmbench"),
    "merged.json": (b"{\n<<<<<<< HEAD\n}", "holds the marks of a merge conflict; resolve it"),
    "pointer.json": (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
    "half.json": (b'{"schema": 2', "not JSON"),
}


def test_what_is_no_record_below_a_folder_is_passed_over_and_named(tmp_path: Path) -> None:
    path = write_result(a_result(), tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "copy.json").write_text(path.read_text())
    for name, (content, _) in STRAYS.items():
        (tmp_path / name).write_bytes(content)
    listing = find_results([str(tmp_path)])
    assert [item.name for item in listing.found] == [str(path)]
    assert len(listing.passed_over) == len(STRAYS)
    for line, name in zip(listing.passed_over, sorted(STRAYS), strict=True):
        assert line.startswith(f"passed over: {tmp_path / name}: ")
        assert STRAYS[name][1] in line


@pytest.mark.parametrize("name", STRAYS)
def test_one_that_is_asked_for_by_name_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(STRAYS[name][0])
    with pytest.raises(ResultError, match=name):
        find_results([str(tmp_path / name)])


def signed(model: str = "my-rm", **changes: Any) -> Result:
    """Return a result whose signature is the one that rmbench gives it."""
    result = a_result(model, **changes)
    return changed(result, signature=sign_again(result))


def test_two_results_that_differ_in_their_signature_never_share_a_file(tmp_path: Path) -> None:
    suite = a_result().suite
    results = [
        signed(),
        signed(model="other"),
        signed(settings={"template": "none"}),
        signed(settings={"seed": 1}, usual={"seed": 0}),
        signed(settings={"votes": 8, "prompt": "two\nlines"}),
        signed(settings={"votes": 8, "prompt": "other\nlines"}),
        signed(partial=3),
        signed(suite={**suite, "sha256": "1" * 64}),
        changed(signed(), model={"id": "my-rm", "revision": "sha256:abcdef0123"}),
    ]
    results[-1] = changed(results[-1], signature=sign_again(results[-1]))
    assert len({item.signature for item in results}) == len(results)
    for item in results:
        write_result(item, tmp_path)
    written = find_results([str(tmp_path)], rewards=lambda _: True).results
    assert {item.signature for item in written} == {item.signature for item in results}
    assert all(item.rewards for item in written)


def test_the_last_run_has_the_plain_name_and_the_one_before_it_is_kept(tmp_path: Path) -> None:
    first, second = signed(), signed(suite={**a_result().suite, "sha256": "1" * 64})
    path = write_result(first, tmp_path)
    assert find_replaced(first, tmp_path) == (read_result(path), None)
    replaced = find_replaced(second, tmp_path)
    assert replaced is not None and replaced[1] is not None
    assert write_result(second, tmp_path) == path
    assert read_result(path).signature == second.signature
    assert read_result(replaced[1]).signature == first.signature
    assert replaced[1].with_suffix(".jsonl").read_text() == path.with_suffix(".jsonl").read_text()


def test_a_record_of_an_earlier_release_of_rmbench_is_replaced(tmp_path: Path) -> None:
    path = write_result(a_result(signature="small:1|org/name|rmbench:0.0.1"), tmp_path)
    assert write_result(a_result(), tmp_path) == path
    assert len(files(tmp_path)) == 2


def test_nothing_is_replaced_where_nothing_stands(tmp_path: Path) -> None:
    assert find_replaced(a_result(), tmp_path) is None


# --- writing that fails --------------------------------------------------------------------------


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_without_a_word(*_: object, **__: object) -> None:
    raise OSError("the device is gone")


@pytest.mark.parametrize(
    ("target", "name"), [(os, "fsync"), (Path, "replace"), (Path, "chmod"), (Path, "mkdir")]
)
@pytest.mark.parametrize("old", [True, False])
def test_a_write_that_fails_leaves_the_folder_as_it_was(
    target: Any, name: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:
        write_result(a_result(signature="the old one"), tmp_path)
    before = files(tmp_path)
    monkeypatch.setattr(target, name, fail)
    with pytest.raises(ResultError) as error:
        write_result(a_result(), tmp_path)
    monkeypatch.undo()
    assert str(error.value) == (
        f"{tmp_path}/small/org--name.json: cannot be written: No space left on device;"
        " make room, or give another --output"
    )
    assert files(tmp_path) == before


def test_a_failure_without_a_reason_of_the_system_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fail_without_a_word)
    with pytest.raises(ResultError, match=r"cannot be written: the device is gone; make room"):
        write_result(a_result(), tmp_path)
    with pytest.raises(ResultError, match=r"cannot be written to: the device is gone; give"):
        monkeypatch.setattr(module.tempfile, "TemporaryFile", fail_without_a_word)
        check_folder(tmp_path)


def test_a_full_disk_midway_through_the_rewards_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lines = module.judgement_line, iter([1, 2])

    def line(item: Judgement) -> str:
        if next(lines, None) is None:
            fail()
        return real(item)

    monkeypatch.setattr(module, "judgement_line", line)
    with pytest.raises(ResultError, match="No space left on device"):
        write_result(a_result(), tmp_path)
    assert files(tmp_path) == {}


def test_an_interrupt_midway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_result(a_result(), tmp_path)
    assert files(tmp_path) == {}


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ResultError) as error:
        check_folder(file)
    assert str(error.value) == (
        f"{file}: cannot be written to: Not a directory; give another folder with --output"
    )
    with pytest.raises(ResultError, match=r"cannot be written: Not a directory"):
        write_result(a_result(), file)
    assert files(tmp_path) == {"file": "mine"}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom rights bind"
)
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for write in (lambda: check_folder(tmp_path), lambda: write_result(a_result(), tmp_path)):
        with pytest.raises(ResultError, match="Permission denied"):
            write()
    tmp_path.chmod(0o700)


def test_a_folder_without_the_right_to_write_is_refused_for_anyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("TemporaryFile", "mkstemp"):
        monkeypatch.setattr(module.tempfile, name, refuse)
    with pytest.raises(ResultError, match="cannot be written to: Permission denied; give another"):
        check_folder(tmp_path)
    with pytest.raises(ResultError, match="cannot be written: Permission denied; make room, or"):
        write_result(a_result(), tmp_path)


def test_a_folder_that_can_be_written_to_is_left_as_it_is(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "folder")
    check_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from recorded import a_result
from rmbench.result import store as module

real, count = {target}, {calls}
def die(*args):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
{target} = die
module.write_result(a_result(signature="the new one"), Path({folder!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("target", "calls"), [("module.judgement_line", 2), ("os.fsync", 1), ("Path.replace", 0)]
)
def test_a_run_killed_while_it_writes_leaves_the_old_result(
    target: str, calls: int, tmp_path: Path
) -> None:
    write_result(a_result(signature="the old one"), tmp_path)
    before = files(tmp_path)
    tests = str(Path(__file__).parent)
    program = KILLED.format(tests=tests, target=target, calls=calls, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    after = files(tmp_path)
    assert {name: text for name, text in after.items() if not name.endswith(".tmp")} == before
    found = find_results([str(tmp_path)]).found
    assert [item.name for item in found] == [str(tmp_path / "small" / "org--name.json")]


# --- reading what is wrong -----------------------------------------------------------------------


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.pop(key)


def put(value: Any, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


def lose(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for key in keys:
            del record["averages"]["pooled"][key]

    return change


POOLED = ("averages", "pooled")
NUMBERS = (
    "a measured accuracy has low, high, n, wins and ties, a published one may have none of them"
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("schema"), "not a result of rmbench, since it has no schema"),
        (put(3, "schema"), "schema 3 where this rmbench reads 1 to 2; run it again, or use"),
        (put(True, "schema"), "schema True where this rmbench reads 1 to 2"),
        (drop("suite"), '"suite" is missing; is it a result of rmbench?'),
        (drop("averages"), '"averages" is missing; is it a result of rmbench?'),
        (put(1, "extra"), 'unknown key "extra"; is it from a later rmbench?'),
        (put([], "suite"), "suite is []: "),
        (put(None, "audit"), "audit is None: "),
        (put(True, "partial"), "partial is True: "),
        (put("1", "suite", "version"), "suite.version is '1': "),
        (put(1, "suite", "extra"), 'unknown key "suite.extra"; is it from a later rmbench?'),
        (put("many", "audit", "ties"), "audit.ties is 'many': "),
        (put(-1, "audit", "ties"), "audit.ties is -1: "),
        (put(0, "partial"), "partial is 0: "),
        (put("", "suite", "name"), "suite.name is empty"),
        (put(3, "model", "id"), "model.id is 3: "),
        (put(None, "suite", "headline"), "suite.headline is None: "),
        (put("guessed", "source"), "source is 'guessed': input should be 'measured' or 'publi"),
        (put("published", "source"), "published numbers need a citation"),
        (put(None, "signature"), "measured numbers need a signature; run it again"),
        (put(0.5, *POOLED), "averages.pooled is 0.5: "),
        (lose("accuracy"), '"averages.pooled.accuracy" is missing'),
        (put(1, *POOLED, "mean"), 'unknown key "averages.pooled.mean"'),
        (put(1.5, *POOLED, "accuracy"), "averages.pooled: accuracy is 1.5, not in [0, 1]"),
        (put(-1.5, *POOLED, "low"), "averages.pooled: low is -1.5, not in [0, 1]"),
        (put(True, *POOLED, "high"), "averages.pooled.high is True: "),
        (put(3.0, *POOLED, "n"), "averages.pooled.n is 3.0: "),
        (put(None, *POOLED, "wins"), f"averages.pooled: {NUMBERS}"),
        (put(float("nan"), *POOLED, "low"), "averages.pooled.low is nan: "),
        (put(9, *POOLED, "wins"), "averages.pooled: 3 comparisons, 9 won and 1 tied cannot be"),
        (put(0.9, *POOLED, "accuracy"), "averages.pooled: the accuracy lies outside its interval"),
        (lose("ties"), f"averages.pooled: {NUMBERS}"),
        (lose("low", "high", "n", "wins", "ties"), f"averages.pooled: {NUMBERS}"),
        (put({"n": 1}, "subsets", "a"), '"subsets.a.accuracy" is missing'),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    record = a_result().to_dict()
    change(record)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError) as error:
        read_result(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_analyses_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = write_result(a_result(analyses=analyses()), tmp_path)
    assert read_result(path).analyses == analyses()


def test_analyses_as_they_stand_on_disk(tmp_path: Path) -> None:
    path = write_result(a_result(analyses=analyses()), tmp_path)
    third = {"accuracy": 0.333333, "low": 0.061491, "high": 0.79234, "n": 3, "wins": 1, "ties": 1}
    assert json.loads(path.read_text())["analyses"] == {
        "length": {
            "longer": third,
            "equal": None,
            "shorter": third,
            "odds": {"ratio": 1.25, "low": 0.5, "high": 3.125},
            "bins": [
                {"low": -20, "high": -5, "middle": -7.5, "accuracy": third},
                {"low": 3, "high": 3, "middle": 3.0, "accuracy": third},
            ],
        },
        "calibration": {"error": 0.1, "brier": 0.2, "confidence": 0.75, "right": 0.5, "n": 6}
        | {"ties": 1, "p_value": 0.25},
    }


def test_a_record_of_an_earlier_release_has_no_analyses(tmp_path: Path) -> None:
    path = write_result(a_result(), tmp_path)
    assert "analyses" not in json.loads(path.read_text())
    assert read_result(path).analyses is None


LENGTH, ODDS = ("analyses", "length"), ("analyses", "length", "odds")
KNOWN = ("analyses", "calibration")
BIN = {"accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 2, "wins": 1, "ties": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put([], "analyses"), "analyses is []: "),
        (put({}, "analyses"), '"analyses.length" is missing'),
        (put(1, "analyses", "more"), 'unknown key "analyses.more"'),
        (put([], *LENGTH), "analyses.length is []: "),
        (put(3, *LENGTH, "longer"), "analyses.length.longer is 3: "),
        (put(3, *LENGTH, "longer", "low"), "analyses.length.longer: low is 3.0, not in [0, 1]"),
        (put({}, *LENGTH, "bins"), "analyses.length.bins is {}: "),
        (put([1], *LENGTH, "bins"), "analyses.length.bins[0] is 1: "),
        (put([{"low": 1}], *LENGTH, "bins"), '"analyses.length.bins[0].high" is missing'),
        (
            put([{"low": 1, "high": 2, "middle": 3, "accuracy": BIN}], *LENGTH, "bins"),
            "analyses.length.bins[0]: the middle lies outside the bin",
        ),
        (put(float("nan"), *ODDS, "ratio"), "analyses.length.odds.ratio is nan: "),
        (put(10**400, *ODDS, "low"), "analyses.length.odds.low is "),
        (put("1", *ODDS, "high"), "analyses.length.odds.high is '1': "),
        (put(7, *KNOWN, "ties"), "analyses.calibration: shares must be in [0, 1], of 1 or more"),
        (put(True, *KNOWN, "n"), "analyses.calibration.n is True: "),
        (put(0, *KNOWN, "n"), "analyses.calibration: shares must be in [0, 1], of 1 or more"),
        (put(1.5, *KNOWN, "error"), "analyses.calibration: shares must be in [0, 1]"),
    ],
)
def test_analyses_that_break_a_rule_are_refused(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    record = a_result(analyses=analyses()).to_dict()
    change(record)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError) as error:
        read_result(path)
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("place", ['"schema": 2', '"accuracy": 0.3333333333333333'])
def test_a_key_that_stands_twice_is_refused(place: str, tmp_path: Path) -> None:
    path = write_result(a_result(), tmp_path)
    text = path.read_text()
    path.write_text(text.replace(place, f"{place}, {place}", 1))
    with pytest.raises(ResultError) as error:
        read_result(path)
    key = place.split('"')[1]
    assert str(error.value) == (
        f'{path}: the key "{key}" appears twice in one object; fix the file, or run it again'
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0); is it a result of rmbench?"),
        (b'{"schema": 1', "not JSON: Expecting ',' delimiter"),
        (b"\xff\xfe", "not JSON: 'utf-8' codec can't decode byte 0xff in position 0"),
        (b"[" * 100_000, "not JSON: "),
        (b"[]", "not a result of rmbench, since it has no schema"),
        (b" " * 10_000_001, "larger than 10000000 bytes; is it a record?"),
    ],
)
def test_what_is_no_record_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ResultError) as error:
        read_result(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_record_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResultError) as error:
        read_result(tmp_path)
    assert str(error.value) == f"{tmp_path}: cannot be read: Is a directory"
    with pytest.raises(ResultError, match="cannot be read: No such file or directory"):
        read_result(tmp_path / "missing.json")


# --- the committed results -----------------------------------------------------------------------

RECORDS = sorted(RESULTS.glob("*/*.json"))
MEASURED = [path for path in RECORDS if path.with_suffix(".jsonl").exists()]


def label(path: Path) -> str:
    return str(path.relative_to(RESULTS))


@pytest.mark.parametrize("path", MEASURED, ids=label)
def test_a_committed_result_is_what_its_rewards_give(path: Path) -> None:
    record, rewards = read_result(path), read_judgements(path)
    summary = recomputed(record.model_copy(update={"rewards": rewards}))
    for group in ("averages", "sections", "subsets"):
        fresh, kept = getattr(summary, group), getattr(record, group)
        assert list(fresh) == list(kept)
        for name, item in fresh.items():
            assert asdict(kept[name]) == pytest.approx(asdict(item), abs=1e-6)
    if record.analyses is not None and record.analyses.calibration is not None:
        again = confidence_of(rewards.best_margins().tolist())
        assert again is not None
        assert asdict(record.analyses.calibration) == pytest.approx(asdict(again), abs=1e-6)
    assert len(rewards) == record.suite["comparisons"]
    assert record.partial is None


@pytest.mark.parametrize("path", RECORDS, ids=label)
def test_a_committed_result_stands_where_its_suite_and_model_put_it(path: Path) -> None:
    record = read_result(path)
    # A second source of the same numbers stands behind the model's name.
    name = re.sub(r"\.skywork-v2(?=\.published\.json$)", "", path.name)
    assert path.parent.name == record.suite["name"]
    assert name == f"{file_stem(record)}.json"
    assert path.with_suffix(".jsonl").exists() == (record.source == "measured")
    assert bool(record.citation) == (record.source == "published")
    if json.loads(path.read_text())["schema"] == 2:
        assert json.dumps(record.to_dict(), indent=2, ensure_ascii=False) + "\n" == path.read_text()


def test_no_rewards_stand_without_their_record() -> None:
    assert [path.with_suffix(".json") for path in sorted(RESULTS.glob("*/*.jsonl"))] == MEASURED


# The model card of SultanR/SmolTulu-1.7b-RM, both columns of its table.
CARD = {
    "SultanR/SmolTulu-1.7b-RM": {
        "Chat": 0.9413,
        "Chat Hard": 0.4364,
        "Safety": 0.7554,
        "Reasoning": 0.6801,
        "pooled": 0.7243,
        "UFB": 0.7317,
    },
    "allenai/Llama-3.1-Tulu-3-8B-RM": {
        "Chat": 0.9627,
        "Chat Hard": 0.5592,
        "Safety": 0.8405,
        "Reasoning": 0.7650,
        "pooled": 0.8134,
        "UFB": 0.7734,
    },
}


@pytest.mark.parametrize("model", CARD)
def test_the_published_records_hold_the_figures_of_the_model_card(model: str) -> None:
    figures = {}
    for record in read_published():
        if record.model["id"] == model:
            both = {**record.sections, **record.averages}
            names = {"pooled": "UFB"} if record.suite["name"] == "ultrafeedback" else {}
            figures |= {names.get(name, name): item.accuracy for name, item in both.items()}
            assert record.citation is not None and "SmolTulu" in record.citation
    assert figures == CARD[model]


# --- what a record says is checked against itself ------------------------------------------------


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("averages", "sections", "accuracy"), 0.55, "averages.sections: accuracy 0.55, where"),
        (("sections", "Chat", "accuracy"), 0.7, "sections.Chat: accuracy 0.7, where its subsets"),
        (("subsets", "code", "accuracy"), 0.5, "subsets.code: accuracy 0.5, where 12 of 30 won"),
        (("sections", "Safety", "wins"), 41, "sections.Safety: wins 41, where its subsets have 42"),
        (("averages", "pooled", "n"), 239, "averages.pooled: n 239, where its subsets have 240"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    schema: int, keys: tuple[str, ...], value: Any, message: str, tmp_path: Path
) -> None:
    source = RESULTS / "mini" / "tiny.json"
    record = json.loads(source.read_text())
    if schema == 2:
        record = read_result(source).to_dict()
    put(value, *keys)(record)
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError) as error:
        read_result(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "run it again" in str(error.value)


def test_a_number_of_schema_1_is_not_rounded_twice(tmp_path: Path) -> None:
    # 95 of 107 is 88.785 %: six digits of it, 0.88785, would be shown as 88.78.
    record = a_result().to_dict() | {"schema": 1, "subsets": {}}
    del record["usual"]
    item = {"accuracy": 0.88785, "low": 0.81, "high": 0.93, "n": 107, "wins": 95, "ties": 0}
    record["averages"] = {"pooled": item}
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    assert read_result(path).averages["pooled"].accuracy == 95 / 107


def test_a_record_holds_its_suite(tmp_path: Path) -> None:
    suite = load_suite("mini")
    result = rmbench.evaluate(suite, rmbench.load_scorer("length"))
    path = write_result(result, tmp_path)
    kept = read_result(path)
    assert definition_of(kept) == suite
    assert kept == changed(result, rewards=())
    record = json.loads(path.read_text())
    record["suite"]["definition"]["credit"] = {"rule": "guess"}
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError, match=r"suite\.definition\.credit\.rule: .*; run it again"):
        read_result(path)


def test_of_several_versions_of_a_suite_the_latest_counts() -> None:
    suite = load_suite("mini").model_copy(update={"name": "own"})
    facts = a_result().suite
    results = [
        a_result(
            suite={
                **facts,
                "name": "own",
                "version": version,
                "headline": suite.headline,
                "definition": embed(suite.model_copy(update={"version": version})),
            }
        )
        for version in (2, 3, 1)
    ]
    known, unknown = suites_of([*results, a_result()])
    assert known["own"].version == 3
    assert unknown == ["small"]
    assert suites_of(results, [suite])[0]["own"].version == 1
