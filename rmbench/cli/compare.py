"""``rmbench compare``: what changed between two results, beyond chance."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from rmbench.cli.options import FORMAT, SUITE_FILE, path_of

if TYPE_CHECKING:
    from rmbench.compare.contrast import Contrast
    from rmbench.compare.flips import Flip
    from rmbench.suite.comparison import Comparison

__all__ = ["compare"]

# Characters of a line where there is no terminal, and at most.
WIDTH: Final = 100
WIDEST: Final = 160


@click.command()
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option(
    "--alpha",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Mark what has a smaller adjusted p value.",
)
@click.option(
    "--flips",
    "count",
    type=click.IntRange(min=0),
    default=0,
    help="List N comparisons that changed sides.",
)
@click.option("--subsets", is_flag=True, help="Show every subset too.")
@SUITE_FILE
@click.option("--data", metavar="PATH", help="Rows of the suite, for the texts of the flips.")
@FORMAT
def compare(
    old: str,
    new: str,
    alpha: float,
    count: int,
    subsets: bool,
    suite_file: str | None,
    data: str | None,
    fmt: str,
) -> None:
    """Say what changed from A to B beyond chance: overall, and section by section.

    A and B are results: a file, a folder with one, suite/model, or REVISION:PATH of git.

    \b
    rmbench compare mini/tiny mini/length --flips 5
    """
    from rmbench.compare.comparable import suite_of, with_clusters
    from rmbench.compare.contrast import compare as compare_results
    from rmbench.compare.flips import find_flips, find_texts
    from rmbench.result.find import find_result
    from rmbench.show.exports import contrast_as_csv, contrast_as_json
    from rmbench.suite.catalogue import load_suite

    if count and fmt == "csv":
        raise click.UsageError("--flips has no place in CSV; give --format json")
    results = [find_result(name) for name in (old, new)]
    suite = suite_of(results[0], load_suite(suite_file) if suite_file else None)
    if data is not None:
        results = with_clusters(results, suite, data=path_of(data, suite.name))
    contrast = compare_results(results[0], results[1], suite)
    flips = find_flips(contrast) if count else []
    wanted = [flip.id for flip in flips[:count]]
    texts = find_texts(contrast, wanted, data=path_of(data, suite.name)) if wanted else {}
    if fmt == "json":
        click.echo(contrast_as_json(contrast, alpha=alpha, flips=flips[:count], texts=texts))
    elif fmt == "csv":
        click.echo(contrast_as_csv(contrast, alpha=alpha))
    else:
        _print_tables(contrast, alpha, fmt, subsets=subsets)
    if count and fmt not in ("json", "csv"):
        _print_flips(flips, count, texts, fmt)


def _print_tables(contrast: "Contrast", alpha: float, fmt: str, *, subsets: bool) -> None:
    from rmbench.show.bars import can_draw, draw_differences
    from rmbench.show.contrast import compare_table
    from rmbench.show.formats import format_table

    click.echo(format_table(compare_table(contrast, alpha=alpha, subsets=subsets), fmt))
    if fmt == "table" and can_draw(sys.stdout):
        click.echo("\n" + draw_differences(contrast))


def _print_flips(
    flips: "Sequence[Flip]", count: int, texts: "Mapping[str, Comparison]", fmt: str
) -> None:
    from rmbench.show.flips import flips_table, flips_text
    from rmbench.show.formats import format_table

    if fmt == "table":
        width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDEST)
        text = flips_text(flips[:count], len(flips), texts, width=width)
    else:
        text = format_table(flips_table(flips[:count], len(flips), texts), fmt)
    click.echo("\n" + text)
