"""How the rewards of a response's steps become one reward."""

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

from rmbench.errors import ScorerError

__all__ = ["REDUCTIONS", "Reduction"]

Steps = Sequence[float]
Reduction = Literal[
    "min", "max", "product", "last", "mean", "sum", "geometric-mean", "mean-logit", "mean-odds"
]
_CLOSEST: Final = 2.0**-24
"""How close to 0 and 1 a probability counts: in float32 a nearer one is 1 itself."""


def _odds(steps: Steps) -> list[float]:
    return [p / (1.0 - p) for p in _probabilities(steps, least=_CLOSEST)]


def _probabilities(steps: Steps, *, least: float = 0.0) -> list[float]:
    """Return rewards of steps that are probabilities, none closer to 0 or 1 than ``least``."""
    odd = [step for step in steps if not 0.0 <= step <= 1.0]
    if odd:
        raise ScorerError(
            f"a step's reward is {odd[0]:g}, and this reduction takes probabilities; reduce by min,"
            " max, last, mean or sum"
        )
    return [min(max(step, least), 1.0 - least) for step in steps]


def _geometric_mean(steps: Steps) -> float:
    logs = [math.log(p) if p > 0.0 else -math.inf for p in _probabilities(steps)]
    return math.exp(math.fsum(logs) / len(logs))


def _mean(values: Steps) -> float:
    return math.fsum(values) / len(values)


REDUCTIONS: Final[dict[str, Callable[[Steps], float]]] = {
    "min": min,
    "max": max,
    "last": lambda steps: steps[-1],
    "mean": _mean,
    "product": math.prod,
    "sum": math.fsum,
    "geometric-mean": _geometric_mean,
    "mean-logit": lambda steps: _mean([math.log(odds) for odds in _odds(steps)]),
    "mean-odds": lambda steps: _mean(_odds(steps)),
}
"""By name. Those of probabilities are RewardMATH's: arXiv 2410.01729, section 4."""
