"""``rmbench run --plan``: what a run would cost, without a model's weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from rmbench.checkpoint.options import ModelOptions
from rmbench.scorers.registry import BASELINES

if TYPE_CHECKING:
    from rmbench.scorers.plan import Plan
    from rmbench.show.table import Cell, Content
    from rmbench.suite.feed import Feed

__all__ = ["print_plan"]

COUNTS: Final = ("tokens", "RewardBench's loop", "sorted", "shared", "rows")


def print_plan(
    models: Sequence[str], feeds: Sequence["Feed"], options: ModelOptions, fmt: str
) -> None:
    """Print conversations, tokens, rows and, where a device was named, seconds.

    Raises:
        RmbenchError: a model cannot be planned for.
    """
    from rmbench.run import Conversations
    from rmbench.scorers.plan import plan_scoring
    from rmbench.show.table import Cell, Table, format_table

    estimate = options.device != "auto"
    rows: list[list[Content]] = []
    for model in models:
        for feed in feeds:
            cells = [Cell("count", 0)] * len(COUNTS) + [Cell("seconds", None)] * estimate
            if model not in BASELINES:
                conversations = Conversations(feed)
                cells = _cells(plan_scoring(model, options, conversations, estimate=estimate))
            asked = Cell("count", feed.num_conversations)
            rows.append([feed.suite.name, model, asked, *cells])
    notes = [
        "tokens: of all conversations; the next three are computed by a loop in the data's order,",
        "by batches of like length (both with padding), and with shared prefixes standing once;",
        "the last two compute equal conversations once",
    ]
    if not estimate:
        notes.append("name a --device for an estimate of the seconds")
    columns = ["suite", "model", "conversations", *COUNTS, *(["seconds"] if estimate else [])]
    click.echo(format_table(Table(title="Plan", columns=columns, rows=rows, notes=notes), fmt))


def _cells(plan: "Plan") -> list["Cell"]:
    from rmbench.show.table import Cell

    counts = [plan.tokens, plan.unsorted, plan.sorted, plan.shared, plan.rows]
    seconds = [] if plan.seconds is None else [Cell("seconds", plan.seconds)]
    return [Cell("count", count) for count in counts] + seconds
