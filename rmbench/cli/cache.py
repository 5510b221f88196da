"""``rmbench cache``: what is kept, and forgetting it."""

from pathlib import Path

import click

from rmbench.cli.options import CACHE, open_cache
from rmbench.errors import ResultError
from rmbench.wording import counted

__all__ = ["cache"]


@click.group()
def cache() -> None:
    """Show or clear the answers already given."""


@cache.command()
@CACHE
def info(cache_folder: Path | None) -> None:
    """Print where the cache is and what it holds."""
    from rmbench.cache import FILE, default_folder

    folder = cache_folder or default_folder()
    click.echo(f"{folder / FILE}")
    if not (folder / FILE).exists():
        click.echo("nothing is kept there")
        return
    with open_cache(folder) as opened:
        found = opened.info()
    answers, replies = counted(found.answers, "answers"), counted(found.replies, "replies")
    click.echo(f"{answers}, {replies}, {counted(found.runs, 'runs')}, {found.size / 1e6:.1f} MB")


@cache.command()
@CACHE
def clear(cache_folder: Path | None) -> None:
    """Forget every answer."""
    from rmbench.cache import clear_cache, default_folder

    folder = cache_folder or default_folder()
    try:
        path = clear_cache(folder)
    except OSError as error:
        raise ResultError(
            f"{error.filename or folder}: cannot be removed: {error.strerror}; check its rights"
        ) from None
    click.echo(f"cleared: {path}")
