"""What another program wrote of its scores, read line by line and checked.

Three kinds of file are read, each also gzip'd:

* JSONL with the scores of one comparison a line: ``{"chosen": 1.5, "rejected": -0.5}`` (numbers, or
  lists of them), RewardBench's ``*_outputs.jsonl`` with ``scores_chosen`` and ``scores_rejected``,
  or ``{"scores": {"model": [1.5, -0.5]}}``, the chosen response first, for several models at once.
  A line names its comparison by ``uid``, or by ``id`` with an optional ``subset``; lines without
  either are taken in the order of the suite's data.
* The same as one JSON file: a list of such lines, or an object with a list for each of their keys,
  as RewardBench's scripts write it.
  Of RewardBench 2 a row has ``scores``, the right answers' first, and ``num_correct``. JudgeBench's
  outputs of reward models have both scores of a pair, and its label.
* RewardBench's result JSON, which has accuracies only: it becomes a published result.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from rmbench.errors import DataError, ResultError
from rmbench.files import RepeatedKeyError, parse_json
from rmbench.suite.formats import lines_of, open_bytes

__all__ = ["ScoreRow", "Sides", "read_score_rows", "read_summary"]

SHOWN: Final = 60
OF_MODEL: Final = "model of all rows"
_SCORES: Final = ("scores_chosen", "chosen", "scores")
MAX_LINE_BYTES: Final = 64 * 2**20
Sides = tuple[tuple[float, ...], tuple[float, ...]]


class ScoreRow(NamedTuple):
    """One line of scores: where it stands, what it compares, and each model's two sides."""

    place: str
    identity: str | None
    subset: str | None
    scores: Mapping[str | None, Sides]
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
        ResultError: a key stands twice in it.
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
            _identity(place, content, subset),
            subset,
            _scores(place, content),
            _texts(content),
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
    """Return the ids of rows, mended where they repeat; all None where that has not one reading."""
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


def _identity(place: str, content: Mapping[str, Any], subset: str | None) -> str | None:
    value = content.get("uid", content.get("id"))
    if value is None and "judgments" in content:  # JudgeBench's outputs
        parts = [content.get(key) for key in ("response_model", "source", "pair_id")]
        return "/".join(map(str, parts)) if all(parts) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{place}: an id must be a text or a whole number")
    identity = str(value)
    is_whole = subset is None or identity.startswith(f"{subset}/")
    return identity if is_whole else f"{subset}/{identity}"


def _texts(content: Mapping[str, Any]) -> tuple[str, str] | None:
    chosen, rejected = content.get("text_chosen"), content.get("text_rejected")
    return (chosen, rejected) if isinstance(chosen, str) and isinstance(rejected, str) else None


def _scores(place: str, content: Mapping[str, Any]) -> dict[str | None, Sides]:
    if "judgments" in content:
        return _of_judgebench(place, content)
    by_model = content.get("scores")
    if isinstance(by_model, list) and "num_correct" in content:
        return {_model(content): _right_first(place, by_model, content["num_correct"])}
    if isinstance(by_model, dict) and by_model:
        return {name: _split(place, name, values) for name, values in by_model.items()}
    for chosen, rejected in (("scores_chosen", "scores_rejected"), ("chosen", "rejected")):
        if chosen in content and rejected in content:
            sides = (content[chosen], content[rejected])
            return {
                _model(content): (_side(place, chosen, sides[0]), _side(place, rejected, sides[1]))
            }
    raise DataError(
        f"{place}: no scores; it needs chosen and rejected, scores_chosen and scores_rejected, or"
        " scores by model"
    )


def _model(content: Mapping[str, Any]) -> str | None:
    name = content.get(OF_MODEL)
    return name if isinstance(name, str) and name.strip() else None


def _right_first(place: str, scores: list[Any], right: Any) -> Sides:
    """Return both sides of RewardBench 2's scores, of which the right answers' come first."""
    if type(right) is not int or not 0 < right < len(scores):
        raise DataError(f"{place}: num_correct must be from 1 to {len(scores) - 1}; copy it again")
    return _side(place, "scores", scores[:right]), _side(place, "scores", scores[right:])


def _of_judgebench(place: str, content: Mapping[str, Any]) -> dict[str | None, Sides]:
    """Return the scores of JudgeBench's first game of a pair, A's before B's."""
    try:
        game = content["judgments"][0]["judgment"]
        first, second = game["scores"]
        name = game["judge_model"]
    except (KeyError, IndexError, TypeError, ValueError):
        raise DataError(
            f"{place}: no scores of two responses in judgments; only outputs of reward models have"
            " them"
        ) from None
    if content.get("label") not in ("A>B", "B>A"):
        raise DataError(f'{place}: label must be "A>B" or "B>A"')
    sides = (first, second) if content["label"] == "A>B" else (second, first)
    return {str(name): (_side(place, "scores", sides[0]), _side(place, "scores", sides[1]))}


def _split(place: str, model: str, values: Any) -> Sides:
    """Return both sides of a list whose first score is the chosen response's."""
    if not isinstance(values, list) or len(values) < 2:
        raise DataError(f'{place}: scores of "{model}" must be a list, the chosen one first')
    return _side(place, model, values[:1]), _side(place, model, values[1:])


def _side(place: str, name: str, value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise DataError(f'{place}: "{name}" is empty; each side needs a score')
    # RewardBench writes [[x]] for models with a head of their own.
    values = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in values]
    return tuple(_score(place, name, item) for item in values)


def _short(value: Any) -> str:
    """Return what was found, as far as it fits into a line: a "score" can be a page of text."""
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} …"


def _score(place: str, name: str, value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= float(np.finfo(np.float32).max):
        raise DataError(
            f'{place}: "{name}" has the score {_short(value)}; every score must be a finite number,'
            " since a missing one is neither won nor lost: score again, or remove the line"
        )
    # As rmbench records rewards, and by which it tells a tie.
    return float(np.float32(value))
