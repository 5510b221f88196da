"""A kind of scorer: what an entry point in the group ``rmbench.scorers`` names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rmbench.options import Options
from rmbench.scorers.contract import ListwiseScorer, PointwiseScorer

__all__ = ["Kind"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of scorer; light, so that it can be listed without loading what it scores with.

    Attributes:
        open: makes a scorer of what stands behind ``KIND:`` and of the options; it checks both and
            loads no weights.
        options: the options it knows.
        summary: one sentence for ``rmbench scorers list``.
        metavar: what stands behind ``KIND:`` in the help, such as ``MODEL`` or ``URL``.
        names: names that need no ``KIND:`` before them.
        claims: whether a model with this config.json is of this kind; asked for a folder or a model
            of the Hub that is given without ``KIND:``. None for a kind that is always asked for by
            its name.
    """

    open: Callable[[str, Any], PointwiseScorer | ListwiseScorer]
    summary: str
    options: type[Options] = Options
    metavar: str = "MODEL"
    names: tuple[str, ...] = ()
    claims: Callable[[Mapping[str, Any]], bool] | None = None
