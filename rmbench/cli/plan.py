"""``rmbench run --plan``: what a run would cost, without a model's weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from rmbench.cli.scorer_options import options_for

if TYPE_CHECKING:
    from rmbench.answers.questions import CandidateQuestions, Conversations
    from rmbench.scorers.contract import Scorer
    from rmbench.scorers.plan import Plan
    from rmbench.show.table import Cell, Content
    from rmbench.suite.feed import Feed

__all__ = ["print_plan"]

TOKENS: Final = (
    "asked: conversations, or responses side by side, in both orders; tokens: of all of them;",
    "the next three are computed by a loop in the data's order, by batches of like length (both",
    "with padding), and with shared prefixes standing once, by each model that is asked;",
    "the last two compute equal conversations once",
)
NOTHING: Final = ("no model's tokens are computed here, so there is nothing to plan",)
COUNTS: Final = ("tokens", "RewardBench's loop", "sorted", "shared", "rows")


def print_plan(
    models: Sequence[str], feeds: Sequence["Feed"], given: Mapping[str, Any], fmt: str
) -> None:
    """Print conversations, tokens, rows and, where a device was named, seconds.

    Raises:
        RmbenchError: a model cannot be planned for.
    """
    from rmbench.scorers.registry import find_kind, load_kind
    from rmbench.show.formats import format_table
    from rmbench.show.table import Cell, Table

    estimate = given.get("device", "auto") != "auto"
    rows: list[list[Content]] = []
    for model in models:
        named = find_kind(model)
        kind = load_kind(named.kind)
        options = options_for(kind, given)
        for feed in feeds:
            questions = _questions(kind.open(named.name, options), feed)
            plan = kind.plan and kind.plan(named.name, options, questions, estimate)
            asked = Cell("count", len(questions))
            rows.append([feed.suite.name, model, asked, *_cells(plan, estimate)])
    counts = [*COUNTS, *(["seconds"] if estimate else [])]
    is_planned = any(cell != Cell("count", None) for row in rows for cell in row[3:4])
    notes = [line for feed in feeds for line in _smallest(feed)]
    if not is_planned:
        rows, counts = [row[:3] for row in rows], []
    elif not estimate:
        notes.append("name a --device for an estimate of the seconds")
    notes = [*(TOKENS if is_planned else NOTHING), *notes]
    columns = ["suite", "model", "asked", *counts]
    click.echo(format_table(Table(title="Plan", columns=columns, rows=rows, notes=notes), fmt))


def _smallest(feed: "Feed") -> list[str]:
    """Say how small a difference the suite can show."""
    from rmbench.compare.planned import ANOTHER_MODEL, NEXT_CHECKPOINT, expected_differences

    found = expected_differences(feed.suite, feed.contents.subsets, clusters=feed.contents.clusters)
    if found is None:
        return []
    near = _disagreeing(found.next_checkpoint, NEXT_CHECKPOINT)
    far = _disagreeing(found.another_model, ANOTHER_MODEL)
    return [
        f"{feed.suite.name}: smallest difference in {feed.suite.headline} that shows 8 times out of"
        f" 10 at p <= 0.05: {near} (the next checkpoint), {far} (another model)"
    ]


def _disagreeing(difference: float, share: float) -> str:
    """Return a difference in points, and on how many comparisons two results disagree there.

    A difference needs disagreement on at least its own share of the comparisons.
    """
    least = ", the least that it needs" if difference > share else ""
    where = f"on {100 * max(difference, share):.3g} % of the comparisons{least}"
    return f"{100 * difference:.1f} points where two results disagree {where}"


def _questions(scorer: "Scorer", feed: "Feed") -> "Conversations | CandidateQuestions":
    """Return what a scorer is asked; its weights are not loaded."""
    from rmbench.answers.questions import CandidateQuestions, Conversations
    from rmbench.scorers.contract import is_listwise

    if is_listwise(scorer):
        return CandidateQuestions(feed, scorer.most, getattr(scorer, "orders", "both"))
    return Conversations(feed)


def _cells(plan: "Plan | None", estimate: bool) -> list["Cell"]:
    from rmbench.show.table import Cell

    if plan is None:
        return [Cell("count", None)] * len(COUNTS) + [Cell("seconds", None)] * estimate
    counts = [plan.tokens, plan.unsorted, plan.sorted, plan.shared, plan.rows]
    return [Cell("count", count) for count in counts] + [Cell("seconds", plan.seconds)] * estimate
