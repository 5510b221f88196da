"""What a model is given, for the questions that it stands for: equal inputs are computed once."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from rmbench.scorers.contract import Ledger

__all__ = ["Inputs"]

Ids = npt.NDArray[np.int32]


class Inputs:
    """Keeps the engine's rewards of distinct inputs in a ledger of questions.

    The engine numbers distinct inputs in the order in which they come up.

    Attributes:
        numbers: for each question the number of its input, equal where inputs are equal; below 0
            for a question without any.
        dropped: questions without an input.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._distinct: dict[bytes, int] = {}
        self._questions: list[list[int]] = []
        self._recorded: set[int] = set()
        self.numbers: list[int] = []
        self.dropped: list[int] = []

    def add(self, chunk: Iterable[Ids | None]) -> None:
        """Take in the token ids of the next questions; None for one that is dropped."""
        for ids in chunk:
            question = len(self.numbers)
            if ids is None:
                self.dropped.append(question)
                self.numbers.append(-1 - question)  # it equals no other
                continue
            number = self._distinct.setdefault(ids.tobytes(), len(self._distinct))
            if number == len(self._questions):
                self._questions.append([])
            self._questions[number].append(question)
            self.numbers.append(number)

    def known(self, number: int) -> float | None:
        """Return what an earlier run recorded for an input; None if nothing."""
        question = self._questions[number][0]
        answer = self._ledger.known(question)
        if not isinstance(answer, float):
            return None
        self._recorded.add(question)
        return answer

    def record(self, rewards: Mapping[int, float]) -> None:
        """Record rewards of inputs for all their questions so far."""
        answers = {
            question: reward
            for number, reward in rewards.items()
            for question in self._questions[number]
        }
        self._recorded |= answers.keys()
        self._ledger.record(answers)

    def record_rest(self, rewards: Mapping[int, float]) -> None:
        """Record what no batch told: questions whose input had been computed by then."""
        self._ledger.record({i: x for i, x in rewards.items() if i not in self._recorded})
