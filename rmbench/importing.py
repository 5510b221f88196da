"""Scores that another program gave → results, as if rmbench had measured them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy, summarize, weighted_mean
from rmbench.accuracy.analysis import Groups, analyse
from rmbench.accuracy.audit import is_below_chance, rounding_spread
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.errors import DataError, ResultError, did_you_mean
from rmbench.result.definition import embed
from rmbench.result.record import Result, SuiteFacts
from rmbench.result.signature import sign
from rmbench.score_files import ScoreRow, Sides, read_score_rows, read_summary
from rmbench.scorers.contract import ScorerInfo
from rmbench.suite.definition import Section, Suite
from rmbench.suite.feed import Contents, Feed, open_feed
from rmbench.wording import counted

__all__ = ["import_results"]

KIND: Final = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What scores are joined with: a suite, and its comparisons where the data is at hand."""

    suite: Suite
    feed: Feed | None

    @property
    def contents(self) -> Contents | None:
        return None if self.feed is None else self.feed.contents


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
    feed = None
    if data is not None or suite.is_at_hand:
        feed = open_feed(suite, data=data)
    target = _Target(suite=suite, feed=feed)
    summary = read_summary(path)
    if summary is not None:
        return [_published(path, summary, target, model)]
    rows = list(read_score_rows(path))
    if not rows:
        raise ResultError(f"{path}: empty; it needs a line per comparison")
    identities = _identities(rows, target)
    return [
        _measured(path, target, name, dict(zip(identities, _of_model(rows, key), strict=True)))
        for key, name in _models(path, rows, model).items()
    ]


# --- joining -------------------------------------------------------------------------------------


def _models(path: Path, rows: Sequence[ScoreRow], model: str | None) -> dict[str | None, str]:
    """Return what to import: the key of each model in the rows, and its id."""
    keys = list(rows[0].scores)
    if keys == [None]:
        if model is None:
            raise ResultError(f"{path}: does not name its model; say which with --model")
        return {None: model}
    names = [str(key) for key in keys]
    if not all(map(str.strip, names)):
        raise ResultError(f"{path}: a model without a name in scores; name it")
    if model is not None and model not in names:
        raise ResultError(f'{path}: no scores of "{model}"; {did_you_mean(model, names)}')
    return {name: name for name in names if model in (None, name)}


def _of_model(rows: Sequence[ScoreRow], key: str | None) -> Iterator[Sides]:
    for row in rows:
        if key not in row.scores:
            raise DataError(f'{row.place}: no scores of "{key or "one model"}", as line 1 has')
        for other in row.scores.keys() - rows[0].scores.keys():
            raise DataError(
                f'{row.place}: scores of "{other or "one model"}", which line 1 has not; give all'
                " lines scores of the same models"
            )
        yield row.scores[key]


def _identities(rows: Sequence[ScoreRow], target: _Target) -> list[str]:
    """Return the comparison of each row, once each is known and none stands twice."""
    named = [row.identity for row in rows if row.identity is not None]
    if len(named) < len(rows):
        return _by_order(rows, target)
    for row, count in zip(rows, _repeats(named), strict=True):
        if count:
            raise DataError(
                f'{row.place}: "{row.identity}" stands in an earlier line too; remove one, or put'
                " the subset before the id, where ids are unique within their subsets"
            )
    if target.contents is None:
        _check_subsets(rows, target.suite)
        return named
    _check_known(rows, target.contents, target.suite)
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


def _by_order(rows: Sequence[ScoreRow], target: _Target) -> list[str]:
    if target.feed is None:
        raise DataError(
            f"{rows[0].place}: no id; with --data PATH, the suite's own rows, lines are joined in"
            " their order"
        )
    ids = target.feed.contents.ids
    if len(ids) != len(rows):
        raise DataError(
            f"{rows[-1].place}: {len(rows)} lines without ids for {len(ids)} comparisons; only a"
            " whole run can be joined in its order"
        )
    for row, comparison in zip(rows, target.feed, strict=True):
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


# --- results -------------------------------------------------------------------------------------


def _measured(
    path: Path,
    target: _Target,
    model: str,
    scores: Mapping[str, Sides],
) -> Result:
    contents = target.contents
    ids = list(scores) if contents is None else [i for i in contents.ids if i in scores]
    rewards = Judgements.of([Judgement(identity, *scores[identity]) for identity in ids])
    if contents is not None and contents.num_clusters < len(contents.ids):
        numbers = dict(zip(contents.ids, contents.clusters, strict=True))
        rewards = rewards.in_clusters([numbers[identity] for identity in ids])
    _check_sides(rewards, target)
    subsets = _subsets(ids, target)
    partial = _partial(path, len(ids), target)
    outcomes = judge(target.suite, rewards)
    clusters = rewards.clusters
    summary = summarize(
        target.suite, subsets, outcomes, partial=partial is not None, clusters=clusters
    )
    info = ScorerInfo(id=model, kind=KIND)
    audit = {
        "ties": int(outcomes.tied.sum()),
        "below_chance": is_below_chance(target.suite, outcomes, clusters=clusters),
        "rounding": rounding_spread(target.suite, subsets, rewards, dtype="float32"),
    }
    facts = _suite_block(target, len(ids), path)
    part = None if partial is None else f"partial:{partial}"
    return Result(
        source="measured",
        suite=facts,
        model={"id": model, "revision": None, "kind": KIND, "parameters": None},
        signature=f"{sign(facts, info, part=part)}|{KIND}",
        averages=summary.averages,
        sections=summary.sections,
        subsets=summary.subsets,
        analyses=analyse(
            rewards,
            outcomes,
            Groups(subsets=subsets, clusters=clusters),
            differences=_differences(ids, target),
            scale="log-odds",
        ),
        audit=audit,
        environment={"imported_from": path.name},
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=partial,
        rewards=rewards,
    )


def _suite_block(target: _Target, comparisons: int, path: Path) -> SuiteFacts:
    suite, feed = target.suite, target.feed
    return {
        "name": suite.name,
        "version": suite.version,
        "sha256": None if feed is None else feed.contents.sha256,
        "comparisons": comparisons,
        "clusters": None if feed is None else feed.contents.num_clusters,
        "headline": suite.headline,
        "definition": embed(suite),
        "origin": path.name if feed is None else feed.rows.origin,
        "revision": None if feed is None else feed.rows.revision,
    }


def _check_sides(rewards: Sequence[Judgement], target: _Target) -> None:
    """Refuse scores that are not as many as the comparison has responses."""
    contents = target.contents
    sides = {} if contents is None else dict(zip(contents.ids, contents.sides, strict=True))
    for item in rewards:
        found = (len(item.chosen), len(item.rejected))
        expected = sides.get(item.id)
        if expected is None and target.suite.credit.rule == "pair":
            expected = (1, 1)
        if expected not in (None, found):
            raise DataError(
                f'scores of "{item.id}": {found[0]} chosen and {found[1]} rejected where'
                f" {target.suite.name} has {expected[0]} and {expected[1]}"
            )


def _differences(ids: Sequence[str], target: _Target) -> list[int] | None:
    """Return how much longer each chosen response is; None where no text is at hand."""
    contents = target.contents
    if contents is None:
        return None
    by_id = dict(zip(contents.ids, contents.differences, strict=True))
    return [by_id[identity] for identity in ids]


def _subsets(ids: Sequence[str], target: _Target) -> list[str]:
    if target.contents is not None:
        by_id = dict(zip(target.contents.ids, target.contents.subsets, strict=True))
        return [by_id[identity] for identity in ids]
    known = {subset for section in target.suite.sections for subset in section.subsets}
    if not known or any(name.endswith("*") for name in known):
        return [identity.rpartition("/")[0] for identity in ids]
    return [
        max((name for name in known if identity.startswith(f"{name}/")), key=len)
        for identity in ids
    ]


def _partial(path: Path, found: int, target: _Target) -> int | None:
    """Return how many comparisons of a part were scored, None for the whole suite."""
    total = target.suite.source.comparisons
    if target.contents is not None:
        total = len(target.contents.ids)
    if total is None:
        raise ResultError(
            f"{path}: cannot tell whether all of {target.suite.name} is here, or only a part of it"
            f" ({counted(found, 'comparisons')}); give its rows with --data PATH"
        )
    if found > total:
        raise DataError(
            f"{path}: {counted(found, 'comparisons')} where {target.suite.name} has {total}"
        )
    return None if found == total else found


# --- RewardBench's result JSON -------------------------------------------------------------------


def _published(
    path: Path, summary: Mapping[str, Any], target: _Target, model: str | None
) -> Result:
    suite, contents = target.suite, target.contents
    total = suite.source.comparisons if contents is None else len(contents.ids)
    if total is not None and summary["num_prompts"] != total:
        raise ResultError(
            f"{path}: accuracies on {summary['num_prompts']} comparisons where {suite.name} has"
            f" {total}; they are not of this suite"
        )
    counts = Counter(contents.subsets) if contents is not None else Counter()
    subsets = _shares(path, summary.get("extra_results") or {}, suite)
    pooled = _share(f"{path}: accuracy", summary["accuracy"])
    known = {name: item.accuracy for name, item in subsets.items()}
    is_whole = bool(counts) and counts.keys() <= known.keys()
    if is_whole and not math.isclose(weighted_mean(known, counts), pooled, abs_tol=1e-6):
        raise ResultError(f"{path}: accuracy is not the mean of extra_results over {suite.name}")
    averages, sections = _means(suite, known, counts)
    for average in suite.averages:
        if not average.sections:
            averages = {average.name: Accuracy(accuracy=pooled), **averages}
    name = model or str(summary.get("model") or "")
    if not name:
        raise ResultError(f"{path}: does not name its model; say which with --model")
    template = summary.get("chat_template")
    return Result(
        source="published",
        citation=f"RewardBench's {path.name}, template {template}",
        suite={
            "name": suite.name,
            "version": suite.version,
            "headline": suite.headline,
            "definition": embed(suite),
        },
        model={"id": name},
        averages=averages,
        sections=sections,
        subsets=subsets,
    )


def _share(place: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
        raise ResultError(f"{place} is {value!r}; it must be in [0, 1]")
    return float(value)


def _shares(path: Path, values: Any, suite: Suite) -> dict[str, Accuracy]:
    known = {subset for section in suite.sections for subset in section.subsets}
    if not isinstance(values, dict):
        raise ResultError(f"{path}: extra_results must be an object")
    for name in values:
        if name not in known:
            raise ResultError(
                f'{path}: extra_results: subset "{name}" is not in suite {suite.name};'
                f" {did_you_mean(name, known)}"
            )
    return {
        name: Accuracy(accuracy=_share(f"{path}: extra_results.{name}", value))
        for name, value in values.items()
    }


def _means(
    suite: Suite, subsets: Mapping[str, float], counts: Mapping[str, int]
) -> tuple[dict[str, Accuracy], dict[str, Accuracy]]:
    """Return averages over sections, and the sections whose weights are known."""
    sections = {
        section.name: Accuracy(accuracy=weighted_mean(subsets, weights))
        for section in suite.sections
        if (weights := _weights(section, counts)) and all(name in subsets for name in weights)
    }
    averages = {
        average.name: Accuracy(
            accuracy=weighted_mean(
                {name: sections[name].accuracy for name in average.sections},
                dict.fromkeys(average.sections, 1.0),
            )
        )
        for average in suite.averages
        if average.sections and all(name in sections for name in average.sections)
    }
    return averages, sections


def _weights(section: Section, counts: Mapping[str, int]) -> dict[str, float]:
    """Return the weights of a section's subsets; none when a count that is needed is unknown."""
    weights = {name: section.weights.get(name, counts.get(name)) for name in section.subsets}
    known = {name: float(weight) for name, weight in weights.items() if weight is not None}
    return known if len(known) == len(weights) else {}
