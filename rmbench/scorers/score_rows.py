"""Files of another program's scores, read row by row.

A file is JSONL with one comparison a line, or one JSON: a list of such rows, or an object with a
list for each of their keys. Each may be gzip'd. What a row may look like stands in
``scorers.score_formats``. RewardBench's result JSON, which has accuracies only, is told apart.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError, ResultError
from rmbench.files import RepeatedKeyError, parse_json
from rmbench.scorers.score_formats import OF_MODEL, ScoreSides, id_of_row, scores_of, texts_of
from rmbench.suite.formats import lines_of, open_bytes

__all__ = ["ScoreRow", "read_score_rows", "read_summary"]

_SCORES: Final = ("scores_chosen", "chosen", "scores")
MAX_LINE_BYTES: Final = 64 * 2**20


class ScoreRow(NamedTuple):
    """One line of scores: where it stands, what it compares, and each model's two sides."""

    place: str
    identity: str | None
    subset: str | None
    scores: Mapping[str | None, ScoreSides]
    texts: tuple[str, str] | None


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each line's place and content."""
    try:
        with open_bytes(path) as stream:
            for number, line in enumerate(lines_of(stream, str(path)), 1):
                if not line.isspace():
                    place = f"{path}, line {number}"
                    yield place, _parse(place, line)
    except (OSError, EOFError, zlib.error) as error:
        finding = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {finding}") from None


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield place and content of each comparison, of one JSON or of a line each."""
    content = _whole(path)
    if isinstance(content, dict) and any(isinstance(content.get(key), list) for key in _SCORES):
        content = _turned(path, content)
        if isinstance(content, list) and all("subset" in row for row in content):
            content = _with_ids(content)
    if not isinstance(content, list):
        yield from _lines(path)
        return
    for number, row in enumerate(content, 1):
        yield f"{path}, entry {number}", row


def _turned(path: Path, columns: Mapping[str, Any]) -> Any:
    """Return the rows of an object of columns; what is no list there is said of all rows.

    One line of two chosen scores looks the same, and has no list of ids.
    """
    lists = {key: value for key, value in columns.items() if isinstance(value, list)}
    if not any(key in lists for key in ("id", "uid", "subset", "results")):
        return columns
    sizes = {len(value) for value in lists.values()}
    if len(sizes) > 1:
        raise DataError(
            f"{path}: scores by column, and the columns are not equally long"
            f" ({', '.join(f'{key} {len(value)}' for key, value in list(lists.items())[:6])});"
            " each needs one entry per comparison"
        )
    named = {OF_MODEL: columns["model"]} if isinstance(columns.get("model"), str) else {}
    return [
        dict(zip(lists, cells, strict=True)) | named for cells in zip(*lists.values(), strict=True)
    ]


def _parse(place: str, line: bytes) -> Any:
    try:
        return parse_json(line.decode())
    except RepeatedKeyError as error:
        raise DataError(f"{place}: {error}; remove one of them") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not JSON: {error}; give a JSONL file of scores") from None


def read_summary(path: Path) -> dict[str, Any] | None:
    """Return RewardBench's result JSON; None for a file of another kind.

    Raises:
        ResultError: a key appears twice in it.
    """
    content = _whole(path)
    is_summary = isinstance(content, dict) and "accuracy" in content and "num_prompts" in content
    return content if is_summary else None


def _whole(path: Path) -> Any:
    """Return what a file of one JSON holds; None for a file of another kind."""
    if ".json" not in path.suffixes:
        return None
    try:
        with open_bytes(path) as stream:
            return parse_json(stream.read(MAX_LINE_BYTES).decode())
    except RepeatedKeyError as error:
        raise ResultError(f"{path}: {error}; remove one of them") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        return None  # read again as lines, which says what is wrong and where


def read_score_rows(path: Path) -> Iterator[ScoreRow]:
    """Yield the scores of each comparison, in the order of the lines.

    Raises:
        DataError: a line is broken, or has a score that is no finite number.
    """
    for place, content in _rows(path):
        if not isinstance(content, dict):
            raise DataError(f"{place}: must be an object with scores")
        subset = content.get("subset")
        if not isinstance(subset, str | None):
            raise DataError(f'{place}: "subset" must be a text')
        yield ScoreRow(
            place,
            id_of_row(place, content, subset),
            subset,
            scores_of(place, content),
            texts_of(content),
        )


def _with_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with their ids as far as these can be trusted.

    Ids that repeat within a subset are counted on where their order leaves one reading; else all
    are left out, so that rows are joined in the order of the data.
    """
    found = []
    for row, identity in zip(rows, _trusted(rows), strict=True):
        rest = {key: value for key, value in row.items() if key not in ("id", "uid")}
        found.append(rest if identity is None else {**rest, "id": identity})
    return found


def _trusted(rows: list[dict[str, Any]]) -> list[str | None]:
    """Return the ids of rows, continued where they repeat; all None where that is ambiguous."""
    places: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        places.setdefault(str(row["subset"]), []).append(number)
    found: list[str | None] = [None] * len(rows)
    for numbers in places.values():
        ids = _mended([str(rows[number].get("uid", rows[number].get("id"))) for number in numbers])
        if ids is None:
            return [None] * len(rows)
        for number, identity in zip(numbers, ids, strict=True):
            found[number] = identity
    return found


def _mended(ids: list[str]) -> list[str] | None:
    """Return a subset's ids, counted on where some repeat; None where they do not say from what."""
    times = Counter(ids)
    if len(times) == len(ids):
        return ids
    once = [(i, name) for i, name in enumerate(ids) if times[name] == 1]
    if not once or not all(name.isdecimal() for name in ids):
        return None
    starts = {int(name) - i for i, name in once}
    if len(starts) != 1:
        return None
    (start,) = starts
    return [str(start + i) for i in range(len(ids))]
