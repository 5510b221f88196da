"""The command that made a result, from its record; and whether it makes the same one again."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from rmbench.answers.judgements import Judgement
from rmbench.engine.precision import step
from rmbench.errors import ResultError, ScorerError
from rmbench.result.record import Result
from rmbench.scorers.registry import (
    HUB_ID,
    kind_names,
    load_kind,
    name_model,
    unprefixed_names,
)
from rmbench.suite.catalogue import list_suites
from rmbench.suite.feed import Part

__all__ = ["Command", "Reproduced", "command_of", "reproduced"]

# What kinds were called in records of earlier releases.
_EARLIER: Final = {"builtin": "rule"}
# Settings that a model's files decide where nothing was asked for.
_FOUND: Final = frozenset({"attention", "max_length"})
# How many steps of the precision another processor, batch or number of threads may move a reward.
_STEPS: Final = {"float32": 1024, "float16": 16, "bfloat16": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is to be run again.

    Attributes:
        model: as ``--model`` takes it.
        suite: its name, or the path of its file.
        options: of the model's kind.
        part: of the suite; None for all.
        has_suite: whether a file describes the suite; else ``suite`` is the place of its rows.
    """

    model: str
    suite: str
    options: dict[str, Any]
    part: Part | None
    has_suite: bool = True

    @property
    def text(self) -> str:
        """The command line."""
        parts = ["rmbench", "run", "--model", self.model]
        parts += ["--suite", self.suite] if self.has_suite else [self.suite]
        for name, value in self.options.items():
            parts += ["-o", f"{name}={value}"]
        if self.part is not None:
            parts += [f"--{self.part.sample or 'limit'}", str(self.part.size)]
        return shlex.join([*parts, "--no-cache"])


def command_of(
    result: Result, *, model: str | None = None, suite: str | None = None, given: dict[str, Any]
) -> Command:
    """Return the command that made a result.

    Args:
        result: a measured one.
        model: where the model is, for a folder: a record has only its name.
        suite: the suite's file, for one that does not come with rmbench.
        given: options that the record does not have, such as a server's address.

    Raises:
        ResultError: it was not measured, or the record does not say where the model is.
    """
    if result.source != "measured":
        raise ResultError("published numbers have no command; give a result of rmbench run")
    kind = _kind(result, model)
    options = _options(result, kind) | given
    rows = None if suite is not None else _rows(result)
    return Command(
        model=model or _model(result, kind),
        suite=suite or rows or str(result.suite["name"]),
        has_suite=rows is None,
        options=options,
        part=None if result.partial is None else Part(result.partial, result.sample),
    )


def _rows(result: Result) -> str | None:
    """Return where the rows are of a suite that no file describes; None where one does."""
    if result.suite["name"] in list_suites():
        return None
    definition: Mapping[str, Any] = result.suite.get("definition") or {}
    place = (definition.get("source") or {}).get("path")
    is_named_by_it = place is not None and definition.get("title") in (place, Path(place).name)
    return str(place) if is_named_by_it else None


def _kind(result: Result, model: str | None) -> str:
    """Return the kind of what is run again; a scorer of one's own has a word of its own there."""
    named = name_model(model).kind if model is not None else ""
    kind = str(result.model.get("kind") or "classifier")
    kind = named or _EARLIER.get(kind, kind)
    if kind not in kind_names():
        raise ResultError(
            f"{result.model['id']}: a scorer of its own, and the record does not say where its code"
            " is; give it as --model file:FILE.py:NAME"
        )
    return kind


def _model(result: Result, kind: str) -> str:
    name = result.model["id"]
    if name in unprefixed_names():
        return name
    if HUB_ID.fullmatch(name) and _is_commit(result):
        return name if kind == "classifier" else f"{kind}:{name}"
    raise ResultError(
        f"{name}: the record does not say where the model is; give it as --model, with the options"
        " that belong to it"
    )


def _is_commit(result: Result) -> bool:
    revision = str(result.model.get("revision") or "")
    return bool(revision) and ":" not in revision


def _options(result: Result, kind: str) -> dict[str, Any]:
    """Return the settings of a record that are options of its kind, and not its defaults."""
    try:
        fields = load_kind(kind).options.model_fields
    except ScorerError as error:
        raise ResultError(str(error)) from None
    usual = dict(result.usual)
    found = {
        name: value
        for name, value in result.settings.items()
        if name in fields and value is not None and value != fields[name].default
        if value != usual.get(name) and name not in _FOUND
    }
    if str(found.get("dtype")).startswith("cascade-"):
        found["dtype"] = "cascade"  # the device says which the fast precision is
    if "revision" in fields and _is_commit(result):
        found["revision"] = result.model["revision"]
    if found.get("template", "none") not in ("tokenizer", "none"):
        del found["template"]  # a record has only the name of the file
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What came out of a second run.

    Attributes:
        comparisons: looked at.
        same: of them, those with the very same answers.
        difference: the largest of a reward or a share; None where answers are of another form.
        rounding: how large it may be for another processor's rounding.
        moved: names of the accuracies that are not the same.
        notes: what differs besides: revision, data, versions.
    """

    comparisons: int
    same: int
    difference: float | None
    rounding: float
    moved: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every number came out again."""
        return self.same == self.comparisons and not self.moved

    @property
    def is_same(self) -> bool:
        """Whether every accuracy came out again, and every answer but for rounding."""
        is_close = self.difference is not None and self.difference <= self.rounding
        return not self.moved and (is_close or self.same == self.comparisons)


def reproduced(before: Result, after: Result) -> Reproduced:
    """Compare a result with the one that its command made again."""
    pairs = list(zip_longest(before.rewards, after.rewards))
    moved = [
        name
        for name, item in {**before.averages, **before.sections}.items()
        if (again := after.find(name)) is None
        or not math.isclose(again.accuracy, item.accuracy, rel_tol=1e-9)
    ]
    differences = [_difference(one, other) for one, other in pairs]
    known = [difference for difference in differences if difference is not None]
    return Reproduced(
        comparisons=len(pairs),
        same=sum(one == other for one, other in pairs),
        difference=max(known, default=0.0) if len(known) == len(pairs) else None,
        rounding=_rounding(before),
        moved=tuple(moved),
        notes=tuple(_notes(before, after)),
    )


def _rounding(result: Result) -> float:
    """Return how far answers may be apart that are the same but for rounding.

    Those of a scorer without a precision are rounded as a record is, to float32.
    """
    dtype = str(result.settings.get("dtype", "float32"))
    largest = max((abs(value) for item in result.rewards for value in _numbers(item)), default=0.0)
    return _STEPS.get(dtype, _STEPS["float32"]) * step(largest, dtype)


def _difference(one: Judgement | None, other: Judgement | None) -> float | None:
    if one is None or other is None or one.id != other.id:
        return None
    mine, theirs = _numbers(one), _numbers(other)
    if len(mine) != len(theirs):
        return None
    return max((abs(a - b) for a, b in zip(mine, theirs, strict=True)), default=0.0)


def _numbers(item: Judgement) -> list[float]:
    values: list[Any] = [*item.chosen, *item.rejected]
    values += [share for preference in item.preferences for share in preference.shares or ()]
    flat: list[float] = []
    for value in values:
        if value is not None:
            flat += value if isinstance(value, tuple) else [value]
    return flat


def _notes(before: Result, after: Result) -> Sequence[str]:
    said = [
        ("the data", before.suite.get("sha256"), after.suite.get("sha256")),
        ("the model's revision", before.model.get("revision"), after.model.get("revision")),
    ]
    said += [
        (name, before.environment.get(name), after.environment.get(name))
        for name in ("rmbench", "torch", "transformers", "device")
    ]
    return [
        f"{name}: {then} then, {now} now"
        for name, then, now in said
        if then is not None and now is not None and then != now
    ]
