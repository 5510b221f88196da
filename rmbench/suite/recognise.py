"""Rows without a suite file: what they compare, told by their columns; asked for where unclear."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError
from rmbench.suite.catalogue import list_suites, suite_from
from rmbench.suite.definition import Suite
from rmbench.suite.doubts import are_twins, is_verdict, words_of
from rmbench.suite.messages import read_messages
from rmbench.suite.rows import Rows, open_rows

__all__ = ["Recognised", "draft", "recognise", "rows_of", "to_toml"]

LOOKED_AT: Final = 1000
_SIDES: Final = (
    ("chosen", "rejected"),
    ("chosen", "reject"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("preferred", "dispreferred"),
    ("accepted", "rejected"),
    ("better", "worse"),
    ("positive", "negative"),
)
_PROMPTS: Final = ("prompt", "question", "instruction", "query", "conversation", "context", "input")
_EVEN: Final = {"tie", "ties", "even", "equal", "same", "both", "neither", "draw", "none"}
_HH: Final = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
_REMEDY: Final = "say it in a suite file: `rmbench suites new ROWS` writes a draft"


class Recognised(NamedTuple):
    """What rows were taken for.

    Attributes:
        suite: ready to be opened, with the place as its data.
        content: of a suite file that says the same.
        reading: one line for people.
    """

    suite: Suite
    content: dict[str, Any]
    reading: str


def recognise(place: str) -> Recognised:
    """Return a suite of the rows at a place: a file, a folder, a saved data set, or a Hub id.

    Raises:
        DataError: they are of no known shape, or of two; the message names the columns.
    """
    content = _begun(place)
    content["source"]["empty"] = "keep"  # no file to say so in; the audit counts them
    rows = [row.fields for row in islice(_all_rows(place, content), LOOKED_AT)]
    if not rows:
        raise DataError(f"{place}: no rows; give a file that has some")
    columns, credit = _find_shape(rows, place)
    if all(isinstance(row.get("subset"), str) and row["subset"].strip() for row in rows):
        columns = {"subset": "subset", **columns}
    content |= {"columns": columns, "credit": credit}
    reading = ", ".join(f"{key} {_short(value)}" for key, value in columns.items())
    rule = "" if credit["rule"] == "pair" else f", rule {credit['rule']}"
    suite = suite_from(content, Path(place) if _is_hub(place) else Path(place).absolute())
    return Recognised(suite, content, f"{place}: read as {reading}{rule}")


def draft(place: str) -> str:
    """Return a suite file to be filled in, for rows that are not recognised.

    Raises:
        DataError: they cannot even be read.
    """
    content = _begun(place)
    first = islice(_all_rows(place, content), LOOKED_AT)
    names = list(dict.fromkeys(name for row in first for name in row.fields))
    prompt = next((name for name in _PROMPTS if name in names), "?")
    content["columns"] = {"prompt": prompt, "chosen": "?", "rejected": "?"}
    content["credit"] = {"rule": "pair"}
    return (
        f"# A draft: put a column's name in the place of each ?; there are {', '.join(names)}.\n"
        f"# Other forms of rows are in docs/suites.md.\n{to_toml(content)}"
    )


def _is_hub(place: str) -> bool:
    return not Path(place).exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", place) is not None


def _name(place: str) -> str:
    """Return a suite's name for a place; never one that rmbench ships."""
    stem = re.sub(r"(\.(jsonl|json|csv|parquet))?(\.gz)?$", "", Path(place).name.lower())
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:60] or "rows"
    return f"own-{name}" if name in list_suites() else name


def rows_of(place: str, *, split: str | None = None, config: str | None = None) -> Rows:
    """Return the rows at a place, whatever they hold: a file, a folder, a saved set, or a Hub id.

    Raises:
        DataError: nothing is there, or the Hub cannot be reached and nothing is cached.
    """
    content = _begun(place)
    named = {"split": split, "name": config}
    content["source"] |= {key: value for key, value in named.items() if value is not None}
    return _all_rows(place, content)


def _begun(place: str) -> dict[str, Any]:
    """Return name and source of a suite file for the rows at a place."""
    if not Path(place).exists() and not _is_hub(place):
        raise DataError(
            f"{place}: no such file or folder of rows; check the path (a model is given with"
            " --model)"
        )
    content: dict[str, Any] = {"name": _name(place), "title": Path(place).name}
    content["source"] = {"path": place if _is_hub(place) else Path(place).name}
    return content


def _all_rows(place: str, content: Mapping[str, Any]) -> Rows:
    anything = {"columns": {"chosen": "chosen", "rejected": "rejected"}}
    suite = suite_from({**content, **anything}, Path(place).absolute())
    return open_rows(suite, data=None if _is_hub(place) else place)


def _find_shape(
    rows: Sequence[Mapping[str, Any]], place: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``[columns]`` and ``[credit]``, once only one reading is possible."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    sides = [pair for pair in _SIDES if all(name in names for name in pair)]
    twins = [pair for pair in _twins(names) if _hold_texts(rows, pair)]
    if len(sides) + len(twins) != 1:
        found = "; or ".join(f'"{a}" and "{b}"' for a, b in (*sides, *twins))
        seen = f"two readings: {found}" if found else "no two sides among its columns"
        raise DataError(f"{place}: {seen} ({_listed(names)}); {_REMEDY}")
    if twins:
        columns = {"responses": list(twins[0]), **_preference(rows, names, twins[0], place)}
    else:
        columns = {"chosen": sides[0][0], "rejected": sides[0][1]}
    pair = (sides or twins)[0]
    return {**_prompt(rows, names, pair, place), **columns}, _credit(rows, pair)


def _twins(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if are_twins(first, second):
                yield (first, second) if words_of(first) < words_of(second) else (second, first)


def _hold_texts(rows: Sequence[Mapping[str, Any]], pair: Sequence[str]) -> bool:
    values = [row.get(name) for row in rows[:100] for name in pair]
    return all(isinstance(value, str | list) and not _is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(names: Sequence[str]) -> str:
    return "it has " + ", ".join(names[:20])


def _prompt(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], pair: Sequence[str], place: str
) -> dict[str, Any]:
    """Return where the prompt is: in a column, or at the beginning of each side."""
    sides = [read_messages(row.get(name), f"{place}: {name}") for row in rows for name in pair]
    if all(side is not None and len(side) > 1 for side in sides):
        return {}
    if all(str(row.get(name)).startswith(_HH["user"].rstrip()) for row in rows for name in pair):
        return {"transcript": _HH}
    found = [name for name in _PROMPTS if name in names and any(row.get(name) for row in rows)]
    if "prompt" in found or len(found) == 1:
        return {"prompt": found[0]}
    seen = f"two columns may be the prompt ({', '.join(found)})" if found else "no prompt"
    raise DataError(f"{place}: {seen} ({_listed(names)}); {_REMEDY}")


def _preference(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], pair: tuple[str, str], place: str
) -> dict[str, Any]:
    """Return what says which of two responses is the better one."""
    verdicts = [name for name in names if name not in pair and is_verdict(name)]
    ratings = [
        twin
        for twin in _twins(names)
        if twin != pair and all(_is_number(row.get(name)) for row in rows for name in twin)
    ]
    if len(verdicts) + len(ratings) != 1:
        found = ", ".join([*verdicts, *(f"{a} and {b}" for a, b in ratings)]) or "no column"
        raise DataError(
            f'{place}: which of "{pair[0]}" and "{pair[1]}" is preferred? {found} may say so'
            f" ({_listed(names)}); {_REMEDY}"
        )
    if ratings:
        rule = {"columns": list(ratings[0]), "first": "higher", "even": "drop"}
        return {"preferred": rule}
    return {"preferred": _labels(rows, verdicts[0], pair, place)}


def _labels(
    rows: Sequence[Mapping[str, Any]], name: str, pair: tuple[str, str], place: str
) -> dict[str, Any]:
    """Return which labels mean which response; each must name one, or neither."""
    values = list(dict.fromkeys(row[name] for row in rows if isinstance(row.get(name), str | int)))
    ends = [words_of(column)[-1:] for column in pair]
    by_number = {str(value) for value in values} <= {"1", "2"}
    meant: dict[str, list[Any]] = {"first": [], "second": [], "even": []}
    for value in values:
        last = words_of(str(value))[-1:]
        if str(value).strip().lower() in _EVEN or (words_of(str(value)) or [""])[0] in _EVEN:
            meant["even"].append(value)
        elif value == pair[0] or (last == ends[0] and not (_is_number(value) and not by_number)):
            meant["first"].append(value)
        elif value == pair[1] or (last == ends[1] and not (_is_number(value) and not by_number)):
            meant["second"].append(value)
        elif by_number:
            meant["first" if str(value) == "1" else "second"].append(value)
        else:
            raise DataError(
                f'{place}: which response does {_short(value)} in "{name}" mean, "{pair[0]}" or'
                f' "{pair[1]}"? Say it as preferred in [columns]; {_REMEDY}'
            )
    if not meant["first"] or not meant["second"]:
        raise DataError(
            f'{place}: "{name}" never prefers one of "{pair[0]}" and "{pair[1]}"; {_REMEDY}'
        )
    return {"column": name, **{key: labels for key, labels in meant.items() if labels}}


def _credit(rows: Sequence[Mapping[str, Any]], pair: Sequence[str]) -> dict[str, Any]:
    def most(name: str) -> int:
        lists = [row[name] for row in rows if isinstance(row.get(name), list)]
        return max((len(item) for item in lists if all(type(i) is str for i in item)), default=1)

    chosen, rejected = (most(name) for name in pair)
    if (chosen, rejected) == (1, 1):
        return {"rule": "pair"}
    return {"rule": "best-of", **({"several": True} if chosen > 1 else {})}


def _short(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 100 else f"{shown[:100]} …"


def to_toml(content: Mapping[str, Any]) -> str:
    """Return a suite file of plain values: its tables after its keys."""
    plain = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {_inline(value)}" for key, value in plain.items()]
    for table, inner in content.items():
        if isinstance(inner, Mapping):
            lines += ["", f"[{table}]"]
            lines += [f"{key} = {_inline(value)}" for key, value in inner.items()]
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=True)
