"""Results to and from files: nothing is half-written, and nothing is read that breaks a rule."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import Analyses, LengthBias, LengthBin, Sureness
from rmbench.accuracy.intervals import LogisticFit
from rmbench.answers.lines import judgement_line
from rmbench.errors import ResultError
from rmbench.files import RepeatedKeyError, parse_json
from rmbench.result.record import SCHEMA, Result, file_stem, safe_name
from rmbench.suite.definition import bundled_folder

__all__ = [
    "check_folder",
    "find_earlier",
    "find_results",
    "read_published",
    "read_result",
    "suite_folder",
    "write_result",
]

SOURCES: Final = ("measured", "published")
COUNTED: Final = (
    *("ties", "near_ties", "dropped", "identical_inputs", "identical_responses", "duplicates"),
    *("empty", "equal_scores", "overflowed", "longest", "flips_to_move"),
)
TEXTS: Final = (
    *("template", "template_sha256", "system_prompt", "bos", "eos", "pooling", "on_overflow"),
    *("dtype", "attention"),
)
MAX_RECORD_BYTES: Final = 10_000_000


# --- writing -------------------------------------------------------------------------------------


def suite_folder(output: Path, suite: str) -> Path:
    """Return the folder below ``output`` where the results of a suite of this name go."""
    return output / safe_name(suite)


def check_folder(folder: Path) -> None:
    """Prove that a file can be written in a folder, before hours of scoring.

    Nothing is left there: where the folder is missing, the nearest one above it is tried.

    Raises:
        ResultError: it cannot.
    """
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=there) as stream:
            stream.write(b"0" * 4096)
    except OSError as error:
        raise ResultError(
            f"{folder}: cannot be written to: {error.strerror or error}; give another folder with"
            " --output"
        ) from None


def write_result(result: Result, folder: Path) -> Path:
    """Write a record and its rewards below ``folder``; return the path of the JSON file.

    Both files are written under temporary names and then renamed, the rewards before the record
    that needs them: whatever stops the run, no file is half there.

    Raises:
        ResultError: a file cannot be written.
    """
    place = suite_folder(folder, str(result.suite["name"]))
    stem = file_stem(result)
    path = place / f"{stem}.json"
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            staged = [(_stage(stack, path, [text]), path)]
            if result.rewards:
                file = place / f"{stem}.jsonl"
                lines = (judgement_line(item) for item in result.rewards)
                staged.insert(0, (_stage(stack, file, lines), file))
            for temporary, final in staged:
                temporary.replace(final)
    except OSError as error:
        raise ResultError(
            f"{path}: cannot be written: {error.strerror or error}; make room, or give another"
            " --output"
        ) from None
    return path


def _stage(stack: contextlib.ExitStack, path: Path, lines: Iterable[str]) -> Path:
    """Write ``lines`` to a temporary file beside ``path``, which the stack removes if still there.

    Half a surrogate pair, which UTF-8 cannot hold, becomes the escape that JSON has for it.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-", suffix=".tmp")
    temporary = Path(name)
    stack.callback(_remove, temporary)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())
    # mkstemp makes files private; a result is to be read by whoever reads the folder.
    temporary.chmod(0o644)
    return temporary


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def find_earlier(result: Result, folder: Path) -> Result | None:
    """Return the record that writing ``result`` would replace; None where there is none."""
    path = suite_folder(folder, str(result.suite["name"])) / f"{file_stem(result)}.json"
    try:
        return read_result(path)
    except ResultError:
        return None


# --- reading -------------------------------------------------------------------------------------


def find_results(paths: Iterable[Path]) -> list[Path]:
    """Return the records at ``paths``: files as they are, folders searched, sorted.

    Raises:
        ResultError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ResultError(f"{path}: no such file or folder; `rmbench run` makes results")
        found += sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return found


def read_published() -> list[Result]:
    """Return the published records that come with rmbench, sorted by suite and model."""
    paths = sorted(bundled_folder("results").glob("*/*.published.json"))
    return [read_result(path) for path in paths]


def read_result(path: Path) -> Result:
    """Read a record; its rewards stay on disk, see ``read_judgements``.

    Raises:
        ResultError: it is no record, of another schema, or breaks a rule; the message says which.
    """
    record = _read_json(path)
    if not isinstance(record, dict) or "schema" not in record:
        raise ResultError(
            f"{path}: not a result of rmbench, since it has no schema; give another file, or move"
            " it out of the folder"
        )
    if record["schema"] != SCHEMA:
        raise ResultError(
            f"{path}: schema {record['schema']!r} where this rmbench reads {SCHEMA}; run it again,"
            " or use the rmbench that wrote it"
        )
    _check_record(path, record)
    groups: dict[str, Any] = {
        group: {
            name: _accuracy(
                f"{path}: {group}.{name}", item, measured=record["source"] == "measured"
            )
            for name, item in record.get(group, {}).items()
        }
        for group in ("averages", "sections", "subsets")
    }
    if record.get("analyses") is not None:
        groups["analyses"] = _analyses(f"{path}: analyses", record["analyses"])
    rest = {key: value for key, value in record.items() if key != "schema" and key not in groups}
    return Result(**rest, **groups)


def _read_json(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_RECORD_BYTES + 1)
        if len(content) > MAX_RECORD_BYTES:
            raise ResultError(f"{path}: larger than {MAX_RECORD_BYTES} bytes; is it a record?")
        return parse_json(content.decode())
    except RepeatedKeyError as error:
        raise ResultError(f"{path}: {error}; mend the file, or run it again") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: not JSON: {error}; is it a result of rmbench?") from None


_SHAPE: Final[dict[str, tuple[type, ...]]] = {
    "schema": (int,),
    "source": (str,),
    "suite": (dict,),
    "model": (dict,),
    "averages": (dict,),
    "sections": (dict,),
    "subsets": (dict,),
    "settings": (dict,),
    "signature": (str, type(None)),
    "analyses": (dict, type(None)),
    "audit": (dict,),
    "environment": (dict,),
    "timing": (dict,),
    "date": (str,),
    "partial": (int, type(None)),
    "citation": (str, type(None)),
}


def _check_record(path: Path, record: Mapping[str, Any]) -> None:
    for key in ("source", "suite", "model", "averages"):
        if key not in record:
            raise ResultError(f'{path}: "{key}" is missing; is it a result of rmbench?')
    for key, value in record.items():
        if key not in _SHAPE:
            raise ResultError(f'{path}: unknown key "{key}"; is it from a later rmbench?')
        if type(value) not in _SHAPE[key]:  # isinstance would take true for 1
            raise ResultError(f'{path}: "{key}" is {type(value).__name__}, which it cannot be')
    for block, key in (("suite", "name"), ("suite", "headline"), ("model", "id")):
        if not isinstance(record[block].get(key), str) or not record[block][key]:
            raise ResultError(f"{path}: {block}.{key} must be a text")
    _check_values(path, record)
    _check_source(path, record)


def _check_values(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse values of other kinds where the tables, the report and the files' names use them."""
    if type(record["suite"].get("version")) is not int:
        raise ResultError(f"{path}: suite.version must be a whole number; run it again")
    audit, settings = record.get("audit", {}), record.get("settings", {})
    for block, values, keys, kinds in (
        ("audit", audit, COUNTED, (int, type(None))),
        ("audit", audit, ("below_chance",), (bool,)),
        ("audit", audit, ("warnings", "refused_batching", "rechecked", "exact"), (dict,)),
        ("settings", settings, TEXTS, (str, type(None))),
        ("settings", settings, ("max_length", "seed"), (int, type(None))),
    ):
        for key in keys:
            if key in values and type(values[key]) not in kinds:
                kind = type(values[key]).__name__
                raise ResultError(f"{path}: {block}.{key} is {kind}, which it cannot be")


def _check_source(path: Path, record: Mapping[str, Any]) -> None:
    if record["source"] not in SOURCES:
        raise ResultError(f'{path}: source "{record["source"]}"; known: {", ".join(SOURCES)}')
    if record["source"] == "published" and not record.get("citation"):
        raise ResultError(f"{path}: published numbers need a citation")
    if record["source"] == "measured" and not record.get("signature"):
        raise ResultError(f"{path}: measured numbers need a signature; run it again")
    partial = record.get("partial")
    if partial is not None and partial < 1:
        raise ResultError(f"{path}: partial is {partial}; it counts comparisons, 1 or more")


def _accuracy(place: str, item: Any, *, measured: bool) -> Accuracy:
    known = set(Accuracy.__dataclass_fields__)
    if not isinstance(item, dict) or "accuracy" not in item or not known.issuperset(item):
        raise ResultError(f"{place}: must be an object with accuracy, low, high, n, wins, ties")
    for key, value in item.items():
        whole = key in ("n", "wins", "ties")
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        if type(value) not in kinds or not 0 <= value <= (2**53 if whole else 1):
            raise ResultError(f"{place}: {key} is {value!r}, which it cannot be")
    counted = known - {"accuracy"}
    if not counted <= set(item):
        if measured or counted & set(item):
            raise ResultError(
                f"{place}: lacks {min(counted - set(item))}; a measured accuracy has low, high, n,"
                " wins and ties, a published one may have none of them"
            )
        return Accuracy(**item)
    if item["n"] < item["wins"] + item["ties"] or not item["n"]:
        raise ResultError(f"{place}: {item['n']} comparisons are fewer than were won and tied")
    if not item["low"] <= item["accuracy"] <= item["high"]:
        raise ResultError(f"{place}: the accuracy lies outside its interval")
    return Accuracy(**item)


# --- analyses ------------------------------------------------------------------------------------

_SIDES: Final = ("longer", "equal", "shorter")
_FIT: Final = dict.fromkeys(("slope", "intercept", "standard_error"), (float, int)) | {
    "converged": (bool,)
}
_BIN: Final = {"from": (int,), "to": (int,), "middle": (float, int)}
_SURENESS: Final = dict.fromkeys(("error", "brier", "confidence", "right"), (float, int)) | {
    "n": (int,)
}
_FARTHEST: Final = 2**53


def _analyses(place: str, item: Any) -> Analyses:
    blocks = _object(place, item, ("length", "calibration"))
    length, calibration = blocks["length"], blocks["calibration"]
    return Analyses(
        length=None if length is None else _length(f"{place}.length", length),
        calibration=None if calibration is None else _sureness(f"{place}.calibration", calibration),
    )


def _length(place: str, item: Any) -> LengthBias:
    block = _object(place, item, (*_SIDES, "fit", "bins"))
    sides = {
        name: None if side is None else _accuracy(f"{place}.{name}", side, measured=True)
        for name in _SIDES
        for side in [block[name]]
    }
    fit, bins = block["fit"], block["bins"]
    if not isinstance(bins, list):
        raise ResultError(f"{place}.bins: must be a list")
    return LengthBias(
        **sides,
        fit=None if fit is None else LogisticFit(**_numbers(f"{place}.fit", fit, _FIT)),
        bins=tuple(_bin(f"{place}.bins[{i}]", part) for i, part in enumerate(bins)),
    )


def _bin(place: str, item: Any) -> LengthBin:
    if not isinstance(item, dict):
        raise ResultError(f"{place}: must be an object")
    ends = _numbers(place, {key: item[key] for key in _BIN if key in item}, _BIN)
    rest = {key: value for key, value in item.items() if key not in _BIN}
    if not ends["from"] <= ends["middle"] <= ends["to"]:
        raise ResultError(f"{place}: the middle lies outside the bin")
    accuracy = _accuracy(place, rest, measured=True)
    return LengthBin(ends["from"], ends["to"], float(ends["middle"]), accuracy)


def _sureness(place: str, item: Any) -> Sureness:
    numbers = _numbers(place, item, _SURENESS)
    if numbers["n"] < 1 or not all(0 <= numbers[key] <= 1 for key in _SURENESS if key != "n"):
        raise ResultError(f"{place}: shares must be in [0, 1], of 1 or more comparisons")
    return Sureness(**numbers)


def _numbers(place: str, item: Any, kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Return an object of these finite numbers and no others."""
    numbers = _object(place, item, tuple(kinds))
    for key, value in numbers.items():
        if type(value) not in kinds[key] or not abs(value) <= _FARTHEST:
            raise ResultError(f"{place}: {key} is {value!r}, which it cannot be")
    return numbers


def _object(place: str, item: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(item, dict) or set(item) != set(keys):
        raise ResultError(f"{place}: must be an object with {', '.join(keys)}")
    return item
