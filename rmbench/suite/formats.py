"""Rows of one file: JSONL, JSON, CSV or parquet, gzip'd or not.

A file may come from anybody. What it unpacks to is bounded in bytes: lines, blank ones, whole
files, and columns of parquet in which one long text stands for many.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, cast

from rmbench.errors import DataError, enclosed
from rmbench.files import RepeatedKeyError, parse_json
from rmbench.suite.footer import check_footer

__all__ = ["FORMATS", "format_of", "lines_of", "open_bytes", "read_file"]

FORMATS: Final = (".jsonl", ".json", ".csv", ".parquet")
MAX_LINE_BYTES: Final = 64 * 2**20
MAX_WHOLE_BYTES: Final = 2**30
MAX_BLANK_LINES: Final = 1_000_000
MAX_RATIO: Final = 200
"""How many times its size a gzip may unpack to, beyond ``FREE_BYTES``; texts reach 10 or 20."""
FREE_BYTES: Final = 32 * 2**20
MAX_BATCH_BYTES: Final = 64 * 2**20
"""Of the texts that one batch of parquet may hold."""
MOST_IN_DICTIONARY: Final = 4 * 2**20
MAX_ROWS: Final = 1_000_000
"""Of a parquet file that has fewer bytes than rows."""
_BOM: Final = b"\xef\xbb\xbf"
_BATCH: Final = 256
# By default pyarrow holds a whole row group at a time, which may be the whole file.
_IN_PIECES: Final[dict[str, Any]] = {"pre_buffer": False, "buffer_size": 2**16}


def format_of(path: Path) -> str | None:
    """Return the ending that tells a file's format; None for one that is not known."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in FORMATS else None


def read_file(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield place and fields of each row of one file, whatever its format.

    Raises:
        DataError: it is broken, or unpacks to more than any data set does.
    """
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    read = readers[str(format_of(path))]
    count = 0
    try:
        with open_bytes(path) as stream:
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


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, unpacked where it is a gzip, and then no further than a data set's could go."""
    # The name may lie about compression, the first two bytes do not.
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], _Unpacking(path)) if is_gzip else path.open("rb")


class _Unpacking(gzip.GzipFile):
    """A gzip that is read no further than a data set's could go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._left = max(FREE_BYTES, MAX_RATIO * path.stat().st_size)

    def read(self, size: int | None = -1) -> bytes:
        return self._counted(super().read(size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._counted(super().readline(size))

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise DataError(
                f"{self.name}: unpacks to more than {MAX_RATIO} times its size; is it data? If so,"
                " unpack it first"
            )
        return content


def lines_of(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the lines of a file, blank ones too, without a byte order mark.

    Raises:
        DataError: a line, or all blank ones together, are longer than those of any data set.
    """
    number = blank = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        blank += line.isspace()
        if blank > MAX_BLANK_LINES:
            raise DataError(
                f"{name}, line {number}: more than {MAX_BLANK_LINES} blank lines; take them out"
            )
        if len(line) > MAX_LINE_BYTES:
            raise DataError(
                f"{name}, line {number}: longer than {MAX_LINE_BYTES} bytes; is it the right file?"
            )
        yield line.removeprefix(_BOM) if number == 1 else line


def _jsonl(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines_of(stream, name), 1):
        if not line.isspace():
            place = f"{name}, row {number}"
            yield place, _parse(line, place)


def _parse(text: bytes, place: str) -> Any:
    try:
        return parse_json(text.decode())
    except RepeatedKeyError as error:
        raise DataError(f"{place}: {error}; remove one of them") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8: {error}; convert the file") from None
    except RecursionError:
        raise DataError(f"{place}: JSON nested too deeply; a row has three levels") from None
    except ValueError as error:
        several = str(error).startswith("Extra data: line 2 ")
        remedy = "if each line is a row, call the file .jsonl" if several else "fix the file"
        if text.lstrip().startswith(b"[") and text.rstrip() in (b"[", b"[{"):
            remedy = "if the file is one list of rows, call it .json"
        raise DataError(f"{place}: not JSON: {error}; {remedy}") from None


def _json(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    rows = _rows_of(_parse(_whole(stream, name).removeprefix(_BOM), name), name)
    for number, row in enumerate(rows, 1):
        yield f"{name}, row {number}", row


def _rows_of(content: Any, name: str) -> list[Any]:
    """Return the rows of a JSON file: a list of them, or one object in which they stand.

    Such an object has one list of rows (``{"data": [...]}``), beside what describes them; or it has
    a list for each column; or, as pandas writes it, an object of numbers for each column.
    """
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(f"{name}: is {kind}; it must be a list of rows, or be called .jsonl")
    values = list(content.values())
    lists = [value for value in values if isinstance(value, list)]
    rows = [value for value in lists if value and all(isinstance(item, dict) for item in value)]
    if len(rows) == 1 and (len(lists) == 1 or "data" in content) and len(values) <= 4:
        return rows[0]
    if len(lists) == len(values) > 1 and len({len(value) for value in lists}) == 1 and lists[0]:
        return [dict(zip(content, cells, strict=True)) for cells in zip(*lists, strict=True)]
    numbers = [list(value) for value in values if isinstance(value, dict)]
    is_square = len(numbers) == len(values) > 0 and all(keys == numbers[0] for keys in numbers)
    if is_square and numbers[0] and all(key.isdecimal() for key in numbers[0]):
        return [{key: value[i] for key, value in content.items()} for i in numbers[0]]
    raise DataError(f"{name}: {_shape_of(content)}; write it as a list of rows, [{{...}}, ...]")


def _shape_of(content: dict[str, Any]) -> str:
    """Return what a JSON object that holds no rows looks like, in a few words."""
    if not content:
        return "is an empty object"
    lists = {key: len(value) for key, value in content.items() if isinstance(value, list)}
    if len(lists) == len(content) == 1 and 0 in lists.values():
        return f'has no rows in "{next(iter(lists))}"'
    if len(lists) == len(content):
        sizes = ", ".join(str(size) for size in sorted(set(lists.values()))[:3])
        return f"is an object of columns that are not equally long ({sizes} entries)"
    names = ", ".join(f'"{key[:40]}"' for key in list(content)[:4])
    return f"is one object with {names}, in which no rows are found (one row is called .jsonl)"


def _whole(stream: IO[bytes], name: str) -> bytes:
    content = stream.read(MAX_WHOLE_BYTES + 1)
    if len(content) > MAX_WHOLE_BYTES:
        raise DataError(f"{name}: unpacks to more than {MAX_WHOLE_BYTES} bytes; use .jsonl")
    return content


def _csv(stream: IO[bytes], name: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = (line.decode() for line in lines_of(stream, name))
    mark, number = ",", 0
    try:
        first = next(lines, "")
        mark = _delimiter(first)
        cells = csv.reader(chain([first], lines), strict=True, delimiter=mark)
        header = _distinct(next(cells, []), name)
        for number, row in enumerate(filter(None, cells), 1):
            if len(row) > len(header):
                raise DataError(
                    f"{name}, row {number}: {len(row)} cells under {len(header)} columns;"
                    f" quote the cells that hold {_NAMED[mark]}"
                )
            yield f"{name}, row {number}", dict(zip(header, row, strict=False))
    except UnicodeDecodeError as error:
        raise DataError(f"{name}, row {number + 1}: not UTF-8: {error}; convert the file") from None
    except csv.Error as error:
        raise DataError(f"{name}, row {number + 1}: not CSV: {error}; fix the file") from None


_NAMED: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}


def _delimiter(header: str) -> str:
    """Return what stands between the columns: semicolons or tabs only where no comma does."""
    return next((mark for mark in _NAMED if mark in header), ",")


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

    def broken(error: BaseException) -> DataError:
        finding = (str(error).strip() or type(error).__name__).splitlines()[0]
        return DataError(f"{name}: broken parquet after {number} rows: {finding}; copy it again")

    check_footer(seekable, Path(name))
    with enclosed(broken):
        file = pyarrow.parquet.ParquetFile(seekable, **_IN_PIECES)
    with closing(file):
        _distinct(file.schema_arrow.names, name)
        batches = file.iter_batches(batch_size=_batch_rows(file, seekable, name))
        while True:
            with enclosed(broken):
                batch = next(batches, None)
                rows = [] if batch is None else batch.to_pylist()
            if batch is None:
                return
            for row in rows:
                number += 1
                yield f"{name}, row {number}", row


def _batch_rows(file: Any, stream: IO[bytes], name: str) -> int:
    """Return how many rows to read at once: few where one long text may stand for many.

    Raises:
        DataError: a few bytes stand for rows or values without end.
    """
    size = stream.seek(0, io.SEEK_END)
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    most = max([metadata.num_rows, *(column.num_values for column in columns)])
    if most > max(MAX_ROWS, MAX_RATIO * size):
        raise DataError(f"{name}: {most:,} values in {size:,} bytes; is it data?")
    largest = max((column.total_uncompressed_size for column in columns), default=0)
    if largest > max(FREE_BYTES, MAX_RATIO * size):
        raise DataError(f"{name}: unpacks to more than {MAX_RATIO} times its size; is it data?")
    longest = max(map(_dictionary_bytes, columns), default=0)
    return (
        max(1, min(_BATCH, MAX_BATCH_BYTES // longest)) if longest > MOST_IN_DICTIONARY else _BATCH
    )


def _dictionary_bytes(column: Any) -> int:
    """Return about how large the texts are that a column of parquet only points to.

    Writers stop at 1 MiB. Each of the column's values may be as long as all of them.
    """
    if not column.has_dictionary_page or not column.dictionary_page_offset:
        return 0
    packed = column.data_page_offset - column.dictionary_page_offset
    ratio = column.total_uncompressed_size / max(column.total_compressed_size, 1)
    return int(max(packed, 0) * max(ratio, 1.0))
