"""Answers kept as they come: a killed run goes on where it was, a finished one costs nothing.

Answers belong to a run: one scorer with its options on the questions of one suite. They stand in
the user's cache under a key made of what tells this run from every other, so that another release,
model, option or text finds none of them; a row that is damaged, or of another form, is a miss.
"""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from rmbench.cache import SCORING_VERSION, Cache, make_key
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Answer, Facts, Identity, Progress, ScorerInfo

__all__ = ["Finished", "RunKeys", "RunLedger", "keys_of"]

_REWARD: Final = b"r"
_SEVERAL: Final = b"s"
_MOST_SEVERAL: Final = 100_000


class RunKeys(NamedTuple):
    """Where the replies, the answers and the facts of a run stand in the cache."""

    replies: bytes
    answers: bytes
    facts: bytes


class Finished(NamedTuple):
    """What a finished run left besides its answers."""

    info: ScorerInfo
    facts: Facts


def keys_of(identity: Identity | None, questions: str) -> RunKeys | None:
    """Return the keys of a run; None where nothing tells its scorer from another.

    Args:
        identity: of the scorer.
        questions: what tells its questions from all others.
    """
    if identity is None:
        return None
    replies = make_key(SCORING_VERSION, questions, identity.replies)
    answers = make_key(replies, identity.answers)
    return RunKeys(replies, answers, make_key(answers, identity.facts))


class RunLedger:
    """The answers of one run, in memory and, where it has keys and a cache, on disk.

    Attributes:
        taken_up: how many answers an earlier run left.
    """

    def __init__(
        self,
        total: int,
        *,
        cache: Cache | None = None,
        keys: RunKeys | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Take up what an earlier run left.

        Args:
            total: number of questions.
            cache: where answers are kept; None for nowhere.
            keys: of the run; None for one that cannot be told from others.
            progress: called with the number of answers there are, and of all questions.
        """
        self._total, self._progress = total, progress
        self._cache = None if keys is None else cache
        self._keys = keys
        self._rewards: npt.NDArray[np.float64] = np.full(total, np.nan)
        self._several: dict[int, tuple[float, ...]] = {}
        self._earlier: dict[int, Answer] = {}
        self._replies: dict[int, str] = {}
        self._done: npt.NDArray[np.bool_] = np.zeros(total, dtype=np.bool_)
        if cache is not None and keys is not None:
            self._take_up(cache, keys)
        self.taken_up = len(self._earlier)

    def _take_up(self, cache: Cache, keys: RunKeys) -> None:
        for number, row in cache.get_rows("answers", keys.answers).items():
            answer = _unpack(row)
            if answer is not None and 0 <= number < self._total:
                self._earlier[number] = answer
        for number, reply in cache.get_rows("replies", keys.replies).items():
            if isinstance(reply, str) and 0 <= number < self._total:
                self._replies[number] = reply

    def known(self, number: int) -> Answer | None:
        """Return the answer that an earlier run recorded; None if there is none."""
        answer = self._earlier.get(number)
        if answer is not None:
            self._put(number, answer)
        return answer

    def record(self, answers: Mapping[int, Answer]) -> None:
        """Keep answers, all or none; those that are no finite numbers are not kept on disk.

        Raises:
            ScorerError: a number belongs to no question, or an answer is no number.
        """
        if not answers:
            return
        for number, answer in answers.items():
            self._put(number, answer)
        if self._cache is not None and self._keys is not None:
            rows = {i: _pack(answer) for i, answer in answers.items() if _is_finite(answer)}
            self._cache.put_rows("answers", self._keys.answers, rows)
        if self._progress is not None:
            self._progress(int(self._done.sum()), self._total)

    def _put(self, number: int, answer: Answer) -> None:
        if not 0 <= number < self._total:
            raise ScorerError(
                f"an answer to question {number}, where there are {self._total}; a scorer numbers"
                " its questions from 0 on"
            )
        self._done[number] = True
        if isinstance(answer, tuple | list):
            self._several[number] = tuple(float(value) for value in answer)
        else:
            try:
                self._rewards[number] = answer
            except (TypeError, ValueError):
                raise ScorerError(
                    f"the answer to question {number} is {type(answer).__name__};"
                    " an answer is a number, or a tuple of numbers"
                ) from None

    def reply(self, number: int) -> str | None:
        """Return the reply that an earlier run kept; None if there is none."""
        return self._replies.get(number)

    def keep(self, replies: Mapping[int, str]) -> None:
        """Keep replies, all of them or none."""
        self._replies |= replies
        if self._cache is not None and self._keys is not None:
            self._cache.put_rows("replies", self._keys.replies, replies)

    def forget(self) -> None:
        """Forget all answers, in memory and on disk: what follows is asked again."""
        if self._cache is not None and self._keys is not None:
            self._cache.forget(self._keys.answers)
        self._rewards.fill(np.nan)
        self._done.fill(False)
        self._several, self._earlier = {}, {}
        self.taken_up = 0

    # --- the whole run ---------------------------------------------------------------------------

    def get(self, number: int) -> Answer | None:
        """Return the answer to a question, of this run or an earlier one; None without any."""
        if number in self._several:
            return self._several[number]
        if self._done[number]:
            return float(self._rewards[number])
        return self._earlier.get(number)

    def rewards(self) -> npt.NDArray[np.float64]:
        """Return the reward of every question; NaN where there is none.

        Raises:
            ScorerError: an answer has several numbers.
        """
        for number in self._several:
            raise ScorerError(f"the answer to question {number} has several numbers, not one")
        rewards = self._rewards.copy()
        for number, answer in self._earlier.items():
            if not self._done[number] and isinstance(answer, float):
                rewards[number] = answer
        return rewards

    def answered(self) -> npt.NDArray[np.bool_]:
        """Return which questions have an answer, shape (number of questions,)."""
        answered = self._done.copy()
        answered[list(self._earlier)] = True
        return answered

    def finished(self) -> Finished | None:
        """Return what this very run left when it was finished before; None if it was not."""
        if self._cache is None or self._keys is None:
            return None
        content = self._cache.get_run(self._keys.facts)
        found = None if content is None else _read(content)
        if found is None:
            return None
        answered = self._earlier.keys() | found.facts.unanswered.keys()
        return found if len(answered) == self._total else None

    def finish(self, info: ScorerInfo, facts: Facts) -> None:
        """Keep what happened on the way, now that every question has been asked."""
        if self._cache is None or self._keys is None:
            return
        content = {"info": asdict(info), "facts": asdict(facts)}
        self._cache.put_run(self._keys.facts, json.dumps(content, default=_plain).encode())


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's."""
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _is_finite(answer: Answer) -> bool:
    values = answer if isinstance(answer, tuple | list) else (answer,)
    return all(math.isfinite(value) for value in values)


def _pack(answer: Answer) -> bytes:
    if isinstance(answer, tuple | list):
        return _SEVERAL + struct.pack(f"<{len(answer)}d", *answer)
    return _REWARD + struct.pack("<d", answer)


def _unpack(row: Any) -> Answer | None:
    """Return an answer as it was kept; None for anything else that a file may hold."""
    if not isinstance(row, bytes) or len(row) % 8 != 1 or len(row) > 8 * _MOST_SEVERAL:
        return None
    kind, values = row[:1], struct.unpack(f"<{len(row) // 8}d", row[1:])
    if not all(map(math.isfinite, values)):
        return None
    if kind == _REWARD and len(values) == 1:
        return float(values[0])
    return values if kind == _SEVERAL and values else None


def _read(content: bytes) -> Finished | None:
    """Return what a finished run left; None where it is not what this release writes."""
    try:
        kept = json.loads(content)
        info, facts = kept.pop("info"), kept.pop("facts")
        ScorerInfo(**info)  # refuses names that it does not have
        Facts(**facts)
        found = Finished(_INFO.validate_python(info), _FACTS.validate_python(facts))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
        return None
    return None if kept else found


_INFO: Final = TypeAdapter(ScorerInfo)
_FACTS: Final = TypeAdapter(Facts)
