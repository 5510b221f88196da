"""Results to and from files: nothing is half-written, and nothing is read that breaks a rule."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rmbench.answers.lines import judgement_line
from rmbench.errors import ResultError
from rmbench.files import RepeatedKeyError, parse_json
from rmbench.result.consistent import check_numbers
from rmbench.result.earlier import from_schema_1
from rmbench.result.names import file_stem, kept_stem, suite_folder
from rmbench.result.record import SCHEMA, Result
from rmbench.result.signature import sign_again, without_release
from rmbench.suite.catalogue import bundled_folder

__all__ = ["check_folder", "find_replaced", "read_published", "read_result", "write_result"]

MAX_RECORD_BYTES: Final = 10_000_000


# --- writing -------------------------------------------------------------------------------------


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


def write_result(result: Result, folder: Path | str) -> Path:
    """Write a record and its rewards below ``folder``; return the path of the JSON file.

    Both files are written under temporary names and then renamed, the rewards before the record
    that needs them: whatever stops the run, no file is half there. A record of another signature
    that stands under the same name is kept, under a name with the digest of its own signature; one
    that differs by rmbench's release alone is replaced.

    Raises:
        ResultError: a file cannot be written.
    """
    place = suite_folder(Path(folder), result.suite["name"])
    path = place / f"{file_stem(result)}.json"
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            staged = [(_stage(stack, path, [text]), path)]
            if result.rewards:
                file = path.with_suffix(".jsonl")
                lines = (judgement_line(item) for item in result.rewards)
                staged.insert(0, (_stage(stack, file, lines), file))
            _set_aside(result, path)
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

    Half a surrogate pair, which UTF-8 cannot hold, becomes the text of its escape.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-", suffix=".tmp")
    temporary = Path(name)
    stack.callback(_remove, temporary)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.writelines(_without_halves(line) for line in lines)
        stream.flush()
        os.fsync(stream.fileno())
    # mkstemp makes files private; a result is to be read by whoever reads the folder.
    temporary.chmod(0o644)
    return temporary


def _without_halves(text: str) -> str:
    return re.sub("[\ud800-\udfff]", lambda half: rf"\\u{ord(half[0]):04x}", text)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _set_aside(result: Result, path: Path) -> None:
    found = find_replaced(result, path.parent.parent)
    if found is None or found[1] is None:
        return
    for old, new in (
        (path.with_suffix(".jsonl"), found[1].with_suffix(".jsonl")),
        (path, found[1]),
    ):
        if old.exists():
            old.replace(new)


def find_replaced(result: Result, folder: Path) -> tuple[Result, Path | None] | None:
    """Return the record whose place writing ``result`` below ``folder`` would take.

    Returns:
        That record, and the path under which it is kept; None for the path where it is only of
        another release of rmbench, or of the same signature, and is replaced. None where there is
        no such record.
    """
    place = suite_folder(folder, result.suite["name"])
    try:
        earlier = read_result(place / f"{file_stem(result)}.json")
    except ResultError:
        return None
    lines = [without_release(sign_again(item)) for item in (earlier, result)]
    is_kept = lines[0] != lines[1]
    return earlier, place / f"{kept_stem(earlier)}.json" if is_kept else None


# --- reading -------------------------------------------------------------------------------------


@cache
def read_published() -> tuple[Result, ...]:
    """Return the published records that come with rmbench, sorted by suite and model."""
    paths = sorted(bundled_folder("results").glob("*/*.published.json"))
    return tuple(read_result(path) for path in paths)


def read_result(path: Path | str) -> Result:
    """Read a record; its rewards stay on disk, see ``find.read_with_rewards``.

    Raises:
        ResultError: it is no record, of another schema, breaks a rule or contradicts itself; the
            message says which.
    """
    path = Path(path)
    record = _read_json(path)
    if not isinstance(record, dict) or "schema" not in record:
        raise ResultError(
            f"{path}: not a result of rmbench, since it has no schema; give another file, or move"
            " it out of the folder"
        )
    schema = record.pop("schema")
    if type(schema) is not int or schema not in (1, SCHEMA):
        raise ResultError(
            f"{path}: schema {schema!r} where this rmbench reads 1 to {SCHEMA}; run it again,"
            " or use the rmbench that wrote it"
        )
    if schema == 1:
        record = from_schema_1(record)
    try:
        # In JSON's own terms: a list is a tuple there, and true is no number.
        result = Result.model_validate_json(json.dumps(record))
    except ValidationError as error:
        raise ResultError(f"{path}: {_finding(error.errors()[0])}") from None
    check_numbers(result, str(path), schema=schema)
    return result


def _read_json(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_RECORD_BYTES + 1)
        if len(content) > MAX_RECORD_BYTES:
            raise ResultError(f"{path}: larger than {MAX_RECORD_BYTES} bytes; is it a record?")
        return parse_json(content.decode())
    except RepeatedKeyError as error:
        raise ResultError(f"{path}: {error}; fix the file, or run it again") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: {_not_json(content, error)}") from None


def _not_json(content: bytes, error: Exception) -> str:
    """Say what a file is that should be a record and is no JSON."""
    if content.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself; run `git lfs pull`"
    if re.search(rb"(?m)^(<{7}|>{7}|={7})( |$)", content):
        return "holds the marks of a merge conflict; resolve it, or run it again"
    return f"not JSON: {error}; is it a result of rmbench?"


def _finding(error: ErrorDetails) -> str:
    """Return what a declaration of ``Result`` says of a record: key path, finding and remedy."""
    place = ""
    for step in error["loc"]:
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    place = place.removeprefix(".")
    if error["type"] in ("missing", "missing_argument"):
        return f'"{place}" is missing; is it a result of rmbench?'
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f'unknown key "{place}"; is it from a later rmbench?'
    value, words = repr(error["input"]), error["msg"]
    shown = value if len(value) <= 40 else f"{value[:40]}…"
    return f"{place} is {shown}: {words[0].lower()}{words[1:]}; run it again"
