"""Judgements to and from a file: one line of JSON for each comparison.

    {"id": "hep-rust/12", "chosen": [1.25], "rejected": [-0.5]}                       rewards
    {"id": "gsm8k/3", "chosen": [[0.9, 0.8]], "rejected": [[0.9, 0.1, 0.2]]}          of steps
    {"id": "qa/7", "sides": [1, 1], "preferences": [[[0, 1], [0.7, 0.3]], [[1, 0], null]]}

Numbers are float32, as the shortest decimal that reads back; null stands where there is no answer.
In a preference the responses are numbered, the chosen ones first, and stand as they were shown.
``"cluster"``, a whole number behind the id, is shared by comparisons that were sampled together;
files of earlier releases have none.
"""

import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, NotRequired

import numpy as np
from annotated_types import Ge, Lt, MinLen
from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from rmbench.answers.judgements import Judgement, Judgements, Preference, Value
from rmbench.errors import ResultError
from rmbench.files import RepeatedKeyError, parse_json

__all__ = ["judgement_line", "read_judgements"]

MAX_LINE_BYTES: Final = 1_000_000
MAX_SIDE: Final = 10_000
_LARGEST: Final = float(np.finfo(np.float32).max)
# Made once: json.dumps would make one for every line.
_LINE: Final = json.JSONEncoder(ensure_ascii=False)


def judgement_line(item: Judgement) -> str:
    """Return the line of a comparison as it stands in a file of judgements."""
    if item.preferences:
        content: dict[str, Any] = {"sides": [len(item.chosen), len(item.rejected)]}
        content["preferences"] = [
            [list(order), None if shares is None else [_number(share) for share in shares]]
            for order, shares in item.preferences
        ]
    else:
        content = {"chosen": _side(item.chosen), "rejected": _side(item.rejected)}
    head: dict[str, Any] = {"id": item.id}
    if item.cluster is not None:
        head["cluster"] = item.cluster
    if item.faulty is not None:
        head["faulty"] = list(item.faulty)
    return _LINE.encode(head | content) + "\n"


def _side(values: Sequence[Value]) -> list[Any]:
    return [
        [_number(step) for step in value] if isinstance(value, tuple) else _number(value)
        for value in values
    ]


def _number(value: float | None) -> float | None:
    """Return a float32 as the double that prints as the float32's shortest decimal."""
    return None if value is None else float(str(np.float32(value)))


def read_judgements(path: Path, *, reduce: str = "min") -> Judgements:
    """Read the judgements that belong to the record at ``path`` (its ``.json``), in their order.

    Args:
        path: of the record; the judgements stand beside it, in a ``.jsonl``.
        reduce: how rewards of steps become one reward.

    Raises:
        ResultError: there are none, or a line is broken; the message names file and line.
    """
    file = path.with_suffix(".jsonl")
    plain = _read_plain(file)
    if plain is not None:
        return plain
    found: dict[str, Judgement] = {}
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(_lines(stream, file), 1):
                item = _read_line(f"{file}, line {number}", line)
                if found.setdefault(item.id, item) is not item:
                    raise ResultError(
                        f'{file}, line {number}: "{item.id}" is in an earlier line too;'
                        " run it again"
                    )
    except OSError as error:
        raise ResultError(
            f"{file}: cannot be read: {error.strerror or error}; the rewards stand beside their"
            " record"
        ) from None
    entries = list(found.values())
    if len({_kind(item) for item in entries}) > 1:
        raise ResultError(f"{file}: holds rewards, steps and preferences at once; run it again")
    return Judgements.of(entries, reduce=reduce)


@with_config(strict=True, extra="forbid", allow_inf_nan=False)
class _Plain(TypedDict):
    id: str
    cluster: NotRequired[Annotated[int, Ge(0), Lt(2**62)]]
    chosen: Annotated[list[float | None], MinLen(1)]
    rejected: Annotated[list[float | None], MinLen(1)]


@cache
def _plain_lines() -> "TypeAdapter[list[_Plain]]":
    return TypeAdapter(list[_Plain])


def _read_plain(file: Path) -> Judgements | None:
    """Return a file of rewards alone, read as a whole and ten times as fast as line by line.

    Returns:
        None for any other file, and for one in which something is wrong: which line it is, and
        what is wrong with it, is told by reading line by line.
    """
    try:
        content = file.read_bytes()
        lines = content.splitlines()
        keys = [b'"id":', b'"chosen":', b'"rejected":']
        keys += [b'"cluster":'] if b'"cluster":' in content else []
        # Every line needs all keys, so that no key appears twice where there are no more of it.
        if {content.count(key) for key in keys} != {len(lines)}:
            return None
        items = _plain_lines().validate_json(b"[" + b",".join(lines) + b"]")
    except (OSError, ValueError):
        return None
    found = _in_columns(items)
    is_sound = len(items) == len(lines) and len(set(found.ids)) == len(items)
    is_sound = is_sound and max(map(len, lines), default=0) <= MAX_LINE_BYTES
    return found if is_sound and not np.isinf(found.rewards).any() else None


def _in_columns(items: Sequence[_Plain]) -> Judgements:
    values = [value for item in items for value in (*item["chosen"], *item["rejected"])]
    with np.errstate(over="ignore"):
        rewards = np.array(
            [math.nan if value is None else value for value in values], np.float64
        ).astype(np.float32)
    sides = [(len(item["chosen"]), len(item["rejected"])) for item in items]
    found = Judgements([item["id"] for item in items], sides, rewards)
    clusters = [item["cluster"] for item in items if "cluster" in item]
    return found.in_clusters(clusters) if clusters else found


def _kind(item: Judgement) -> str:
    if item.preferences:
        return "preferences"
    values = (*item.chosen, *item.rejected)
    return "steps" if any(isinstance(value, tuple) for value in values) else "rewards"


def _lines(stream: Any, file: Path) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise ResultError(f"{file}: a line longer than {MAX_LINE_BYTES} bytes")
        yield line


def _read_line(place: str, line: bytes) -> Judgement:
    try:
        item = parse_json(line.decode())
        identity, cluster = item["id"], item.get("cluster")
        if "preferences" in item:
            found = _preferences(place, identity, item["sides"], item["preferences"])
            return found._replace(cluster=_cluster(place, cluster))
        chosen, rejected = item["chosen"], item["rejected"]
    except RepeatedKeyError as error:
        raise ResultError(f"{place}: {error}; run it again") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ResultError(f"{place}: must be an object with id, chosen and rejected") from None
    faulty = _faulty(place, item.get("faulty"))
    sides = [chosen] if faulty is not None and rejected == [] else [chosen, rejected]
    if not isinstance(identity, str) or not all(_is_side(side) for side in sides):
        raise ResultError(f"{place}: id must be a text, each side a list of finite numbers or null")
    number = _cluster(place, cluster)
    return Judgement(identity, _values(chosen), _values(rejected), (), number, faulty)


def _faulty(place: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, list) and all(type(i) is int and 0 <= i < MAX_SIDE for i in value):
        return tuple(value)
    raise ResultError(f"{place}: faulty must be a list of numbers of steps; run it again")


def _cluster(place: str, value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value < 2**62):
        return value
    raise ResultError(f"{place}: cluster must be a whole number; run it again")


def _single(value: float) -> float:
    """Return the float32 that a number of a record stands for, as answers have it."""
    return float(np.float32(value))


def _values(side: list[Any]) -> tuple[Value, ...]:
    return tuple([tuple(map(_single, v)) if isinstance(v, list) else v for v in side])


def _is_side(side: Any) -> bool:
    return isinstance(side, list) and bool(side) and all(_is_value(value) for value in side)


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_number(step) for step in value)
    return value is None or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _LARGEST


def _preferences(place: str, identity: Any, sides: Any, asked: Any) -> Judgement:
    finding = (
        f"{place}: sides must be two counts, and each of preferences the numbers of responses as"
        " shown and their shares or null; run it again"
    )
    if not isinstance(identity, str) or not _are_counts(sides) or not isinstance(asked, list):
        raise ResultError(finding)
    total = sum(sides)
    if not asked or not all(_is_preference(item, total) for item in asked):
        raise ResultError(finding)
    preferences = tuple(
        Preference(tuple(order), None if shares is None else tuple(map(_single, shares)))
        for order, shares in asked
    )
    return Judgement(identity, (None,) * sides[0], (None,) * sides[1], preferences)


def _are_counts(sides: Any) -> bool:
    return (
        isinstance(sides, list)
        and len(sides) == 2
        and all(type(count) is int and 1 <= count <= MAX_SIDE for count in sides)
    )


def _is_preference(item: Any, total: int) -> bool:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], list):
        return False
    order, shares = item
    numbers = {number for number in order if type(number) is int and 0 <= number < total}
    if len(order) < 2 or len(numbers) != len(order):
        return False
    if shares is None:
        return True
    is_list = isinstance(shares, list) and len(shares) == len(order)
    return is_list and all(_is_number(share) and 0 <= share <= 1 for share in shares)
