"""A parquet file that would end the process which reads its description."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rmbench.errors import DataError
from rmbench.suite import footer
from rmbench.suite.formats import read_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a", "b"]}), path)
    return path


def test_a_reader_that_ends_its_process_is_a_broken_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "terminate called\n  what():  size mismatch\n"
    monkeypatch.setattr(footer, "read_elsewhere", lambda stream, path: (-6, said))
    with pytest.raises(DataError, match=r"rows.parquet: broken parquet: size mismatch; write or"):
        list(read_file(file))


def test_a_sound_file_is_looked_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(read_file(file))) == 2
    monkeypatch.setattr(footer, "read_elsewhere", None)
    assert len(list(read_file(file))) == 2


def test_what_is_wrong_in_python_is_said_there(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="broken parquet after 0 rows"):
        list(read_file(file))
