"""Rows that do not name a chosen and a rejected side: labels, candidates, steps.

Each function returns what a row compares, texts alone; the prompt is read elsewhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rmbench.errors import DataError
from rmbench.suite.fields import number_of, value_of
from rmbench.suite.rows import Row
from rmbench.suite.shape import Columns, Label, Preferred

__all__ = ["Steps", "candidate_sides", "first_is_preferred", "is_skipped", "place_of", "read_steps"]

Texts = tuple[str, ...]


class Steps(NamedTuple):
    """A solution in steps, and the numbers of those that are wrong, from 0."""

    steps: Texts
    faulty: tuple[int, ...]


def _key(value: Any) -> tuple[str, Any]:
    """Return what tells labels apart: 1 and 1.0 are one, 1 and true are two."""
    if isinstance(value, bool):
        return "truth", value
    return "number" if isinstance(value, int | float) else "text", value


def _is_among(value: Any, labels: tuple[Label, ...]) -> bool:
    keys = {_key(label) for label in labels}
    if isinstance(value, str) and value in {_written(label) for label in labels}:
        return True  # in CSV everything is a text
    return isinstance(value, str | int | float) and _key(value) in keys


def _written(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def is_skipped(shape: Columns, row: Row) -> bool:
    """Return whether a row is one of those that do not count."""
    return any(_is_among(value_of(row, name), values) for name, values in shape.skip.items())


# --- responses and a label -----------------------------------------------------------------------


def first_is_preferred(rule: Preferred, row: Row) -> bool | None:
    """Return whether the first of two responses is the better one; None for an even row.

    Raises:
        DataError: the row says neither, and the suite does not say that such rows are left out.
    """
    if rule.columns:
        first, second = (_rating(row, name) for name in rule.columns)
        difference = first - second if rule.first[0] == "higher" else second - first
    elif rule.by_sign:
        number = _rating(row, str(rule.column))
        difference = number if rule.first[0] == "positive" else -number
    else:
        return _by_label(rule, row)
    if difference == 0:
        if rule.even:
            return None
        raise DataError(
            f'{row.place}: neither response is preferred; add even = "drop" to preferred in'
            " [columns], so that such rows do not count"
        )
    return difference > 0


def _rating(row: Row, name: str) -> float:
    number = number_of(row, name)
    if number is None:
        raise DataError(f'{row.place}: column "{name}" is empty; every row needs a number there')
    return number


def _by_label(rule: Preferred, row: Row) -> bool | None:
    value = value_of(row, str(rule.column))
    if _is_among(value, rule.even):
        return None
    is_first = _is_among(value, rule.first)
    if is_first or _is_among(value, rule.second):
        return is_first
    shown = repr(value)[:60]
    raise DataError(
        f'{row.place}: column "{rule.column}" is {shown}, which preferred in [columns] does not'
        " name; add it to first, second or even"
    )


# --- candidates ----------------------------------------------------------------------------------


def candidate_sides(shape: Columns, row: Row) -> Iterator[tuple[Texts, Texts]]:
    """Yield chosen and rejected responses of every comparison that a row of candidates holds.

    Raises:
        DataError: texts, marks of what is right, and pairs do not fit together.
    """
    texts = _candidates(shape, row)
    right = _marks(row, str(shape.correct), len(texts))
    if shape.pairs is None:
        chosen = tuple(text for text, is_right in zip(texts, right, strict=True) if is_right)
        rejected = tuple(text for text, is_right in zip(texts, right, strict=True) if not is_right)
        if chosen and rejected:
            yield chosen, rejected
        return
    for first, second in _pairs(row, shape.pairs, len(texts)):
        if right[first] == right[second]:
            raise DataError(
                f'{row.place}: column "{shape.pairs}" pairs {first} and {second}, which are both'
                f" {'right' if right[first] else 'wrong'}; a pair needs one of each"
            )
        chosen_one, rejected_one = (first, second) if right[first] else (second, first)
        yield (texts[chosen_one],), (texts[rejected_one],)


def _candidates(shape: Columns, row: Row) -> list[str]:
    names = shape.candidate_columns()
    values = value_of(row, names[0]) if shape.n is None else [value_of(row, n) for n in names]
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise DataError(f'{row.place}: column "{shape.candidates}" must hold texts; fix the row')
    return values


def _marks(row: Row, name: str, count: int) -> list[bool]:
    values = value_of(row, name)
    is_list = isinstance(values, list) and all(
        isinstance(value, bool) or value in (0, 1) for value in values
    )
    if not is_list or len(values) != count:
        raise DataError(
            f'{row.place}: column "{name}" must be a list of true and false, one for each of'
            f" {count} candidates; fix the row"
        )
    return [bool(value) for value in values]


def _pairs(row: Row, name: str, count: int) -> list[tuple[int, int]]:
    values = value_of(row, name)
    pairs = [tuple(pair) if isinstance(pair, list) else () for pair in _list(values)]
    if not isinstance(values, list) or not all(
        len(pair) == 2 and all(type(i) is int and 0 <= i < count for i in pair) for pair in pairs
    ):
        raise DataError(
            f'{row.place}: column "{name}" must be a list of pairs of numbers from 0 to'
            f" {count - 1}; fix the row"
        )
    return [(pair[0], pair[1]) for pair in pairs]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# --- steps ---------------------------------------------------------------------------------------


def read_steps(shape: Columns, row: Row) -> Steps:
    """Return a row's solution in steps; a number of a wrong step beyond the last is ignored.

    Raises:
        DataError: it has no steps, or no numbers of wrong ones.
    """
    name = str(shape.steps)
    steps = value_of(row, name)
    if not isinstance(steps, list) or not steps or not all(isinstance(s, str) for s in steps):
        raise DataError(f'{row.place}: column "{name}" must be a list of texts; fix the row')
    return Steps(tuple(steps), tuple(i for i in _faulty(shape, row) if i < len(steps)))


def _faulty(shape: Columns, row: Row) -> list[int]:
    name = shape.first_error or str(shape.errors)
    value = value_of(row, name)
    if shape.first_error and type(value) is int and value >= -1:
        return [value] if value >= 0 else []
    numbers = value if isinstance(value, list) and not shape.first_error else [0]
    if all(type(number) is int and number >= 1 for number in numbers):
        return sorted({number - 1 for number in numbers})
    wanted = "a number from -1 on" if shape.first_error else "a list of numbers from 1 on"
    raise DataError(f'{row.place}: column "{name}" must be {wanted}; fix the row')


def place_of(row: Row, origin: str) -> str:
    """Return where a row was found, for the name of its subset.

    Raises:
        DataError: rows of this source have no such origin.
    """
    places: Mapping[str, str] = row.where
    if origin not in places:
        known = ", ".join(places) or "none"
        raise DataError(
            f"{row.place}: the subset is from its {origin}, which is not known of it (known:"
            f" {known}); give a folder that is laid out as [source] says"
        )
    return places[origin]
