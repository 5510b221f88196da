"""``rmbench site``: many models as a static site."""

from pathlib import Path

import click

from rmbench.cli.options import note, tell_passed_over, tell_unknown_suites

__all__ = ["site"]


@click.command()
@click.argument("places", nargs=-1, metavar="[RESULT]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("public"),
    show_default=True,
    help="The folder to write.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="SUITE[=PATH]",
    help="Show a suite's texts, from a local file or folder, or from its own source; repeatable.",
)
@click.option(
    "--suite",
    "files",
    multiple=True,
    metavar="FILE",
    help="A suite file of your own that a result was measured on; repeatable.",
)
def site(
    places: tuple[str, ...], output: Path, data: tuple[str, ...], files: tuple[str, ...]
) -> None:
    """Write RESULTs (by default all below results, and the published ones) as a static site.

    It opens from disk and needs no server: a leaderboard, a page for each model and each suite, and
    a link for each comparison.

    \b
    rmbench site results/ -o public/
    """
    from rmbench.result.definition import suites_of
    from rmbench.result.find import find_results
    from rmbench.result.names import file_stem
    from rmbench.result.store import read_published
    from rmbench.show.site import build_site, gather_site
    from rmbench.suite.catalogue import load_suite

    _check_output(output)
    default = ["results"] if Path("results").is_dir() else []
    listing = find_results(places or default, rewards=lambda _: True)
    tell_passed_over(listing.passed_over)
    results = listing.results
    if not places:
        known = {(item.suite["name"], file_stem(item)) for item in results}
        results += [
            item for item in read_published() if (item.suite["name"], file_stem(item)) not in known
        ]
    texts: dict[str, str | None] = {}
    for item in data:
        name, _, path = item.partition("=")
        texts[name] = path or None
    suites, unknown = suites_of(results, map(load_suite, files))
    tell_unknown_suites(unknown)
    material = gather_site(results, suites, data=texts)
    paths = build_site(material, output)
    size = sum(path.stat().st_size for path in paths) / 1e6
    note(f"written: {paths[0]} and {len(paths) - 1} more files ({size:.1f} MB)")


def _check_output(output: Path) -> None:
    """Refuse a folder of results, among which the pages would stand."""
    from rmbench.errors import ResultError

    if any(output.glob("*/*.jsonl")):
        raise ResultError(
            f"--output {output}: this folder holds results; give a folder of the site's own, such"
            " as public"
        )
