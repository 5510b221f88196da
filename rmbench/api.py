"""rmbench from Python: what one has in hand goes in, results come out."""

from typing import Any

from rmbench.cache import Cache, default_folder
from rmbench.result.record import Result
from rmbench.run import evaluate_feed
from rmbench.scorers.contract import Scorer
from rmbench.scorers.registry import load_scorer
from rmbench.suite.definition import Suite, load_suite
from rmbench.suite.feed import open_feed

__all__ = ["evaluate"]


def evaluate(
    suite: Suite | str,
    scorer: Scorer | str,
    *,
    data: str | None = None,
    limit: int | None = None,
    **options: Any,
) -> Result:
    """Return the result of a scorer on a suite.

    Args:
        suite: a suite, the name of a bundled one, or the path of a suite file.
        scorer: what answers, or its name as ``--model`` takes it. A named one keeps its answers in
            the user's cache, as the command line does.
        data: a local file or folder to read instead of the suite's source.
        limit: score only so many comparisons, spread over the suite; the result is then partial.
        options: of a named scorer, by the names that ``rmbench scorers show`` gives.

    Raises:
        RmbenchError: suite, data, model or answers are wrong; the message names place and remedy.
        ValueError: ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    found = load_suite(suite) if isinstance(suite, str) else suite
    feed = open_feed(found, data=data, limit=limit)
    if not isinstance(scorer, str):
        if options:
            raise TypeError(f"{', '.join(options)}: options of a scorer that is loaded already")
        return evaluate_feed(feed, scorer)
    with Cache(default_folder()) as cache:
        return evaluate_feed(feed, load_scorer(scorer, **options), cache=cache)
