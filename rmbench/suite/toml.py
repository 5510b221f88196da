"""A TOML file → a checked model: what a wrong one is told, with place, finding and remedy."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from rmbench.errors import SuiteError, did_you_mean

__all__ = ["TomlTable", "read_model", "read_toml"]

MAX_FILE_BYTES: Final = 1_000_000
KINDS: Final[Mapping[type, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}
# What a value must be, by the kind of error that pydantic reports of it.
WANTED: Final[Mapping[str, str]] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number that is not so long",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
# What pydantic puts into a place where a value may be of several kinds.
BRANCHES: Final = frozenset({"str", "int", "float", "bool", "text", "table"})
BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("ge", "it must be {} or more"),
    "less_than_equal": ("le", "it must be {} or less"),
    "greater_than": ("gt", "it must be above {}"),
}


class TomlTable(BaseModel):
    """A table of a TOML file: frozen, its kinds not converted, unknown keys refused.

    A validator of one raises ``ValueError`` with finding and remedy; ``{key}`` in it stands for the
    key's name. The place is put before it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    in_file: ClassVar[tuple[str, ...]] = ()
    """The keys of the table in a file, where they are not the model's fields."""


Model = TypeVar("Model", bound=TomlTable)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        SuiteError: it is too large, not UTF-8, or not TOML.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SuiteError(f"{path}: larger than {MAX_FILE_BYTES} bytes; is it a suite file?")
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not UTF-8: {error}; convert the file") from None
    except ValueError as error:  # not only TOMLDecodeError: also a number of 5,000 digits
        raise SuiteError(f"{path}: not TOML: {error}; fix the syntax") from None
    except RecursionError:
        raise SuiteError(f"{path}: nested too deeply; a suite file has two levels") from None


def read_model(model: type[Model], content: Mapping[str, Any], place: str) -> Model:
    """Return a model of what a TOML file says.

    Args:
        model: with what it must say.
        content: what it says.
        place: the file, for messages.

    Raises:
        SuiteError: a key is unknown or missing, or a value is not what it must be.
    """
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        raise SuiteError(_message(model, content, place, error.errors()[0])) from None


def _message(
    model: type[TomlTable], content: Mapping[str, Any], place: str, error: ErrorDetails
) -> str:
    kind, value = error["type"], error["input"]
    tables, key = _walk(content, error["loc"])
    if kind == "extra_forbidden" and tables and tables[-1] == f"[{key}]":
        tables.pop()
    where = ": ".join([place, *tables])
    if kind == "missing":
        wanted = _wanted(model, error["loc"])
        return f"{where}: {key} is missing; add it ({wanted})"
    if kind == "extra_forbidden":
        remedy = did_you_mean(str(key), _keys(model, error["loc"][:-1]))
        return f'{where}: unknown key "{key}"; {remedy}'
    if kind == "literal_error":
        options = re.findall("'([^']*)'", str(error["ctx"]["expected"]))
        if not isinstance(value, str):
            return f"{where}: {key} is {_kind(value)}; it must be a text"
        return f'{where}: {key} = "{value}"; {did_you_mean(value, options)}'
    if kind in BOUNDS:
        name, remedy = BOUNDS[kind]
        return f"{where}: {key} = {value}; {remedy.format(error['ctx'][name])}"
    if kind == "value_error":
        finding = str(error["ctx"]["error"])
        return f"{where}: {finding.replace('{key}', str(key))}"
    return f"{where}: {key} is {_kind(value)}; it must be {WANTED.get(kind, error['msg'])}"


def _kind(value: Any) -> str:
    return KINDS.get(type(value), type(value).__name__)


def _walk(content: Any, loc: Sequence[str | int]) -> tuple[list[str], str]:
    """Return the tables on the way to a place, as a file writes them, and the last key."""
    tables: list[str] = []
    key = ""
    for number, step in enumerate(loc, 1):
        if isinstance(step, int) and isinstance(content, list):
            content = content[step] if step < len(content) else None
            if isinstance(content, dict):
                tables[-1:] = [f"[[{key}]]"]
            else:
                key = f"{key}[{step}]"
            continue
        name = _name(content, step, key, is_last=number == len(loc))
        if name is None:
            continue
        key = name
        content = content.get(key) if isinstance(content, dict) else None
        tables.append(f"[{key}]")
    if tables and not isinstance(content, dict):  # the last is a key, and no table
        tables.pop()
    return tables, key


def _name(content: Any, step: str | int, above: str, *, is_last: bool) -> str | None:
    """Return the key that a step is in the file; None for one that the model alone has."""
    if isinstance(step, str):
        if step in BRANCHES and not (isinstance(content, dict) and step in content):
            return None
        if step == "parts" and "parts" not in (content or ()):  # sections = { part = 1 }
            return "sections"
        is_in_between = step == "subsets" and not is_last and step not in (content or ())
        # X = ["a", "b"] stands for X = { subsets = ["a", "b"] }
        return None if is_in_between or isinstance(content, list) else step
    if above in ("columns", "subset"):  # one table stands for a list of one
        return None
    names = [name for name in content or () if name != "headline"]  # tables whose order counts
    return names[step] if step < len(names) else None


def _field(model: type[TomlTable], loc: Sequence[str | int]) -> Any:
    """Return the annotation at a place, as far as tables lead to it."""
    found: Any = model
    for step in loc:
        if isinstance(step, int):
            continue
        fields = found.model_fields if _is_table(found) else {}
        if step not in fields:
            return None
        found = _inner(fields[str(step)].annotation)
    return found


def _inner(annotation: Any) -> Any:
    """Return the table in an annotation (optional, or a list of it), else the annotation."""
    arguments = getattr(annotation, "__args__", ())
    inner = (_inner(item) for item in arguments)
    return next((item for item in inner if _is_table(item)), annotation)


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, TomlTable)


def _keys(model: type[TomlTable], loc: Sequence[str | int]) -> list[str]:
    found = _field(model, loc)
    if not _is_table(found):
        return []
    return list(found.in_file) or [item.alias or name for name, item in found.model_fields.items()]


def _wanted(model: type[TomlTable], loc: Sequence[str | int]) -> str:
    found = _field(model, loc)
    if _is_table(found):
        return KINDS[dict]
    origin = getattr(found, "__origin__", found)
    return KINDS.get(origin, "a text")
