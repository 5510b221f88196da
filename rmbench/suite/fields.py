"""Fields of a row: by a column's name or a path of names, and of the kind that they must be."""

import math
from collections.abc import Mapping
from typing import Any

from rmbench.errors import DataError
from rmbench.suite.rows import Row

__all__ = ["has_field", "label_of", "number_of", "value_of"]


def value_of(row: Row, name: str) -> Any:
    """Return what stands in a column; None if it is missing.

    ``name`` is a column, or names with dots between for a field inside one; over a list of objects
    the rest of the path is read of each. A column of exactly this name comes first.
    """
    fields = row.fields
    if name in fields:
        return fields[name]
    return _inside(fields, name.split(".")) if "." in name else None


def has_field(row: Row, name: str) -> bool:
    """Return whether a row has a column, or the first of a path's."""
    return name in row.fields or name.split(".")[0] in row.fields


def _inside(value: Any, path: list[str]) -> Any:
    for number, name in enumerate(path):
        if isinstance(value, list):
            return [_inside(item, path[number:]) for item in value]
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def label_of(row: Row, name: str) -> str:
    """Return a text or whole number that names something, as a text.

    Raises:
        DataError: it is of another kind, or blank.
    """
    value = value_of(row, name)
    if type(value) not in (str, int):  # isinstance would take true for 1
        kind = type(value).__name__
        raise DataError(f'{row.place}: column "{name}" is {kind}; it must be a text or an integer')
    if not str(value).strip():
        raise DataError(f'{row.place}: column "{name}" is empty; every row needs a name there')
    return str(value)


def number_of(row: Row, name: str) -> float | None:
    """Return a number, which in CSV is a text; None for an empty cell or null.

    Raises:
        DataError: it is no number.
    """
    value = value_of(row, name)
    if value is None or value == "":
        return None
    try:
        number = float(value) if type(value) in (str, int, float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise DataError(
            f'{row.place}: column "{name}" is no number; [columns] names it as a score: fix it,'
            " or take it out of [columns]"
        )
    return number
