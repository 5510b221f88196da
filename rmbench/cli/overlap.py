"""``rmbench overlap``: was the suite in the training data?"""

from typing import TYPE_CHECKING

import click

from rmbench.cli.options import FORMAT, path_of

if TYPE_CHECKING:
    from rmbench.compare.apart import Apart
    from rmbench.result.record import Result
    from rmbench.suite.feed import Feed
    from rmbench.suite.overlap import Overlap

__all__ = ["overlap"]


@click.command()
@click.argument("train", metavar="TRAIN")
@click.option("--suite", "name", required=True, metavar="SUITE", help="Bundled name or .toml file.")
@click.option("--data", metavar="PATH", help="Read the suite's rows from a local file or folder.")
@click.option("--split", metavar="NAME", help="The split of TRAIN, if it has several.")
@click.option("--train-config", metavar="NAME", help="The configuration of TRAIN on the Hub.")
@click.option(
    "--result",
    "results",
    multiple=True,
    metavar="RESULT",
    help="Show this result with and without the shared comparisons; repeatable.",
)
@click.option(
    "--near",
    type=click.FloatRange(0.3, 1.0),
    default=0.7,
    show_default=True,
    help="Share of the runs of three words that two near texts have in common.",
)
@click.option("--exact", is_flag=True, help="Look for equal words alone.")
@FORMAT
def overlap(
    train: str,
    name: str,
    data: str | None,
    split: str | None,
    train_config: str | None,
    results: tuple[str, ...],
    near: float,
    exact: bool,
    fmt: str,
) -> None:
    """Say which of a suite's prompts and responses stand in TRAIN, the same or nearly so.

    TRAIN is a file of rows (JSONL, JSON, CSV, parquet), a folder of them, what save_to_disk wrote,
    or a data set of the Hub.

    \b
    rmbench overlap train.parquet --suite rewardbench-2 --result rewardbench-2/my-rm
    """
    from rmbench.result.find import find_result
    from rmbench.suite.catalogue import load_suite
    from rmbench.suite.feed import open_feed
    from rmbench.suite.overlap import find_overlap
    from rmbench.suite.recognise import rows_of

    suite = load_suite(name)
    measured = [find_result(place) for place in results]
    feed = open_feed(suite, data=path_of(data, suite.name))
    _check_results(measured, feed)
    limit = None if exact else near
    found = find_overlap(feed, rows_of(train, split=split, config=train_config), near=limit)
    _print(found, feed, measured, limit, fmt)


def _check_results(results: "list[Result]", feed: "Feed") -> None:
    """Refuse results on other comparisons than those that are looked for."""
    from rmbench.errors import ResultError

    for result in results:
        scored = result.suite.get("sha256")
        if result.suite["name"] != feed.suite.name or scored not in (None, feed.contents.sha256):
            raise ResultError(
                f"--result: {result.model['id']} on {result.suite['name']} was scored on other"
                f" texts than these of {feed.suite.name}; give a result on them, or --data"
            )


def _print(
    found: "Overlap", feed: "Feed", results: "list[Result]", near: float | None, fmt: str
) -> None:
    from rmbench.compare.apart import set_apart
    from rmbench.show.formats import format_table, to_json
    from rmbench.show.overlap import apart_table, overlap_record, overlap_table

    suite, shared = feed.suite, set(found.shared_ids)
    parts: list[tuple[Result, Apart]] = [(item, set_apart(item, suite, shared)) for item in results]
    if fmt == "json":
        click.echo(to_json(overlap_record(found, suite, near=near, results=parts)))
        return
    tables = [overlap_table(found, suite, near=near)]
    tables += [apart_table(result, suite, apart) for result, apart in parts]
    click.echo("\n\n".join(format_table(table, fmt) for table in tables))
