"""``rmbench scorers``: what can answer, and the options of each kind."""

from typing import TYPE_CHECKING

import click

from rmbench.cli.options import FORMAT

if TYPE_CHECKING:
    from rmbench.options import OptionField

__all__ = ["scorers"]


@click.group()
def scorers() -> None:
    """List the kinds of scorers that --model takes, or show the options of one."""


@scorers.command("list")
@FORMAT
def list_(fmt: str) -> None:
    """List all kinds: rmbench's own, and those of installed packages."""
    from rmbench.scorers.registry import kind_names, load_kind
    from rmbench.show.formats import format_table
    from rmbench.show.table import Table

    rows = []
    for name in kind_names():
        kind = load_kind(name)
        rows.append([f"{name}:{kind.metavar}", ", ".join(kind.names), kind.summary])
    columns = ["as --model", "or by itself", "what it is"]
    notes = ["a folder or a model of the Hub needs no KIND: its configuration says what it is"]
    click.echo(
        format_table(
            Table(title="Scorers", columns=columns, rows=rows, notes=notes, numeric=False), fmt
        )
    )


@scorers.command()
@click.argument("kind")
@FORMAT
def show(kind: str, fmt: str) -> None:
    """Show the options of a KIND, as -o NAME=VALUE takes them.

    A model is shown as the kind that it is of: tiny, length, judge:org/name.
    """
    from rmbench.scorers.registry import find_kind, kind_names, load_kind
    from rmbench.show.formats import format_table
    from rmbench.show.table import Table

    if kind not in kind_names() and kind.rstrip(":") in kind_names():
        kind = kind.rstrip(":")
    if kind not in kind_names() and _is_model(kind):
        kind = find_kind(kind).kind
    found = load_kind(kind)
    rows = [
        [item.name, _values(item), "" if item.default is None else str(item.default), item.help]
        for item in found.options.fields()
    ]
    columns = ["option", "values", "default", "what it does"]
    title = f"{kind}:{found.metavar}: {found.summary}"
    click.echo(format_table(Table(title=title, columns=columns, rows=rows, numeric=False), fmt))


def _is_model(name: str) -> bool:
    """Whether a name stands for a model whose kind is known without a network."""
    from pathlib import Path

    from rmbench.scorers.registry import unprefixed_names

    return name in unprefixed_names() or Path(name).is_dir() or ":" in name


def _values(item: "OptionField") -> str:
    """Return what an option may be, in a few words."""
    if item.choices:
        return " | ".join(item.choices)
    least, most = item.bounds
    word = {bool: "true | false", int: "whole number", float: "number"}.get(item.type, "text")
    word = item.metavar or word
    if least is not None:
        word += f", {least:g} or more" if most is None else f", {least:g} to {most:g}"
    return word + (", required" if item.required else "")
