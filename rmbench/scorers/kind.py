"""A kind of scorer: what an entry point in the group ``rmbench.scorers`` names."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.options import Options
from rmbench.scorers.contract import ListwiseScorer, PointwiseScorer

if TYPE_CHECKING:
    from rmbench.scorers.plan import Plan

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
        result_name: gives the ``info.id`` of what stands behind ``KIND:`` and of the options that
            were given, without loading it.
        plan: says what scoring would cost, from name, options, the questions (conversations, or
            candidates of a listwise kind), and whether seconds are to be estimated; None, or
            returning it, where it costs no tokens of a model at hand.
        idle: gives the names of options that do nothing beside those that were given by name; the
            kind refuses them, and the shared options of a sweep pass it by.
        claims: whether a model with this config.json is of this kind; asked for a folder or a model
            of the Hub that is given without ``KIND:``. None for a kind that is always asked for by
            its name.
    """

    open: Callable[[str, Any], PointwiseScorer | ListwiseScorer]
    summary: str
    options: type[Options] = Options
    metavar: str = "MODEL"
    names: tuple[str, ...] = ()
    result_name: Callable[[str, Mapping[str, Any]], str] = lambda name, _: name
    plan: "Callable[[str, Any, Iterable[Any], bool], Plan | None] | None" = None
    idle: Callable[[Mapping[str, Any]], frozenset[str]] = lambda _: frozenset()
    claims: Callable[[Mapping[str, Any]], bool] | None = None
