"""Comparisons that are known by their ids alone, because the suite's rows are not at hand."""

from array import array
from collections.abc import Sequence

from rmbench.suite.comparison import Comparison
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Contents, Feed
from rmbench.suite.row import Rows

__all__ = ["feed_without_texts"]


def feed_without_texts(
    suite: Suite,
    named: Sequence[tuple[str, str]],
    sides: Sequence[tuple[int, int]],
    *,
    origin: str,
) -> Feed:
    """Return comparisons whose texts are empty, for scores that are there already.

    What follows from texts is not known of them: digest, differences in length, and which of them
    were sampled together.

    Args:
        suite: whose they are.
        named: id and subset of each.
        sides: number of chosen and of rejected responses of each.
        origin: where the ids come from.
    """
    held = tuple(
        Comparison(id=name, subset=subset, prompt=(), chosen=("",) * c, rejected=("",) * r)
        for (name, subset), (c, r) in zip(named, sides, strict=True)
    )
    contents = Contents(
        ids=[name for name, _ in named],
        subsets=[subset for _, subset in named],
        sides=list(sides),
        differences=None,
        sha256=None,
        audit={},
        clusters=array("q", range(len(named))),
    )
    total = suite.source.comparisons
    whole = None if total == len(named) else list(range(len(named)))
    rows = Rows(origin=origin, revision=None, read=lambda: iter(()))
    return Feed(suite=suite, rows=rows, contents=contents, indices=whole, held=held)
