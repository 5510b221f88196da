"""KIND:NAME → scorer: every kind is an entry point in the group ``rmbench.scorers``."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.checkpoint.identity import name_models
from rmbench.errors import ScorerError, did_you_mean
from rmbench.options import Options
from rmbench.scorers.contract import Scorer
from rmbench.scorers.kind import Kind

__all__ = [
    "GROUP",
    "USUAL",
    "Named",
    "check_model_name",
    "find_kind",
    "kind_names",
    "load_kind",
    "load_scorer",
    "name_model",
    "name_results",
    "own_kinds",
    "unprefixed_names",
]

GROUP: Final = "rmbench.scorers"
OWN: Final = "rmbench."
USUAL: Final = "classifier"
"""The kind of a model whose configuration no other kind claims."""
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


class Named(NamedTuple):
    """A model as it was named: the kind's name, and what stands behind ``KIND:``."""

    kind: str
    name: str


@cache
def _entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points by name, rmbench's own first."""
    found = sorted(
        [*_of_checkout(), *metadata.entry_points(group=GROUP)],
        key=lambda entry: (not entry.value.startswith(OWN), entry.name),
    )
    points: dict[str, metadata.EntryPoint] = {}
    for entry in found:
        points.setdefault(entry.name, entry)
    if USUAL not in points:
        raise ScorerError(
            f"entry points {GROUP}: rmbench's own kinds are not among them; install it again"
        )
    return points


def _of_checkout() -> list[metadata.EntryPoint]:
    """Return the entry points of a source checkout, which may be newer than its installation."""
    file = Path(__file__).parents[2] / "pyproject.toml"
    if not file.is_file():
        return []
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):  # beside an installed package lies somebody else's
        return []
    is_own = isinstance(project, dict) and project.get("name") == "rmbench"
    declared = project["entry-points"][GROUP] if is_own else {}
    return [metadata.EntryPoint(name, value, GROUP) for name, value in declared.items()]


def kind_names() -> list[str]:
    """Return the names of all kinds, rmbench's own first."""
    return list(_entry_points())


@cache
def load_kind(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        ScorerError: there is none, or the package that brings it cannot be loaded.
    """
    points = _entry_points()
    if name not in points:
        raise ScorerError(f"{name}: no such kind of scorer; {did_you_mean(name, points)}")
    place = f"{name}: {points[name].value}"
    try:
        kind = points[name].load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ScorerError(f"{place}: cannot be loaded: {error}; install it again") from None
    if not isinstance(kind, Kind):
        raise ScorerError(f"{place} is {type(kind).__name__}; it must be a rmbench Kind")
    return kind


def own_kinds() -> Iterator[tuple[str, Kind]]:
    """Yield rmbench's own kinds; those of other packages are loaded when they are named."""
    for name, entry in _entry_points().items():
        if entry.value.startswith(OWN):
            yield name, load_kind(name)


def unprefixed_names() -> list[str]:
    """Return the names that need no ``KIND:`` and no download, such as ``length``."""
    return [name for _, kind in own_kinds() for name in kind.names]


def name_model(model: str) -> Named:
    """Return the kind of a model and its name there; a model's files are not looked at.

    A folder or a model of the Hub without ``KIND:`` comes back with an empty kind: its
    configuration decides, see ``find_kind``.

    Args:
        model: ``KIND:NAME``, a name that stands for itself, a local folder, or a Hub id.

    Raises:
        ScorerError: it can be none of them.
    """
    # An empty name would be the working directory: "--model $MODEL" with MODEL unset.
    if model and Path(model).is_dir():
        return Named("", model)
    for kind, found in own_kinds():
        if model in found.names:
            return Named(kind, model)
    kind, colon, name = model.partition(":")
    if colon:
        load_kind(kind)
        return Named(kind, name)
    if HUB_ID.fullmatch(model):
        return Named("", model)
    names = ", ".join(unprefixed_names())
    place = model or '--model ""'
    close = did_you_mean(model, unprefixed_names())
    meant = f"; {close}" if close.startswith("did you mean") else ""
    raise ScorerError(
        f"{place}: no such folder and no built-in{meant}; give org/name of the Hub, a folder,"
        f" KIND:NAME, or {names}"
    )


def check_model_name(model: str) -> None:
    """Refuse a name that can be no scorer, before anything is read or loaded.

    For a Hub id, its libraries are spared their retries where the Hub cannot be reached.

    Raises:
        ScorerError: it is no built-in, no local folder, no Hub id and no KIND:NAME.
    """
    named = name_model(model)
    if not named.kind and not Path(named.name).is_dir():
        from rmbench.suite.hub import spare_retries

        spare_retries()


def name_results(models: Sequence[str], given: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return what each model is called in its results; no weights are loaded.

    Args:
        models: as they were named.
        given: the options that were given, by name.

    Raises:
        ScorerError: one of them is no scorer.
    """
    named = {model: name_model(model) for model in models}
    plain = [model for model in models if named[model].kind in ("", USUAL)]
    names = name_models([named[model].name for model in plain])
    found = {model: names[named[model].name] for model in plain}
    for model, (kind, name) in named.items():
        if model not in found:
            found[model] = load_kind(kind).result_name(name, given or {})
    return {model: found[model] for model in models}


def find_kind(model: str) -> Named:
    """Return the kind of a model and its name there, by its configuration where need be.

    Raises:
        ScorerError: it is no scorer, or its configuration cannot be had.
    """
    named = name_model(model)
    if named.kind:
        return named
    claiming = [
        (name, kind.claims)
        for name, kind in own_kinds()
        if name != USUAL and kind.claims is not None
    ]
    config = _config(named.name) if claiming else {}
    for name, claims in claiming:
        if claims(config):
            return Named(name, named.name)
    return Named(USUAL, named.name)


def _config(model: str) -> Mapping[str, Any]:
    """Return a model's config.json; empty where it has none or a broken one: loading will tell."""
    from rmbench.checkpoint.config_findings import check_values
    from rmbench.checkpoint.hub import fetch_config

    folder = Path(model)
    file = folder / "config.json" if folder.is_dir() else fetch_config(model)
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if not check_values(content) else {}


def load_scorer(
    model: str, options: Options | Mapping[str, Any] | None = None, **more: Any
) -> Scorer:
    """Return a scorer; a model is loaded when it is first asked.

    Args:
        model: ``KIND:NAME``, a built-in name, a local folder, or a Hub id; see `rmbench scorers`.
        options: of its kind, as an object of its options or by name.
        more: further options by name.

    Raises:
        ScorerError: there is no such model, or an option is unknown; the message says what to do.
    """
    check_model_name(model)
    named = find_kind(model)
    kind = load_kind(named.kind)
    given = dict(options or {}) | more
    if isinstance(options, kind.options) and not more:
        return kind.open(named.name, options)
    return kind.open(named.name, kind.options(**given))
