"""Rows of a data set: from the Hub, or from JSONL, JSON, CSV and parquet files, gzip'd or not."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from rmbench.errors import DataError, enclosed
from rmbench.suite.definition import Source, Suite
from rmbench.suite.hub import hub_failure, spare_retries

__all__ = ["Row", "Rows", "open_rows"]

FORMATS: Final = (".jsonl", ".json", ".csv", ".parquet")
MAX_LINE_BYTES: Final = 64 * 2**20
MAX_WHOLE_BYTES: Final = 2 * 2**30
_BOM: Final = b"\xef\xbb\xbf"
_BATCH: Final = 256
# By default pyarrow holds a whole row group at a time, which may be the whole file.
_IN_PIECES: Final[dict[str, Any]] = {"pre_buffer": False, "buffer_size": 2**16}


class Row(NamedTuple):
    """One row and where it stands.

    ``place`` is for error messages; ``part`` the data folder it came from, if the source names
    several; ``number`` counts from 0 within the part.
    """

    place: str
    part: str | None
    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a source, read anew at each iteration.

    ``origin`` says where from; ``revision`` is the Hub's commit, None for local files.
    """

    origin: str
    revision: str | None
    read: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of the source.

        Raises:
            DataError: a file is broken; the message names file and row.
        """
        return self.read()


def open_rows(suite: Suite, *, data: str | None = None) -> Rows:
    """Return the rows of a suite: from beside its file where they are there, else from the Hub.

    Args:
        suite: its ``[source]`` says what to read.
        data: a local file or folder to read instead.

    Raises:
        DataError: nothing is there, or the Hub cannot be reached and nothing is cached.
    """
    source = suite.source
    if data is not None:
        return _open_local(Path(data), source)
    beside = suite.folder / source.path
    if _exists(beside):
        return _open_local(beside, source)
    if _format(beside) is not None:
        raise DataError(f"{beside}: no such file; the suite's [source] names it")
    if _exists(Path(source.path)):  # which datasets would read in its place, without a word
        raise DataError(
            f"{source.path}: the working directory has something of this name, which would be read"
            " in place of the Hub's data set; work in another directory, or pass"
            f" --data {suite.name}=PATH"
        )
    return _open_hub(suite)


# --- local files ---------------------------------------------------------------------------------


def _open_local(path: Path, source: Source) -> Rows:
    if not _exists(path):
        raise DataError(f"{path}: no such file or folder; give a data file, or a folder of them")
    if path.is_dir() and _is_saved(path):
        return _open_saved(path, source)
    parts = _find_parts(path, source)
    return Rows(origin=path.absolute().name, revision=None, read=lambda: _read_parts(parts))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; check path and rights"
        ) from None


def _find_parts(path: Path, source: Source) -> list[tuple[str | None, list[Path]]]:
    """Return the files to read, by data folder; one part without a name if there are none."""
    if path.is_file():
        if _format(path) is None:
            raise DataError(f"{path}: unknown format; known: {', '.join(FORMATS)}, each also .gz")
        return [(None, [path])]
    missing = [name for name in source.data_dirs if not (path / name).is_dir()]
    if len(missing) == len(source.data_dirs):
        return [(None, _find_files(path, source.split))]
    if missing:
        raise DataError(f'{path}: no folder "{missing[0]}"; the suite reads every one of data_dirs')
    return [(name, _find_files(path / name, source.split)) for name in source.data_dirs]


def _find_files(folder: Path, split: str | None) -> list[Path]:
    """Return a folder's data files, in order of their names: those of the split.

    They, or a folder above them, are named after the split (``test-00000-of-00001.parquet``,
    ``test/0.jsonl``). Where none is, the folder holds one data set: a single file, or files whose
    names differ in digits alone.
    """
    paths = _data_files(folder)
    if split is None:
        return paths
    named = re.compile(rf"{re.escape(split)}([-.].*)?")
    chosen = [
        path
        for path in paths
        if any(named.fullmatch(name) for name in path.relative_to(folder).parts)
    ]
    if chosen or named.fullmatch(folder.absolute().name):
        return chosen or paths
    if len({re.sub(r"\d+", "", str(path)) for path in paths}) > 1:
        names = ", ".join(path.name for path in paths[:3])
        raise DataError(
            f'{folder}: no file is named after the split "{split}" ({names} ...); give one file,'
            f' or put the files in a folder called "{split}"'
        )
    return paths


def _data_files(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and _format(path))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read: {error.strerror}; check path and rights"
        ) from None
    paths = [path for path in paths if not path.name.startswith(".")]
    if not paths:
        raise DataError(
            f"{folder}: no data file in this folder; known: {', '.join(FORMATS)}, each also .gz"
        )
    return paths


def _format(path: Path) -> str | None:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in FORMATS else None


def _read_parts(parts: Sequence[tuple[str | None, list[Path]]]) -> Iterator[Row]:
    for part, paths in parts:
        number = 0
        for path in paths:
            for place, fields in _read_file(path):
                yield Row(place, part, number, fields)
                number += 1


def _read_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and fields of each row of one file, whatever its format."""
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    read = readers[str(_format(path))]
    count = 0
    try:
        with _open(path) as stream:
            for place, fields in read(stream, str(path)):
                if not isinstance(fields, dict):
                    kind = type(fields).__name__
                    raise DataError(f"{place}: is {kind}; a row must be an object with columns")
                count += 1
                yield place, fields
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: broken gzip after {count} rows: {error}; copy it again") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; check path and rights"
        ) from None


def _open(path: Path) -> IO[bytes]:
    # The name may lie about compression, the first two bytes do not.
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if is_gzip else path.open("rb")


def _lines(stream: IO[bytes], name: str) -> Iterator[bytes]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES} bytes; is it the right file?"
            )
        yield line.removeprefix(_BOM) if number == 1 else line


def _jsonl(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_lines(stream, name), 1):
        if line.strip():
            place = f"{name}, row {number}"
            yield place, _parse(line, place)


def _parse(text: bytes, place: str) -> Any:
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8: {error}; convert the file") from None
    except RecursionError:
        raise DataError(f"{place}: JSON nested too deeply; a row has three levels") from None
    except ValueError as error:
        several = str(error).startswith("Extra data: line 2 ")
        remedy = "if each line is a row, call the file .jsonl" if several else "mend the file"
        if text.lstrip().startswith(b"[") and text.rstrip() in (b"[", b"[{"):
            remedy = "if the file is one list of rows, call it .json"
        raise DataError(f"{place}: not JSON: {error}; {remedy}") from None


def _json(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    rows = _parse(_whole(stream, name).removeprefix(_BOM), name)
    if not isinstance(rows, list):
        kind = type(rows).__name__
        raise DataError(f"{name}: is {kind}; it must be a list of rows, or be called .jsonl")
    for number, row in enumerate(rows, 1):
        yield f"{name}, row {number}", row


def _whole(stream: IO[bytes], name: str) -> bytes:
    content = stream.read(MAX_WHOLE_BYTES + 1)
    if len(content) > MAX_WHOLE_BYTES:
        raise DataError(f"{name}: unpacks to more than {MAX_WHOLE_BYTES} bytes; use .jsonl")
    return content


def _csv(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    cells = csv.reader((line.decode() for line in _lines(stream, name)), strict=True)
    header: list[str] = []
    number = 0
    try:
        header = _distinct(next(cells, []), name)
        for number, row in enumerate(filter(None, cells), 1):
            if len(row) > len(header):
                raise DataError(
                    f"{name}, row {number}: {len(row)} cells under {len(header)} columns;"
                    " quote the cells that hold commas"
                )
            yield f"{name}, row {number}", dict(zip(header, row, strict=False))
    except UnicodeDecodeError as error:
        raise DataError(f"{name}, row {number + 1}: not UTF-8: {error}; convert the file") from None
    except csv.Error as error:
        raise DataError(f"{name}, row {number + 1}: not CSV: {error}; mend the file") from None


def _distinct(columns: list[str], name: str) -> list[str]:
    if len(set(columns)) < len(columns):
        raise DataError(f"{name}: two columns have the same name; rename one")
    return columns


def _parquet(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    # Parquet is read from its end, which a gzip stream can only reach by unpacking it whole.
    seekable = io.BytesIO(_whole(stream, name)) if isinstance(stream, gzip.GzipFile) else stream
    number = 0
    try:
        with closing(pyarrow.parquet.ParquetFile(seekable, **_IN_PIECES)) as file:
            _distinct(file.schema_arrow.names, name)
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{name}, row {number}", row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        finding = f"broken parquet after {number} rows: {_first_line(error)}"
        raise DataError(f"{name}: {finding}; copy it again") from None


# --- data sets: saved to disk, or on the Hub -----------------------------------------------------


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _open_saved(folder: Path, source: Source) -> Rows:
    """Open what ``Dataset.save_to_disk`` wrote."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        finding = f"not a saved data set: {_first_line(error)}"
        raise DataError(f"{folder}: {finding}; save or copy it again") from None
    dataset = _one_split(saved, source.split, str(folder))
    return Rows(
        origin=folder.absolute().name,
        revision=None,
        read=lambda: _read_datasets([(None, dataset)], str(folder)),
    )


def _one_split(loaded: Any, split: str | None, place: str) -> Any:
    """Return the named split of a data set that may have several, or the only one."""
    import datasets

    if isinstance(loaded, datasets.Dataset):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        finding = "several splits" if split is None else f'no split "{split}"'
        names = ", ".join(map(str, loaded))
        raise DataError(f"{place}: {finding}; it has {names}; name one as split in [source]")
    return loaded[split]


def _open_hub(suite: Suite) -> Rows:
    """Open a Hub data set, from its cache where it has been read before."""
    spare_retries()
    import datasets

    source = suite.source
    loaded = []
    for part in source.data_dirs or (None,):
        with enclosed(partial(_hub_refusal, suite)):
            dataset = datasets.load_dataset(
                source.path,
                source.name,
                data_dir=part,
                split=source.split,
                revision=source.revision,
            )
        loaded.append((part, _one_split(dataset, source.split, source.path)))
    return Rows(
        origin=source.path,
        revision=_commit_in_cache(loaded[0][1]) or source.revision,
        read=lambda: _read_datasets(loaded, source.path),
    )


def _commit_in_cache(dataset: Any) -> str | None:
    """Return the commit that a cached data set was read at, as its file names record it."""
    names = [str(entry["filename"]) for entry in dataset.cache_files]
    found = [match for name in names for match in re.findall(r"\b[0-9a-f]{40}\b", name)]
    return found[-1] if found else None


def _hub_refusal(suite: Suite, error: BaseException) -> DataError:
    local = f"pass --data {suite.name}=PATH with a local copy"
    meaning = hub_failure(error, local=local, remedy="check [source]")
    return DataError(f"{suite.source.path} (split {suite.source.split}): {meaning}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_datasets(parts: Sequence[tuple[str | None, Any]], name: str) -> Iterator[Row]:
    for part, dataset in parts:
        where = name if part is None else f"{name}/{part}"
        for number, fields in enumerate(dataset):
            yield Row(f"{where}, row {number + 1}", part, number, fields)
