"""Options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rmbench.cache import Cache

__all__ = [
    "CACHE",
    "DATA",
    "FORMAT",
    "OUTPUT",
    "SUITE_FILE",
    "add_loudness",
    "is_quiet",
    "note",
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


QUIET: Final = "rmbench.quiet"


def add_loudness(command: click.Command) -> None:
    """Give a command, and all below it, ``-q`` and ``-v``."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        add_loudness(inner)
    if not isinstance(command, click.Group):
        command.params += [
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=lambda ctx, _, is_on: ctx.meta.update({QUIET: is_on}),
                help="Say nothing on standard error but what is wrong.",
            ),
            click.Option(
                ["-v", "--verbose"],
                is_flag=True,
                expose_value=False,
                callback=lambda ctx, _, is_on: _log_all(ctx) if is_on else None,
                help="Say on standard error what is done, as it is done.",
            ),
        ]


def _log_all(ctx: click.Context) -> None:
    """Show the package's log on standard error while the command runs."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s rmbench: %(message)s", "%H:%M:%S"))
    log = logging.getLogger("rmbench")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    ctx.call_on_close(lambda: log.removeHandler(handler))


def is_quiet() -> bool:
    """Whether the command that runs was asked to say nothing."""
    return bool(click.get_current_context().meta.get(QUIET))


def note(text: str) -> None:
    """Say something on standard error that is not an error, unless ``-q`` was given."""
    from rmbench.wording import printable

    if not is_quiet():
        click.echo(printable(text), err=True)


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
