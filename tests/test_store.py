"""Results to and from files, whatever their names and whatever goes wrong."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded import a_result, analyses, files, published

from rmbench.accuracy.analysis import sureness
from rmbench.answers.judgements import Judgement
from rmbench.answers.lines import read_judgements
from rmbench.errors import ResultError
from rmbench.result import store as module
from rmbench.result.record import Result, file_stem, subset_of
from rmbench.result.store import (
    check_folder,
    find_earlier,
    find_results,
    read_published,
    read_result,
    write_result,
)
from rmbench.run import recompute
from rmbench.suite.definition import load_suite

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
  "schema": 1,
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
  "signature": "small:1|org/name",
  "averages": {
    "pooled": {
      "accuracy": 0.333333,
      "low": 0.061491,
      "high": 0.79234,
      "n": 3,
      "wins": 1,
      "ties": 1
    }
  },
  "sections": {},
  "subsets": {
    "a": {
      "accuracy": 0.333333,
      "low": 0.061491,
      "high": 0.79234,
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


def test_half_a_surrogate_pair_reads_back(tmp_path: Path) -> None:
    path = write_result(a_result("folder-\udcff"), tmp_path)
    assert read_result(path).model["id"] == "folder-\udcff"


def test_results_are_found_in_folders_and_by_name(tmp_path: Path) -> None:
    paths = [write_result(a_result(model), tmp_path) for model in ("b", "a")]
    assert find_results([tmp_path]) == paths[::-1]
    assert find_results(paths) == paths
    with pytest.raises(ResultError) as error:
        find_results([tmp_path / "nowhere"])
    assert str(error.value) == (
        f"{tmp_path}/nowhere: no such file or folder; `rmbench run` makes results"
    )


def test_the_record_that_a_run_would_replace_is_found_before(tmp_path: Path) -> None:
    def record(revision: str | None) -> Result:
        return replace(a_result(), model={"id": "my-rm", "revision": revision})

    assert find_earlier(record("sha256:1"), tmp_path) is None
    write_result(record("sha256:1"), tmp_path)
    for revision in ("sha256:1", "sha256:2"):
        earlier = find_earlier(record(revision), tmp_path)
        assert earlier is not None and earlier.model["revision"] == "sha256:1"


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
    assert find_results([tmp_path]) == [tmp_path / "small" / "org--name.json"]


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
        (
            put(2, "schema"),
            "schema 2 where this rmbench reads 1; run it again, or use the rmbench that wrote it",
        ),
        (put(True, "schema"), '"schema" is bool, which it cannot be'),
        (drop("suite"), '"suite" is missing; is it a result of rmbench?'),
        (drop("averages"), '"averages" is missing; is it a result of rmbench?'),
        (put(1, "extra"), 'unknown key "extra"; is it from a later rmbench?'),
        (put([], "suite"), '"suite" is list, which it cannot be'),
        (put(None, "audit"), '"audit" is NoneType, which it cannot be'),
        (put(True, "partial"), '"partial" is bool, which it cannot be'),
        (put("1", "suite", "version"), "suite.version must be a whole number"),
        (put("many", "audit", "ties"), "audit.ties is str, which it cannot be"),
        (put(7, "settings", "template_sha256"), "settings.template_sha256 is int, which it"),
        (put(0, "partial"), "partial is 0; it counts comparisons, 1 or more"),
        (put("", "suite", "name"), "suite.name must be a text"),
        (put(3, "model", "id"), "model.id must be a text"),
        (put(None, "suite", "headline"), "suite.headline must be a text"),
        (put("guessed", "source"), 'source "guessed"; known: measured, published'),
        (put("published", "source"), "published numbers need a citation"),
        (put(None, "signature"), "measured numbers need a signature; run it again"),
        (put(0.5, *POOLED), "averages.pooled: must be an object with accuracy, low, high, n, wins"),
        (lose("accuracy"), "averages.pooled: must be an object with accuracy"),
        (put(1, *POOLED, "mean"), "averages.pooled: must be an object with accuracy"),
        (put(1.5, *POOLED, "accuracy"), "averages.pooled: accuracy is 1.5, which it cannot be"),
        (put(-0.1, *POOLED, "low"), "averages.pooled: low is -0.1, which it cannot be"),
        (put(True, *POOLED, "high"), "averages.pooled: high is True, which it cannot be"),
        (put(3.0, *POOLED, "n"), "averages.pooled: n is 3.0, which it cannot be"),
        (put(None, *POOLED, "wins"), "averages.pooled: wins is None, which it cannot be"),
        (put(float("nan"), *POOLED, "low"), "averages.pooled: low is nan, which it cannot be"),
        (
            put(9, *POOLED, "wins"),
            "averages.pooled: 3 comparisons are fewer than were won and tied",
        ),
        (put(0.9, *POOLED, "accuracy"), "averages.pooled: the accuracy lies outside its interval"),
        (lose("ties"), f"averages.pooled: lacks ties; {NUMBERS}"),
        (lose("low", "high", "n", "wins", "ties"), f"averages.pooled: lacks high; {NUMBERS}"),
        (put({"n": 1}, "subsets", "a"), "subsets.a: must be an object with accuracy"),
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
            "fit": {"slope": 0.25, "intercept": -0.5, "standard_error": 0.125, "converged": True},
            "bins": [
                {"from": -20, "to": -5, "middle": -7.5, **third},
                {"from": 3, "to": 3, "middle": 3.0, **third},
            ],
        },
        "calibration": {"error": 0.1, "brier": 0.2, "confidence": 0.75, "right": 0.5, "n": 6},
    }


def test_a_record_of_an_earlier_release_has_no_analyses(tmp_path: Path) -> None:
    path = write_result(a_result(), tmp_path)
    assert "analyses" not in json.loads(path.read_text())
    assert read_result(path).analyses is None


LENGTH, FIT = ("analyses", "length"), ("analyses", "length", "fit")
KNOWN = ("analyses", "calibration")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put([], "analyses"), '"analyses" is list, which it cannot be'),
        (put({}, "analyses"), "analyses: must be an object with length, calibration"),
        (put(1, "analyses", "more"), "analyses: must be an object with length, calibration"),
        (put([], *LENGTH), "analyses.length: must be an object with longer, equal, shorter, fit,"),
        (put(3, *LENGTH, "longer"), "analyses.length.longer: must be an object with accuracy"),
        (put(2, *LENGTH, "longer", "low"), "analyses.length.longer: low is 2, which it cannot be"),
        (put({}, *LENGTH, "bins"), "analyses.length.bins: must be a list"),
        (put([1], *LENGTH, "bins"), "analyses.length.bins[0]: must be an object"),
        (put([{"from": 1}], *LENGTH, "bins"), "analyses.length.bins[0]: must be an object with f"),
        (
            put([{"from": 1, "to": 2, "middle": 3}], *LENGTH, "bins"),
            "analyses.length.bins[0]: the middle lies outside the bin",
        ),
        (
            put([{"from": 1, "to": 2, "middle": 2}], *LENGTH, "bins"),
            "analyses.length.bins[0]: must be an object with accuracy, low",
        ),
        (put(float("nan"), *FIT, "slope"), "analyses.length.fit: slope is nan, which it cannot be"),
        (put(10**400, *FIT, "slope"), "analyses.length.fit: slope is 1000"),
        (put(1, *FIT, "converged"), "analyses.length.fit: converged is 1, which it cannot be"),
        (put(True, *KNOWN, "n"), "analyses.calibration: n is True, which it cannot be"),
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


@pytest.mark.parametrize("place", ['"schema": 1', '"accuracy": 0.333333'])
def test_a_key_that_stands_twice_is_refused(place: str, tmp_path: Path) -> None:
    path = write_result(a_result(), tmp_path)
    text = path.read_text()
    path.write_text(text.replace(place, f"{place}, {place}", 1))
    with pytest.raises(ResultError) as error:
        read_result(path)
    key = place.split('"')[1]
    assert str(error.value) == (
        f'{path}: the key "{key}" stands twice in one object; mend the file, or run it again'
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
    subsets = [subset_of(item.id, record.subsets) for item in rewards]
    summary = recompute(load_suite(record.suite["name"]), subsets, rewards)
    fresh = a_result(
        averages=summary.averages, sections=summary.sections, subsets=summary.subsets
    ).to_dict()
    for group in ("averages", "sections", "subsets"):
        assert fresh[group] == record.to_dict()[group]
    if record.analyses is not None and record.analyses.calibration is not None:
        again = replace(record.analyses, calibration=sureness(rewards.best_margins().tolist()))
        assert a_result(analyses=again).to_dict()["analyses"] == record.to_dict()["analyses"]
    assert len(rewards) == record.suite["comparisons"]
    assert record.partial is None


@pytest.mark.parametrize("path", RECORDS, ids=label)
def test_a_committed_result_stands_where_its_suite_and_model_put_it(path: Path) -> None:
    record = read_result(path)
    assert path.relative_to(RESULTS) == Path(record.suite["name"], f"{file_stem(record)}.json")
    assert path.with_suffix(".jsonl").exists() == (record.source == "measured")
    assert bool(record.citation) == (record.source == "published")
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
