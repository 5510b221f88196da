"""The HTML report: one self-contained page, safe for texts of others."""

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rmbench.errors import RmbenchError, install
from rmbench.show.policy import content_policy
from rmbench.show.report.material import Material, gather
from rmbench.suite.comparison import Comparison

__all__ = ["Material", "gather", "render_report", "report_figures"]

_FOLDER = Path(__file__).parent
MAX_TEXT_CHARACTERS: Final = 60_000_000
_CUT: Final = (
    "The texts of this suite are too many for one page; it has those of the comparisons that are"
    " lost by most."
)
# What could end the script element that data stands in, and line ends that only JSON allows.
_ESCAPES: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def render_report(materials: Sequence[Material]) -> str:
    """Return the report as the text of one HTML file.

    Nothing in it is fetched from anywhere. The page's own policy lets nothing run but its one
    script, known by its hash, and lets that script put no markup into the page.

    Args:
        materials: from `gather`, one per suite, at least one.

    Raises:
        RmbenchError: matplotlib or jinja2 is not installed.
    """
    try:
        import jinja2
        import markupsafe
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RmbenchError(
            f"report: {error.name} is not installed; {install(str(error.name))}"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    style, script = (_read(name) for name in ("page.css", "explorer.js"))
    page = environment.get_template("page.html.j2")
    return page.render(
        parts=_parts(materials, markupsafe.Markup),
        policy=content_policy(style, script),
        script=markupsafe.Markup(script),  # our own file
        style=markupsafe.Markup(style),  # likewise
        subtitle=_subtitle(materials),
        title=_title(materials),
        version=metadata.version("rmbench"),
    )


def report_figures(materials: Sequence[Material]) -> dict[str, bytes]:
    """Return every chart of the report for a paper: the name of a file → its content.

    SVG and PDF, with their texts as shapes and as TrueType, and PNG at 300 dots an inch. Of charts
    that the page has in two widths it is the wide one.

    Args:
        materials: from `gather`, one per suite, at least one.

    Raises:
        RmbenchError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise RmbenchError(
            f"report: matplotlib is not installed; {install('matplotlib')}"
        ) from None
    from rmbench.result.names import safe_name
    from rmbench.show.report.figures import drawn_for_paper
    from rmbench.show.report.view import part

    with drawn_for_paper() as drawn:
        for material in materials:
            part(material)
    files: dict[str, bytes] = {}
    for name, formats in drawn.items():
        plain = name.removesuffix("-wide").removesuffix("-narrow")
        if name.endswith("-narrow") and f"{plain}-wide" in drawn:
            continue
        files |= {f"{safe_name(plain)}.{fmt}": content for fmt, content in formats.items()}
    return files


def _shown(value: Any) -> Any:
    """Return text of others without marks that reorder or hide it; markup of our own as it is."""
    from rmbench.wording import printable

    return printable(value) if type(value) is str else value


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _parts(materials: Sequence[Material], markup: Any) -> list[dict[str, Any]]:
    """Return the parts of the page, figures and data marked as what must not be escaped again."""
    from rmbench.show.report.view import part

    parts = []
    for material in materials:
        shown = part(material)
        explorer = shown["explorer"]
        if explorer["texts"] is not None:
            texts = _texts(explorer["texts"], material)
            if None in texts:
                explorer["data"]["without"] = explorer["about"] = _CUT
            explorer["texts"] = markup(_embedded(texts))
        explorer["data"] = markup(_embedded(explorer["data"]))
        figures = [shown["bars"], *(m["ridges"] for m in shown["models"])]
        figures += [shown[key] for key in ("length", "calibration") if shown[key]]
        figures += shown["contrast"]["forest"].values() if shown["contrast"] else []
        for place in figures:
            for key in ("wide", "narrow", "figure"):
                if key in place:
                    place[key] = markup(place[key])
        parts.append(shown)
    return parts


def _embedded(value: Any) -> str:
    """Return JSON that can stand in a script element whatever its texts hold."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


def _texts(comparisons: Sequence[Comparison], material: Material) -> list[Any]:
    """Return ``[prompt, chosen, rejected]`` of each comparison; None beyond what a page can hold.

    Where not all texts fit, the comparisons that the first result loses by most keep theirs.
    """
    margins = material.scores[0].margins
    order = sorted(range(len(comparisons)), key=lambda i: (margins[i] is None, margins[i] or 0.0))
    shown: list[Any] = [None] * len(comparisons)
    room = MAX_TEXT_CHARACTERS
    for i in order:
        item = comparisons[i]
        prompt = [[message.role, message.content] for message in item.prompt]
        room -= sum(map(len, (*item.chosen, *item.rejected, *(text for _, text in prompt))))
        if room < 0:
            break
        shown[i] = [prompt, item.chosen, item.rejected]
    return shown


def _title(materials: Sequence[Material]) -> str:
    from rmbench.show.report.view import model_names

    names = dict.fromkeys(name for item in materials for name in model_names(item.scores))
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def _subtitle(materials: Sequence[Material]) -> str:
    titles = dict.fromkeys(material.suite.title for material in materials)
    dates: Mapping[str, None] = dict.fromkeys(
        sorted(scores.result.date[:10] for item in materials for scores in item.scores)
    )
    days = [day for day in dates if day]
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else "no date"
    return f"{', '.join(titles)}; measured {span}"
