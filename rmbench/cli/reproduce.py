"""``rmbench reproduce``: does the command that made a result make it again?"""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from rmbench.cli.options import DATA
from rmbench.cli.scorer_options import ScorerCommand, given_options
from rmbench.wording import counted, printable

if TYPE_CHECKING:
    from rmbench.compare.reproduction import Command, Reproduced
    from rmbench.result.record import Result

__all__ = ["reproduce"]


@click.command(cls=ScorerCommand)
@click.argument("result")
@click.option("--model", metavar="MODEL", help="Where the model is; a record has its name alone.")
@click.option("--suite", metavar="SUITE", help="The suite's file, if it does not come along.")
@DATA
@click.option("--print", "is_printed", is_flag=True, help="Print the command, and run nothing.")
def reproduce(
    result: str,
    model: str | None,
    suite: str | None,
    data: tuple[str, ...],
    is_printed: bool,
    **_: Any,
) -> None:
    """Run the command that made RESULT again, and say whether every number came out.

    RESULT is a file, a folder with one, suite/model, or REVISION:PATH of git. Nothing is written,
    and no kept answer is used. Exit code 1 when a number differs by more than rounding.

    \b
    rmbench reproduce mini/tiny
    rmbench reproduce results/mini/my-rm.json --model runs/my-rm
    """
    from rmbench.compare.reproduction import command_of, reproduced
    from rmbench.result.find import find_result

    before = find_result(result)
    command = command_of(before, model=model, suite=suite, given=given_options())
    click.echo(printable(" ".join([command.text, *(f"--data {shlex.quote(d)}" for d in data)])))
    if is_printed:
        return
    found = reproduced(before, _run(command, data))
    for line in _lines(found):
        click.echo(printable(line))
    if not found.is_same:
        sys.exit(1)


def _run(command: "Command", data: tuple[str, ...]) -> "Result":
    from rmbench.cli.run import open_feeds, open_rows
    from rmbench.run import evaluate_feed
    from rmbench.scorers.registry import load_scorer

    if command.has_suite:
        (feed,) = open_feeds([command.suite], data, command.part)
    else:
        (feed,) = open_rows(command.suite, command.part)
    return evaluate_feed(feed, load_scorer(command.model, command.options))


def _lines(found: "Reproduced") -> list[str]:
    """Return what is to be said, the verdict first."""
    total = counted(found.comparisons, "comparisons")
    if found.is_exact:
        return [f"every number came out again: {total}", *found.notes]
    if found.is_same:
        rounded = f"the answers within rounding, {found.difference:.3g} apart at most"
        return [f"every accuracy came out again, and {rounded}: {total}", *found.notes]
    apart = "" if found.difference is None else f", {found.difference:.3g} apart at most"
    lines = [f"{found.same:,} of {total} have the same answers{apart}"]
    moved = ", ".join(found.moved)
    lines.append(f"accuracies that moved: {moved}" if moved else "every accuracy is the same")
    return [*lines, *found.notes]
