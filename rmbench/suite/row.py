"""A row of a data set and where it stands; the rows of a source."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Row", "Rows"]


class Row(NamedTuple):
    """One row and where it stands.

    ``place`` is for error messages; ``part`` the part of the source that it came from, if there are
    several; ``number`` counts from 0 within the part; ``where`` says where it was found (``path``,
    ``config``, ``split``, ``folder``, ``file``), and is one object for the rows of one file.
    """

    place: str
    part: str | None
    number: int
    fields: Mapping[str, Any]
    where: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a source, read again at each iteration.

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
