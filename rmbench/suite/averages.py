"""What a suite's comparisons earn, and how that is averaged: ``[credit]`` to ``[averages]``."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rmbench.errors import did_you_mean
from rmbench.suite.shape import Texts
from rmbench.suite.toml import TomlTable

__all__ = ["STEPWISE", "Average", "Cells", "Credit", "Parts", "Section"]

POOLED: Final = "comparisons"
STEPWISE: Final = frozenset({"first-error", "steps"})
WEIGHING: Final = frozenset({"ties"})
"""Rules for which it counts how far rewards are apart."""
RuleName = Literal[
    "pair", "best-of", "all-of", "all-pairs", "rank", "styles", "ties", "first-error", "steps"
]
Cells = Literal["above", "diagonal", "below"]


class Credit(TomlTable):
    """What a comparison earns, or several of them together.

    Attributes:
        rule: of the closed table in ``accuracy.credit`` and ``accuracy.groups``.
        tie: what an exact tie earns: of ``pair`` a credit in [0, 1]; of ``best-of`` whether the
            best responses ``share`` the credit or ``lose`` it.
        several: whether ``best-of`` takes comparisons with several chosen responses.
        styles: of ``styles``, what the responses of each side are called, the plainest first.
        threshold: of the rules on steps, a step with a lower reward is judged wrong.
        unanswered: what responses without an answer are, where a scorer gives preferences: the
            comparison is lost, or the responses are ``even``, which is a tie.
        subsets: the rule of single subsets; this one holds for the rest.
    """

    in_file: ClassVar = ("rule", "tie", "several", "styles", "threshold", "unanswered")

    rule: RuleName = "pair"
    tie: float | Literal["share", "lose"] | None = None
    several: bool = False
    styles: Texts = ()
    threshold: float = 0.5
    unanswered: Literal["lose", "even"] = "lose"
    subsets: dict[str, "Credit"] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_subsets(cls, content: Any) -> Any:
        """Take every table in ``[credit]`` as the rule of the subset that it is called after."""
        if not isinstance(content, dict):
            return content
        own, known = dict(content), {}
        usual = {"pair": 0.0, "best-of": "share"}.get(str(own.get("rule", "pair")))
        if usual is not None and own.get("tie") is None:
            own["tie"] = usual
        inner = own.get("subsets")
        if isinstance(inner, dict) and all(map(_is_rule, inner.values())):  # as a model has it
            known = own.pop("subsets")
        tables = {key: value for key, value in own.items() if isinstance(value, dict)}
        rest = {key: value for key, value in own.items() if key not in tables}
        return rest | ({"subsets": {**known, **tables}} if known or tables else {})

    @field_validator("tie", mode="before")
    @classmethod
    def _check_tie(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value in ("share", "lose"):
                return value
            raise ValueError(f'{{key}} = "{value}"; {did_you_mean(value, ("share", "lose"))}')
        number = _number(value)
        if number is None:
            return value
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"{{key}} = {number}; a credit lies between 0 and 1")
        return number

    @model_validator(mode="after")
    def _check(self) -> "Credit":
        if self.tie is not None and self.rule not in ("pair", "best-of"):
            raise ValueError('tie goes with the rules "pair" and "best-of" alone; remove it')
        if self.rule == "best-of" and isinstance(self.tie, float):
            raise ValueError('tie is a credit with rule "pair" alone; write "share" or "lose"')
        if self.rule == "pair" and isinstance(self.tie, str):
            raise ValueError(
                f'tie = "{self.tie}" goes with rule "best-of"; give a credit in [0, 1]'
            )
        if self.several and self.rule != "best-of":
            raise ValueError('several goes with rule "best-of" alone; remove it')
        return self

    @model_validator(mode="after")
    def _check_rest(self) -> "Credit":
        if bool(self.styles) != (self.rule == "styles"):
            raise ValueError('styles and rule = "styles" go together; give both or neither')
        if self.rule == "styles" and len(self.styles) < 2:
            raise ValueError("styles names one style; name two or more, the plainest first")
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold = {self.threshold}; it must be finite")
        if any(credit.unanswered != "lose" for credit in self.subsets.values()):
            raise ValueError("unanswered holds for the whole suite; write it in [credit] itself")
        if any(credit.subsets for credit in self.subsets.values()):
            raise ValueError("a rule of a subset has no subsets of its own; remove the inner table")
        return self

    def of(self, subset: str) -> "Credit":
        """Return the rule of a subset: its own, that of the parts its name begins with, or this."""
        parts = subset.split("/")
        names = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.subsets[name] for name in names if name in self.subsets), self)

    @property
    def weighs_distances(self) -> bool:
        """Whether it hangs on how far rewards are apart, not on their order alone."""
        return self.rule in WEIGHING

    @property
    def credit_of_tie(self) -> float:
        """What a tie of two responses earns by itself."""
        return self.tie if isinstance(self.tie, float) else 0.0

    def misfit(self, chosen: int, rejected: int) -> str | None:
        """Return why the rule cannot mean anything of so many responses, and a remedy; else None.

        Args:
            chosen: number of chosen responses.
            rejected: number of rejected ones; 0 where a solution in steps is judged.
        """
        if (self.rule in STEPWISE) != (rejected == 0):
            needed = "a solution in steps" if rejected else "responses of both sides"
            return f'rule "{self.rule}" needs {needed}; take another rule'
        if self.rule == "pair" and (chosen, rejected) != (1, 1):
            return 'rule "pair" needs one of each, "best-of" takes several'
        if self.rule == "best-of" and chosen > 1 and not self.several:
            return (
                'rule "best-of" needs one chosen response; write several = true where any of them'
                " may be the best, or take another rule"
            )
        if self.rule == "styles" and {chosen, rejected} != {len(self.styles)}:
            return f'rule "styles" needs {len(self.styles)} of each, one in each style; fix the row'
        return None

    @property
    def rules(self) -> set[str]:
        """Every rule that some comparison may come under."""
        return {self.rule, *(credit.rule for credit in self.subsets.values())}


def _is_rule(value: Any) -> bool:
    return isinstance(value, Credit | dict)


def _number(value: Any) -> float | None:
    """Return a number as a float, of too many digits as infinite; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    for name, weight in weights.items():
        if not 0.0 < weight < math.inf:
            raise ValueError(f"{name} = {weight}; it must be finite and above 0")
    return dict(weights)


class Section(TomlTable):
    """A named list of subsets; a subset without a weight counts its comparisons.

    A name that ends with ``*`` stands for all subsets that begin with what precedes it.
    """

    in_file: ClassVar = ("subsets", "weights")

    name: str
    subsets: Texts
    weights: dict[str, float] = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _check_numbers(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        subsets: tuple[str, ...] = info.data.get("subsets", tuple(weights))
        for subset in weights:
            if subset not in subsets:
                raise ValueError(f'"{subset}" is not in subsets; {did_you_mean(subset, subsets)}')
        return _check_weights(weights)

    @model_validator(mode="after")
    def _check(self) -> "Section":
        if not self.subsets:
            raise ValueError(f"{self.name} is empty; name its subsets or remove it")
        return self

    def expanded(self, present: Iterable[str]) -> "Section":
        """Return the section with every ``*`` replaced by the subsets that are there.

        A name with ``*`` that fits none stays, so that the lack of rows is noticed.
        """
        names: list[str] = []
        for subset in self.subsets:
            fitting = [name for name in present if name.startswith(subset[:-1])]
            names += fitting if subset.endswith("*") and fitting else [subset]
        return self.model_copy(update={"subsets": tuple(dict.fromkeys(names))})


class Parts(TomlTable):
    """Sections that need no list, since the first parts of a subset's name are the section's.

    Attributes:
        part: how many parts of the name are the section's: of ``deu/hep-go`` one is ``deu``.
        weights: of each subset, by the rest of its name; one without a weight counts its
            comparisons.
        groups: sections within each of these: a name and the rests of its subsets. The section is
            then the plain mean of its groups.
    """

    part: Annotated[int, Field(ge=1)]
    weights: dict[str, float] = Field(default_factory=dict)
    groups: dict[str, Texts] = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _check_numbers(cls, weights: dict[str, float]) -> dict[str, float]:
        return _check_weights(weights)

    def sections(self, subsets: Iterable[str]) -> tuple[tuple[Section, ...], tuple["Average", ...]]:
        """Return the sections of the subsets that are there, in their order.

        With groups these are the groups, and each section an average over its own.
        """
        members: dict[str, list[str]] = {}
        for subset in subsets:
            name, _ = self.split(subset)
            members.setdefault(name, []).append(subset)
        if not self.groups:
            return tuple(self._section(name, names) for name, names in members.items()), ()
        groups = {name: self._groups(name, names) for name, names in members.items()}
        averages = tuple(
            Average(name=name, sections=tuple(item.name for item in inner))
            for name, inner in groups.items()
        )
        return tuple(item for inner in groups.values() for item in inner), averages

    def split(self, subset: str) -> tuple[str, str]:
        """Return the section's name and the rest of a subset's name."""
        parts = subset.split("/")
        return "/".join(parts[: self.part]), "/".join(parts[self.part :])

    def _groups(self, name: str, subsets: list[str]) -> list[Section]:
        own = {self.split(subset)[1]: subset for subset in subsets}
        return [
            self._section(f"{name}/{group}", [own.get(rest, f"{name}/{rest}") for rest in rests])
            for group, rests in self.groups.items()
        ]

    def _section(self, name: str, subsets: Iterable[str]) -> Section:
        found = {subset: self.weights.get(self.split(subset)[1]) for subset in subsets}
        weights = {subset: weight for subset, weight in found.items() if weight is not None}
        return Section(name=name, subsets=tuple(found), weights=weights)


class Average(TomlTable):
    """One number for a suite: a mean of sections and averages, or over all comparisons if empty.

    Attributes:
        name: what it is called.
        sections: the sections, and averages defined before, of which it is the mean; ``all_of``
            where they are all sections there are.
        weights: of its sections; one that has none weighs 1.
        cells: of the rule ``styles``, which cells count: chosen responses of a plainer style than
            the rejected one (``above``), of the same (``diagonal``), of a fancier one (``below``).
        of_all: whether it is the mean of all sections.
    """

    in_file: ClassVar = ("mean", "cells")

    name: str
    sections: Texts = ()
    weights: dict[str, float] = Field(default_factory=dict)
    cells: Cells | None = None
    of_all: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_mean(cls, content: Any) -> Any:
        """Take ``mean`` as a list of names, as a table of weights, or as all sections."""
        if not isinstance(content, dict) or "mean" not in content:
            return content
        rest = {key: value for key, value in content.items() if key != "mean"}
        match content["mean"]:
            case "sections":
                return {**rest, "of_all": True}
            case dict(weights):
                return {**rest, "sections": list(weights), "weights": weights}
            case names if not isinstance(names, list):
                raise ValueError('mean must be a list of names, a table of weights, or "sections"')
            case []:
                raise ValueError("mean is empty; name the sections to average")
            case names:
                return {**rest, "sections": names}

    @field_validator("weights")
    @classmethod
    def _check_numbers(cls, weights: dict[str, float]) -> dict[str, float]:
        return _check_weights(weights)

    @property
    def meaning(self) -> str:
        """One phrase that says what is averaged."""
        if self.of_all:
            return "mean of all sections"
        if not self.sections:
            return "every comparison counts the same" + self._of_cells()
        weighted = (
            f"{name} ({self.weights[name]:g})" if name in self.weights else name
            for name in self.sections
        )
        return "mean of " + ", ".join(weighted) + self._of_cells()

    def _of_cells(self) -> str:
        meaning = {
            "above": "chosen of a plainer style than rejected",
            "diagonal": "both of one style",
            "below": "chosen of a fancier style than rejected",
        }
        return f"; {meaning[self.cells]}" if self.cells else ""
