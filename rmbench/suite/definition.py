"""A suite, as its file states it: what is compared, what wins, and how it is averaged.

A suite file is TOML and says *what*, never *how*: rules come from closed lists, unknown keys are
errors, and loading one executes nothing and reads no other file.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, Strict, field_validator, model_validator

from rmbench.errors import SuiteError, did_you_mean
from rmbench.suite.averages import POOLED, STEPWISE, Average, Credit, Parts, Section
from rmbench.suite.shape import Columns, Preferred, Texts, Transcript
from rmbench.suite.toml import KINDS, TomlTable

__all__ = [
    "MULTIMODAL",
    "Average",
    "Columns",
    "Credit",
    "Parts",
    "Preferred",
    "Section",
    "Source",
    "Suite",
    "Transcript",
]


MULTIMODAL: Final = frozenset(
    {"vl-rewardbench", "multimodal-rewardbench", "mm-rlhf-rewardbench", "vlrewardbench"}
)


_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Source(TomlTable):
    """Where the rows come from.

    Attributes:
        path: a Hub data set (``org/name``), or a file or folder beside the suite file.
        paths: several of them instead, read in this order.
        name: the Hub data set's configuration, if it has several.
        configs: several configurations instead, read in this order.
        data_dirs: folders of the data set to read, in order; each names a subset.
        split: the split to read.
        splits: several splits instead, read in this order.
        revision: branch, tag or commit on the Hub; what was read is recorded either way.
        comparisons: how many there must be; None leaves it unchecked.
        sha256: of the canonical comparisons, in order; None leaves it unchecked.
        empty: ``error`` refuses empty texts, ``keep`` scores and counts them.
        wanted: what a local copy must be, in one phrase, for who has no network.
        parts: bundled suites of a part of these rows: a local copy with as many comparisons as one
            of them is read as that suite.
        files: names of files that are read alone where a local folder has them beside others.
    """

    path: str = ""
    paths: Texts = ()
    name: str | None = None
    configs: Texts = ()
    data_dirs: Texts = ()
    split: str | None = None
    splits: Texts = ()
    revision: str | None = None
    comparisons: Annotated[int, Field(ge=1)] | None = None
    sha256: str | None = None
    empty: Literal["error", "keep"] = "error"
    wanted: str | None = None
    parts: Texts = ()
    files: Texts = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Every path to read."""
        return self.paths or (self.path,)

    @field_validator("sha256")
    @classmethod
    def _check_digest(cls, digest: str | None) -> str | None:
        if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("{key} is not 64 lower-case hexadecimal digits; fix it")
        return digest

    @field_validator("data_dirs", "configs", "splits")
    @classmethod
    def _check_inside(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if "\\" in name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f'{{key}} names "{name}"; it must be a folder inside the data set')
        return names

    @model_validator(mode="before")
    @classmethod
    def _check_path(cls, content: Any) -> Any:
        if isinstance(content, dict) and not content.keys() & {"path", "paths"}:
            raise ValueError("path is missing; add it (a text)")
        return content

    @model_validator(mode="after")
    def _check(self) -> "Source":
        for one, several in (("path", "paths"), ("name", "configs"), ("split", "splits")):
            if getattr(self, one) and getattr(self, several):
                raise ValueError(f"{one} and {several} exclude each other; remove one")
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class Suite(TomlTable):
    """A benchmark, as its file states it.

    Attributes:
        name, title, version, reference, license: what it is.
        source, columns, credit: where the rows come from, how one is read, what one earns.
        sections: named lists of subsets.
        parts: instead of them, how sections follow from the names of the subsets.
        averages: of the sections, or of all comparisons.
        headline: the average that ranks.
        card: a label of the model card's table → the section or average it shows.
        folder: of the file; no part of what the suite is.
    """

    in_file: ClassVar = (
        *("name", "title", "version", "reference", "license", "source", "columns", "credit"),
        *("sections", "averages", "card"),
    )

    name: str
    title: str
    version: Annotated[int, Field(ge=1)] = 1
    reference: str | None = None
    license: str | None = None
    source: Source
    columns: Annotated[tuple[Columns, ...], Strict(False), BeforeValidator(_as_list)]
    credit: Credit = Field(default_factory=Credit)
    sections: Annotated[tuple[Section, ...], Strict(False)] = ()
    parts: Parts | None = None
    averages: Annotated[tuple[Average, ...], Strict(False)] = (Average(name="pooled"),)
    headline: str
    card: dict[str, str] = Field(default_factory=dict)
    folder: Path = Field(default=Path(), exclude=True, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, content: Any) -> Any:
        """Take the tables of a file, whose names count, as the lists that a suite has."""
        if not isinstance(content, dict):
            return content
        top = dict(content)
        if isinstance(top.get("name"), str):
            top.setdefault("title", top["name"])
        _read_sections(top)
        _read_averages(top)
        return top

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f'{{key}} = "{name}"; use lower-case letters, digits, ".", "-" and "_"'
            )
        return name

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: tuple[Columns, ...]) -> tuple[Columns, ...]:
        if not columns:
            raise ValueError("{key} must be a table [columns], or several [[columns]]")
        return columns

    @model_validator(mode="after")
    def _check(self) -> "Suite":
        _check_rules(self)
        _check_averages(self)
        known = [*(item.name for item in self.sections), *(item.name for item in self.averages)]
        for label, name in self.card.items():
            if name not in known and self.parts is None:
                raise ValueError(f'[card]: {label} = "{name}"; {did_you_mean(name, known)}')
        return self

    @cached_property
    def named(self) -> frozenset[str]:
        """The subsets that sections name; empty where a subset may be called as it likes."""
        return frozenset(name for section in self.sections for name in section.subsets)

    def is_named(self, subset: str) -> bool:
        """Return whether a subset belongs to a section, or no section is listed."""
        if not self.named or subset in self.named:
            return True
        return any(name.endswith("*") and subset.startswith(name[:-1]) for name in self.named)

    @property
    def is_at_hand(self) -> bool:
        """Whether its rows lie beside its file, so that they can be read without a network."""
        return all((self.folder / place).exists() for place in self.source.places)

    def resolved(self, present: Iterable[str]) -> "Suite":
        """Return the suite with its sections as lists of the subsets that are there.

        Args:
            present: the subsets of the data, in their order.

        Raises:
            SuiteError: an average names a section that the data does not give.
        """
        if self.parts is None and not any("*" in name for s in self.sections for name in s.subsets):
            return self
        present = list(dict.fromkeys(present))
        sections = tuple(item.expanded(present) for item in self.sections)
        inner: tuple[Average, ...] = ()
        if self.parts is not None:
            sections, inner = self.parts.sections(present)
        whole = tuple(item.name for item in inner) or tuple(item.name for item in sections)
        averages = tuple(
            item.model_copy(update={"sections": whole}) if item.of_all else item
            for item in self.averages
        )
        known = {item.name for item in sections}
        known |= {item.name for item in (*inner, *averages)}
        for average in averages:
            for name in average.sections:
                if name not in known:
                    raise SuiteError(
                        f'suite "{self.name}": [averages]: [{average.name}]: no section is called'
                        f' "{name}" on this data; {did_you_mean(name, known)}'
                    )
        update = {"sections": sections, "averages": (*inner, *averages), "parts": None}
        return self.model_copy(update=update)


def _read_sections(top: dict[str, Any]) -> None:
    sections = top.get("sections")
    if "sections" not in top:
        columns = _as_list(top.get("columns"))
        named = isinstance(columns, list) and any(
            isinstance(shape, dict) and "section" in shape for shape in columns
        )
        if named:
            top.setdefault("parts", {"part": 1})
    if not isinstance(sections, dict):
        return
    if "part" in sections and not isinstance(sections["part"], list | dict):
        top["parts"] = top.pop("sections")
        return
    top["sections"] = [_named(name, item, "sections") for name, item in sections.items()]


def _named(name: str, item: Any, table: str) -> Any:
    if isinstance(item, list) and table == "sections":
        return {"name": name, "subsets": item}
    if not isinstance(item, dict):
        kind = KINDS.get(type(item), type(item).__name__)
        raise ValueError(f"[{table}]: {name} is {kind}; it must be a table")
    if "name" in item:
        raise ValueError(f'[{table}]: [{name}]: unknown key "name"; remove it')
    return {"name": name, **item}


def _read_averages(top: dict[str, Any]) -> None:
    averages = top.get("averages")
    if "averages" in top and not isinstance(averages, dict):
        return
    tables = dict(averages or {})
    headline = tables.pop("headline", None)
    names = list(tables) or ["pooled"]
    if headline is None and len(names) > 1:
        raise ValueError("[averages]: headline is missing; name the average that ranks")
    if headline is not None and (not isinstance(headline, str) or headline not in names):
        remedy = did_you_mean(str(headline), names)
        raise ValueError(f'[averages]: headline = "{headline}"; {remedy}')
    top["headline"] = headline or names[0]
    if tables:
        top["averages"] = [_average(name, item) for name, item in tables.items()]
    else:
        top.pop("averages", None)


def _average(name: str, item: Any) -> Any:
    if isinstance(item, str):
        if item != POOLED:
            raise ValueError(f'[averages]: {name} = "{item}"; {did_you_mean(item, [POOLED])}')
        return {"name": name}
    body = _named(name, item, "averages")
    if not item.keys() & {"mean", "cells"}:
        raise ValueError(f"[averages]: [{name}]: mean is missing; add it (a list)")
    return body


def _check_rules(suite: Suite) -> None:
    """Refuse rules that cannot mean anything of such rows, or that do not go together."""
    styled = suite.credit.rules & {"styles"}
    for average in suite.averages:
        if average.cells is not None and not styled:
            raise ValueError(
                f'[averages]: [{average.name}]: cells goes with rule "styles" alone; remove it'
            )
    for shape in suite.columns:
        is_stepwise = shape.steps is not None
        if len(suite.columns) == 1 and is_stepwise != bool(suite.credit.rules & STEPWISE):
            raise ValueError(
                "[credit]: steps in [columns] and the rules first-error and steps go together;"
                " give both or neither"
            )


def _check_averages(suite: Suite) -> None:
    sections = [section.name for section in suite.sections]
    known = list(sections)
    is_open = suite.parts is not None
    for average in suite.averages:
        if average.name in sections:
            raise ValueError(
                f'[averages]: "{average.name}" is a section too; give the average another name'
            )
        for name in average.sections:
            if name not in known and not is_open:
                remedy = did_you_mean(name, known)
                raise ValueError(
                    f'[averages]: [{average.name}]: no section is called "{name}"; {remedy}'
                )
        if average.of_all and not is_open and not sections:
            raise ValueError(f"[averages]: [{average.name}]: there are no sections; name some")
        known.append(average.name)
