"""Results on a group of suites, side by side: one number of each, and their mean."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.across import SuiteNumber, group_mean
from rmbench.compare.comparable import with_means
from rmbench.result.names import file_stem
from rmbench.result.record import Result
from rmbench.show.table import Cell, Table
from rmbench.suite.definition import Suite
from rmbench.suite.group import Group

__all__ = ["MISSING", "group_table"]

MISSING: Final = "-"
RowKey = tuple[str, str | None, int]


class _Row(NamedTuple):
    """One model, run in one way or printed by one source: a number for each suite."""

    model: str
    source: str | None
    results: dict[str, Result]

    def number(self, group: Group, head: str) -> Accuracy | None:
        """Return the number in a column; None where it is missing."""
        result = self.results.get(head)
        return None if result is None else result.find(group.group[head].number)

    def mean(self, group: Group, suites: Mapping[str, Suite]) -> Accuracy | None:
        """Return the weighted mean with its interval; None where a number is missing."""
        if not all(head in self.results for head in group.group):
            return None
        return group_mean(
            [
                SuiteNumber(self.results[head], suites[item.suite], item.number, item.weight)
                for head, item in group.group.items()
            ]
        )


def group_table(
    group: Group,
    suites: Sequence[Suite],
    results: Iterable[Result],
    *,
    missing: str | None = MISSING,
) -> Table:
    """Return one row for each model, best mean first; a mean of missing numbers is not shown.

    Args:
        group: the suites, and which average of each counts.
        suites: the group's, in its order.
        results: of any suites; partial runs and other versions are left out. Published numbers of
            two sources are never in one row.
        missing: what stands for a number that is not there; None in data formats.
    """
    names, by_name = list(group.group), {suite.name: suite for suite in suites}
    found = [(row, row.mean(group, by_name)) for row in _rows(group, suites, results)]
    found.sort(key=lambda pair: _order(*pair))
    sources = list(dict.fromkeys(row.source for row, _ in found if row.source is not None))
    body = [
        [
            f"{row.model}{' †' + str(sources.index(row.source) + 1) if row.source else ''}",
            *(_cell("accuracy", row.number(group, name), missing) for name in names),
            _cell("accuracy and interval", mean, missing),
        ]
        for row, mean in found
    ]
    notes = [f"{head}: {item.number} of {item.suite}" for head, item in group.group.items()]
    notes.append(
        f"mean: {group.meaning}, shown where none is missing ({MISSING}); its 95 % interval, of"
        " measured numbers, takes a prompt of several suites for one sample"
    )
    notes += [f"†{number} published, {source}" for number, source in enumerate(sources, 1)]
    columns = ["model", *names, "mean"]
    return Table(title=group.title, columns=columns, rows=body, notes=notes)


def _rows(group: Group, suites: Sequence[Suite], results: Iterable[Result]) -> list[_Row]:
    versions = {suite.name: suite.version for suite in suites}
    by_name = {suite.name: suite for suite in suites}
    found: dict[RowKey, _Row] = {}
    for result in results:
        suite = str(result.suite["name"])
        if result.partial is not None or versions.get(suite) != result.suite["version"]:
            continue
        whole = with_means(result, by_name[suite])
        wanted = {head: item.number for head, item in group.group.items() if item.suite == suite}
        items = {head: item for head, name in wanted.items() if (item := whole.find(name))}
        if not items:
            continue
        source = result.citation if result.source == "published" else None
        number = 0
        while items.keys() & _at(found, (file_stem(result), source, number)):
            number += 1
        key = (file_stem(result), source, number)
        row = found.setdefault(key, _Row(str(result.model["id"]), source, {}))
        row.results.update(dict.fromkeys(items, whole))
    return list(found.values())


def _at(found: dict[RowKey, _Row], key: RowKey) -> set[str]:
    row = found.get(key)
    return set() if row is None else set(row.results)


def _order(row: _Row, mean: Accuracy | None) -> tuple[bool, float, str]:
    return mean is None, -(mean.accuracy if mean else 0.0), row.model


def _cell(kind: str, item: Accuracy | None, missing: str | None) -> Cell | str | None:
    return missing if item is None else Cell(kind, item)
