"""``rmbench suites``: list, show and check suites."""

from pathlib import Path

import click

from rmbench.cli.options import FORMAT, path_of

__all__ = ["suites"]


@click.group()
def suites() -> None:
    """List, show and check suites."""


@suites.command("list")
@FORMAT
def list_command(fmt: str) -> None:
    """Print the bundled suites."""
    from rmbench.accuracy.credit import answers_for
    from rmbench.show.formats import format_table
    from rmbench.show.table import Table
    from rmbench.suite.catalogue import list_suites, load_suite

    loaded = [load_suite(name) for name in list_suites()]
    rows = [
        [
            suite.name,
            suite.title,
            suite.source.places[0] + (" ..." if len(suite.source.places) > 1 else ""),
            suite.headline,
            answers_for(suite),
        ]
        for suite in loaded
    ]
    columns = ["name", "title", "source", "headline", "scorers that give"]
    table = Table(title="Suites", columns=columns, rows=rows, numeric=False)
    click.echo(format_table(table, fmt))


@suites.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the file of a suite."""
    from rmbench.suite.catalogue import find_suite, load_suite

    load_suite(name)
    click.echo(find_suite(name).read_text(encoding="utf-8"), nl=False)


@suites.command()
@click.argument("rows", metavar="ROWS")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it here, beside the rows, instead of printing it.",
)
def new(rows: str, output: Path | None) -> None:
    """Write a suite file for rows of your own, pinned, with what they were recognised as.

    Of rows that are not recognised a draft is written, to be filled in.
    """
    from rmbench.errors import DataError
    from rmbench.suite.feed import open_feed
    from rmbench.suite.recognise import draft, recognise, to_toml
    from rmbench.wording import printable

    if output is not None:
        _check_place(output, rows)
    try:
        suite, content, reading = recognise(rows)
    except DataError as error:
        text = draft(rows)
        finding = str(error).rpartition("; ")[0]
        click.echo(printable(f"{finding}; this is a draft: fill in its ?"), err=True)
        _put(text, output)
        return
    feed = open_feed(suite, data=rows if Path(rows).exists() else None)
    content["source"] |= {
        "comparisons": len(feed.contents.ids),
        "sha256": feed.contents.sha256,
    }
    click.echo(printable(reading), err=True)
    _put(to_toml(content), output)


def _put(text: str, output: Path | None) -> None:
    from rmbench.files import write_text

    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
        click.echo(f"written: {output}", err=True)


def _check_place(output: Path, rows: str) -> None:
    """Refuse a place where the suite file would replace another file or miss its rows."""
    from rmbench.errors import SuiteError

    if output.suffix != ".toml":
        raise SuiteError(f"--output {output}: a suite file ends in .toml; give such a name")
    if output.exists():
        raise SuiteError(f"--output {output}: there is such a file; delete it, or give another")
    beside = Path(rows).parent
    if Path(rows).exists() and output.parent.resolve() != beside.resolve():
        raise SuiteError(
            f"--output {output}: a suite file stands beside its rows, so that it finds them; give"
            f" {beside / output.name}"
        )


@suites.command()
@click.argument("file", metavar="FILE")
@click.option("--data", metavar="PATH", help="Check the rows of this local copy too.")
@click.option("--rows", is_flag=True, help="Read and check the rows of its source too.")
def check(file: str, data: str | None, rows: bool) -> None:
    """Check a suite file, and on request its rows."""
    from rmbench.suite.catalogue import load_suite
    from rmbench.suite.feed import open_feed
    from rmbench.wording import counted

    suite = load_suite(file)
    click.echo(f"{file}: a suite called {suite.name}, version {suite.version}")
    if data is None and not rows:
        click.echo("rows not read; add --rows or --data PATH to check them")
        return
    feed = open_feed(suite, data=path_of(data, suite.name))
    total = counted(len(feed.contents.ids), "comparisons")
    subsets = counted(len(set(feed.contents.subsets)), "subsets")
    click.echo(f"valid: {total}, {subsets}; these lines in [source] pin the rows:\n")
    click.echo(f"comparisons = {len(feed.contents.ids)}")
    click.echo(f'sha256 = "{feed.contents.sha256}"')
