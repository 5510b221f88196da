"""``rmbench leaderboard``: every result, side by side."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmbench.cli.options import note, tell_passed_over, tell_unknown_suites

if TYPE_CHECKING:
    from rmbench.result.record import Result
    from rmbench.show.board import Board
    from rmbench.suite.definition import Suite
    from rmbench.suite.group import Group

__all__ = ["leaderboard"]


@click.command()
@click.argument("paths", nargs=-1, metavar="[RESULT]...")
@click.option(
    "--suite",
    "names",
    multiple=True,
    metavar="SUITE",
    help="Only this suite: a name, or a .toml file of your own; repeatable.",
)
@click.option("--sort", metavar="NAME", help="Sort and rank by this section or average, or model.")
@click.option(
    "--for",
    "parts",
    multiple=True,
    metavar="PARTS",
    help="Rank by these sections and subsets alone: names with commas between, or hep-*;"
    " repeatable.",
)
@click.option("--intervals", is_flag=True, help="Show 95 % intervals.")
@click.option("--side-by-side", is_flag=True, help="One table for all suites.")
@click.option(
    "--transpose", is_flag=True, help="One table for all suites, metrics as rows: a model card's."
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "markdown", "csv", "json", "latex", "html"]),
    default="table",
    show_default=True,
    help="How to print.",
)
@click.option(
    "--update",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Put the table (Markdown) between the two markers of this file.",
)
@click.option(
    "--verify", is_flag=True, help="With --update: write nothing, fail when the table is stale."
)
def leaderboard(
    paths: tuple[str, ...],
    names: tuple[str, ...],
    sort: str | None,
    parts: tuple[str, ...],
    intervals: bool,
    side_by_side: bool,
    transpose: bool,
    fmt: str,
    update: Path | None,
    verify: bool,
) -> None:
    """Print results (by default those in results/ and the published ones), best first.

    \b
    rmbench leaderboard --suite rewardbench --for "Chat Hard,hep-python"   best for my domain
    rmbench leaderboard --transpose --suite rewardbench --suite ultrafeedback
    rmbench leaderboard --update README.md       between <!-- rmbench:leaderboard -->
                                             and <!-- /rmbench:leaderboard -->
    """
    from rmbench.show.board import build_boards

    if verify and update is None:
        raise click.UsageError("--verify goes with --update FILE")
    if update is not None and fmt not in ("table", "markdown"):
        raise click.UsageError("--update writes Markdown; leave --format out")
    results = _read(paths)
    if (group := _group(names)) is not None:
        click.echo(_of_group(group, results, fmt))
        return
    suites = _suites(names, results)
    if parts:
        results, suites = _of_domain(results, suites, parts)
    # One header alone makes a CSV file.
    together = side_by_side or transpose or fmt == "csv"
    groups = [suites] if together else [[suite] for suite in suites]
    boards = build_boards(results, groups, sort=sort)
    if update is not None:
        fmt = "markdown"
    text = _format(boards, fmt, intervals=intervals, transpose=transpose)
    if update is None:
        click.echo(text)
    else:
        _update(update, text, verify=verify)


def _read(paths: Sequence[str]) -> "list[Result]":
    """Return the results below the paths; by default those of ``results`` and the published."""
    from rmbench.result.find import find_results
    from rmbench.result.names import file_stem
    from rmbench.result.store import read_published

    default = ["results"] if Path("results").is_dir() else []
    listing = find_results(paths or default, rewards=lambda result: result.partial is None)
    tell_passed_over(listing.passed_over)
    results = listing.results
    if not paths:
        known = {(item.suite["name"], file_stem(item)) for item in results}
        published = read_published()
        results += [i for i in published if (i.suite["name"], file_stem(i)) not in known]
    return results


def _group(names: Sequence[str]) -> "Group | None":
    """Return the group that was asked for; it stands alone."""
    from rmbench.suite.group import find_group

    groups = [group for name in names if (group := find_group(name)) is not None]
    if groups and len(names) > 1:
        raise click.UsageError("--suite GROUP is a table of its own; leave the other suites out")
    return groups[0] if groups else None


def _of_group(group: "Group", results: "Sequence[Result]", fmt: str) -> str:
    from rmbench.show.formats import format_table
    from rmbench.show.group import MISSING, group_table
    from rmbench.suite.group import suites_of

    missing = None if fmt in ("csv", "json") else MISSING
    table = group_table(group, suites_of(group), results, missing=missing)
    return format_table(table, fmt)


def _suites(names: Sequence[str], results: "Sequence[Result]") -> "list[Suite]":
    """Return the suites asked for, by default those of which there are results."""
    from rmbench.errors import ResultError
    from rmbench.result.definition import suites_of
    from rmbench.suite.catalogue import find_suite, load_suite

    if names:
        known, _ = suites_of(results)
        # A suite of one's own can be named too, once a result has it.
        return [
            known[name] if name in known else load_suite(str(find_suite(name)))
            for name in dict.fromkeys(names)
        ]
    suites, unknown = suites_of(
        item for item in results if item.partial is None and ".probe-" not in item.suite["name"]
    )
    tell_unknown_suites(unknown)
    if not suites:
        remedy = "give --suite FILE of your own" if unknown else "`rmbench run` makes them"
        raise ResultError(f"no results of a whole run on a known suite; {remedy}")
    return list(suites.values())


def _of_domain(
    results: "Sequence[Result]", suites: "Sequence[Suite]", parts: Sequence[str]
) -> "tuple[list[Result], list[Suite]]":
    """Return results and suites of the parts that were asked for alone."""
    from rmbench.compare.domain import domain_results, domain_suite, subsets_of

    domains, wanted = {}, list(parts)
    for suite in suites:
        subsets = subsets_of(results, suite)
        known = {*subsets, *(section.name for section in suite.resolved(subsets).sections)}
        # A name may have a comma of its own.
        wanted = [
            name.strip()
            for part in parts
            for name in ([part] if part in known else part.split(","))
        ]
        found = domain_suite(suite, wanted, subsets)
        if found is not None:
            domains[suite.name] = found
    return domain_results(results, domains, wanted), list(domains.values())


def _format(boards: "Sequence[Board]", fmt: str, *, intervals: bool, transpose: bool) -> str:
    from rmbench.show.exports import board_as_csv, boards_as_json
    from rmbench.show.formats import format_table
    from rmbench.show.leaderboard import leaderboard_table, transposed_table

    if fmt == "json" and not transpose:
        return boards_as_json(boards)
    if fmt == "csv" and not transpose:
        return "\n\n".join(map(board_as_csv, boards))
    make = transposed_table if transpose else leaderboard_table
    return "\n\n".join(format_table(make(board, intervals=intervals), fmt) for board in boards)


def _update(path: Path, table: str, *, verify: bool) -> None:
    from rmbench.files import read_text, replace_block, write_text

    old = read_text(path)
    new = replace_block(old, table, place=str(path))
    if old == new:
        note(f"{path}: up to date")
    elif verify:
        click.echo(f"{path}: the table is stale; run the command without --verify", err=True)
        sys.exit(1)
    else:
        write_text(path, new)
        note(f"{path}: updated")
