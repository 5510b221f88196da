"""``rmbench run --plan``: what a run would cost, without a model's weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from rmbench.cli.scorer_options import options_for

if TYPE_CHECKING:
    from rmbench.scorers.plan import Plan
    from rmbench.show.table import Cell, Content
    from rmbench.suite.feed import Feed

__all__ = ["print_plan"]

TOKENS: Final = (
    "tokens: of all conversations; the next three are computed by a loop in the data's order,",
    "by batches of like length (both with padding), and with shared prefixes standing once;",
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
    from rmbench.answers.questions import Conversations
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
            cells = [Cell("count", None)] * len(COUNTS) + [Cell("seconds", None)] * estimate
            if kind.plan is not None:
                cells = _cells(kind.plan(named.name, options, Conversations(feed), estimate))
            asked = Cell("count", feed.num_conversations)
            rows.append([feed.suite.name, model, asked, *cells])
    counts = [*COUNTS, *(["seconds"] if estimate else [])]
    is_planned = any(cell != Cell("count", None) for row in rows for cell in row[3:4])
    notes = [line for feed in feeds for line in _smallest(feed)]
    if not is_planned:
        rows, counts = [row[:3] for row in rows], []
    elif not estimate:
        notes.append("name a --device for an estimate of the seconds")
    notes = [*(TOKENS if is_planned else NOTHING), *notes]
    columns = ["suite", "model", "conversations", *counts]
    click.echo(format_table(Table(title="Plan", columns=columns, rows=rows, notes=notes), fmt))


def _smallest(feed: "Feed") -> list[str]:
    """Say how small a difference the suite can show."""
    from rmbench.compare.planned import expected_differences

    found = expected_differences(feed.suite, feed.contents.subsets, clusters=feed.contents.clusters)
    if found is None:
        return []
    near, far = (f"{100 * value:.1f}" for value in found)
    return [
        f"{feed.suite.name}: smallest difference in {feed.suite.headline} that shows 8 times out of"
        f" 10 at p <= 0.05: {near} points where two results disagree on 1 % of the comparisons"
        f" (the next checkpoint), {far} on 15 % (another model)"
    ]


def _cells(plan: "Plan") -> list["Cell"]:
    from rmbench.show.table import Cell

    counts = [plan.tokens, plan.unsorted, plan.sorted, plan.shared, plan.rows]
    seconds = [] if plan.seconds is None else [Cell("seconds", plan.seconds)]
    return [Cell("count", count) for count in counts] + seconds
