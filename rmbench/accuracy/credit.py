"""Rewards → credit per comparison, by the suite's rule."""

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rmbench.suite.definition import Credit

__all__ = ["Outcome", "credit"]

Floats = npt.NDArray[np.float32]


class Outcome(NamedTuple):
    """What one comparison earned.

    ``credit`` is in [0, 1]; ``tied`` when a rejected response got the same reward as the best
    chosen one, and none a higher.
    """

    credit: float
    tied: bool


class _Rule(Protocol):
    def __call__(self, chosen: Floats, rejected: Floats, /, *, tie: float) -> Outcome: ...


def credit(chosen: Floats, rejected: Floats, rule: Credit) -> Outcome:
    """Return what one comparison earns.

    Args:
        chosen: rewards of the chosen responses, shape (at least 1,), finite float32.
        rejected: rewards of the rejected responses, likewise.
        rule: the suite's.

            * ``pair``: 1 for a higher chosen reward, ``tie`` for an equal one, else 0
              (RewardBench v1, with tie 0: rewardbench/rewardbench.py).
            * ``best-of``: the chosen share of the responses with the highest reward, so k equal
              ones that include the one chosen response earn 1/k
              (RewardBench 2: reroll_and_score_dataset in rewardbench/utils.py).
    """
    return RULES[rule.rule](chosen, rejected, tie=rule.tie)


def _pair(chosen: Floats, rejected: Floats, /, *, tie: float) -> Outcome:
    if chosen[0] == rejected[0]:
        return Outcome(tie, True)
    return Outcome(float(chosen[0] > rejected[0]), False)


def _best_of(chosen: Floats, rejected: Floats, /, *, tie: float) -> Outcome:
    best = max(chosen.max(), rejected.max())
    top = int((chosen == best).sum())
    rivals = int((rejected == best).sum())
    return Outcome(top / (top + rivals), top > 0 and rivals > 0)


RULES: Final[dict[str, _Rule]] = {"pair": _pair, "best-of": _best_of}
