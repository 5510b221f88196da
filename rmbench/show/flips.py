"""The comparisons that changed sides, as a table and as paragraphs for a terminal."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Final

from rmbench.compare.flips import Flip
from rmbench.show.table import Table
from rmbench.suite.comparison import Comparison
from rmbench.wording import counted, printable

__all__ = ["flips_table", "flips_text"]


EXCERPT: Final = 160


def flips_table(flips: Sequence[Flip], total: int, texts: Mapping[str, Comparison]) -> Table:
    """Return the comparisons that changed sides, in the order given, with the head of their texts.

    Args:
        flips: to list.
        total: how many changed sides in all.
        texts: by id, where the data is at hand; else empty.
    """
    columns = ["id", "credit A", "credit B", "margin A", "margin B"]
    rows = [[flip.id, *_flip_cells(flip)] for flip in flips]
    if texts:
        columns = [*columns, "prompt", "chosen", "rejected"]
        rows = [[*row, *_excerpts(texts[flip.id])] for row, flip in zip(rows, flips, strict=True)]
    notes = ["largest change of margin first, in units of each result's root mean square margin"]
    if not texts:
        notes.append("for the texts, say where the rows are with --data")
    title = _flips_title(len(flips), total)
    return Table(title=title, columns=columns, rows=rows, notes=notes, numeric=False)


def flips_text(
    flips: Sequence[Flip], total: int, texts: Mapping[str, Comparison], *, width: int
) -> str:
    """Return what ``flips_table`` holds as a paragraph for each flip, for a terminal.

    Args:
        flips: to list.
        total: how many changed sides in all.
        texts: by id, where the data is at hand; else empty.
        width: characters of a line.
    """
    table = flips_table(flips, total, {})
    notes = [line for note in table.notes for line in textwrap.wrap(note, width)]
    paragraphs = [_flip_lines(flip, texts.get(flip.id), width) for flip in flips]
    return "\n\n".join([table.title, *paragraphs, "\n".join(notes[: None if not texts else 1])])


def _flip_lines(flip: Flip, comparison: Comparison | None, width: int) -> str:
    credits = f"credit {flip.old_credit:g} → {flip.new_credit:g}"
    lines = [
        printable(flip.id),
        f"    {credits}, margin {flip.old_margin:+.4g} → {flip.new_margin:+.4g}",
    ]
    if comparison is not None:
        for name, text in zip(("prompt", "chosen", "rejected"), _texts(comparison), strict=True):
            head = f"    {name:<8}  "
            lines += textwrap.wrap(
                printable(" ".join(text.split()))[: 3 * width],
                max(width, 2 * len(head)),
                initial_indent=head,
                subsequent_indent=" " * len(head),
                max_lines=2,
                placeholder=" …",
            ) or [head.rstrip()]
    return "\n".join(lines)


def _flips_title(shown: int, total: int) -> str:
    """Say of how many comparisons that changed sides how many follow."""
    whole = counted(total, "comparisons")
    return f"{whole} changed sides" + (f"; {shown:,} of them:" if shown < total else "")


def _flip_cells(flip: Flip) -> list[str]:
    credits = (f"{value:g}" for value in (flip.old_credit, flip.new_credit))
    margins = (f"{value:+.4g}" for value in (flip.old_margin, flip.new_margin))
    return [*credits, *margins]


def _excerpts(comparison: Comparison) -> list[str]:
    return [_excerpt(text) for text in _texts(comparison)]


def _texts(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.prompt[-1].content, comparison.chosen[0], comparison.rejected[0]


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"
