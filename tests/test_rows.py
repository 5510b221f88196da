"""Rows from files of every format, from saved data sets, and from the Hub's layout."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from rmbench.errors import DataError
from rmbench.suite import formats, hub
from rmbench.suite.definition import Columns, Credit, Source, Suite
from rmbench.suite.formats import read_file
from rmbench.suite.rows import Row, Rows, open_rows

Content = list[dict[str, Any]]

ROWS: Content = [
    {"id": "1", "prompt": 'Say "hi",\nplease', "chosen": "hi", "rejected": "no\u2028way"},
    {"id": "2", "prompt": "x;y\tz", "chosen": "  spaces  ", "rejected": "naïve 🙂"},
    {"id": "3", "prompt": "\r\n", "chosen": "a,b", "rejected": "'"},
]


def suite(folder: Path, **source: Any) -> Suite:
    source = {"path": "org/name"} | source
    return Suite(
        name="demo",
        title="Demo",
        version=1,
        source=Source(**source),
        columns=(Columns(chosen="chosen", rejected="rejected"),),
        credit=Credit(),
        sections=(),
        averages=(),
        headline="pooled",
        folder=folder,
    )


def read(path: Path, **source: Any) -> list[Row]:
    return list(open_rows(suite(path.parent, **source), data=str(path)))


def fields(rows: Sequence[Row] | Rows) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in rows]


def failure(path: Path, **source: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **source)
    return str(caught.value)


def as_jsonl(rows: Content) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: Content) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_csv(rows: Content) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Content) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


WRITERS: dict[str, Callable[[Content], bytes]] = {
    "jsonl": as_jsonl,
    "json": as_json,
    "csv": as_csv,
    "parquet": as_parquet,
}


def write(path: Path, rows: Content = ROWS) -> Path:
    """Write rows in the format of the path's name, gzip'd where it ends in ``.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".gz")
    content = WRITERS[name.rpartition(".")[2]](rows)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def numbered(first: int, count: int = 1) -> Content:
    return [{"id": str(number)} for number in range(first, first + count)]


def ids(rows: Sequence[Row]) -> list[str]:
    return [row.fields["id"] for row in rows]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("gz", ["", ".gz"])
def test_rows_are_the_same_in_every_format(tmp_path: Path, ending: str, gz: str) -> None:
    assert fields(read(write(tmp_path / f"rows.{ending}{gz}"))) == ROWS


@pytest.mark.parametrize("ending", WRITERS)
def test_a_gzip_is_told_by_its_content_not_its_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(gzip.compress(WRITERS[ending](ROWS)))
    assert fields(read(path)) == ROWS
    path = tmp_path / f"plain.{ending}.gz"
    path.write_bytes(WRITERS[ending](ROWS))
    assert fields(read(path)) == ROWS


def test_an_ending_in_capitals_is_known(tmp_path: Path) -> None:
    path = tmp_path / "ROWS.JSONL.GZ"
    path.write_bytes(gzip.compress(as_jsonl(ROWS)))
    assert fields(read(path)) == ROWS


def test_rows_are_read_anew_at_each_iteration(tmp_path: Path) -> None:
    rows = open_rows(suite(tmp_path), data=str(write(tmp_path / "rows.jsonl")))
    assert fields(rows) == fields(rows) == ROWS


def test_a_row_knows_its_place_and_number(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl")
    rows = open_rows(suite(tmp_path), data=str(path))
    assert (rows.origin, rows.revision) == ("rows.jsonl", None)
    assert [(row.place, row.part, row.number) for row in rows] == [
        (f"{path}, row 1", None, 0),
        (f"{path}, row 2", None, 1),
        (f"{path}, row 3", None, 2),
    ]


def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\n{"id": "1"}\r\n  \n{"id": "2"}')
    assert [row.place for row in read(path)] == [f"{path}, row 2", f"{path}, row 4"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_a_byte_order_mark_is_no_part_of_the_rows(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(b"\xef\xbb\xbf" + WRITERS[ending](ROWS))
    assert fields(read(path)) == ROWS


def test_a_csv_row_with_too_few_cells_lacks_the_last_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,prompt,chosen\n1,p\n\n2,p,c\n")
    assert fields(read(path)) == [
        {"id": "1", "prompt": "p"},
        {"id": "2", "prompt": "p", "chosen": "c"},
    ]


def test_messages_in_parquet_come_back_as_lists_of_messages(tmp_path: Path) -> None:
    rows = [{"chosen": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}]}]
    assert fields(read(write(tmp_path / "rows.parquet", rows))) == rows


def test_more_rows_than_one_parquet_batch_keep_their_order(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", numbered(0, 600))
    assert ids(read(path)) == [str(number) for number in range(600)]


def test_a_file_beside_the_suite_is_read_without_being_named(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl")
    assert fields(open_rows(suite(tmp_path, path="rows.jsonl"))) == ROWS


# --- folders -------------------------------------------------------------------------------------


def test_the_files_of_a_folder_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "b.csv.gz", numbered(2))
    write(tmp_path / "a.jsonl", numbered(0, 2))
    write(tmp_path / "c" / "c.parquet", numbered(3))
    (tmp_path / "README.md").write_text("no data")
    (tmp_path / ".hidden.jsonl").write_text("no data")
    rows = read(tmp_path)
    assert ids(rows) == ["0", "1", "2", "3"]
    assert [row.number for row in rows] == [0, 1, 2, 3]


def test_a_split_is_chosen_by_file_name(tmp_path: Path) -> None:
    write(tmp_path / "data" / "raw-00000-of-00001.parquet", numbered(9))
    write(tmp_path / "data" / "filtered-00001-of-00002.parquet", numbered(1))
    write(tmp_path / "data" / "filtered-00000-of-00002.parquet", numbered(0))
    write(tmp_path / "filtered_out.jsonl", numbered(8))
    assert ids(read(tmp_path, split="filtered")) == ["0", "1"]


def test_a_split_is_chosen_by_folder_name(tmp_path: Path) -> None:
    write(tmp_path / "test" / "0.jsonl", numbered(0))
    write(tmp_path / "train" / "0.jsonl", numbered(9))
    assert ids(read(tmp_path, split="test")) == ["0"]


def test_the_folder_itself_may_bear_the_split_in_its_name(tmp_path: Path) -> None:
    write(tmp_path / "test" / "a.jsonl", numbered(0))
    write(tmp_path / "test" / "b.jsonl", numbered(1))
    assert ids(read(tmp_path / "test", split="test")) == ["0", "1"]


@pytest.mark.parametrize("names", [["data.jsonl"], ["part-0.jsonl", "part-1.jsonl"]])
def test_one_data_set_needs_no_split_in_its_name(tmp_path: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        write(tmp_path / name, numbered(number))
    assert len(read(tmp_path, split="test")) == len(names)


def test_files_of_other_splits_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl")
    write(tmp_path / "valid.jsonl")
    assert failure(tmp_path, split="test") == (
        f'{tmp_path}: no file is named after the split "test" (train.jsonl, valid.jsonl ...);'
        ' give one file, or put the files in a folder called "test"'
    )


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.jsonl", "test.jsonl"], "test, train"),
        (["data/train/0.jsonl", "data/dev/0.jsonl"], "train, validation"),
        (["my_train.jsonl", "my_val.csv"], "train, validation"),
        (
            ["raw-00000-of-00001.parquet", "filtered-00000-of-00001.parquet"],
            "filtered, raw",
        ),
    ],
)
def test_files_of_several_splits_are_not_one_data_set(
    names: list[str], splits: str, tmp_path: Path
) -> None:
    for name in names:
        write(tmp_path / name)
    assert failure(tmp_path) == (
        f"{tmp_path}: several splits: {splits}; name one as split in [source], or give the file of"
        " one"
    )


def test_files_that_name_no_split_are_one_data_set(tmp_path: Path) -> None:
    for number, name in enumerate(["chat.jsonl", "code.jsonl", "unit-test.jsonl"]):
        write(tmp_path / name, numbered(number))
    assert ids(read(tmp_path)) == ["0", "1", "2"]


def test_what_editors_and_systems_leave_behind_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", numbered(0))
    for folder in (".ipynb_checkpoints", "__MACOSX", ".cache/deep"):
        write(tmp_path / folder / "rows-copy.jsonl", numbered(1))
    assert ids(read(tmp_path)) == ["0"]


SHAPES = {
    "columns": {"id": ["0", "1"], "prompt": ["u", "v"]},
    "pandas": {"id": {"0": "0", "1": "1"}, "prompt": {"0": "u", "1": "v"}},
    "wrapped": {"data": [{"id": "0", "prompt": "u"}, {"id": "1", "prompt": "v"}]},
    "a table of pandas": {
        "schema": {"fields": []},
        "data": [{"id": "0", "prompt": "u"}, {"id": "1", "prompt": "v"}],
    },
}


@pytest.mark.parametrize("content", SHAPES.values(), ids=SHAPES)
def test_json_of_columns_and_wrapped_rows_are_rows(content: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(content))
    assert fields(read(tmp_path / "rows.json")) == [
        {"id": "0", "prompt": "u"},
        {"id": "1", "prompt": "v"},
    ]


# --- files that unpack to more than they should ---------------------------------------------------


def test_blank_lines_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_BLANK_LINES", 1000)
    (tmp_path / "rows.jsonl").write_bytes(b'{"id": 1}\n' + b" \n" * 1001)
    assert failure(tmp_path / "rows.jsonl").endswith("more than 1000 blank lines; take them out")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json", "parquet"])
def test_a_gzip_of_far_more_than_its_size_is_refused(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "FREE_BYTES", 100_000)
    path = tmp_path / f"rows.{ending}.gz"
    path.write_bytes(gzip.compress(b'{"id": 1}\n' * 50_000))
    assert "unpacks to more than 200 times its size" in failure(path)


def test_one_long_text_that_stands_for_many_is_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    table = pyarrow.table({"id": [str(i) for i in range(256)], "text": ["a" * 9_000_000] * 256})
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(table, path, compression="zstd", dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 20_000
    rows = iter(open_rows(suite(tmp_path), data=str(path)))
    before = pyarrow.total_allocated_bytes()
    assert len(next(rows).fields["text"]) == 9_000_000
    assert pyarrow.total_allocated_bytes() - before < 200_000_000
    del rows


def test_values_without_end_in_a_few_bytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_ROWS", 1000)
    monkeypatch.setattr(formats, "MAX_RATIO", 1)
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": pyarrow.nulls(100_000)}), path)
    assert "100,000 values in" in failure(path)


def test_data_folders_name_the_parts_and_are_read_in_the_suite_s_order(tmp_path: Path) -> None:
    write(tmp_path / "helpful-base" / "test.jsonl.gz", numbered(2))
    write(tmp_path / "harmless-base" / "test.jsonl.gz", numbered(0, 2))
    write(tmp_path / "harmless-base" / "train.jsonl.gz", numbered(9))
    write(tmp_path / "red-team" / "test.jsonl", numbered(8))
    rows = read(tmp_path, split="test", data_dirs=("harmless-base", "helpful-base"))
    assert [(row.part, row.number, row.fields["id"]) for row in rows] == [
        ("harmless-base", 0, "0"),
        ("harmless-base", 1, "1"),
        ("helpful-base", 0, "2"),
    ]


def test_a_folder_without_the_data_folders_is_one_part(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", numbered(0))
    assert [row.part for row in read(tmp_path, split="test", data_dirs=("x", "y"))] == [None]


def test_one_data_folder_of_two_is_not_enough(tmp_path: Path) -> None:
    write(tmp_path / "x" / "test.jsonl", numbered(0))
    assert failure(tmp_path, data_dirs=("x", "y")) == (
        f'{tmp_path}: no folder "y"; the suite reads every one of data_dirs'
    )


# --- what is broken ------------------------------------------------------------------------------

BROKEN = {
    "a list for a row": (
        "rows.jsonl",
        b'{"a": 1}\n[1]\n',
        ", row 2: is list; a row must be an object with columns",
    ),
    "a number for a row": (
        "rows.json",
        b"[{}, 1]",
        ", row 2: is int; a row must be an object with columns",
    ),
    "a line that is not JSON": (
        "rows.jsonl",
        b'{"a": 1}\n\n{"a": \n',
        ", row 3: not JSON: Expecting value: line 2 column 1 (char 7); fix the file",
    ),
    "a file that is not JSON": (
        "rows.json",
        b"{]",
        ": not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1);"
        " fix the file",
    ),
    "JSON Lines under the name of JSON": (
        "rows.json",
        b'{"a": 1}\n{"a": 2}\n',
        ": not JSON: Extra data: line 2 column 1 (char 9); if each line is a row, call the file"
        " .jsonl",
    ),
    "an object for a list of rows": (
        "rows.json",
        b'{"a": 1}',
        ': is one object with "a", in which no rows are found (one row is called .jsonl); write it'
        " as a list of rows, [{...}, ...]",
    ),
    "an object without rows": (
        "rows.json",
        b'{"data": []}',
        ': has no rows in "data"; write it as a list of rows, [{...}, ...]',
    ),
    "columns of several lengths": (
        "rows.json",
        b'{"a": [1], "b": [1, 2]}',
        ": is an object of columns that are not equally long (1, 2 entries); write it as a list of"
        " rows, [{...}, ...]",
    ),
    "a key that appears twice in a line": (
        "rows.jsonl",
        b'{"a": 1}\n{"a": 1, "a": 2}\n',
        ', row 2: the key "a" appears twice in one object; remove one of them',
    ),
    "a key that appears twice in a list": (
        "rows.json",
        b'[{"a": 1, "a": 2}]',
        ': the key "a" appears twice in one object; remove one of them',
    ),
    "brackets without end": (
        "rows.jsonl",
        b"[" * 200_000,
        ", row 1: JSON nested too deeply; a row has three levels",
    ),
    "JSON Lines not in UTF-8": (
        "rows.jsonl",
        b'{"a": 1}\n{"a": "\xff"}\n',
        ", row 2: not UTF-8: 'utf-8' codec can't decode byte 0xff in position 7: invalid start"
        " byte; convert the file",
    ),
    "JSON not in UTF-8": (
        "rows.json",
        b'["\xe9"]',
        ": not UTF-8: 'utf-8' codec can't decode byte 0xe9 in position 2: invalid continuation"
        " byte; convert the file",
    ),
    "CSV whose columns are not in UTF-8": (
        "rows.csv",
        b"\xe9d,b\n1,2\n",
        ", row 1: not UTF-8: 'utf-8' codec can't decode byte 0xe9 in position 0: invalid"
        " continuation byte; convert the file",
    ),
    "CSV not in UTF-8": (
        "rows.csv",
        b'a,b\n1,"x\ny"\n1,\xff\n',
        ", row 2: not UTF-8: 'utf-8' codec can't decode byte 0xff in position 2: invalid start"
        " byte; convert the file",
    ),
    "CSV with too many cells": (
        "rows.csv",
        b"a,b\n1,2\n1,2,3\n",
        ", row 2: 3 cells under 2 columns; quote the cells that hold commas",
    ),
    "CSV with an open quote": (
        "rows.csv",
        b'a,b\n1,2\n1,"2\n',
        ", row 2: not CSV: unexpected end of data; fix the file",
    ),
    "CSV with one name for two columns": (
        "rows.csv",
        b"a,b,a\n1,2,3\n",
        ": two columns have the same name; rename one",
    ),
    "a gzip of something that is not JSON": (
        "rows.jsonl.gz",
        gzip.compress(b"x"),
        ", row 1: not JSON: Expecting value: line 1 column 1 (char 0); fix the file",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_told_place_finding_and_remedy(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert failure(path) == f"{path}{message}"


@pytest.mark.parametrize("ending", WRITERS)
def test_a_gzip_that_ends_early_is_told_so(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}.gz"
    path.write_bytes(gzip.compress(WRITERS[ending](ROWS))[:-9])
    message = failure(path)
    assert message.startswith(f"{path}: broken gzip after ")
    assert message.endswith("; copy it again")


@pytest.mark.parametrize(("place", "rows"), [(2, 0), (10, 0), (-8, 3)])
def test_a_gzip_with_a_wrong_byte_is_told_so(tmp_path: Path, place: int, rows: int) -> None:
    # RFC 1952: byte 2 is the method, byte 10 opens the first block (all ones: a reserved type), and
    # the checksum begins eight bytes before the end.
    content = bytearray(gzip.compress(as_jsonl(ROWS), mtime=0))
    content[place] = 0xFF - (content[place] if place < 0 else 0)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert failure(path).startswith(f"{path}: broken gzip after {rows} rows: ")


def test_a_parquet_file_that_is_cut_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(as_parquet(ROWS)[:-10])
    message = failure(path)
    assert message.startswith(f"{path}: broken parquet after 0 rows: ")
    assert message.endswith("; copy it again")


def test_a_parquet_file_with_wrong_pages_is_told_so(tmp_path: Path) -> None:
    content = bytearray(as_parquet(numbered(0, 2000)))
    content[4:400] = b"\xff" * 396
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    assert f"{path}: broken parquet after 0 rows: " in failure(path)


def test_a_parquet_file_with_text_that_is_not_utf_8_is_told_so(tmp_path: Path) -> None:
    column = pyarrow.array([b"\xff\xfe"]).view(pyarrow.string())
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": column}), path)
    assert "'utf-8' codec can't decode byte 0xff" in failure(path)


def test_a_parquet_file_with_one_name_for_two_columns_is_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["x"]), pyarrow.array(["y"])], ["a", "a"])
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(table, path)
    assert failure(path) == f"{path}: two columns have the same name; rename one"


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_line_longer_than_the_limit_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = write(tmp_path / f"rows.{ending}", [{"a": "x" * 10}, {"a": "x" * 200}])
    monkeypatch.setattr(formats, "MAX_LINE_BYTES", 100)
    line = 2 if ending == "jsonl" else 3
    assert failure(path) == (f"{path}, line {line}: longer than 100 bytes; is it the right file?")


@pytest.mark.parametrize("name", ["rows.json", "rows.parquet.gz"])
def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write(tmp_path / name)
    monkeypatch.setattr(formats, "MAX_WHOLE_BYTES", 100)
    assert failure(path) == f"{path}: unpacks to more than 100 bytes; use .jsonl"


def test_an_unknown_format_is_told_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.xlsx"
    path.write_bytes(b"")
    assert failure(path) == (
        f"{path}: unknown format; known: .jsonl, .json, .csv, .parquet, each also .gz"
    )


def test_a_folder_without_data_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no data")
    assert failure(tmp_path) == (
        f"{tmp_path}: no data file in this folder;"
        " known: .jsonl, .json, .csv, .parquet, each also .gz"
    )


def test_a_path_with_nothing_there_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "absent.jsonl"
    assert failure(path) == (
        f"{path}: no such file or folder; give a data file, or a folder of them"
    )


def test_a_path_too_long_for_the_system_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert failure(path) == f"{path}: cannot be read: File name too long; check path and rights"


def test_a_file_that_goes_away_is_told_so(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl")
    rows = open_rows(suite(tmp_path), data=str(path))
    path.unlink()
    with pytest.raises(DataError) as caught:
        list(rows)
    assert str(caught.value) == (
        f"{path}: cannot be read: No such file or directory; check path and rights"
    )


def test_a_folder_that_cannot_be_listed_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, pattern: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rglob", refuse)
    assert failure(tmp_path) == (
        f"{tmp_path}: cannot be read: Permission denied; check path and rights"
    )


def test_a_missing_file_of_the_suite_itself_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_rows(suite(tmp_path, path="absent.jsonl"))
    assert str(caught.value) == (
        f"{tmp_path}/absent.jsonl: no such file; the suite's [source] names it"
    )


# --- saved data sets -----------------------------------------------------------------------------


def save(folder: Path, **splits: Content) -> Path:
    datasets = pytest.importorskip("datasets")
    saved = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
    (saved[""] if "" in saved else datasets.DatasetDict(saved)).save_to_disk(folder)
    return folder


def test_a_saved_data_set_is_read_whatever_the_split(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", **{"": ROWS})
    rows = read(folder, split="test")
    assert fields(rows) == ROWS
    assert [row.place for row in rows][:2] == [f"{folder}, row 1", f"{folder}, row 2"]


def test_columns_that_nobody_asked_for_are_not_decoded(tmp_path: Path) -> None:
    import datasets

    pictures = [{"bytes": b"no picture", "path": None} for _ in ROWS]
    features = datasets.Features(
        {name: datasets.Value("string") for name in ROWS[0]} | {"image": datasets.Image()}
    )
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]} | {"image": pictures}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "saved"))
    assert ids(read(tmp_path / "saved")) == ["1", "2", "3"]


def test_a_saved_data_set_of_several_splits_gives_the_suite_s(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", train=numbered(9), test=ROWS)
    rows = open_rows(suite(tmp_path, split="test"), data=str(folder))
    assert fields(rows) == fields(rows) == ROWS
    assert rows.origin == "saved"


def test_a_saved_data_set_with_one_split_needs_no_name_for_it(tmp_path: Path) -> None:
    assert fields(read(save(tmp_path / "saved", only=ROWS))) == ROWS


def test_a_saved_data_set_without_the_split_names_what_it_has(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", train=numbered(0), test=numbered(1))
    assert failure(folder, split="filtered") == (
        f'{folder}: no split "filtered"; it has train, test; name one as split in [source]'
    )
    assert failure(folder) == (
        f"{folder}: several splits; it has train, test; name one as split in [source]"
    )


@pytest.mark.parametrize("content", ["{}", "x"])
def test_a_saved_data_set_that_is_broken_is_told_so(tmp_path: Path, content: str) -> None:
    folder = save(tmp_path / "saved", **{"": ROWS})
    (folder / "state.json").write_text(content)
    message = failure(folder)
    assert message.startswith(f"{folder}: not a saved data set: ")
    assert message.endswith("; save or copy it again")


# --- the Hub -------------------------------------------------------------------------------------

CARD = """---
configs:
- config_name: default
  data_files:
  - {split: filtered, path: data/filtered-*}
  - {split: raw, path: data/raw-*}
---
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own cache for ``datasets``, and no network."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


def hub_folder(folder: Path) -> Path:
    """Return a folder in the layout of a data set on the Hub."""
    write(folder / "data" / "filtered-00000-of-00001.parquet")
    write(folder / "data" / "raw-00000-of-00001.parquet", ROWS + ROWS)
    (folder / "README.md").write_text(CARD)
    return folder


def on_hub(path: Path | str, **source: Any) -> Suite:
    made = suite(Path("suites"))
    return made.model_copy(
        update={"source": made.source.model_copy(update={"path": str(path), **source})}
    )


def hub_failure(path: Path | str, **source: Any) -> str:
    with pytest.raises(DataError) as caught:
        hub.open_hub(on_hub(path, **source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("cache")
def test_the_layout_of_the_hub_is_read_by_split(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    rows = hub.open_hub(on_hub(folder, split="filtered"))
    assert fields(rows) == fields(rows) == ROWS
    assert rows.origin == str(folder)
    assert rows.revision is None  # a folder has no commit
    assert [row.place for row in rows][2] == f"{folder}, row 3"


def test_what_is_read_lands_in_the_cache_that_is_set(tmp_path: Path, cache: Path) -> None:
    hub.open_hub(on_hub(hub_folder(tmp_path / "set"), split="raw"))
    assert list(cache.rglob("*.arrow"))


@pytest.mark.usefixtures("cache")
def test_data_folders_of_the_hub_name_the_parts(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder / "y" / "test.jsonl.gz", numbered(1, 2))
    write(folder / "x" / "test.jsonl.gz", numbered(0))
    rows = list(hub.open_hub(on_hub(folder, split="test", data_dirs=("x", "y"))))
    assert [(row.place, row.part, row.number, row.fields["id"]) for row in rows] == [
        (f"{folder}/x, row 1", "x", 0, "0"),
        (f"{folder}/y, row 1", "y", 0, "1"),
        (f"{folder}/y, row 2", "y", 1, "2"),
    ]


@pytest.mark.usefixtures("cache")
def test_a_split_that_the_hub_does_not_have_is_told_the_splits(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    assert hub_failure(folder, split="filterd") == (
        f'{folder} (split filterd): cannot be loaded: Unknown split "filterd".'
        " Should be one of ['filtered', 'raw']; check [source], or pass --data demo=PATH with a"
        " local copy"
    )


@pytest.mark.usefixtures("cache")
def test_several_splits_and_none_named_is_told_the_splits(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set")
    assert hub_failure(folder) == (
        f"{folder}: several splits; it has filtered, raw; name one as split in [source]"
    )


@pytest.mark.usefixtures("cache")
def test_an_unknown_configuration_is_told_the_known_ones(tmp_path: Path) -> None:
    message = hub_failure(hub_folder(tmp_path / "set"), name="other", split="raw")
    assert "BuilderConfig 'other' not found. Available: ['default']" in message


@pytest.mark.usefixtures("cache")
def test_offline_with_nothing_cached_names_both_remedies() -> None:
    with pytest.raises(DataError) as caught:
        open_rows(on_hub("nobody/nothing-of-this-name", split="filtered"))
    assert str(caught.value) == (
        "nobody/nothing-of-this-name (split filtered): not in the cache, and the Hub"
        " (https://huggingface.co) cannot be reached; run once with a network to cache it, or pass"
        " --data demo=PATH with a local copy"
    )


def test_a_local_folder_does_not_stand_in_for_the_hubs_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_folder(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        open_rows(on_hub("org/name", split="filtered"))
    assert str(caught.value) == (
        "org/name: the working directory has something of this name, which would be read instead"
        " of the Hub's data set; work in another directory, or pass --data demo=PATH"
    )


def test_data_that_the_hub_cannot_build_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def fail(*args: object, **options: object) -> None:
        cause = ValueError("column 3 is odd\nand more")
        raise datasets.exceptions.DatasetGenerationError("An error occurred") from cause

    monkeypatch.setattr(datasets, "load_dataset", fail)
    assert hub_failure("org/name", split="test") == (
        "org/name (split test): cannot be loaded: column 3 is odd;"
        " check [source], or pass --data demo=PATH with a local copy"
    )


def test_the_suite_s_revision_is_asked_for_and_the_commit_that_was_read_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    commit = "0123456789abcdef" * 2 + "89abcdef"

    class Loaded(datasets.Dataset):  # type: ignore[misc]
        def __init__(self) -> None: ...

        @property
        def cache_files(self) -> list[dict[str, str]]:
            return [{"filename": f"/cache/org___name/default/0.0.0/{commit}/name-test.arrow"}]

        def __del__(self) -> None: ...

    def load(*args: Any, **options: Any) -> Loaded:
        asked.append((args, options))
        return Loaded()

    monkeypatch.setattr(datasets, "load_dataset", load)
    made = on_hub("org/name", name="c", split="test", revision="v1")
    assert hub.open_hub(made).revision == commit
    options = {"data_dir": None, "split": "test", "revision": "v1"}
    assert asked == [(("org/name", "c"), options)]


@pytest.mark.parametrize(
    ("names", "commit"),
    [
        ([], None),
        (["/c/org___name/default/0.0.0/f03373eadba4e8c9/name-test.arrow"], None),
        (["/c/default/0.0.0/" + "a" * 40 + "/name-test.arrow"], "a" * 40),
        (["/" + "b" * 40 + "/default/0.0.0/" + "a" * 40 + "/name-test.arrow"], "a" * 40),
        (["/c/default/0.0.0/" + "a" * 64 + "/name-test.arrow"], None),
    ],
)
def test_the_commit_is_read_from_the_names_of_the_cached_files(
    names: list[str], commit: str | None
) -> None:
    dataset = SimpleNamespace(cache_files=[{"filename": name} for name in names])
    assert hub._commit_in_cache(dataset) == commit


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_has_commas_semicolons_or_tabs(mark: str, tmp_path: Path) -> None:
    lines = [("prompt", "chosen", "rejected"), ("Why?", '"So; then, or\tnot"', "No.")]
    (tmp_path / "rows.csv").write_text("".join(mark.join(line) + "\n" for line in lines))
    ((_, row),) = read_file(tmp_path / "rows.csv")
    assert row == {"prompt": "Why?", "chosen": "So; then, or\tnot", "rejected": "No."}
