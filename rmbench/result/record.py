"""The record of one scorer on one suite: what it holds, declared once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SkipValidation, with_config
from typing_extensions import TypedDict

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import Analyses
from rmbench.answers.judgements import Judgement
from rmbench.errors import ResultError
from rmbench.scorers.contract import Gives, Scale
from rmbench.wording import percent

if TYPE_CHECKING:
    import pandas

__all__ = ["SLICE_COLUMNS", "Audit", "ModelFacts", "Result", "SuiteFacts", "subset_of"]

SCHEMA: Final = 2
SLICE_COLUMNS: Final = ("level", "name", "accuracy", "low", "high", "n", "wins", "ties")
GROUPS: Final = ("averages", "sections", "subsets")


def _is_text(value: Any) -> str:
    # Data of others can hold half a surrogate pair, which pydantic's own str refuses.
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


Text = Annotated[str, PlainValidator(_is_text)]
Count = Annotated[int, Ge(0)]


@with_config(extra="forbid", strict=True)
class SuiteFacts(TypedDict):
    """What was compared.

    ``sha256`` and ``comparisons`` are of the comparisons that the suite has, ``clusters`` says of
    how many samples they are (prompts, problems), where that is known, ``origin`` and
    ``revision`` say where its rows were read; ``definition`` is the suite's own file, so that a
    record is understood without it.
    """

    name: Text
    version: int
    headline: Text
    sha256: NotRequired[Text | None]
    comparisons: NotRequired[Count | None]
    clusters: NotRequired[Count | None]
    origin: NotRequired[Text | None]
    revision: NotRequired[Text | None]
    definition: NotRequired[dict[str, Any] | None]


@with_config(extra="forbid", strict=True)
class ModelFacts(TypedDict):
    """Who answered; see `rmbench.scorers.contract.ScorerInfo`."""

    id: Text
    revision: NotRequired[Text | None]
    kind: NotRequired[Text | None]
    parameters: NotRequired[Count | None]
    gives: NotRequired[Gives]
    scale: NotRequired[Scale]


@with_config(extra="allow", strict=True)
class _Audit(TypedDict, total=False):
    """What could mislead about the numbers, counted; scorers may count more."""

    ties: Count | None
    near_ties: Count | None
    dropped: Count | None
    identical_inputs: Count | None
    identical_responses: Count | None
    duplicates: Count | None
    empty: Count | None
    equal_scores: Count | None
    overflowed: Count | None
    longest: Count | None
    rounding: Annotated[float, Ge(0)] | None
    below_chance: bool
    warnings: dict[Text, Text]
    refused_batching: dict[Text, Any]
    contradicted: dict[Text, float]
    proof: dict[Text, Any]
    rechecked: dict[Text, Any] | None
    exact: dict[Text, Any] | None
    cascade: dict[Text, Any]


if TYPE_CHECKING:  # scorers count what they like, under any name
    Audit = dict[str, Any]
else:
    Audit = _Audit


class Result(BaseModel):
    """One scorer on one suite; every field but ``rewards`` stands in the record's JSON.

    Attributes:
        source: ``measured``, or ``published`` for numbers copied from a card or paper.
        citation: where published numbers stand.
        partial: how many comparisons were scored of a suite; None for all.
        sample: how those were chosen: ``quick`` for a stratified sample; None for evenly spread
            ones, and where nothing was chosen.
        suite: what was compared.
        model: who answered.
        settings: what can move an answer.
        usual: the settings of a plain run; what differs from them stands in the file's name.
        signature: one line that says how the numbers were made; None for published ones.
        averages, sections, subsets: accuracies by name.
        analyses: what is behind the accuracies; None for published ones and in records of
            earlier releases.
        audit: counts of what could mislead.
        environment: versions and device.
        timing: seconds and tokens.
        date: ISO 8601, UTC.
        rewards: one entry per comparison in the suite's order; empty for published numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    source: Literal["measured", "published"]
    citation: Text | None = None
    partial: Annotated[int, Ge(1)] | None = None
    sample: Literal["quick"] | None = None
    suite: SuiteFacts
    model: ModelFacts
    settings: dict[Text, Any] = Field(default_factory=dict)
    usual: dict[Text, Any] = Field(default_factory=dict)
    signature: Text | None = None
    averages: dict[Text, Accuracy]
    sections: dict[Text, Accuracy] = Field(default_factory=dict)
    subsets: dict[Text, Accuracy] = Field(default_factory=dict)
    analyses: Analyses | None = None
    audit: Audit = Field(default_factory=dict)
    environment: dict[Text, Any] = Field(default_factory=dict)
    timing: dict[Text, Any] = Field(default_factory=dict)
    date: Text = ""
    rewards: SkipValidation[Sequence[Judgement]] = Field(default=(), exclude=True)

    def __repr__(self) -> str:
        """Say in one line what it is: a record has thousands of numbers."""
        head = self.headline
        number = f": {self.suite['headline']} {percent(head.accuracy)} %" if head else ""
        part = "" if self.part is None else f", {self.part}"
        return f"<Result {self.suite['name']}, {self.model['id']}{part}{number}>"

    __str__ = __repr__

    @property
    def is_rule(self) -> bool:
        """Whether a rule that looks at the text alone answered: a baseline, no model."""
        return self.model.get("kind") in ("rule", "builtin")  # as releases before 0.2 called it

    @property
    def part(self) -> str | None:
        """What part of the suite was scored, in one word: ``quick:300``; None for all of it."""
        return None if self.partial is None else f"{self.sample or 'partial'}:{self.partial}"

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
        """Return the record as it stands in its JSON file, keys in their fixed order.

        Numbers keep all their digits: what is shown is rounded once, where it is shown.
        """
        record: dict[str, Any] = {"schema": SCHEMA}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            is_left_out = value is None and field.default is None and name != "signature"
            if not field.exclude and not is_left_out:
                record[name] = plain(value)
        return record


def plain(value: Any) -> Any:
    """Return a value as JSON has it; an accuracy without counts is its number alone."""
    if isinstance(value, Accuracy):
        return {key: item for key, item in asdict(value).items() if item is not None}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def subset_of(identity: str, subsets: Iterable[str]) -> str:
    """Return the subset that a comparison's id begins with; the data border made it unambiguous.

    Raises:
        ResultError: the id begins with none of them.
    """
    fitting = [name for name in subsets if identity.startswith(f"{name}/")]
    if not fitting:
        raise ResultError(f'rewards of "{identity}": the record has no subset it belongs to')
    return max(fitting, key=len)
