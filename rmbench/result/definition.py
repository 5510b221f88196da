"""The suite that a result was measured on, as its own record has it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from rmbench.errors import ResultError
from rmbench.result.record import Result
from rmbench.suite.catalogue import list_suites, load_suite
from rmbench.suite.definition import Suite

__all__ = ["definition_of", "embed", "suites_of"]


_NOWHERE: Final = Path(os.devnull)


def embed(suite: Suite) -> dict[str, Any]:
    """Return a suite as it stands in a record."""
    return suite.model_dump(mode="json", exclude_defaults=True)


def definition_of(result: Result) -> Suite | None:
    """Return the suite of a record: its own definition, else the bundled one of this version.

    Raises:
        ResultError: the record's definition breaks a rule of suites, or is another suite's.
    """
    name, version = result.suite["name"], result.suite["version"]
    bundled = load_suite(name) if name in list_suites() else None
    if bundled is not None and bundled.version != version:
        bundled = None
    content = result.suite.get("definition")
    if content is None:
        return bundled
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        finding = error.errors()[0]
        place = ".".join(map(str, ("suite.definition", *finding["loc"])))
        raise ResultError(f"{place}: {finding['msg']}; run it again") from None
    if (suite.name, suite.version, suite.headline) != (name, version, result.suite["headline"]):
        raise ResultError(
            f"suite.definition: is of {suite.name}, version {suite.version}, where the result is on"
            f" {name}, version {version}; run it again"
        )
    # Rows that come with rmbench stand beside its own file; others are nowhere known to be.
    folder = _NOWHERE if bundled is None else bundled.folder
    return suite.model_copy(update={"folder": folder})


def suites_of(
    results: Iterable[Result], given: Iterable[Suite] = ()
) -> tuple[dict[str, Suite], list[str]]:
    """Return the suites of some results by name, and the names of those that nothing defines.

    Args:
        results: whose suites are wanted; of several versions of one the latest counts.
        given: suites from files, which count before all others.
    """
    suites: dict[str, Suite] = {}
    names: dict[str, None] = {}
    for result in results:
        name = result.suite["name"]
        names[name] = None
        found = definition_of(result)
        if found is not None and (name not in suites or found.version > suites[name].version):
            suites[name] = found
    for suite in given:
        if suite.name in names:
            suites[suite.name] = suite
    return suites, [name for name in names if name not in suites]
