"""What each comparison was given: kept small in memory, and to and from files."""

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np

from rmbench.errors import ResultError
from rmbench.files import RepeatedKeyError, parse_json

__all__ = ["RewardTable", "Rewards", "read_rewards", "reward_line"]

MAX_LINE_BYTES: Final = 1_000_000
# Made once: json.dumps would make one for every line.
_LINE: Final = json.JSONEncoder(ensure_ascii=False)


class Rewards(NamedTuple):
    """The rewards of one comparison; None stands for a dropped conversation."""

    id: str
    chosen: tuple[float | None, ...]
    rejected: tuple[float | None, ...]

    @property
    def is_dropped(self) -> bool:
        """Whether any side has no reward; then the comparison counts nowhere."""
        return None in self.chosen or None in self.rejected


class RewardTable(Sequence[Rewards]):
    """The rewards of a run at four bytes each; an entry is made when it is asked for.

    Equal to any sequence of the same entries. A list of a million entries would take 300 MB.
    """

    def __init__(
        self, ids: Sequence[str], sides: Sequence[tuple[int, int]], values: "array[float]"
    ) -> None:
        """Keep the columns.

        Args:
            ids: of each comparison.
            sides: number of chosen and of rejected responses of each comparison.
            values: the rewards in float32 (type code ``f``), chosen before rejected, comparison by
                comparison; NaN for a dropped conversation.
        """
        self._ids, self._sides, self._values = ids, sides, values
        self._starts = array("q", accumulate((sum(side) for side in sides), initial=0))

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Rewards: ...
    @overload
    def __getitem__(self, index: slice) -> list[Rewards]: ...
    def __getitem__(self, index: int | slice) -> Rewards | list[Rewards]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start, end = self._starts[number : number + 2]
        middle = start + self._sides[number][0]
        chosen, rejected = self._values[start:middle], self._values[middle:end]
        return Rewards(self._ids[number], _with_gaps(chosen), _with_gaps(rejected))

    def __iter__(self) -> Iterator[Rewards]:
        values = (None if math.isnan(value) else value for value in self._values)
        for identity, (num_chosen, num_rejected) in zip(self._ids, self._sides, strict=True):
            chosen = tuple(islice(values, num_chosen))
            yield Rewards(identity, chosen, tuple(islice(values, num_rejected)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def _with_gaps(values: Iterable[float]) -> tuple[float | None, ...]:
    return tuple([None if math.isnan(value) else value for value in values])


# --- files -------------------------------------------------------------------------------------


def reward_line(item: Rewards) -> str:
    """Return the line of a comparison as it stands in a file of rewards."""
    sides = {"chosen": _numbers(item.chosen), "rejected": _numbers(item.rejected)}
    return _LINE.encode({"id": item.id} | sides) + "\n"


def _numbers(rewards: Iterable[float | None]) -> list[float | None]:
    """Return float32 rewards as doubles that print as the float32's shortest decimal."""
    return [None if reward is None else float(str(np.float32(reward))) for reward in rewards]


def read_rewards(path: Path) -> list[Rewards]:
    """Read the rewards that belong to the record at ``path`` (its ``.json``), in their order.

    Raises:
        ResultError: there are none, or a line is broken; the message names file and line.
    """
    file = path.with_suffix(".jsonl")
    rewards: dict[str, Rewards] = {}
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(_lines(stream, file), 1):
                item = _read_line(f"{file}, line {number}", line)
                if rewards.setdefault(item.id, item) is not item:
                    raise ResultError(
                        f'{file}, line {number}: "{item.id}" stands in an earlier line too;'
                        " run it again"
                    )
    except OSError as error:
        raise ResultError(
            f"{file}: cannot be read: {error.strerror or error}; the rewards stand beside their"
            " record"
        ) from None
    return list(rewards.values())


def _lines(stream: Any, file: Path) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise ResultError(f"{file}: a line longer than {MAX_LINE_BYTES} bytes")
        yield line


def _read_line(place: str, line: bytes) -> Rewards:
    try:
        item = parse_json(line.decode())
        identity, chosen, rejected = item["id"], item["chosen"], item["rejected"]
    except RepeatedKeyError as error:
        raise ResultError(f"{place}: {error}; run it again") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ResultError(f"{place}: must be an object with id, chosen and rejected") from None
    sides = [chosen, rejected]
    if not isinstance(identity, str) or not all(_is_side(side) for side in sides):
        raise ResultError(f"{place}: id must be a text, each side a list of finite numbers or null")
    return Rewards(identity, tuple(chosen), tuple(rejected))


def _is_side(side: Any) -> bool:
    return isinstance(side, list) and bool(side) and all(_is_reward(value) for value in side)


def _is_reward(value: Any) -> bool:
    if value is None:
        return True
    return type(value) in (int, float) and abs(value) <= float(np.finfo(np.float32).max)
