"""Parquet whose own description ends the process that reads it: found in another process first.

pyarrow's library checks what a file says of its columns where Python asks for it, and an exception
there ends the process instead of reaching Python (seen with pyarrow 26.0.1:
"histogram size mismatch"). So the description is read once in a process that may end.
"""

import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

from rmbench.errors import DataError
from rmbench.files import Stamp, stamp

__all__ = ["check_footer"]

_READ: Final = (
    "import io, sys; import pyarrow.parquet as p;"
    " f = sys.argv[1] or io.BytesIO(sys.stdin.buffer.read()); m = p.ParquetFile(f).metadata;"
    " [m.row_group(i).column(j) for i in range(m.num_row_groups) for j in range(m.num_columns)]"
)
_SOUND: Final[set[tuple[Path, Stamp]]] = set()
"""Files whose footer was read."""


def check_footer(stream: IO[bytes], path: Path) -> None:
    """Refuse a file whose description of its columns ends the process that reads it.

    What is wrong otherwise raises where it is read.

    Args:
        stream: the file, at its beginning; afterwards too.
        path: where it stands.

    Raises:
        DataError: it does.
    """
    known = (path, stamp(path))
    if known in _SOUND:
        return
    code, said = read_elsewhere(stream, path)
    if code not in (0, 1):  # 1 is an exception in Python
        finding = next(
            (line.strip() for line in said.splitlines() if "what()" in line), said[-200:]
        )
        finding = finding.removeprefix("what():").strip() or f"it ends with {code}"
        raise DataError(f"{path}: broken parquet: {finding}; write or copy it again")
    _SOUND.add(known)


def read_elsewhere(stream: IO[bytes], path: Path) -> tuple[int, str]:
    """Return how a process that reads the description ends, and what it says."""
    is_plain = getattr(stream, "name", None) is not None
    given: dict[str, Any] = {} if is_plain else {"input": stream.read()}
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path) if is_plain else ""],
        capture_output=True,
        check=False,
        **(given or {"stdin": subprocess.DEVNULL}),
    )
    stream.seek(0)
    return done.returncode, done.stderr.decode(errors="replace")
