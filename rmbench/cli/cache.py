"""``rmbench cache``: what is kept, and forgetting it."""

from pathlib import Path

import click

from rmbench.cli.options import CACHE, open_cache
from rmbench.comparison import counted
from rmbench.errors import ResultError

__all__ = ["cache"]


@click.group()
def cache() -> None:
    """Show or clear the rewards already computed."""


@cache.command()
@CACHE
def info(cache_folder: Path | None) -> None:
    """Print where the cache is and what it holds."""
    with open_cache(cache_folder) as opened:
        found = opened.info()
    click.echo(f"{found.path}")
    rewards, runs = counted(found.rewards, "rewards"), counted(found.runs, "runs")
    click.echo(f"{rewards}, {runs}, {found.size / 1e6:.1f} MB")


@cache.command()
@CACHE
def clear(cache_folder: Path | None) -> None:
    """Forget every reward."""
    opened = open_cache(cache_folder)
    try:
        opened.clear()
    except OSError as error:
        raise ResultError(f"{opened.path}: cannot be removed: {error.strerror}") from None
    click.echo(f"cleared: {opened.path}")
