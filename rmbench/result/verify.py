"""Does a record say what its rewards give, on the suite that it names?"""

from dataclasses import asdict
from typing import Final

from rmbench.accuracy.aggregate import Summary
from rmbench.errors import ResultError
from rmbench.result.measured import recompute
from rmbench.result.record import GROUPS, Result, subset_of
from rmbench.suite.catalogue import list_suites, load_suite

__all__ = ["recomputed", "verify"]

_NOT_RUN: Final = {"recorded": "imported scores", "ensemble": "an ensemble of other results"}
TOLERANCE: Final = 1e-6
"""Between a number of a record and the same number made again of its rewards."""


def recomputed(result: Result) -> Summary:
    """Return a result's numbers, made again of its rewards by the bundled suite's rules."""
    subsets = [subset_of(item.id, result.subsets) for item in result.rewards]
    return recompute(load_suite(result.suite["name"]), subsets, result.rewards)


def verify(result: Result) -> None:
    """Refuse a result that cannot stand beside others.

    Args:
        result: with its rewards.

    Raises:
        ResultError: it is published, imported, an ensemble, partial, without rewards, not on a
            bundled suite or not on its rows; or a number is not what the rewards give.
    """
    name = f"{result.model['id']} on {result.suite['name']}"
    if result.source != "measured" or not result.rewards:
        raise ResultError(f"{name}: no rewards stand beside the record; submit a measured result")
    if result.model.get("kind") in _NOT_RUN:
        raise ResultError(
            f"{name}: {_NOT_RUN[str(result.model['kind'])]}, which nobody can run again; submit a"
            " measured result"
        )
    if result.partial is not None:
        raise ResultError(f"{name}: a partial run; run the whole suite")
    _verify_suite(result, name)
    fresh = recomputed(result)
    for group in GROUPS:
        kept = {key: asdict(item) for key, item in getattr(result, group).items()}
        made = {key: asdict(item) for key, item in getattr(fresh, group).items()}
        for key in sorted(kept.keys() | made.keys()):
            if not _is_equal(kept.get(key), made.get(key)):
                raise ResultError(
                    f"{name}: {group}: {key} is not what the rewards give; run it again"
                )


def _verify_suite(result: Result, name: str) -> None:
    if result.suite["name"] not in list_suites():
        raise ResultError(f"{name}: not a bundled suite; propose the suite first: CONTRIBUTING.md")
    suite = load_suite(result.suite["name"])
    if result.suite["version"] != suite.version:
        raise ResultError(
            f"{name}: version {result.suite['version']} of the suite, which is at"
            f" {suite.version}; run it again"
        )
    pinned, read = suite.source.sha256, result.suite.get("sha256")
    if pinned is not None and read != pinned:
        raise ResultError(f"{name}: not on the suite's own rows; run it without --data")


def _is_equal(kept: dict[str, object] | None, made: dict[str, object] | None) -> bool:
    if kept is None or made is None or kept.keys() != made.keys():
        return False
    for key, value in kept.items():
        other = made[key]
        if isinstance(value, int | float) and isinstance(other, int | float):
            if abs(value - other) > TOLERANCE:
                return False
        elif value != other:
            return False
    return True
