"""``rmbench ensemble``: two or three models as one, from their recorded rewards."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmbench.cli.options import FORMAT, OUTPUT, SUITE_FILE, note, path_of

if TYPE_CHECKING:
    from rmbench.result.record import Result
    from rmbench.suite.definition import Suite

__all__ = ["ensemble"]


@click.command()
@click.argument("members", nargs=-1, required=True, metavar="A B [C]...")
@click.option("--name", metavar="NAME", help="Of the ensemble.  [default: the members' names]")
@SUITE_FILE
@click.option("--data", metavar="PATH", help="Rows of the suite, for the effect of length.")
@OUTPUT
@FORMAT
def ensemble(
    members: tuple[str, ...],
    name: str | None,
    suite_file: str | None,
    data: str | None,
    output: Path,
    fmt: str,
) -> None:
    """Make one result of several: the mean of their standardised rewards. No model is loaded.

    Members are results on one suite: a file, suite/model, or REVISION:PATH of git. What it is made
    of stands in the record; compare and leaderboard take it as any other.

    \b
    rmbench ensemble rewardbench/my-rm rewardbench/other-rm --name both
    """
    from rmbench.compare.comparable import suite_of
    from rmbench.compare.ensemble import ensemble as combine
    from rmbench.result.find import find_result
    from rmbench.result.store import write_result
    from rmbench.show.exports import results_as_csv, results_as_json
    from rmbench.show.formats import format_table
    from rmbench.show.result import result_table
    from rmbench.suite.catalogue import load_suite

    found = [find_result(member) for member in members]
    suite = suite_of(found[0], load_suite(suite_file) if suite_file else None)
    differences = _differences(found[0], suite, path_of(data, suite.name))
    result = combine(found, suite, name=name, differences=differences)
    note(f"written: {write_result(result, output)}")
    if fmt in ("json", "csv"):
        click.echo(results_as_json([result]) if fmt == "json" else results_as_csv([result]))
        return
    click.echo(format_table(result_table(result, suite), fmt) + "\n")
    for member in found:
        click.echo(_against(member, result, suite))


def _against(member: "Result", result: "Result", suite: "Suite") -> str:
    """Say in one sentence how the ensemble stands to a member."""
    from rmbench.compare.contrast import compare
    from rmbench.show.contrast import verdict_sentence
    from rmbench.wording import printable

    sentence = verdict_sentence(compare(member, result, suite), alpha=0.05)
    return printable(f"A {member.model['id']}, B the ensemble: {sentence}")


def _differences(result: "Result", suite: "Suite", data: str | None) -> list[int] | None:
    """Return the differences in length of the comparisons, where their texts are at hand."""
    from rmbench.errors import SuiteError
    from rmbench.suite.feed import open_feed

    if data is None and not suite.is_at_hand:
        return None
    contents = open_feed(suite, data=data).contents
    if contents.sha256 != result.suite.get("sha256"):
        raise SuiteError(f"{data or suite.name}: not the texts that were scored; give --data PATH")
    known = dict(zip(contents.ids, contents.differences or (), strict=True))
    return [known[item.id] for item in result.rewards]
