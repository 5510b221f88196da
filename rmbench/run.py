"""The benchmark from end to end: every step of the line, in its order."""

import time

from rmbench.accuracy.aggregate import summarize
from rmbench.accuracy.analysis import Groups, analyse
from rmbench.accuracy.audit import audit
from rmbench.accuracy.credit import check_answers, judge
from rmbench.answers.ask import ask, hold
from rmbench.cache import Cache
from rmbench.result.measured import Findings, measured_result
from rmbench.result.record import Result
from rmbench.scorers.contract import Progress, Scorer, kind_of_answers
from rmbench.suite.feed import Feed

__all__ = ["evaluate_feed"]


def evaluate_feed(
    feed: Feed,
    scorer: Scorer,
    *,
    name: str | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Result:
    """Return the result of a scorer on comparisons that are read and checked.

    Args:
        feed: the comparisons.
        scorer: what answers.
        name: what the model is called in the result; None for the scorer's own id.
        cache: where answers are kept; None keeps none.
        progress: called with the number of answers there are, and of all questions.

    Raises:
        RmbenchError: data, model or answers are wrong; the message names place and remedy.
    """
    hold(scorer)  # before its files are opened
    check_answers(feed.suite, kind_of_answers(scorer))
    start = time.perf_counter()
    asked = ask(feed, scorer, cache=cache, progress=progress).named(name)
    subsets, clusters = feed.contents.subsets, asked.judgements.clusters
    outcomes = judge(feed.suite, asked.judgements)
    summary = summarize(
        feed.suite, subsets, outcomes, partial=feed.indices is not None, clusters=clusters
    )
    analyses = analyse(
        asked.judgements,
        outcomes,
        Groups(subsets=subsets, clusters=clusters),
        differences=feed.contents.differences,
        scale=asked.info.scale,
    )
    found = Findings(summary, analyses, audit(feed, asked, outcomes))
    return measured_result(feed, asked, found, seconds=time.perf_counter() - start)
