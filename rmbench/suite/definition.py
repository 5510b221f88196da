"""Read and check a suite file: what is compared, what wins, and how it is averaged.

A suite file is TOML and says *what*, never *how*: rules come from closed lists, unknown keys are
errors, and loading one executes nothing and reads no other file.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rmbench.errors import SuiteError, did_you_mean
from rmbench.suite.toml import TomlTable

__all__ = [
    "Average",
    "Columns",
    "Credit",
    "Section",
    "Source",
    "Suite",
    "Transcript",
    "find_suite",
    "list_suites",
    "load_suite",
]

RULES: Final = ("pair", "best-of")
EMPTY: Final = ("error", "keep")
POOLED: Final = "comparisons"
MAX_FILE_BYTES: Final = 1_000_000
_PACKAGE = Path(__file__).parent.parent
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the rows come from.

    Attributes:
        path: a Hub data set (``org/name``), or a file or folder beside the suite file.
        name: the Hub data set's configuration, if it has several.
        data_dirs: folders of the data set to read, in order; each names a subset.
        split: the split to read.
        revision: branch, tag or commit on the Hub; what was read is recorded either way.
        comparisons: how many there must be; None leaves it unchecked.
        sha256: of the canonical comparisons, in order; None leaves it unchecked.
        empty: ``error`` refuses empty texts, ``keep`` scores and counts them.
    """

    path: str
    name: str | None = None
    data_dirs: tuple[str, ...] = ()
    split: str | None = None
    revision: str | None = None
    comparisons: int | None = None
    sha256: str | None = None
    empty: str = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What opens a turn in a data set whose sides are whole transcripts in one text."""

    user: str
    assistant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a row hold the fields of a comparison.

    Attributes:
        id: columns joined by ``/``; empty means the number of the row.
        subset: the column that names the subset; None means the folder's or split's name.
        prompt: text or messages; None means all but the last message of each side.
        chosen: text, a list of texts, or messages that end in the response.
        rejected: likewise.
        transcript: set when a side is one text that holds prompt and response.
        scores: the columns of the annotators' scores of the chosen and of the rejected side; read
            where a row has them, to count the comparisons whose sides were scored the same.
    """

    chosen: str
    rejected: str
    id: tuple[str, ...] = ()
    subset: str | None = None
    prompt: str | None = None
    transcript: Transcript | None = None
    scores: tuple[str, str] | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """Every column that a row must have."""
        optional = [name for name in (self.subset, self.prompt) if name is not None]
        return (*self.id, *optional, self.chosen, self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What a comparison earns: the rule, and for ``pair`` the credit of a tie in [0, 1]."""

    rule: str = "pair"
    tie: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A named list of subsets; a subset without a weight counts its comparisons."""

    name: str
    subsets: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """One number for a suite: the plain mean of ``sections``, or over all comparisons if empty."""

    name: str
    sections: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """One phrase that says what is averaged."""
        if not self.sections:
            return "every comparison counts the same"
        return "mean of " + ", ".join(self.sections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A benchmark, as its file states it.

    ``card`` maps a label of the model card's table to the section or average it shows.
    """

    name: str
    title: str
    version: int
    source: Source
    columns: tuple[Columns, ...]
    credit: Credit
    sections: tuple[Section, ...]
    averages: tuple[Average, ...]
    headline: str
    folder: Path
    reference: str | None = None
    license: str | None = None
    card: Mapping[str, str] = field(default_factory=dict)


def list_suites() -> list[str]:
    """Return the names of the bundled suites, sorted."""
    return sorted(path.stem for path in bundled_folder("suites").glob("*.toml"))


def bundled_folder(name: str) -> Path:
    """Return the folder of package data called ``name``.

    The wheel carries it inside the package; in a checkout it stands beside the package.
    """
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def find_suite(name: str) -> Path:
    """Return the file of a bundled suite, or of a path that ends in ``.toml``.

    Raises:
        SuiteError: there is no such suite or file.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise SuiteError(f"{name}: no such file; `rmbench suites list` names the bundled ones")
        return path
    if name not in list_suites():
        raise SuiteError(
            f'suite "{name}": no such suite; a suite of your own is given as a path that ends in'
            f" .toml; {did_you_mean(name, list_suites())}"
        )
    return bundled_folder("suites") / f"{name}.toml"


def load_suite(name: str) -> Suite:
    """Read a bundled suite by name, or a suite file by a path that ends in ``.toml``.

    Raises:
        SuiteError: no such suite, or the file breaks a rule; the message names file and key.
    """
    try:
        path = find_suite(name)
        content = _read_toml(path)
    except OSError as error:
        raise SuiteError(
            f"{name}: cannot be read: {error.strerror}; check path and rights"
        ) from None
    return _suite(TomlTable(str(path), content), path.parent)


def _read_toml(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SuiteError(f"{path}: larger than {MAX_FILE_BYTES} bytes; is it a suite file?")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not UTF-8: {error}; convert the file") from None
    except ValueError as error:  # not only TOMLDecodeError: also a number of 5,000 digits
        raise SuiteError(f"{path}: not TOML: {error}; mend the syntax") from None
    except RecursionError:
        raise SuiteError(f"{path}: nested too deeply; a suite file has two levels") from None


def _suite(top: TomlTable, folder: Path) -> Suite:
    name = top.take("name", str)
    if not _NAME.fullmatch(name):
        raise SuiteError(
            f'{top.place}: name = "{name}"; use lower-case letters, digits, ".", "-" and "_"'
        )
    sections = _sections(top.table("sections", default={}))
    averages, headline = _averages(top.table("averages", default={}), sections)
    suite = Suite(
        name=name,
        title=top.take("title", str, default=name),
        version=_positive(top, "version", default=1),
        reference=top.take("reference", str, default=None),
        license=top.take("license", str, default=None),
        source=_source(top.table("source"), folder),
        columns=_columns(top),
        credit=_credit(top.table("credit", default={})),
        sections=sections,
        averages=averages,
        headline=headline,
        card=_card(top.table("card", default={}), sections, averages),
        folder=folder,
    )
    top.done()
    return suite


def _positive(table: TomlTable, key: str, *, default: int | None) -> Any:
    value = table.take(key, int, default=default)
    if value is not None and value < 1:
        raise SuiteError(f"{table.place}: {key} = {value}; it must be 1 or more")
    return value


def _source(table: TomlTable, folder: Path) -> Source:
    source = Source(
        path=_inside(table, folder),
        name=table.take("name", str, default=None),
        data_dirs=_data_dirs(table),
        split=table.take("split", str, default=None),
        revision=table.take("revision", str, default=None),
        comparisons=_positive(table, "comparisons", default=None),
        sha256=table.take("sha256", str, default=None),
        empty=table.choice("empty", EMPTY, default="error"),
    )
    if source.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", source.sha256):
        raise SuiteError(f"{table.place}: sha256 is not 64 lower-case hexadecimal digits; mend it")
    table.done()
    return source


def _data_dirs(table: TomlTable) -> tuple[str, ...]:
    names = table.texts("data_dirs", default=[])
    for name in names:
        if "\\" in name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
            raise SuiteError(
                f'{table.place}: data_dirs names "{name}"; it must be a folder inside the data set'
            )
    return names


def _inside(table: TomlTable, folder: Path) -> str:
    """Return ``path`` once it is sure not to leave the suite's folder."""
    path: str = table.take("path", str)
    is_plain = path.strip() and "\0" not in path and "\\" not in path
    if not is_plain or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise SuiteError(
            f'{table.place}: path = "{path}" is not in the folder of the suite file;'
            " give org/name of the Hub, or a file beside the suite file"
        )
    return path


def _columns(top: TomlTable) -> tuple[Columns, ...]:
    """Read ``[columns]``, or ``[[columns]]``: shapes of a row, the first that fits is used."""
    key = "columns"
    if isinstance(top.content.get(key), dict):
        return (_shape(top.table(key)),)
    shapes = top.take(key, list)
    if not shapes or not all(isinstance(shape, dict) for shape in shapes):
        raise SuiteError(f"{top.place}: columns must be a table [columns], or several [[columns]]")
    return tuple(_shape(TomlTable(f"{top.place}: [[{key}]]", shape)) for shape in shapes)


def _shape(table: TomlTable) -> Columns:
    transcript = None
    if "transcript" in table.content:
        marks = table.table("transcript")
        transcript = Transcript(
            user=marks.take("user", str), assistant=marks.take("assistant", str)
        )
        marks.done()
        if not transcript.user.strip() or not transcript.assistant.strip():
            raise SuiteError(f"{marks.place}: a mark is blank; give the text that opens a turn")
    shape = Columns(
        id=table.texts("id", default=[]),
        subset=table.take("subset", str, default=None),
        prompt=table.take("prompt", str, default=None),
        chosen=table.take("chosen", str),
        rejected=table.take("rejected", str),
        transcript=transcript,
        scores=_scores(table),
    )
    table.done()
    if transcript is not None and shape.prompt is not None:
        raise SuiteError(f"{table.place}: prompt and transcript exclude each other; remove one")
    return shape


def _scores(table: TomlTable) -> tuple[str, str] | None:
    match table.texts("scores", default=[]):
        case ():
            return None
        case (chosen, rejected):
            return chosen, rejected
        case names:
            raise SuiteError(
                f"{table.place}: scores names {len(names)} columns; name two, the score of the"
                " chosen side and that of the rejected one"
            )


def _credit(table: TomlTable) -> Credit:
    if "tie" in table.content and table.content.get("rule") == "best-of":
        raise SuiteError(f'{table.place}: tie goes with rule "pair" alone; remove it')
    credit = Credit(
        rule=table.choice("rule", RULES, default="pair"),
        tie=table.take("tie", float, default=0.0),
    )
    if not 0.0 <= credit.tie <= 1.0:
        raise SuiteError(f"{table.place}: tie = {credit.tie}; a credit lies between 0 and 1")
    table.done()
    return credit


def _sections(table: TomlTable) -> tuple[Section, ...]:
    sections = []
    for name in list(table.content):
        if isinstance(table.content[name], list):
            sections.append(Section(name=name, subsets=table.texts(name)))
        else:
            sections.append(_weighted_section(name, table.table(name)))
        if not sections[-1].subsets:
            raise SuiteError(f"{table.place}: {name} is empty; name its subsets or remove it")
    return tuple(sections)


def _weighted_section(name: str, table: TomlTable) -> Section:
    subsets = table.texts("subsets")
    weights = table.table("weights", default={})
    table.done()
    for subset in list(weights.content):
        if subset not in subsets:
            remedy = did_you_mean(subset, subsets)
            raise SuiteError(f'{weights.place}: "{subset}" is not in subsets; {remedy}')
    section = Section(
        name=name,
        subsets=subsets,
        weights={subset: weights.take(subset, float) for subset in list(weights.content)},
    )
    for subset, weight in section.weights.items():
        if not 0.0 < weight < math.inf:
            raise SuiteError(f"{weights.place}: {subset} = {weight}; it must be finite and above 0")
    return section


def _averages(table: TomlTable, sections: tuple[Section, ...]) -> tuple[tuple[Average, ...], str]:
    """Return the averages and the name of the one that ranks."""
    headline = table.take("headline", str, default=None)
    names = {section.name for section in sections}
    averages = [_average(table, name, names) for name in list(table.content)]
    averages = averages or [Average(name="pooled")]
    known = [average.name for average in averages]
    if headline is None and len(known) > 1:
        raise SuiteError(f"{table.place}: headline is missing; name the average that ranks")
    if headline is not None and headline not in known:
        raise SuiteError(f'{table.place}: headline = "{headline}"; {did_you_mean(headline, known)}')
    return tuple(averages), headline or known[0]


def _average(table: TomlTable, name: str, sections: set[str]) -> Average:
    if name in sections:
        raise SuiteError(f'{table.place}: "{name}" is a section too; give the average another name')
    if isinstance(table.content[name], str):
        table.choice(name, (POOLED,), default=POOLED)
        return Average(name=name)
    body = table.table(name)
    mean = body.texts("mean")
    body.done()
    for section in mean:
        if section not in sections:
            remedy = did_you_mean(section, sections)
            raise SuiteError(f'{body.place}: no section is called "{section}"; {remedy}')
    if not mean:
        raise SuiteError(f"{body.place}: mean is empty; name the sections to average")
    return Average(name=name, sections=mean)


def _card(
    table: TomlTable, sections: tuple[Section, ...], averages: tuple[Average, ...]
) -> dict[str, str]:
    known = [section.name for section in sections] + [average.name for average in averages]
    card = {label: table.take(label, str) for label in list(table.content)}
    for label, name in card.items():
        if name not in known:
            remedy = did_you_mean(name, known)
            raise SuiteError(f'{table.place}: {label} = "{name}"; {remedy}')
    return card
