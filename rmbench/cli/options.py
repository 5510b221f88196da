"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rmbench.cache import Cache

__all__ = [
    "CACHE",
    "DATA",
    "FORMAT",
    "OUTPUT",
    "SUITE_FILE",
    "open_cache",
    "path_of",
    "tell_passed_over",
    "tell_unknown_suites",
]

FORMAT = click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "markdown", "csv", "json", "latex", "html"]),
    default="table",
    show_default=True,
    help="How to print.",
)

SUITE_FILE = click.option(
    "--suite", "suite_file", metavar="FILE", help="The suite, if it is one of your own."
)

DATA = click.option(
    "--data",
    "data",
    multiple=True,
    metavar="SUITE=PATH",
    help="Read a suite's rows from a local file or folder; repeatable.",
)

OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for the results.",
)

CACHE = click.option(
    "--cache",
    "cache_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for answers already given.  [default: the user's cache folder]",
)


def path_of(data: str | None, suite: str) -> str | None:
    """Return the path in ``PATH`` or ``SUITE=PATH``, where only one suite can be meant."""
    return None if data is None else data.removeprefix(f"{suite}=")


def open_cache(folder: Path | None) -> "Cache":
    """Return the cache in ``folder``, or the user's."""
    from rmbench.cache import Cache, default_folder

    return Cache(folder or default_folder())


def tell_passed_over(lines: Sequence[str]) -> None:
    """Name the files of a folder that were no records, on standard error."""
    from rmbench.wording import printable

    for line in lines:
        click.echo(f"rmbench: {printable(line)}", err=True)


def tell_unknown_suites(names: Sequence[str]) -> None:
    """Name the suites whose results are left out since nothing says what they are."""
    from rmbench.wording import printable

    for name in names:
        hint = f"rmbench: results of {printable(name)} are left out; give --suite its .toml"
        click.echo(hint, err=True)
