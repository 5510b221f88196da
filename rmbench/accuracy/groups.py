"""Rules on several comparisons together: the number of a subset that is no mean of credits.

Each such number is a closed function of ratios of sums over comparisons (accuracies, F1), so that
what one comparison adds to it is known: its value in ``Whole.values``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rmbench.answers.judgements import Judgements
from rmbench.errors import ResultError, ScorerError
from rmbench.suite.definition import Credit

__all__ = ["GROUP_RULES", "Whole"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Combine = Callable[[Floats], tuple[float, Floats]]
"""Ratios → the number, and its derivative by each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Comparisons that are judged together.

    Attributes:
        indices: where they stand among all comparisons, shape (n,).
        above, below: what each adds to the numerator and the denominator of each ratio, (n, k).
        combine: the ratios → the number.
        hits: which comparisons were right by themselves, shape (n,).
        ties: which were tied, shape (n,).
        span: what the number may reach at the least and at the most.
    """

    indices: Ints
    above: Floats
    below: Floats
    combine: Combine
    hits: npt.NDArray[np.bool_]
    ties: npt.NDArray[np.bool_]
    span: tuple[float, float] = (0.0, 1.0)

    def number(self, mask: npt.NDArray[np.bool_]) -> float:
        """Return the number of the comparisons for which ``mask`` is true; 0 / 0 counts 0."""
        return self.combine(self._ratios(mask)[0])[0]

    def values(self, mask: npt.NDArray[np.bool_]) -> Floats:
        """Return numbers, one per comparison, whose mean is ``number`` and whose spread is its own.

        The number plus n times what a comparison moves it (its influence): Efron's infinitesimal
        jackknife (The jackknife, the bootstrap and other resampling plans, 1982, chapter 6).
        """
        ratios, totals = self._ratios(mask)
        number, slopes = self.combine(ratios)
        safe = np.where(totals > 0.0, totals, 1.0)
        moved = (self.above[mask] - ratios * self.below[mask]) / safe @ slopes
        values: Floats = number + int(mask.sum()) * moved
        return values

    def _ratios(self, mask: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        totals = self.below[mask].sum(axis=0)
        safe = np.where(totals > 0.0, totals, 1.0)
        return self.above[mask].sum(axis=0) / safe, totals


def _linear(weights: Sequence[float]) -> Combine:
    slopes = np.array(weights, dtype=np.float64)
    return lambda ratios: (float(slopes @ ratios), slopes)


def _harmonic(ratios: Floats) -> tuple[float, Floats]:
    first, second = ratios.tolist()
    total = first + second
    if total <= 0.0:
        return 0.0, np.zeros(2)
    slopes = 2.0 * np.array([second * second, first * first]) / (total * total)
    return 2.0 * first * second / total, slopes


# --- ties: several right answers -----------------------------------------------------------------

TIES_WEIGHTS: Final = (0.30, 0.30, 0.20, 0.20, 0.01)


def ties(judgements: Judgements, indices: Ints, _: Credit) -> Whole:
    """Return RewardBench 2's Ties: right answers above wrong ones, and close to each other.

    Comparisons come in pairs whose ids end in ``ref:N`` (one right answer) and ``tied:N``
    (several). With G the least right reward minus the highest wrong one, and D the spread of the
    right rewards: 0.30 of G > 0 over the tied, 0.30 over the ref comparisons, 0.20 of G > D over
    the pairs, 0.20 of min(G, G of ref) > D, and 0.01 of tanh(min / D - 1), where 0 / 0 counts 0.
    So it lies between -0.01 and 1.01 (process_single_model in rewardbench/utils.py).

    Raises:
        ResultError: an id says of neither kind which it is.
    """
    gap, width, exact = _gaps(judgements, indices)
    names = [judgements.ids[i].rpartition("/")[2] for i in indices.tolist()]
    kinds = [name.partition(":")[0] for name in names]
    refs = {name.partition(":")[2]: k for k, name in enumerate(names) if kinds[k] == "ref"}
    for kind, name in zip(kinds, names, strict=True):
        if kind not in ("ref", "tied"):
            raise ResultError(
                f'rule "ties": the id "{name}" says neither ref:N nor tied:N; take the ids of the'
                " data set"
            )
    above, below = np.zeros((len(names), 5)), np.zeros((len(names), 5))
    for k, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        column = 0 if kind == "tied" else 1
        above[k, column], below[k, column] = gap[k] > 0.0, 1.0
        partner = refs.get(name.partition(":")[2])
        if kind == "tied" and partner is not None:
            least = min(gap[k], gap[partner])
            above[k, 2:] = gap[k] > width[k], least > width[k], _margin(least, width[k])
            below[k, 2:] = 1.0
    return Whole(
        indices=indices,
        above=above,
        below=below,
        combine=_linear(TIES_WEIGHTS),
        span=(-0.01, 1.01),
        hits=gap > 0.0,
        ties=exact,
    )


def _gaps(judgements: Judgements, indices: Ints) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return G, D and whether G is 0 of each comparison, in double precision."""
    place = {number: k for k, number in enumerate(indices.tolist())}
    gap, width = np.zeros(len(indices)), np.zeros(len(indices))
    for block in judgements.blocks():
        rows = [i for i, number in enumerate(block.indices.tolist()) if number in place]
        if not rows:
            continue
        assert block.chosen is not None and block.rejected is not None, "the rule needs rewards"
        chosen, rejected = (
            side[rows].astype(np.float64) for side in (block.chosen, block.rejected)
        )
        at = [place[number] for number in block.indices[rows].tolist()]
        gap[at] = chosen.min(axis=1) - rejected.max(axis=1)
        width[at] = chosen.max(axis=1) - chosen.min(axis=1)
    return gap, width, gap == 0.0


def _margin(least: float, width: float) -> float:
    if width == 0.0:
        return float(np.sign(least))
    return float(np.tanh(least / width - 1.0))


# --- steps ---------------------------------------------------------------------------------------


def first_error(judgements: Judgements, indices: Ints, rule: Credit) -> Whole:
    """Return ProcessBench's F1: of accuracies on solutions with and without a wrong step.

    The first step with a reward below the threshold is taken for the first wrong one; none, for a
    solution without (code/run_eval_prm_rlhflow.py).
    """
    hits = []
    faulty = [_faulty(judgements, i) for i in indices.tolist()]
    for i, wrong in zip(indices.tolist(), faulty, strict=True):
        found = next((k for k, r in enumerate(_steps(judgements, i)) if r < rule.threshold), -1)
        hits.append(found == (wrong[0] if wrong else -1))
    is_faulty = np.array([bool(wrong) for wrong in faulty], dtype=np.bool_)
    right = np.array(hits, dtype=np.bool_)
    below = np.stack([is_faulty, ~is_faulty], axis=1).astype(np.float64)
    return Whole(
        indices=indices,
        above=below * right[:, None],
        below=below,
        combine=_harmonic,
        hits=right,
        ties=np.zeros(len(indices), dtype=np.bool_),
    )


def steps(judgements: Judgements, indices: Ints, rule: Credit) -> Whole:
    """Return PRMBench's score: the mean of the F1 of right steps and that of wrong steps.

    A step is judged right from the threshold on (mr_eval/tasks/prmtest_classified/task.py).
    """
    above, below, hits = [], [], []
    for i in indices.tolist():
        rewards = np.array(_steps(judgements, i))
        judged = rewards >= rule.threshold
        is_right = np.ones(len(rewards), dtype=np.bool_)
        is_right[list(_faulty(judgements, i))] = False
        both, neither = (judged & is_right).sum(), (~judged & ~is_right).sum()
        odd = (judged != is_right).sum()
        above.append((2 * both, 2 * neither))
        below.append((2 * both + odd, 2 * neither + odd))
        hits.append(odd == 0)
    return Whole(
        indices=indices,
        above=np.array(above, dtype=np.float64),
        below=np.array(below, dtype=np.float64),
        combine=_linear((0.5, 0.5)),
        hits=np.array(hits, dtype=np.bool_),
        ties=np.zeros(len(indices), dtype=np.bool_),
    )


def _faulty(judgements: Judgements, number: int) -> tuple[int, ...]:
    assert judgements.faulty is not None, "only such comparisons come under these rules"
    return judgements.faulty[number]


def _steps(judgements: Judgements, number: int) -> Sequence[float]:
    (value,) = judgements[number].chosen
    if not isinstance(value, tuple):
        raise ScorerError(
            "the rules on steps need a reward for each step, and this scorer gives one for the"
            " whole response; take a process reward model"
        )
    return value


GROUP_RULES: Final[dict[str, Callable[[Judgements, Ints, Credit], Whole]]] = {
    "ties": ties,
    "first-error": first_error,
    "steps": steps,
}
