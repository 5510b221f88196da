"""Results as tables: text, Markdown, CSV, JSON, LaTeX, HTML."""

import csv
import html
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import OddsRatio, Sureness
from rmbench.accuracy.intervals import wilson
from rmbench.result.record import SLICE_COLUMNS, Result
from rmbench.suite.definition import Suite
from rmbench.wording import counted, percent, printable

__all__ = [
    "FORMATS",
    "Cell",
    "Content",
    "Table",
    "analysis_notes",
    "card_table",
    "format_table",
    "interval_text",
    "odds_text",
    "p_text",
    "result_table",
    "results_as_csv",
    "results_as_json",
    "source_notes",
    "to_json",
]

ZERO_WIDTH: Final = "\u200b"
FORMATS: Final = ("table", "markdown", "csv", "json", "latex", "html")


class Cell(NamedTuple):
    """A value and what kind of value it is: data formats have the value, the others its text.

    Attributes:
        kind: one of ``KINDS``.
        value: in plain units: shares and differences in [-1, 1], counts as whole numbers.
    """

    kind: str
    value: Any

    @property
    def text(self) -> str:
        """The value as people read it; nothing for None."""
        return "" if self.value is None else KINDS[self.kind](self.value)

    def columns(self, head: str) -> dict[str, Any]:
        """Return the value by the heads of the columns that it takes in CSV."""
        if self.kind in ("accuracy", "accuracy and interval"):
            names = {head: "accuracy", f"{head} low": "low", f"{head} high": "high"}
            return {name: getattr(self.value, key, None) for name, key in names.items()}
        if self.kind in ("interval", "reach"):
            low, high = (None, None) if self.value is None else self.value
            return {f"{head} low": low, f"{head} high": high}
        return {head: self.value}


def p_text(value: float) -> str:
    """Return a p value as every table writes it."""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


KINDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "count": "{:,}".format,
    "share": percent,
    "accuracy": lambda item: percent(item.accuracy),
    "accuracy and interval": lambda item: _with_interval(item),
    "interval": lambda ends: f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}",
    "points": lambda value: f"{100 * value:+.2f}",
    "reach": lambda ends: f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}",
    "distance": lambda value: f"{100 * value:.2f}",
    "end": lambda value: f"{100 * value:+.2f}",
    "p": p_text,
    "seconds": "{:,.0f}".format,
    "number": "{:.4g}".format,
    "signed": "{:+.4g}".format,
}
"""How values are written for people, by kind."""

Content = str | int | float | Cell | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table before it is formatted.

    A cell is a text, a plain number or a ``Cell``. ``above`` stands between title and table,
    ``notes`` beneath, the signatures last; ``numeric`` columns, all but the first, are aligned to
    the right. ``best`` and ``second`` are cells (row,
    column) that Markdown, LaTeX and HTML set in bold and in italics.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Content]]
    notes: Sequence[str] = ()
    numeric: bool = True
    above: Sequence[str] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    second: frozenset[tuple[int, int]] = frozenset()

    @property
    def texts(self) -> list[list[str]]:
        """The rows as people read them."""
        return [[cell_text(cell) for cell in row] for row in self.rows]


def interval_text(item: Accuracy) -> str:
    """Return an interval in percent, ``70.8 to 74.0``; nothing where there is none."""
    if item.low is None or item.high is None:
        return ""
    return f"{100 * item.low:.1f} to {100 * item.high:.1f}"


def to_json(content: Any) -> str:
    """Return JSON in ASCII, of which neither a terminal nor the log of a CI job obeys anything."""
    return json.dumps(content, indent=2).replace("##[", r"\u0023#[")


def _with_interval(item: Accuracy) -> str:
    span = interval_text(item)
    return percent(item.accuracy) + (f" ({span})" if span else "")


def cell_text(cell: Content) -> str:
    """Return a cell as people read it."""
    if isinstance(cell, Cell):
        return cell.text
    return "" if cell is None else str(cell)


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
        return _csv(_flat(table))
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
    r"""Return a LaTeX table with the rules of booktabs in place of its three \hline."""
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


def _csv(rows: Sequence[Sequence[Any]]) -> str:
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


# --- one result ----------------------------------------------------------------------------------


def result_table(result: Result, suite: Suite, *, subsets: bool = False) -> Table:
    """Return a result's sections and averages with their intervals, and its audit.

    Args:
        result: a measured result.
        suite: the one it was measured on; says what each average means.
        subsets: list the subsets too.
    """
    groups = [result.subsets if subsets else {}, result.sections, result.averages]
    rows: list[list[Content]] = [
        [
            name,
            Cell("share", item.accuracy),
            Cell("interval", None if item.low is None else (item.low, item.high)),
            *(Cell("count", count) for count in (item.n, item.wins, item.ties)),
        ]
        for group in groups
        for name, item in group.items()
    ]
    how = "a quick sample" if result.sample else "partial"
    part = (
        f" ({how}: {counted(result.partial, 'comparisons')})" if result.partial is not None else ""
    )
    notes = [*_meanings(suite, result), *analysis_notes(result), *audit_notes(result, suite)]
    notes += _design_note(result)
    notes += source_notes(result, suite)
    notes += _left_out(result, suite)
    return Table(
        title=f"{suite.title}: {result.model['id']}{part}",
        columns=["", "accuracy %", "95 % interval", "n", "won", "tied"],
        rows=rows,
        notes=[*notes, str(result.signature)],
    )


NOTABLE_DESIGN: Final = 1.2


def _design_note(result: Result) -> list[str]:
    """Say by how much comparisons of one prompt widen the intervals, where they do."""
    found = {
        name: item.design_effect
        for group in (result.sections, result.averages)
        for name, item in group.items()
        if item.design_effect is not None and item.design_effect > NOTABLE_DESIGN
    }
    effects = ", ".join(f"{name} {design:.1f}" for name, design in found.items())
    words = "comparisons of one prompt raise the variance (design effect)"
    return [f"{words}: {effects}"] if found else []


def _left_out(result: Result, suite: Suite) -> list[str]:
    """Say which sections and averages a partial run lacks rows for."""
    if result.partial is None:
        return []
    names = [section.name for section in suite.sections]
    names += [average.name for average in suite.averages]
    missing = [name for name in names if result.find(name) is None]
    return [f"left out, since subsets have no rows: {', '.join(missing)}"] if missing else []


def source_notes(result: Result, suite: Suite) -> list[str]:
    """Say so when the texts were another file's than the suite's and nothing vouches for them."""
    origin = result.suite.get("origin")
    if suite.source.sha256 is not None or origin == suite.source.path:
        return []
    return [
        f"{suite.name}: the rows are those of {origin}; the suite has no digest that would show"
        f" whether they are {suite.source.path}'s"
    ]


def _meanings(suite: Suite, result: Result) -> list[str]:
    meanings = [
        f"{average.name}: {average.meaning}"
        for average in suite.averages
        if average.name in result.averages
    ]
    return [*meanings, *_weightings(suite, result), *_unlike_wins(suite, result)]


def _unlike_wins(suite: Suite, result: Result) -> list[str]:
    """Say where the accuracy is not what was won and tied, and why; of ties the audit tells."""
    tie = suite.credit.credit_of_tie if suite.credit.rule == "pair" else 0.0
    why = "its parts weigh other than by their comparisons"
    if not suite.credit.rules <= {"pair"}:
        why = "comparisons can earn a part of the credit"
    notes = []
    for name, item in (*result.sections.items(), *result.averages.items()):
        wins, n = item.wins or 0, item.n or 0
        if n and percent((wins + tie * (item.ties or 0)) / n) != percent(item.accuracy):
            notes.append(f"{name}: {wins:,} won of {n:,} are {percent(wins / n)} %; {why}")
    return notes


def _weightings(suite: Suite, result: Result) -> list[str]:
    """Say of each section which of its subsets weigh other than by their comparisons."""
    notes = []
    for section in suite.sections:
        found = [
            f"{name} {weight:g}"
            for name, weight in section.weights.items()
            if name in result.subsets and result.subsets[name].n != weight
        ]
        if found and section.name in result.sections:
            notes.append(f"{section.name}: the suite weighs {', '.join(found)}")
    return notes


def analysis_notes(result: Result) -> list[str]:
    """Return a line on length and one on calibration, each only where it has something to tell.

    Of a rule they would tell what the rule says of itself.
    """
    found = None if result.is_rule else result.analyses
    notes = []
    if found is not None and found.length is not None and found.length.tells:
        longer, shorter, odds = found.length.longer, found.length.shorter, found.length.odds
        assert longer is not None and shorter is not None and odds is not None, "else none is told"
        notes.append(
            f"length: {percent(longer.accuracy)} % right where the chosen response is longer"
            f" (n {longer.n:,}), {percent(shorter.accuracy)} % where it is shorter"
            f" (n {shorter.n:,}); within subsets the odds of winning are {odds_text(odds)} times as"
            " high where it is longer"
        )
    if found is not None and found.calibration is not None and found.calibration.tells:
        notes.append(_sureness_note(found.calibration))
    return notes


def _sureness_note(item: Sureness) -> str:
    assert item.confidence is not None and item.right is not None, "else nothing is told"
    low, high = wilson(item.right * (item.n - item.ties), item.n - item.ties)
    word = "overconfident" if item.confidence > high else "underconfident"
    if low <= item.confidence <= high:
        word = "margins promise other shares than come true"
    ties = f"; {counted(item.ties, 'ties')} left out" if item.ties else ""
    return (
        f"calibration: {word}: mean confidence {100 * item.confidence:.1f} %, accuracy"
        f" {100 * item.right:.1f} % (calibration error {item.error:.3f}{ties})"
    )


def odds_text(odds: OddsRatio) -> str:
    """Return an odds ratio with its 95 % interval, ``1.43 (1.30 to 1.57)``."""
    middle, low, high = map(_factor, odds)
    return f"{middle} ({low} to {high})"


def _factor(ratio: float) -> str:
    if not 0.001 <= ratio <= 1000.0:
        return "over 1,000" if ratio > 1.0 else "under 0.001"
    return f"{ratio:.3g}"


AUDIT_WORDS: Final = {
    "near_ties": "margins below one step of the precision",
    "overflowed": "conversations over the limit of length",
    "dropped": "comparisons dropped",
    "identical_inputs": "comparisons whose two sides gave the model the same tokens",
    "identical_responses": "comparisons with the same text on both sides",
    "duplicates": "comparisons equal to an earlier one",
    "empty": "comparisons with an empty text",
    "equal_scores": "comparisons whose annotators gave both sides the same score",
}


CURE: Final = dict.fromkeys(("bfloat16", "float16"), " (--dtype cascade ends them as float32 does)")
LEFT_OUT: Final = {
    "even": "neither response is preferred",
    "skipped": "the suite says so",
    "one_sided": "no right or no wrong response",
}


def audit_notes(result: Result, suite: Suite) -> list[str]:
    """Return one line for all that the audit has to tell; none when there is nothing."""
    found = []
    if result.audit.get("ties"):
        found.append(f"{counted(result.audit['ties'], 'ties')}{_tie_words(suite)}")
    for key, words in AUDIT_WORDS.items():
        if result.audit.get(key):
            found.append(f"{counted(result.audit[key], words)}{_share(result, key)}")
    for why, count in (result.audit.get("left_out") or {}).items():
        found.append(f"{counted(count, 'rows')} left out: {LEFT_OUT.get(why, why)}")
    found += _way_notes(result.audit)
    found += _cascade_notes(result.audit)
    found += _recheck_notes(result.audit, str(result.settings.get("dtype")))
    found += _order_notes(result.audit)
    if result.audit.get("below_chance"):
        of_model = not result.is_rule
        cost = ": does a low reward mean a good response (a cost model)?" if of_model else ""
        found.append(f"below chance{cost}")
    found += [f"{name}: {seen}" for name, seen in (result.audit.get("warnings") or {}).items()]
    return ["audit: " + "; ".join(found)] if found else []


def _order_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return what the order of responses did, and what judges' replies came to."""
    found, orders = [], audit.get("orders") or {}
    if orders:
        found.append(
            f"both orders right {percent(orders['strict'])} % (a guesser 25), single orders"
            f" {percent(orders['mean'])} % (50)"
        )
    if orders.get("first") is not None:
        limits = f"{percent(orders['first_low'])} to {percent(orders['first_high'])}"
        found.append(f"the first place wins {percent(orders['first'])} % ({limits})")
    replies = audit.get("replies") or {}
    found += [f"{count} replies {why}" for why, count in replies.items() if why != "read"]
    repeats = audit.get("repeats") or {}
    if "spread" in repeats:
        found.append(
            f"{repeats['runs']} identical runs agree on {percent(repeats['agreement'])} % and"
            f" differ by {percent(repeats['spread'])} points: less is noise"
        )
    return found


def _tie_words(suite: Suite) -> str:
    """Return in brackets what a tie earns, where it is the same for every comparison."""
    if len(suite.credit.rules) > 1 or suite.credit.rule not in ("pair", "best-of"):
        return ""
    is_shared = suite.credit.tie == "share"
    earns = "shares the credit" if is_shared else f"earns {suite.credit.credit_of_tie:g}"
    return f" (each {earns})"


def _share(result: Result, key: str) -> str:
    """Return in brackets how much of the data a count is, where that says how far to trust it."""
    count, total = result.audit[key], result.suite.get("comparisons")
    if key != "equal_scores" or not isinstance(count, int) or not isinstance(total, int):
        return ""
    return f" ({100 * count / max(total, 1):.1f} %)"


def _way_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return which ways of batching were not used, and which were and had to be replaced."""
    found = []
    for way, difference in audit.get("refused_batching", {}).items():
        if difference is not None:  # else the model does not allow it, which moves no number
            found.append(f"batching {way} refused: {difference:.2g} from the lone forward")
    for way, difference in (audit.get("contradicted") or {}).items():
        found.append(
            f"all scored anew: rewards of the way {way} were {difference:.2g} from the lone forward"
        )
    return found


def _cascade_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return how many comparisons half precision left open, and how many it had wrong."""
    item = audit.get("cascade") or {}
    if not item:
        return []
    within = "" if item["bound"] is None else f", those within {item['bound']:.2g} of a tie"
    return [
        f"{item['again']:,} of {counted(item['comparisons'], 'comparisons')}"
        f" ({percent(item['share'])} %) scored again in {item['exact']}{within};"
        f" {item['fast']} had decided {item['turned']:,} of them otherwise"
    ]


def _recheck_notes(audit: Mapping[str, Any], dtype: str) -> list[str]:
    found = []
    again = {
        "rechecked": "comparisons scored again alone",
        "exact": "ties and near-ties in float32",
    }
    for key, words in again.items():
        item = audit.get(key) or {}
        if item.get("flipped"):
            cure = "" if key == "exact" else CURE.get(dtype, "")
            found.append(f"{item['flipped']} of {item['comparisons']} {words} end otherwise{cure}")
    return found


# --- the model card's table ----------------------------------------------------------------------


def card_table(results: Sequence[Result], suites: Sequence[Suite]) -> Table | None:
    """Return the model card's table: its metrics as rows, one column per model.

    Args:
        results: measured and published, of these suites; a model has one column for each source.
        suites: in the order of the rows; those without a ``[card]`` add none.

    Returns:
        None when no suite has a card.
    """
    columns: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        key = (result.source, str(result.model["id"]))
        columns.setdefault(key, {})[str(result.suite["name"])] = result
    # A published model belongs here with all that the card shows, or not at all.
    wanted = {suite.name for suite in suites if suite.card}
    columns = {
        key: column
        for key, column in columns.items()
        if key[0] == "measured" or wanted <= column.keys()
    }
    results = [result for column in columns.values() for result in column.values()]
    rows: list[list[Content]] = []
    for suite in suites:
        # With several averages, a row says which of them it shows.
        several = {average.name for average in suite.averages} if len(suite.averages) > 1 else ()
        for label, name in suite.card.items():
            which = f" ({name})" if name in several else ""
            cells = [_card_cell(column.get(suite.name), name) for column in columns.values()]
            rows.append([label + which, *cells])
    if not rows:
        return None
    marks = {"published": " (published)", "measured": ""}
    partial = {result.model["id"] for result in results if result.partial is not None}
    citations = {
        f"{result.model['id']} (published): {result.citation}"
        for result in results
        if result.citation
    }
    by_name = {suite.name: suite for suite in suites}
    measured = [result for result in results if result.source == "measured"]
    for result in measured:
        citations |= set(source_notes(result, by_name[str(result.suite["name"])]))
    signatures = [str(result.signature) for result in measured]
    return Table(
        title="The model card's table",
        columns=[
            "Metric",
            *(
                f"{model}{' (partial)' if model in partial else marks[source]}"
                for source, model in columns
            ),
        ],
        rows=rows,
        notes=[*sorted(citations), *signatures],
    )


def _card_cell(result: Result | None, name: str) -> Cell:
    return Cell("accuracy and interval", result.find(name) if result is not None else None)


# --- records -------------------------------------------------------------------------------------


def results_as_json(results: Sequence[Result]) -> str:
    """Return the records as a JSON list, each as its file holds it; in ASCII, for terminals."""
    return to_json([result.to_dict() for result in results])


def results_as_csv(results: Sequence[Result]) -> str:
    """Return every number of the records as CSV, one line each; accuracies in [0, 1]."""
    rows: list[Sequence[Any]] = [["suite", "model", "source", *SLICE_COLUMNS]]
    for result in results:
        head = [result.suite["name"], result.model["id"], result.source]
        for item in result.slices():
            rows.append([*head, *(item[column] for column in SLICE_COLUMNS)])
    return _csv(rows)
