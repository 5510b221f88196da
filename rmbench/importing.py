"""Scores that another program gave → results: joined with a suite, and measured like any scorer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rmbench.errors import DataError, ResultError, did_you_mean
from rmbench.result.published import published_result
from rmbench.result.record import Result
from rmbench.run import evaluate_feed
from rmbench.scorers.recorded import RecordedScorer, models_of, scores_by
from rmbench.scorers.score_formats import ScoreSides
from rmbench.scorers.score_rows import ScoreRow, read_score_rows, read_summary
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Contents, Feed, open_feed, part_of
from rmbench.suite.unread import feed_without_texts
from rmbench.wording import counted

__all__ = ["import_results"]


def import_results(
    path: Path, suite: Suite, *, model: str | None = None, data: str | None = None
) -> list[Result]:
    """Return the results in a file of another program.

    Args:
        path: the file.
        suite: what was scored.
        model: the model's id, where the file names none; of several models, the one to import.
        data: a local file or folder with the suite's rows. With it, ids are checked, and the texts
            of lines that have no id; without it, ids are taken as they are and the result does not
            say which texts were scored.

    Returns:
        One result per model, in the order of the file. Scores for a part of the suite make a
        partial result.

    Raises:
        DataError: a line is broken, names no comparison of the suite, or has a score that is no
            finite number.
        ResultError: the file holds neither kind of content, or ``model`` is missing or unknown.
    """
    feed = open_feed(suite, data=data) if data is not None or suite.is_at_hand else None
    summary = read_summary(path)
    if summary is not None:
        contents = None if feed is None else feed.contents
        return [published_result(path, summary, suite, contents, model=model)]
    rows = list(read_score_rows(path))
    if not rows:
        raise ResultError(f"{path}: empty; it needs a line per comparison")
    suite = _suite_of(rows, suite) if feed is None else feed.suite
    identities = _identities(rows, suite, feed)
    results = []
    for key, name in models_of(path, rows, model).items():
        scores = scores_by(identities, rows, key)
        scorer = RecordedScorer(path, name, scores)
        results.append(evaluate_feed(_feed_of(path, scores, suite, feed), scorer))
    return results


def _suite_of(rows: Sequence[ScoreRow], suite: Suite) -> Suite:
    """Return the suite, or the one of its parts that the rows are all of."""
    if not suite.source.parts or any(row.identity is None for row in rows):
        return suite
    return part_of(suite, [_subset(row) for row in rows])


# --- the comparisons that were scored ------------------------------------------------------------


def _feed_of(path: Path, scores: Mapping[str, ScoreSides], suite: Suite, feed: Feed | None) -> Feed:
    """Return the comparisons that have scores: of the rows at hand, or known by id alone."""
    total = suite.source.comparisons if feed is None else len(feed.contents.ids)
    if total is None:
        raise ResultError(
            f"{path}: cannot tell whether all of {suite.name} is here, or only a part of it"
            f" ({counted(len(scores), 'comparisons')}); give its rows with --data PATH"
        )
    if len(scores) > total:
        raise DataError(
            f"{path}: {counted(len(scores), 'comparisons')} where {suite.name} has {total}"
        )
    if feed is not None:
        indices = [i for i, name in enumerate(feed.contents.ids) if name in scores]
        return feed if len(indices) == total else feed.only(indices)
    sides = [(len(chosen), len(rejected)) for chosen, rejected in scores.values()]
    if suite.credit.rule == "pair" and set(sides) - {(1, 1)}:
        name, found = next(item for item in zip(scores, sides, strict=True) if item[1] != (1, 1))
        raise DataError(
            f'{path}: scores of "{name}": {found[0]} chosen and {found[1]} rejected where'
            f" {suite.name} has 1 and 1"
        )
    named = [(name, _subset_of(name, suite)) for name in scores]
    if len(named) == total:
        suite = suite.resolved([subset for _, subset in named])
    return feed_without_texts(suite, named, sides, origin=path.name)


def _subset_of(identity: str, suite: Suite) -> str:
    known = {subset for section in suite.sections for subset in section.subsets}
    if not known or any(name.endswith("*") for name in known):
        return identity.rpartition("/")[0]
    return max((name for name in known if identity.startswith(f"{name}/")), key=len)


# --- which comparison a row is about -------------------------------------------------------------


def _identities(rows: Sequence[ScoreRow], suite: Suite, feed: Feed | None) -> list[str]:
    """Return the comparison of each row, once each is known and none appears twice."""
    named = [row.identity for row in rows if row.identity is not None]
    if len(named) < len(rows):
        return _by_order(rows, feed)
    for row, count in zip(rows, _repeats(named), strict=True):
        if count:
            raise DataError(
                f'{row.place}: "{row.identity}" is in an earlier line too; remove one, or put'
                " the subset before the id, where ids are unique within their subsets"
            )
    if feed is None:
        _check_subsets(rows, suite)
    else:
        _check_known(rows, feed.contents, suite)
    return named


def _check_known(rows: Sequence[ScoreRow], contents: Contents, suite: Suite) -> None:
    known = set(contents.ids)
    for row in rows:
        if row.identity not in known:
            raise DataError(
                f'{row.place}: "{row.identity}" is no comparison of {suite.name}; its ids look'
                f" like {contents.ids[0]}"
            )


def _repeats(names: Sequence[str]) -> Iterator[int]:
    seen: Counter[str] = Counter()
    for name in names:
        yield seen[name]
        seen[name] += 1


def _check_subsets(rows: Sequence[ScoreRow], suite: Suite) -> None:
    known = {subset for section in suite.sections for subset in section.subsets}
    for row in rows:
        subset = _subset(row)
        if not suite.is_named(subset):
            raise DataError(
                f'{row.place}: subset "{subset}" is not in suite {suite.name};'
                f" {did_you_mean(subset, known)}"
            )


def _subset(row: ScoreRow) -> str:
    """Return the subset of a row that has an id."""
    head, slash, _ = str(row.identity).rpartition("/")
    if row.subset is None and not slash:
        raise DataError(f'{row.place}: "{row.identity}" names no subset; add "subset"')
    return row.subset or head


def _by_order(rows: Sequence[ScoreRow], feed: Feed | None) -> list[str]:
    if feed is None:
        raise DataError(
            f"{rows[0].place}: no id; with --data PATH, the suite's own rows, lines are joined in"
            " their order"
        )
    ids = feed.contents.ids
    if len(ids) != len(rows):
        raise DataError(
            f"{rows[-1].place}: {len(rows)} lines without ids for {len(ids)} comparisons; only a"
            " whole run can be joined in its order"
        )
    for row, comparison in zip(rows, feed, strict=True):
        if row.subset not in (None, comparison.subset):
            raise DataError(
                f'{row.place}: subset "{row.subset}" where the data has "{comparison.id}"; the rows'
                " are not in its order"
            )
        responses = (comparison.chosen[0], comparison.rejected[0])
        for text, response in zip(row.texts or (), responses, strict=row.texts is not None):
            if response.strip() not in text:
                raise DataError(
                    f'{row.place}: the text is not that of "{comparison.id}"; the lines are not in'
                    " the order of the data"
                )
    return list(ids)
