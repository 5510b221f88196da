"""The record of one scorer on one suite: what it holds, its signature, its file's name."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import Analyses, LengthBias
from rmbench.answers.judgements import Judgement
from rmbench.errors import ResultError

if TYPE_CHECKING:
    import pandas

__all__ = [
    "DIGITS",
    "SLICE_COLUMNS",
    "Result",
    "file_stem",
    "formatting",
    "safe_name",
    "subset_of",
]

SCHEMA: Final = 1
DIGITS: Final = 6
SLICE_COLUMNS: Final = ("level", "name", "accuracy", "low", "high", "n", "wins", "ties")
# Windows opens a device for these, whatever follows the first dot.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# What rmbench itself puts at the end of a stem.
_MARKED = re.compile(r".*\.(published|partial-\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One scorer on one suite; every field but ``rewards`` stands in the record's JSON.

    Attributes:
        source: ``measured``, or ``published`` for numbers copied from a card or paper.
        suite: name, version, sha256, comparisons, headline.
        model: id, revision, kind, parameters.
        settings: what can move a reward.
        signature: one line that says how the numbers were made; None for published ones.
        averages, sections, subsets: accuracies by name.
        analyses: what stands behind the accuracies; None for published ones and in records of
            earlier releases.
        audit: counts of what could mislead.
        environment: versions and device.
        timing: seconds and tokens.
        date: ISO 8601, UTC.
        partial: how many comparisons a run with a limit scored; None for a whole run.
        citation: where published numbers stand.
        rewards: one entry per comparison in the suite's order; empty for published numbers.
    """

    source: str
    suite: Mapping[str, Any]
    model: Mapping[str, Any]
    averages: Mapping[str, Accuracy]
    sections: Mapping[str, Accuracy] = field(default_factory=dict)
    subsets: Mapping[str, Accuracy] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None
    analyses: Analyses | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    partial: int | None = None
    citation: str | None = None
    rewards: Sequence[Judgement] = ()

    @property
    def headline(self) -> Accuracy | None:
        """The average that ranks this suite's results; None where it was not measured."""
        return self.averages.get(self.suite["headline"])

    def find(self, name: str) -> Accuracy | None:
        """Return a section or an average by name; None if the record has none of that name."""
        return self.sections.get(name) or self.averages.get(name)

    def slices(self) -> list[dict[str, Any]]:
        """Return every accuracy as a dictionary, in the order of the record.

        Keys: level (``average``, ``section``, ``subset``, or ``length`` for the comparisons whose
        chosen response is the longer one, and so on), name, accuracy, low and high in [0, 1], and
        the counts n, wins and ties; published accuracies have no counts.
        """
        groups = {
            "average": self.averages,
            "section": self.sections,
            "subset": self.subsets,
            "length": self.analyses.by_length() if self.analyses is not None else {},
        }
        return [
            {"level": level, "name": name, **asdict(item)}
            for level, group in groups.items()
            for name, item in group.items()
        ]

    def to_frame(self) -> "pandas.DataFrame":
        """Return every accuracy as a row of a data frame, with the keys of ``slices``."""
        import pandas

        counts = {"n": "Int64", "wins": "Int64", "ties": "Int64"}
        shares = {"accuracy": "float64", "low": "float64", "high": "float64"}
        return pandas.DataFrame(self.slices(), columns=SLICE_COLUMNS).astype(counts | shares)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it stands in its JSON file, keys in their fixed order."""
        record: dict[str, Any] = {"schema": SCHEMA, "source": self.source}
        if self.citation is not None:
            record["citation"] = self.citation
        if self.partial is not None:
            record["partial"] = self.partial
        record |= {"suite": dict(self.suite), "model": dict(self.model)}
        record |= {"settings": dict(self.settings), "signature": self.signature}
        for group in ("averages", "sections", "subsets"):
            accuracies: Mapping[str, Accuracy] = getattr(self, group)
            record[group] = {name: _to_numbers(item) for name, item in accuracies.items()}
        if self.analyses is not None:
            record["analyses"] = _analyses_record(self.analyses)
        record |= {"audit": dict(self.audit), "environment": dict(self.environment)}
        record |= {"timing": dict(self.timing), "date": self.date}
        return record


def _to_numbers(item: Accuracy) -> dict[str, Any]:
    numbers: dict[str, Any] = {"accuracy": round(item.accuracy, DIGITS)}
    if item.n is None:
        return numbers
    assert item.low is not None and item.high is not None, "counts come with an interval"
    numbers |= {"low": round(item.low, DIGITS), "high": round(item.high, DIGITS)}
    return numbers | {"n": item.n, "wins": item.wins, "ties": item.ties}


def _analyses_record(analyses: Analyses) -> dict[str, Any]:
    found = analyses.calibration
    calibration = None
    if found is not None:
        calibration = {key: _rounded(value) for key, value in asdict(found).items()}
    length = None if analyses.length is None else _length_record(analyses.length)
    return {"length": length, "calibration": calibration}


def _length_record(bias: LengthBias) -> dict[str, Any]:
    sides = {"longer": bias.longer, "equal": bias.equal, "shorter": bias.shorter}
    fit = None if bias.fit is None else bias.fit._asdict()
    return {
        **{name: item and _to_numbers(item) for name, item in sides.items()},
        "fit": fit and {key: _rounded(value) for key, value in fit.items()},
        "bins": [
            {"from": part.low, "to": part.high, "middle": part.middle} | _to_numbers(part.accuracy)
            for part in bias.bins
        ],
    }


def _rounded(value: float) -> float:
    """Return a number with as many significant digits as are kept; whole numbers as they are."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def subset_of(identity: str, subsets: Iterable[str]) -> str:
    """Return the subset that a comparison's id begins with; the data border made it unambiguous.

    Raises:
        ResultError: the id begins with none of them.
    """
    fitting = [name for name in subsets if identity.startswith(f"{name}/")]
    if not fitting:
        raise ResultError(f'rewards of "{identity}": the record has no subset it belongs to')
    return max(fitting, key=len)


# --- names ---------------------------------------------------------------------------------------


def file_stem(result: Result) -> str:
    """Return the name of a result's files without suffix, the same for the same kind of run.

    The model's id with ``--`` for ``/``, and what sets this run apart from a plain one: a template
    that is not the tokenizer's own, a limit of length, part of the suite. Made of letters, digits,
    ``.``, ``_``, ``-`` and ``+`` alone, so that no id can leave the folder; an id that cannot be
    read back from its name has a digest beside it, so that no two ids share one.
    """
    words = [safe_name(str(result.model["id"]))]
    template = result.settings.get("template", "tokenizer")
    if template != "tokenizer":
        digest = result.settings.get("template_sha256") or ""
        words.append(safe_name(f"tmpl-{template}-{digest[:7]}".rstrip("-")))
    if result.settings.get("on_overflow", "error") != "error":
        words.append(safe_name(f"{result.settings['on_overflow']}-{result.settings['max_length']}"))
    words += [word.replace(":", "-") for word in formatting(result.settings)]
    if result.source == "published":
        return "+".join(words) + ".published"
    return "+".join(words) + (f".partial-{result.partial}" if result.partial else "")


def formatting(settings: Mapping[str, Any]) -> list[str]:
    """Return what was asked of the text beyond the template, as ``sys:1a2b3c4`` or ``eos:always``.

    The system prompt stands with the first digits of its sha256; what was left to the model is left
    out, so that a plain run has none.
    """
    words = []
    prompt = settings.get("system_prompt")
    if prompt is not None:
        digest = hashlib.sha256(str(prompt).encode(errors="surrogatepass")).hexdigest()
        words.append(f"sys:{digest[:7]}")
    for name in ("bos", "eos", "pooling"):
        if settings.get(name, "model") != "model":
            words.append(f"{name}:{settings[name]}")
    return words


def safe_name(text: str) -> str:
    """Return a name of letters, digits, ``.``, ``_``, ``-`` and ``+`` that no other text has."""
    name = text.replace("/", "--")
    is_faithful = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name) is not None
    is_faithful = is_faithful and name.replace("--", "/") == text and not name.endswith(".")
    if is_faithful and not _RESERVED.fullmatch(name) and not _MARKED.fullmatch(name):
        return name
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    return f"{readable}+{digest}"
