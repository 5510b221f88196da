"""Float32's verdicts in less time: all is scored in half precision, then what is close in float32.

How far half precision is off is measured on a sample of the run's own comparisons. Those whose
margins it could turn are scored again, and what is learnt of its error from them counts too, until
no margin that was left is within the bound. The bound follows from a sample: it is likely, and not
certain, that every comparison that was left ends as in float32.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any, Final

import numpy as np

from rmbench.checkpoint.encode import Encoded
from rmbench.errors import ScorerError
from rmbench.scorers.again import Sides, group, recheck
from rmbench.scorers.classifier import Classifier, Scored, windows
from rmbench.scorers.contract import Answer, Facts, Ledger, ScorerInfo
from rmbench.scorers.inputs import Inputs
from rmbench.suite.comparison import Conversation

__all__ = ["Cascade", "error_bound", "pairs_of"]

EXACT: Final = "float32"
SAMPLE: Final = 32
"""Comparisons, spread over the run, on which the fast precision's error is measured."""
LARGEST: Final = 1.25
USUAL: Final = 4.0
"""The bound is so many times the largest error that was seen, and at least so many times the root
of their mean square: of errors that are normally distributed 1 in 16,000 is larger."""


class Cascade:
    """A classifier in half precision, and the same in float32 for what that leaves open.

    Args:
        fast: loaded in half precision.
        load_exact: loads the same in float32; called once, when it is first needed.
    """

    def __init__(self, fast: Classifier, load_exact: Callable[[], Classifier]) -> None:
        self.fast = fast
        self._load_exact = load_exact
        self._exact: Classifier | None = None
        precision = str(fast.info.settings["dtype"])
        self.precision = precision
        settings = {**fast.info.settings, "dtype": f"cascade-{precision}"}
        self.info: ScorerInfo = replace(fast.info, settings=settings)

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the model's rewards: in float32 for comparisons that half precision leaves open.

        Raises:
            ScorerError: a conversation is too long, the template refuses it, or memory is short.
        """
        weighed: list[bool] = []

        def noted() -> Iterator[Conversation]:
            for conversation in conversations:
                weighed.append(conversation.weighed)
                yield conversation

        kept = _Kept(ledger)
        scored = self.fast.scored(_Once(noted), _InPrecision(kept, self.precision, ledger))
        exact = self._at_hand()
        start = time.perf_counter()
        again = _Again(scored, weighed, _Exactly(exact, kept, scored.encoded))
        with closing(exact.engine):
            again.settle()
        seconds = time.perf_counter() - start
        rewards = again.rewards()
        ledger.record({i: reward for i, reward in enumerate(rewards) if reward is not None})
        facts = scored.facts
        return replace(
            facts,
            audit={**facts.audit, **self._audit(again, rewards, exact)},
            timing=_timing(facts.timing, again.exactly.tokens, seconds, exact.load_seconds),
        )

    def _at_hand(self) -> Classifier:
        if self._exact is None:
            self._exact = self._load_exact()
        return self._exact

    def _audit(
        self, again: "_Again", rewards: Sequence[float | None], exact: Classifier
    ) -> dict[str, Any]:
        """Return what was scored again, and what float32's lone forward says of the whole."""
        encoded = again.scored.encoded
        found = recheck(
            again.pairs,
            rewards,
            lambda numbers: exact.engine.score_alone(_ids(encoded, numbers)),
            tolerance=max(again.bound, exact.engine.proof.tolerance),
        )
        return {"rechecked": found.describe(), "cascade": again.describe(self.precision)}


def _timing(
    fast: Mapping[str, float], tokens: int, seconds: float, load: float
) -> dict[str, float]:
    total = fast["score"] + seconds
    computed = int(fast["tokens_computed"]) + tokens
    return {
        "load": fast["load"] + load,
        "tokenise": fast["tokenise"],
        "score": total,
        "score_again": seconds,
        "tokens": fast["tokens"],
        "tokens_computed": computed,
        "tokens_per_second": fast["tokens"] / total,
    }


# --- what is open --------------------------------------------------------------------------------


def pairs_of(sides: Sides) -> list[tuple[int, int]]:
    """Return the pairs of responses whose order a comparison's credit can hang on.

    With one chosen response it is that against the others; with several, their own order may count.
    """
    chosen, rejected = sides
    if len(chosen) == 1:
        return list(product(chosen, rejected))
    return list(combinations([*chosen, *rejected], 2))


def error_bound(errors: Sequence[float]) -> float:
    """Return how far a margin may be from float32's, after errors of margins that were seen."""
    if not errors:
        return float("inf")
    seen = np.abs(np.array(errors, dtype=np.float64))
    return float(max(LARGEST * seen.max(), USUAL * np.sqrt(np.mean(np.square(seen)))))


@dataclass(slots=True)
class _Again:
    """Which comparisons are scored again, and what came of it.

    Attributes:
        scored: all of them, in half precision.
        weighed: of each conversation, whether its comparison's credit weighs distances.
        exactly: scores conversations in float32.
        pairs: the comparisons.
        exact: rewards in float32 by conversation.
        bound: of a margin's error, after all that was seen.
        errors: of margins of comparisons that were scored again.
        done: comparisons that were scored again, by their place in ``pairs``.
    """

    scored: Scored
    weighed: Sequence[bool]
    exactly: "_Exactly"
    pairs: list[Sides] = field(default_factory=list)
    exact: dict[int, float] = field(default_factory=dict)
    bound: float = float("inf")
    errors: list[float] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def settle(self) -> None:
        """Score again until no margin that is left is within the bound."""
        rewards = self.scored.rewards
        self.pairs = group(self.scored.encoded.keys, rewards)
        total = len(self.pairs)
        paired = {i for pair in self.pairs for side in pair for i in side}
        loose = [i for i, reward in enumerate(rewards) if reward is not None and i not in paired]
        self.exact |= self.exactly.score(loose)  # nobody knows what these are compared with
        first = {i * total // SAMPLE for i in range(SAMPLE)} if total else set()
        first |= {k for k, pair in enumerate(self.pairs) if self.weighed[pair[0][0]]}
        while first:
            numbers = sorted({i for k in first for side in self.pairs[k] for i in side})
            self.exact |= self.exactly.score(numbers)
            self.done |= first
            self.errors += [error for k in sorted(first) for error in self._errors(self.pairs[k])]
            self.bound = error_bound(self.errors)
            first = {k for k in range(total) if k not in self.done and self._is_open(k)}

    def _errors(self, pair: Sides) -> Iterator[float]:
        rewards = self.scored.rewards
        for i, j in pairs_of(pair):
            error = _margin(rewards, i, j) - (self.exact[i] - self.exact[j])
            if np.isfinite(error):
                yield error

    def _is_open(self, number: int) -> bool:
        margins = (_margin(self.scored.rewards, i, j) for i, j in pairs_of(self.pairs[number]))
        return any(not self.bound < abs(margin) < float("inf") for margin in margins)

    def rewards(self) -> list[float | None]:
        """Return the rewards that stand: float32's where there is one."""
        return [self.exact.get(i, reward) for i, reward in enumerate(self.scored.rewards)]

    def describe(self, precision: str) -> dict[str, Any]:
        """Return what the result says of it: which rewards are whose, and what they were before."""
        keys, total = self.scored.encoded.keys, len(self.pairs)
        turned = sum(self._is_turned(self.pairs[k]) for k in self.done)
        before = {
            str(key.comparison): [[self.scored.rewards[i] for i in side] for side in pair]
            for pair in (self.pairs[k] for k in sorted(self.done))
            if (key := keys[pair[0][0]]) is not None
        }
        return {
            "fast": precision,
            "exact": EXACT,
            "comparisons": total,
            "again": len(self.done),
            "share": round(len(self.done) / max(total, 1), 6),
            "bound": round(self.bound, 9) if np.isfinite(self.bound) else None,
            "largest_error": round(max(map(abs, self.errors), default=0.0), 9),
            "turned": turned,
            "fast_rewards": before,
        }

    def _is_turned(self, pair: Sides) -> bool:
        rewards = self.scored.rewards
        return any(
            np.sign(_margin(rewards, i, j)) != np.sign(self.exact[i] - self.exact[j])
            for i, j in pairs_of(pair)
        )


def _margin(rewards: Sequence[float | None], i: int, j: int) -> float:
    first, second = rewards[i], rewards[j]
    assert first is not None and second is not None, "comparisons with a dropped one are left out"
    return first - second


def _ids(encoded: Encoded, numbers: Iterable[int]) -> list[Any]:
    found = [encoded.sequences[i] for i in numbers]
    assert all(ids is not None for ids in found), "no dropped one is scored again"
    return found


class _Exactly:
    """Scores conversations of a run in float32, each once.

    Attributes:
        tokens: that were computed.
    """

    def __init__(self, exact: Classifier, kept: "_Kept", encoded: Encoded) -> None:
        self._exact, self._kept, self._encoded = exact, kept, encoded
        self._known: dict[int, float] = {}
        self.tokens = 0

    def score(self, numbers: Sequence[int]) -> dict[int, float]:
        """Return rewards by the numbers of their conversations."""
        fresh = [i for i in numbers if i not in self._known]
        if fresh:
            sequences = _ids(self._encoded, fresh)
            inputs = Inputs(_InPrecision(self._kept, EXACT, None, fresh))
            inputs.add(sequences)
            engine = self._exact.engine
            engine.kept = inputs
            scoring = engine.score_windows(windows(sequences))
            engine.kept = None
            self.tokens += scoring.tokens_computed
            found = dict(zip(fresh, map(float, scoring.rewards), strict=True))
            odd = next((x for x in found.values() if not np.isfinite(x)), None)
            if odd is not None:
                raise ScorerError(f"a reward is {odd} in float32; are the weights damaged?")
            self._known |= found
            inputs.record_rest(dict(enumerate(found.values())))
        return {i: self._known[i] for i in numbers}


# --- what is kept --------------------------------------------------------------------------------


class _Once:
    """Conversations that are gone through by way of a function."""

    def __init__(self, walk: Callable[[], Iterator[Conversation]]) -> None:
        self._walk = walk

    def __iter__(self) -> Iterator[Conversation]:
        return self._walk()


class _Kept:
    """Rewards by precision, kept beside the answers, so that a killed run goes on where it was."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._own: dict[int, dict[str, float]] = {}

    def read(self, number: int) -> dict[str, float]:
        """Return the rewards of a question by precision."""
        if number in self._own:
            return self._own[number]
        text = self._ledger.reply(number)
        try:
            found = {} if text is None else json.loads(text)
            return {str(name): float(value) for name, value in found.items()}
        except (ValueError, TypeError, AttributeError):
            return {}  # of another form: computed again

    def add(self, precision: str, rewards: Mapping[int, float]) -> None:
        """Keep rewards of a precision beside those of the other."""
        self._own |= {i: self.read(i) | {precision: reward} for i, reward in rewards.items()}
        self._ledger.keep({i: json.dumps(self._own[i]) for i in rewards})


class _InPrecision:
    """A ledger of the rewards in one precision, of all questions or some.

    Args:
        kept: the rewards of both.
        precision: which is meant.
        ledger: gets the answers as well, for the progress; None for nowhere.
        numbers: the questions that are meant by 0, 1, and so on; None for all.
    """

    def __init__(
        self,
        kept: _Kept,
        precision: str,
        ledger: Ledger | None,
        numbers: Sequence[int] | None = None,
    ) -> None:
        self._kept, self._precision = kept, precision
        self._ledger, self._numbers = ledger, numbers

    def known(self, number: int) -> Answer | None:
        """Return the reward that an earlier run kept in this precision."""
        return self._kept.read(self._number(number)).get(self._precision)

    def record(self, answers: Mapping[int, Answer]) -> None:
        """Keep rewards."""
        rewards = {self._number(i): x for i, x in answers.items() if isinstance(x, float)}
        self._kept.add(self._precision, {i: x for i, x in rewards.items() if np.isfinite(x)})
        if self._ledger is not None:
            self._ledger.record(rewards)

    def _number(self, number: int) -> int:
        return number if self._numbers is None else self._numbers[number]

    def reply(self, number: int) -> str | None:
        """Return nothing: rewards have no replies."""
        return None

    def keep(self, replies: Mapping[int, str]) -> None:
        """Do nothing."""
