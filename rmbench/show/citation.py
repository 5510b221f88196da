"""How a result is described and cited in a paper: one sentence of methods, and BibTeX."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from rmbench.result.record import Result
from rmbench.show.formats import LATEX
from rmbench.suite.definition import Suite
from rmbench.wording import counted, percent, printable

__all__ = ["bibtex", "methods"]


class _Paper(NamedTuple):
    """Who wrote what; ``and others`` is BibTeX's et al."""

    author: str
    title: str


_FILE: Final = Path(__file__).parent / "papers.toml"
PAPERS: Final = {
    number: _Paper(*entry) for number, entry in tomllib.loads(_FILE.read_text("utf-8")).items()
}
"""The papers of the bundled suites, by their number on arXiv."""
_ARXIV: Final = re.compile(r"https://arxiv\.org/abs/(\d\d)(\d\d)\.(\d+)")
_HUB: Final = re.compile(r"[\w.-]+/[\w.-]+")


def methods(results: Sequence[Result], suites: dict[str, Suite]) -> str:
    """Return a paragraph of LaTeX that says what was measured, how, and how it came out.

    Args:
        results: measured or published.
        suites: by name.
    """
    return " ".join(_sentence(result, suites[result.suite["name"]]) for result in results)


def _sentence(result: Result, suite: Suite) -> str:
    model, title = _plain(str(result.model["id"])), _plain(suite.title)
    cite, headline = rf"~\cite{{{_key(suite)}}}", result.headline
    n = counted(result.partial or result.suite.get("comparisons") or 0, "comparisons")
    if result.source == "published":
        told = (
            ""
            if headline is None
            else f" ({_plain(suite.headline)}: {percent(headline.accuracy)}\\,\\%)"
        )
        return f"For {model} on {title}{cite} we take the published numbers{told}."
    how = "a fixed, stratified sample of " if result.sample else ""
    part = f"{how}{n}" + (f" of {title}" if result.partial else "")
    asked = f"{title}{cite} (version {suite.version}, {part})"
    sentence = f"We evaluate {model} on {asked} with rmbench~\\cite{{rmbench}}"
    if headline is not None:
        span = "" if headline.low is None else _span(headline.low, headline.high or headline.low)
        meaning = next((a.meaning for a in suite.averages if a.name == suite.headline), "")
        named = f"{_plain(suite.headline)}, {_plain(meaning)}"
        sentence += f"; its accuracy ({named}) is {percent(headline.accuracy)}\\,\\%{span}"
    return f"{sentence}. Signature: \\texttt{{{_plain(str(result.signature))}}}."


def _span(low: float, high: float) -> str:
    return f" (95\\,\\% interval {100 * low:.1f} to {100 * high:.1f})"


def bibtex(results: Sequence[Result], suites: dict[str, Suite]) -> str:
    """Return the entries of rmbench, of the suites and of the models, in this order, none twice."""
    entries = {"rmbench": _software()}
    for result in results:
        suite = suites[result.suite["name"]]
        entries.setdefault(_key(suite), _suite_entry(suite))
    for result in results:
        entry = _model_entry(result)
        if entry is not None:
            entries.setdefault(*entry)
    return "\n\n".join(entries.values())


def _software() -> str:
    version = metadata.version("rmbench")
    return _entry(
        "software",
        "rmbench",
        {"title": "rmbench", "author": "{The rmbench authors}", "version": version},
    )


def _suite_entry(suite: Suite) -> str:
    found = _ARXIV.fullmatch(suite.reference or "")
    if found is None:
        fields = {
            "title": f"{{{_plain(suite.title)}}}",
            "howpublished": rf"\url{{{suite.reference or suite.source.path}}}",
        }
        return _entry("misc", _key(suite), fields)
    year, month, number = found.groups()
    eprint = f"{year}{month}.{number}"
    paper = PAPERS.get(eprint)
    fields = {} if paper is None else {"author": f"{paper.author} and others"}
    fields["title"] = f"{{{_plain(suite.title if paper is None else paper.title)}}}"
    fields |= {"year": f"20{year}", "eprint": eprint, "archiveprefix": "arXiv"}
    return _entry("misc", _key(suite), fields)


def _model_entry(result: Result) -> tuple[str, str] | None:
    """Return key and entry of a model of the Hub; None for one that nobody else can find."""
    name, revision = str(result.model["id"]), str(result.model.get("revision") or "")
    if not _HUB.fullmatch(name) or (
        result.source == "measured" and (not revision or ":" in revision)
    ):
        return None
    fields = {
        "title": f"{{{_plain(name)}}}",
        "howpublished": rf"\url{{https://huggingface.co/{name}}}",
    }
    if revision:
        fields["note"] = f"revision {revision[:12]}"
    key = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
    return key, _entry("misc", key, fields)


def _key(suite: Suite) -> str:
    found = _ARXIV.fullmatch(suite.reference or "")
    paper = PAPERS.get("{}{}.{}".format(*found.groups())) if found is not None else None
    if found is None or paper is None:
        return suite.name
    return f"{paper.author.partition(',')[0].lower()}20{found[1]}{suite.name.partition('-')[0]}"


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines: Iterable[str] = (
        f"  {name} = {value if value.startswith('{') else f'{{{value}}}'},"
        for name, value in fields.items()
    )
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _plain(text: str) -> str:
    return printable(text).translate(LATEX)
