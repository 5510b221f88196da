"""What the columns of a data set hold: the tables ``[columns]`` of a suite file."""

from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    Tag,
    model_validator,
)

from rmbench.errors import did_you_mean
from rmbench.suite.toml import TomlTable

__all__ = ["Columns", "From", "Preferred", "Texts", "Transcript"]

MAX_NAMES: Final = 3
MAX_CANDIDATES: Final = 1000


def _once(names: tuple[Any, ...]) -> tuple[Any, ...]:
    if not all(names):
        raise ValueError("{key} must be a list of texts, none empty")
    if len(set(names)) < len(names):
        raise ValueError("{key} names something twice; name it once")
    return names


Text = Annotated[str, Strict()]
Texts = Annotated[tuple[Text, ...], Strict(False), AfterValidator(_once)]
"""Texts, none empty and none twice."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


class Transcript(TomlTable):
    """What opens a turn in a data set whose sides are whole transcripts in one text."""

    user: str
    assistant: str

    @model_validator(mode="after")
    def _check(self) -> "Transcript":
        if not self.user.strip() or not self.assistant.strip():
            raise ValueError("a mark is blank; give the text that opens a turn")
        return self


class From(TomlTable):
    """A part of a subset's name that no column holds: where the row was found.

    ``path`` is the Hub data set, ``config`` its configuration, ``split`` its split, ``folder`` the
    folder and ``file`` folder and file without its suffix, below the one that was read.
    """

    origin: Literal["path", "config", "split", "folder", "file"] = Field(alias="from")


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "table"


Named = Annotated[Annotated[str, Tag("text")] | Annotated[From, Tag("table")], Discriminator(_kind)]
"""A column, or an origin of the row."""
Label = str | int | float | bool
Labels = Annotated[tuple[Label, ...], Strict(False), BeforeValidator(_as_list)]


class Preferred(TomlTable):
    """Which of two responses a column says is the better one.

    Attributes:
        column: a column of labels, or of numbers whose sign says it.
        columns: instead of it, the two columns of ratings.
        first: the labels that mean the first response; of numbers ``negative`` or ``positive``, of
            ratings ``higher`` or ``lower``.
        second: the labels that mean the second one; only beside labels in ``first``.
        even: the labels that prefer neither; of numbers and ratings ``drop``. Such rows do not
            count; without it they are an error.
    """

    column: str | None = None
    columns: Texts = ()
    first: Labels
    second: Labels = ()
    even: Labels = ()

    @property
    def by_sign(self) -> bool:
        """Whether a number's sign says which is better."""
        return bool(self.column) and not self.second

    @model_validator(mode="after")
    def _check(self) -> "Preferred":
        if (self.column is None) == (not self.columns) or len(self.columns) not in (0, 2):
            raise ValueError("name one column of labels or signs, or two columns of ratings")
        if self.second:
            return self._check_labels()
        words = ("higher", "lower") if self.columns else ("negative", "positive")
        if len(self.first) != 1 or self.first[0] not in words:
            remedy = did_you_mean(str(self.first[0]) if self.first else "", words)
            raise ValueError(f"first does not say which is better: {remedy}; or add second")
        if self.even not in ((), ("drop",)):
            raise ValueError('even goes with "drop" alone where no labels are given; write that')
        return self

    def _check_labels(self) -> "Preferred":
        if self.columns or not self.first:
            raise ValueError("labels need one column, and first and second; name them")
        labels = [(type(label), label) for label in (*self.first, *self.second, *self.even)]
        if len(set(labels)) < len(labels):
            raise ValueError("a label appears twice among first, second and even; name it once")
        return self


class Columns(TomlTable):
    """Which columns of a row hold the fields of a comparison.

    A column is named by its name, or by up to three names with dots between, for a field inside
    it; over a list of tables the rest is read of each. An exact name of a column comes first.

    Attributes:
        id: columns joined by ``/``; empty means the number of the row.
        subset: columns, and origins of the row, whose values joined by ``/`` name the subset; None
            means the folder's or split's name.
        section: the column that names the section; it becomes the first part of the subset's name.
        prompt: text or messages; None means all but the last message of each side.
        chosen: text, a list of texts, or messages that end in the response.
        rejected: likewise.
        transcript: set when a side is one text that holds prompt and response.
        scores: the columns of the annotators' scores of the chosen and of the rejected side; read
            where a row has them, to count the comparisons whose sides were scored the same.
        responses: instead of chosen and rejected, the columns of two responses.
        preferred: which of the two is the better one.
        candidates: instead of these, a column of many responses, or numbered ones with ``{n}``.
        n: the first and the last number of numbered columns.
        correct: the column that says of each candidate whether it is right.
        pairs: the column of the pairs of candidates (counted from 0) that are compared; None
            compares all right ones with all wrong ones.
        steps: instead of these, the column of a solution's steps, in a list.
        first_error: the column of the number of the first wrong step, from 0; -1 if none is.
        errors: instead of it, the column of the numbers of all wrong steps, from 1.
        sides: ``conversations`` where the sides are conversations that need not share a prompt.
        system: the column of a system prompt that precedes the prompt.
        tools: the column of the tools that an assistant may call, which precede the prompt.
        skip: rows that do not count: column → the values for which they are left out.
        cluster: the columns whose equal values make rows one sample; empty means the prompt.
        parallel: subsets whose k-th rows are one sample, such as a problem in six languages.
    """

    id: Texts = ()
    subset: Annotated[tuple[Named, ...] | None, Strict(False), BeforeValidator(_as_list)] = None
    section: str | None = None
    prompt: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    transcript: Transcript | None = None
    scores: Texts | None = None
    responses: Texts = ()
    preferred: Preferred | None = None
    candidates: str | None = None
    n: Annotated[tuple[int, int], Strict(False)] | None = None
    correct: str | None = None
    pairs: str | None = None
    steps: str | None = None
    first_error: str | None = None
    errors: str | None = None
    sides: Literal["responses", "conversations"] = "responses"
    system: str | None = None
    tools: str | None = None
    skip: dict[str, Labels] = Field(default_factory=dict)
    cluster: Annotated[Texts, BeforeValidator(_as_list)] = ()
    parallel: Texts = ()

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """Every column that a row must have, in the order in which it is asked for."""
        named = (name for name in self.subset or () if isinstance(name, str))
        optional = (self.section, self.prompt, self.system, self.tools)
        kinds = (self.chosen, self.rejected, *self.responses, *self._labels())
        kinds += (*self.candidate_columns()[:1], self.correct, self.pairs)
        kinds += (self.steps, self.first_error, self.errors)
        every = (*self.id, *named, *optional, *kinds, *self.skip, *self.cluster)
        return tuple(dict.fromkeys(name for name in every if name is not None))

    def _labels(self) -> tuple[str | None, ...]:
        found = self.preferred
        return () if found is None else (found.column, *found.columns)

    def candidate_columns(self) -> list[str]:
        """Return the columns of the candidates: one with a list, or the numbered ones."""
        if self.candidates is None:
            return []
        if self.n is None:
            return [self.candidates]
        return [self.candidates.replace("{n}", str(i)) for i in range(self.n[0], self.n[1] + 1)]

    @model_validator(mode="after")
    def _check(self) -> "Columns":
        for name in self.needed:
            if not name or len(name.split(".")) > MAX_NAMES:
                raise ValueError(f'"{name}" has not one to {MAX_NAMES} names; shorten the path')
        if self.scores is not None and len(self.scores) != 2:
            raise ValueError(
                f"scores names {len(self.scores)} columns; name two, the score of the chosen side"
                " and that of the rejected one"
            )
        self._check_kind()
        self._check_candidates()
        if self.transcript is not None and self.prompt is not None:
            raise ValueError("prompt and transcript exclude each other; remove one")
        if self.sides == "conversations" and (self.chosen is None or self.transcript is not None):
            raise ValueError("sides are conversations only in chosen and rejected; remove it")
        return self

    def _check_kind(self) -> None:
        """Refuse a shape that says in two ways, or in none, what is compared."""
        kinds = {
            "chosen": (self.chosen, self.rejected),
            "responses": (self.responses or None, self.preferred),
            "candidates": (self.candidates, self.correct),
            "steps": (self.steps, self.first_error or self.errors),
        }
        others = {"chosen": "rejected", "responses": "preferred", "candidates": "correct"}
        others["steps"] = "first_error"
        named = [name for name, parts in kinds.items() if any(part is not None for part in parts)]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} exclude each other; keep one")
        name = named[0] if named else "chosen"
        first, second = kinds[name]
        for part, key in ((first, name), (second, others[name])):
            if part is None:
                kind = "a table" if key == "preferred" else "a text"
                raise ValueError(f"{key} is missing; add it ({kind})")
        if name == "responses" and len(self.responses) != 2:
            raise ValueError(f"responses names {len(self.responses)} columns; name two")
        if name == "steps" and self.first_error and self.errors:
            raise ValueError("first_error and errors exclude each other; remove one")
        if name == "steps" and self.prompt is None:
            raise ValueError("prompt is missing; add it (a text)")

    def _check_candidates(self) -> None:
        if self.candidates is None and (self.n is not None or self.pairs is not None):
            raise ValueError("n and pairs go with candidates; add it, or remove them")
        if self.candidates is None:
            return
        if ("{n}" in self.candidates) != (self.n is not None):
            raise ValueError('numbered candidates need "{n}" in their name and n = [first, last]')
        if self.n is not None and not 0 <= self.n[0] < self.n[1] < MAX_CANDIDATES:
            raise ValueError(
                f"n = [{self.n[0]}, {self.n[1]}]; it must be two numbers from 0 to"
                f" {MAX_CANDIDATES - 1}, the smaller first"
            )
