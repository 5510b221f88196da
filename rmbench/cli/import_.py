"""``rmbench import``: scores that another program gave."""

from pathlib import Path

import click

from rmbench.cli.options import FORMAT, OUTPUT, path_of

__all__ = ["import_"]


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@click.option("--suite", "name", required=True, metavar="SUITE", help="What was scored.")
@click.option("--model", metavar="ID", help="The model, if the file does not say; or one of it.")
@click.option("--data", metavar="PATH", help="Rows of the suite; ids and texts are then checked.")
@OUTPUT
@FORMAT
def import_(
    file: Path, name: str, model: str | None, data: str | None, output: Path, fmt: str
) -> None:
    """Make results of scores in FILE: JSONL, or what RewardBench writes.

    \b
    {"id": "hep-rust/4348", "chosen": 1.25, "rejected": -0.5}        one model
    {"id": "hep-rust/4348", "scores": {"my-rm": [1.25, -0.5], ...}}  several, chosen first
    RewardBench's MODEL_outputs.jsonl, and its MODEL.json (accuracies only)
    """
    from rmbench.errors import ResultError
    from rmbench.importing import import_results
    from rmbench.result.store import find_replaced, write_result
    from rmbench.show.leaderboard import build_boards, leaderboard_table
    from rmbench.show.table import format_table, result_table, results_as_csv, results_as_json
    from rmbench.suite.definition import load_suite

    suite = load_suite(name)
    results = import_results(file, suite, model=model, data=path_of(data, suite.name))
    for result in results:
        replaced = find_replaced(result, output)
        if replaced is not None and replaced[0].model.get("kind") != result.model.get("kind"):
            raise ResultError(
                f"{output}: a measured result of {result.model['id']} on {suite.name} stands there;"
                " give another --model name or --output"
            )
    for result in results:
        click.echo(f"written: {write_result(result, output)}", err=True)
    if data is None:
        click.echo(f"ids were not compared with {suite.name}'s; --data PATH does so", err=True)
    if fmt in ("json", "csv"):
        click.echo(results_as_json(results) if fmt == "json" else results_as_csv(results))
        return
    for result in results:
        if result.source == "measured":
            table = result_table(result, suite)
        else:
            table = leaderboard_table(build_boards([result], [[suite]])[0])
        click.echo(format_table(table, fmt) + "\n")
