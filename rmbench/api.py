"""rmbench from Python: what one has in hand goes in, results come out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rmbench.accuracy.quick import open_part
from rmbench.cache import Cache, default_folder
from rmbench.checkpoint.options import ModelOptions
from rmbench.compare.comparable import suite_of
from rmbench.compare.contrast import Contrast, compare
from rmbench.compare.gate import Gate, Limits, check
from rmbench.result.find import find_result
from rmbench.result.record import Result
from rmbench.run import evaluate_feed
from rmbench.scorers.contract import Scorer
from rmbench.scorers.functions import scorer as named
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import list_suites, load_suite
from rmbench.suite.comparison import Conversation
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Feed, Part
from rmbench.suite.recognise import recognise

__all__ = ["check_result", "compare_results", "evaluate"]


def evaluate(  # noqa: PLR0913  (all but the first two are asked for by name)
    suite: Suite | str,
    scorer: Scorer | Callable[[Conversation], float] | str | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    name: str | None = None,
    data: str | None = None,
    limit: int | None = None,
    quick: int | None = None,
    **options: Any,
) -> Result:
    """Return the result of a scorer, or of a model in memory, on a suite.

        rmbench.evaluate("mini", "tiny")
        rmbench.evaluate("pairs.jsonl", "length")
        rmbench.evaluate("mini", lambda c: len(c.response.split()), name="me/words")
        rmbench.evaluate("mini", model=model, tokenizer=tokenizer, name="run7/step500")

    Args:
        suite: a suite, the name of a bundled one, the path of a suite file, or rows of your own: a
            file, a folder, or a data set of the Hub, see ``rmbench suites new``.
        scorer: what answers, a function that returns the reward of a conversation, or a name as
            ``--model`` takes it. A named one keeps its answers in the user's cache, as the command
            line does.
        model: instead of a scorer, a sequence classifier of transformers with one output. Its
            weights are not copied; training modes, random states and gradients stay as they are.
        tokenizer: the model's.
        name: what the model is called in the result; needed for one in memory and for a function.
        data: a local file or folder to read instead of the suite's source.
        limit: score only so many comparisons, spread over the suite; the result is then partial.
        quick: score only so many, chosen so that they tell the most, the same ones each time.
        options: of the model or the named scorer, as ``rmbench scorers show`` lists them.

    Raises:
        RmbenchError: suite, data, model or answers are wrong; the message names place and remedy.
        TypeError: scorer and model are both given, or neither; so are ``limit`` and ``quick``.
        ValueError: ``limit`` or ``quick`` is below 1.
    """
    part = _part(limit, quick)
    if (scorer is None) == (model is None):
        raise TypeError("give a scorer or a model: one of the two")
    feed = _open(suite, data, part)
    if isinstance(scorer, str):
        with Cache(default_folder()) as cache:
            return evaluate_feed(feed, load_scorer(scorer, **options), name=name, cache=cache)
    if scorer is None:
        scorer = _in_memory(model, tokenizer, name, options)
    elif options:
        raise TypeError(f"{', '.join(options)}: options of a scorer that is made already")
    return evaluate_feed(feed, _made(scorer, name), name=name)


def _made(scorer: Any, name: str | None) -> Scorer:
    """Return a scorer as it is, and one made of a function."""
    if not hasattr(scorer, "info") and callable(scorer):
        if name is None:
            raise TypeError("a function has no name for its result; give name='org/name'")
        return named(name, scorer)
    made: Scorer = scorer
    return made


def _open(suite: Suite | str, data: str | None, part: Part | None) -> Feed:
    """Return the comparisons of a suite, or of rows that no suite file describes."""
    if not isinstance(suite, str):
        return open_part(suite, data=data, part=part)
    is_rows = suite not in list_suites() and not suite.endswith(".toml")
    if is_rows and ("/" in suite or Path(suite).exists()):
        if data is not None:
            raise TypeError("rows are a suite of their own; leave data out")
        rows = suite if Path(suite).exists() else None
        return open_part(recognise(suite)[0], data=rows, part=part)
    return open_part(load_suite(suite), data=data, part=part)


def _part(limit: int | None, quick: int | None) -> Part | None:
    if limit is not None and quick is not None:
        raise TypeError("limit and quick both say how many comparisons; give one of them")
    for name, size in (("limit", limit), ("quick", quick)):
        if size is not None and size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    if quick is not None:
        return Part(quick, "quick")
    return None if limit is None else Part(limit)


def _in_memory(model: Any, tokenizer: Any, name: str | None, options: dict[str, Any]) -> Scorer:
    from rmbench.scorers.in_memory import InMemory

    if tokenizer is None or not name:
        raise TypeError("a model in memory needs its tokenizer, and a name for its results")
    return InMemory(model, tokenizer, name, ModelOptions(**options))


def compare_results(
    old: Result | Path | str, new: Result | Path | str, suite: Suite | None = None
) -> Contrast:
    """Return what changed from one result to another, paired by comparison; new minus old.

    Args:
        old: what is compared with: a result, or what the command line calls one.
        new: what is compared.
        suite: of both, where it is not a bundled one.

    Raises:
        RmbenchError: the two are not comparable.
    """
    before, after = _result(old), _result(new)
    return compare(before, after, suite_of(after, suite))


def _result(result: Result | Path | str) -> Result:
    return result if isinstance(result, Result) else find_result(str(result))


def check_result(
    result: Result | Path | str,
    baseline: Result | Path | str,
    suite: Suite | None = None,
    **limits: Any,
) -> Gate:
    """Hold a result against its baseline, as ``rmbench check`` does; see ``passed`` of the gate.

    Args:
        result: what is held: a result, or what the command line calls one.
        baseline: what it must not be worse than.
        suite: of both, where it is not a bundled one.
        limits: ``alpha``, ``max_drop`` and what else ``rmbench check`` takes.

    Raises:
        RmbenchError: the two are not comparable.
    """
    return check(compare_results(baseline, result, suite), Limits(**limits))
