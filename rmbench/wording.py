"""Counts, percentages and safe text, as every message and table writes them."""

import re

__all__ = ["counted", "percent", "points", "printable", "size_text"]


def counted(number: int, words: str) -> str:
    """Return a count in words, the first of which is a plural: ``1 comparison``, ``1,200 ties``."""
    first, _, rest = words.partition(" ")
    return f"{number:,} {first.removesuffix('s') if number == 1 else first} {rest}".rstrip()


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage with two decimals: 0.72429 → ``72.43``."""
    return f"{100 * share:.2f}"


def points(share: float) -> str:
    """Return a difference in [-1, 1] in points, with its sign: 0.0458 → ``+4.58``."""
    return f"{round(100 * share, 2) + 0.0:+.2f}"  # what rounds to nothing has no minus


def size_text(count: int) -> str:
    """Return a number of bytes in the unit that suits it, such as ``16.1 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def printable(text: str) -> str:
    """Return text of others without what a terminal, or the log of a CI job, would obey.

    A GitHub runner takes a line that begins with ``::``, or has ``##[`` in it, for a command; one
    of Azure a line with ``##vso[``.
    """
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    shown = re.sub(r"^(\s*):(?=:)", r"\1\\x3a", shown)
    return shown.replace("##[", r"#\x23[").replace("##vso[", r"#\x23vso[")
