"""``rmbench cache``: what is kept, and forgetting it."""

from pathlib import Path

import click

from rmbench.cli.options import CACHE, FORMAT, open_cache
from rmbench.errors import ResultError

__all__ = ["cache"]


@click.group()
def cache() -> None:
    """Show or clear the answers already given."""


@cache.command()
@CACHE
@FORMAT
def info(cache_folder: Path | None, fmt: str) -> None:
    """Print where the cache is and what it holds."""
    from rmbench.cache import FILE, CacheInfo, default_folder
    from rmbench.show.formats import format_table
    from rmbench.show.table import Cell, Table

    folder = cache_folder or default_folder()
    found = CacheInfo(folder / FILE, answers=0, replies=0, runs=0, size=0)
    if (folder / FILE).exists():
        with open_cache(folder) as opened:
            found = opened.info()
    counts = [Cell("count", value) for value in (found.answers, found.replies, found.runs)]
    table = Table(
        title=str(folder / FILE),
        columns=["", "answers", "replies", "runs", "MB"],
        rows=[["kept", *counts, round(found.size / 1e6, 1)]],
    )
    click.echo(format_table(table, fmt))


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
