"""``rmbench doctor``: is this model safe to score?"""

import sys
from typing import TYPE_CHECKING, Any

import click

from rmbench.cli.options import DATA, FORMAT
from rmbench.cli.scorer_options import ScorerCommand, given_options

if TYPE_CHECKING:
    from rmbench.doctor import Report

__all__ = ["doctor"]


@click.command(cls=ScorerCommand)
@click.argument("model")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="SUITE",
    default=("mini",),
    show_default=True,
    help="Suite whose lengths are checked; repeatable.",
)
@DATA
@FORMAT
def doctor(model: str, suites: tuple[str, ...], data: tuple[str, ...], fmt: str, **_: Any) -> None:
    """Check whether a model is safe to score, and say what to do where it is not.

    Exit code 0, or 2 when a check refuses the model; warnings do not fail.

    \b
    rmbench doctor ./my-rm
    rmbench doctor SultanR/SmolTulu-1.7b-RM --suite rewardbench
    """
    from rmbench.cli.run import open_feeds
    from rmbench.doctor import examine
    from rmbench.scorers.registry import check_model_name

    check_model_name(model)
    given = given_options()
    feeds = open_feeds(list(dict.fromkeys(suites)), data, None)
    report = examine(model, given, feeds)
    if fmt == "table":
        _print(report)
    else:
        _print_data(report, model, fmt)
    if report.is_refused:
        sys.exit(2)


def _print(report: "Report") -> None:
    """Print a line for each check with its remedy, the verdict, and the first conversation."""
    from rmbench.wording import printable

    width = max(len(check.name) for check in report)
    for check in report:
        click.echo(printable(f"{check.status:<7}  {check.name:<{width}}  {check.seen}"))
        if check.remedy:
            click.echo(printable(f"{'':<7}  {'':<{width}}  → {check.remedy}"))
    click.echo(f"\n{report.verdict}")
    if report.conversation:
        click.echo("\nThe first conversation, as the model is given it:\n")
        for line in report.conversation.splitlines():
            click.echo(printable(f"    {line}"))


def _print_data(report: "Report", model: str, fmt: str) -> None:
    from rmbench.show.formats import format_table
    from rmbench.show.table import Table

    columns = ["status", "check", "seen", "remedy"]
    rows = [[check.status, check.name, check.seen, check.remedy or None] for check in report]
    notes = [report.verdict, *([report.conversation] if report.conversation else [])]
    table = Table(title=model, columns=columns, rows=rows, notes=notes, numeric=False)
    click.echo(format_table(table, fmt))
