"""What judges' replies come to: counts of all that was said, and how far identical runs agree."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import variance
from typing import Any

from rmbench.scorers.verdict import Reply, VerdictRule, is_bounded
from rmbench.suite.comparison import Key

__all__ = ["Tally"]

ReplyReading = tuple[float, ...] | str


class Tally:
    """Counts replies; a question is settled once, when all its samples are there.

    Attributes:
        questions: settled so far.
        unanswered: why a question has no answer, by its number.
    """

    def __init__(self, *, runs: int, samples: int) -> None:
        self.runs = runs
        self.samples = samples
        self.questions = 0
        self.unanswered: dict[int, str] = {}
        self._said: Counter[str] = Counter()
        self._places: Counter[str] = Counter()
        self._tokens = [0, 0]
        self._bounded = 0
        self._mass: list[float] = []
        self._pairs = self._equal = 0
        self._right = [0.0] * runs
        self._judged = [0] * runs
        self._within = 0.0

    def count(self, sample: Reply, verdict: VerdictRule) -> None:
        """Count the tokens of a reply, and whether a label was missing in it."""
        for i, tokens in enumerate(sample.tokens[:2]):
            self._tokens[i] += tokens
        self._bounded += is_bounded(verdict, sample)

    def settle(
        self, number: int, readings: Sequence[ReplyReading], keys: Sequence[Key]
    ) -> tuple[float, ...] | None:
        """Return what the samples of a question's first run say together; None for nothing.

        Args:
            number: of the question.
            readings: of all samples, run by run.
            keys: which responses were shown.
        """
        self.questions += 1
        answers = [
            self._answer(readings[start : start + self.samples])
            for start in range(0, len(readings), self.samples)
        ]
        for reading in readings:
            self._said["read" if isinstance(reading, tuple) else reading] += 1
        self._compare(answers, keys)
        first = answers[0]
        if isinstance(first, str):
            self.unanswered[number] = first
            return None
        if len(first) > 1:
            best = [i for i, share in enumerate(first) if share == max(first)]
            self._places["tie" if len(best) > 1 else str(best[0] + 1)] += 1
        return first

    def _answer(self, readings: Sequence[ReplyReading]) -> ReplyReading:
        """Return the mean of the samples that could be read, or why there is none."""
        failed = [r for r in readings if isinstance(r, str) and r.startswith("failed")]
        read = [reading for reading in readings if isinstance(reading, tuple)]
        if failed:  # another run can still have it
            return failed[0]
        if not read:
            return Counter(map(str, readings)).most_common(1)[0][0]
        return tuple(sum(column) / len(read) for column in zip(*read, strict=True))

    def _compare(self, answers: Sequence[ReplyReading], keys: Sequence[Key]) -> None:
        """Count how many pairs of identical runs say the same, and how often each is right."""
        for one, other in combinations(answers, 2):
            self._pairs += 1
            self._equal += _verdict(one) == _verdict(other)
        sides = [key.side for key in keys]
        if sorted(sides) == ["chosen", "rejected"]:
            place = sides.index("chosen")
            shares = [answer[place] if isinstance(answer, tuple) else 0.0 for answer in answers]
            right = [(share > 0.5) + (share == 0.5) / 2 for share in shares]
            self._right = [total + one for total, one in zip(self._right, right, strict=True)]
            self._judged = [number + 1 for number in self._judged]
            self._within += variance(right) if len(right) > 1 else 0.0

    def failures(self) -> Mapping[str, int]:
        """Return how many samples never came, by what went wrong."""
        prefix = "failed: "
        return {k.removeprefix(prefix): n for k, n in self._said.items() if k.startswith(prefix)}

    def tokens(self) -> dict[str, float]:
        """Return the tokens of all prompts and replies, as the server counts them."""
        return {"prompt_tokens": self._tokens[0], "completion_tokens": self._tokens[1]}

    def audit(self) -> dict[str, Any]:
        """Return the counts for a result: replies, places, and the agreement of identical runs."""
        found: dict[str, Any] = {"replies": dict(sorted(self._said.items()))}
        if self._bounded:
            found["replies"]["label missing"] = self._bounded
        if self._places:
            found["places"] = dict(sorted(self._places.items()))
        if self.runs > 1:
            found["repeats"] = {
                "runs": self.runs,
                "agreement": round(self._equal / max(self._pairs, 1), 6),
            }
            if all(self._judged):
                shares = [n / of for n, of in zip(self._right, self._judged, strict=True)]
                found["repeats"]["accuracies"] = [round(share, 6) for share in shares]
                found["repeats"]["spread"] = round(max(shares) - min(shares), 6)
                # Of one run's accuracy, from run to run on the same questions.
                deviation = math.sqrt(self._within) / self._judged[0]
                found["repeats"]["deviation"] = round(deviation, 6)
        return found


def _verdict(answer: ReplyReading) -> object:
    """Return what two runs must share to agree: the best places, or the rating itself."""
    if isinstance(answer, str) or len(answer) == 1:
        return answer
    return [share == max(answer) for share in answer]
