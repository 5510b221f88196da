"""A table in six formats; all of it is text of others, made harmless for what reads it."""

import csv
import html
import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.show.table import Cell, Content, Table
from rmbench.wording import printable

__all__ = ["FORMATS", "csv_text", "format_table", "to_json"]


ZERO_WIDTH: Final = "\u200b"


FORMATS: Final = ("table", "markdown", "csv", "json", "latex", "html")


def to_json(content: Any) -> str:
    """Return JSON in ASCII, of which neither a terminal nor the log of a CI job obeys anything."""
    return (
        json.dumps(content, indent=2).replace("##[", r"\u0023#[").replace("##vso[", r"\u0023#vso[")
    )


def _value(cell: Content) -> Any:
    """Return a cell as JSON has it."""
    if not isinstance(cell, Cell):
        return cell
    if isinstance(cell.value, Accuracy):
        return {key: item for key, item in asdict(cell.value).items() if item is not None}
    return cell.value


def format_table(table: Table, fmt: str) -> str:
    """Return a table in one of ``FORMATS``; ``table`` is text for a terminal.

    All of a table is text of others, and is made harmless for what will read it: a terminal obeys
    none of it, Markdown, LaTeX and HTML show it as it is, and no spreadsheet computes it.
    """
    if fmt == "json":
        records = [
            {head: _value(cell) for head, cell in zip(table.columns, row, strict=True)}
            for row in table.rows
        ]
        content = {"title": table.title, "rows": records, "notes": [*table.above, *table.notes]}
        return to_json(content)
    if fmt == "csv":
        return csv_text(_flat(table))
    style = STYLES[fmt]
    title = style.heading.format(style.clean(table.title))
    above, notes = (
        style.gap.join(style.note.format(style.clean(line)) for line in lines)
        for lines in (table.above, table.notes)
    )
    parts = (title, above, _body(table, style), notes)
    return "\n\n".join(part for part in parts if part)


class _Style(NamedTuple):
    """How a format writes: tabulate's name for it, and what stands around text made harmless."""

    name: str
    clean: Callable[[str], str]
    best: str
    second: str
    heading: str
    note: str
    gap: str


def _body(table: Table, style: _Style) -> str:
    from tabulate import tabulate

    align = ["left"] + ["right" if table.numeric else "left"] * (len(table.columns) - 1)
    headers, *rows = [[style.clean(cell) for cell in row] for row in (table.columns, *table.texts)]
    for cells, around in ((table.second, style.second), (table.best, style.best)):
        for row, column in cells:
            rows[row][column] = around.format(rows[row][column])
    text = tabulate(
        rows, headers=headers, tablefmt=style.name, colalign=align, disable_numparse=True
    )
    return _with_rules(text) if style.name == "latex_raw" else text


def _with_rules(text: str) -> str:
    r"""Return a LaTeX table with the rules of booktabs instead of its three \hline."""
    rules = iter((r"\toprule", r"\midrule", r"\bottomrule"))
    return "\n".join(next(rules) if line == r"\hline" else line for line in text.split("\n"))


# What GitHub and GitLab turn into a mention, an issue, a link or mathematics, though it stands as
# plain text: the match is kept, and what follows it is parted from it.
_REFERENCES: Final = re.compile(
    r"(?<![A-Za-z0-9])@(?=\w)"  # @user; inside a word, as in model@1a2b3c4, it is none
    r"|@(?=[\w-]+\.\w)"  # name@example.org
    r"|[#!%~$](?=\w)"  # #12, !12, %12, ~label, $12 and $x$
    r"|\bGH-(?=\d)"
    r"|(?<=[a-z]):(?=//)|\bwww(?=\.)",
    re.IGNORECASE,
)


def _escaped(text: str) -> str:
    """Return text that ends no Markdown cell, and opens no HTML, link, emphasis or code.

    Nor does it call anyone: a zero-width space stands after the @ of ``@user``, the # of ``#12``
    and the like, where no escape would help, since GitHub looks for them in what is shown.
    """
    text = _REFERENCES.sub(f"\\g<0>{ZERO_WIDTH}", printable(text))
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    # An underscore between letters is one for GitHub too.
    text = re.sub(r"[\\`*~\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", text)
    return text.replace("|", "&#124;").replace(ZERO_WIDTH, "&#8203;")


LATEX: Final = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "†": r"\dag{}"}
)


def _for_latex(text: str) -> str:
    return printable(text).translate(LATEX)


def _for_html(text: str) -> str:
    return html.escape(printable(text))


STYLES: Final = {
    "table": _Style("simple", printable, "{}", "{}", "{}", "{}", "\n"),
    "markdown": _Style("pipe", _escaped, "**{}**", "*{}*", "### {}", "<sub>{}</sub>", "\n\n"),
    "latex": _Style(
        "latex_raw", _for_latex, r"\textbf{{{}}}", r"\textit{{{}}}", "% {}", "% {}", "\n"
    ),
    "html": _Style(
        "unsafehtml",
        _for_html,
        "<strong>{}</strong>",
        "<em>{}</em>",
        "<h3>{}</h3>",
        "<p><small>{}</small></p>",
        "\n",
    ),
}


def _flat(table: Table) -> list[Sequence[Any]]:
    """Return heads and rows for CSV, where an interval takes two columns and an accuracy three.

    Published numbers have no intervals, and a table of them alone no columns for any.
    """
    rows: list[dict[str, Any]] = []
    heads: dict[str, None] = {}
    for row in table.rows:
        flat: dict[str, Any] = {}
        for head, cell in zip(table.columns, row, strict=True):
            flat |= cell.columns(head) if isinstance(cell, Cell) else {head: cell}
        heads |= dict.fromkeys(flat)
        rows.append(flat)
    names = [
        name
        for name in heads or table.columns
        if not name.endswith((" low", " high")) or any(row.get(name) is not None for row in rows)
    ]
    return [names, *([row.get(name) for name in names] for row in rows)]


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV, of which no spreadsheet computes anything."""
    stream = io.StringIO()
    cells = [
        [_for_spreadsheets(printable("" if cell is None else str(cell))) for cell in row]
        for row in rows
    ]
    csv.writer(stream, lineterminator="\n").writerows(cells)
    return stream.getvalue().rstrip("\n")


def _for_spreadsheets(text: str) -> str:
    """Return text that a spreadsheet takes for text, and not for a formula.

    Some look past blanks, and take a sign of full width for the sign itself.
    """
    start = unicodedata.normalize("NFKC", text).lstrip()
    if len(start) < 2 or start[0] not in "=+-@":
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
