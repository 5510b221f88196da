"""``rmbench import``: scores that another program gave."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmbench.cli.options import FORMAT, OUTPUT, note, path_of

if TYPE_CHECKING:
    from rmbench.result.record import Result
    from rmbench.suite.definition import Suite

__all__ = ["import_"]


@click.command("import")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--suite", "name", required=True, metavar="SUITE", help="What was scored.")
@click.option("--model", metavar="ID", help="The model, if the file names none; or one of several.")
@click.option("--data", metavar="PATH", help="Rows of the suite; ids and texts are then checked.")
@OUTPUT
@FORMAT
def import_(
    file: Path, name: str, model: str | None, data: str | None, output: Path, fmt: str
) -> None:
    """Make results of scores in FILE, or in all files of a folder.

    \b
    {"id": "hep-rust/4348", "chosen": 1.25, "rejected": -0.5}        one model
    {"id": "hep-rust/4348", "scores": {"my-rm": [1.25, -0.5], ...}}  several, chosen first
    RewardBench's MODEL_outputs.jsonl, and its MODEL.json (accuracies only)
    RewardBench 2's score files, and JudgeBench's outputs of reward models
    """
    from rmbench.suite.catalogue import load_suite

    suite = load_suite(name)
    if file.is_dir():
        results, failed = _import_folder(file, suite, (model, data), output)
        _print_together(results, suite, fmt)
    else:
        results, failed = _import_file(file, suite, (model, data), output), 0
        _print_each(results, suite, fmt)
    if data is None:
        note(f"of the ids only the form was checked, not against {suite.name}; give --data PATH")
    if failed:
        raise SystemExit(2)


def _import_file(
    file: Path, suite: "Suite", given: tuple[str | None, str | None], output: Path
) -> "list[Result]":
    """Write the results of a file, unless a measured one stands in the place of any."""
    from rmbench.errors import ResultError
    from rmbench.importing import import_results
    from rmbench.result.store import find_replaced, write_result

    model, data = given
    results = import_results(file, suite, model=model, data=path_of(data, suite.name))
    for result in results:
        replaced = find_replaced(result, output)
        if replaced is not None and replaced[0].model.get("kind") != result.model.get("kind"):
            raise ResultError(
                f"{output}: a measured result of {result.model['id']} on {suite.name} stands there;"
                " give another --model name or --output"
            )
    for result in results:
        note(f"written: {write_result(result, output)}")
    return results


def _import_folder(
    folder: Path, suite: "Suite", given: tuple[str | None, str | None], output: Path
) -> "tuple[list[Result], int]":
    """Import every file of a folder; one that cannot be read is told and stops no other."""
    from rmbench.errors import ResultError, RmbenchError
    from rmbench.wording import counted, printable

    paths = sorted(p for p in folder.rglob("*") if {".json", ".jsonl"} & set(p.suffixes))
    if not paths:
        raise ResultError(f"{folder}: no .json or .jsonl file; give a folder of files of scores")
    results: list[Result] = []
    failed = 0
    for path in paths:
        try:
            results += _import_file(path, suite, given, output)
        except RmbenchError as error:
            click.echo(printable(f"rmbench: {error}"), err=True)
            failed += 1
    note(f"{counted(len(results), 'results')} of {counted(len(paths), 'files')}")
    return results, failed


def _print_together(results: "Sequence[Result]", suite: "Suite", fmt: str) -> None:
    from rmbench.show.board import build_boards
    from rmbench.show.formats import format_table
    from rmbench.show.leaderboard import leaderboard_table

    whole = [result for result in results if result.partial is None]
    if whole:
        board = build_boards(whole, [[suite]])[0]
        click.echo(format_table(leaderboard_table(board), fmt))


def _print_each(results: "Sequence[Result]", suite: "Suite", fmt: str) -> None:
    from rmbench.show.board import build_boards
    from rmbench.show.exports import results_as_csv, results_as_json
    from rmbench.show.formats import format_table
    from rmbench.show.leaderboard import leaderboard_table
    from rmbench.show.result import result_table

    if fmt in ("json", "csv"):
        click.echo(results_as_json(results) if fmt == "json" else results_as_csv(results))
        return
    for result in results:
        if result.source == "measured":
            table = result_table(result, suite)
        else:
            table = leaderboard_table(build_boards([result], [[suite]])[0])
        click.echo(format_table(table, fmt) + "\n")
