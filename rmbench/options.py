"""How an option is declared: once, as a field of a pydantic model.

From the field follow the command line (``-o name=value`` and, where the field asks for one, a flag
of its own), the documentation, the record's settings, the ledger's key and the signature.
"""

from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from rmbench.errors import ScorerError, did_you_mean

__all__ = ["Moves", "OptionField", "Options", "option", "same_option"]

Moves = Literal["answers", "reading", "audit", "nothing"]
"""What another value of an option can change: the answers themselves; how they are read from
replies; only what is looked at besides; or nothing but time and trust."""

_REQUIRED: Final = ...


def option(
    default: Any = _REQUIRED,
    *,
    help: str,
    moves: Moves = "answers",
    flag: bool | str = False,
    metavar: str | None = None,
) -> Any:
    """Declare an option; bounds and choices stand in the field's type.

    Args:
        default: the value of a plain run; without one the option must be given.
        help: one sentence for the command line and the documentation.
        moves: what another value can change.
        flag: whether it has a flag of its own, or what that is called where it is not the name;
            every option can be given with ``-o name=value``.
        metavar: what stands for the value in the help, such as ``FILE``.
    """
    extra: dict[str, Any] = {"moves": moves, "flag": flag, "metavar": metavar}
    return Field(default, description=help, json_schema_extra=extra)


def same_option(options: "type[Options]", name: str) -> Any:
    """Declare an option that other options have too, under its name and with its default."""
    return options.model_fields[name]


class OptionField(NamedTuple):
    """An option as it was declared.

    Attributes:
        name: of the field, such as ``max_length``.
        help: one sentence.
        default: the value of a plain run.
        required: whether it must be given.
        moves: what another value can change.
        flag: such as ``--max-length``; empty for an option that has none of its own.
        metavar: what stands for the value in the help.
        choices: the words that it knows; empty where any value of its type will do.
        type: ``bool``, ``int``, ``float`` or ``str``.
        bounds: least and greatest value, None where there is none.
    """

    name: str
    help: str
    default: Any
    required: bool
    moves: Moves
    flag: str
    metavar: str | None
    choices: tuple[str, ...]
    type: type
    bounds: tuple[float | None, float | None]


class Options(BaseModel):
    """The options of a kind of scorer; frozen, and refused as a whole where one of them is wrong.

    Raises:
        ScorerError: a name or a value is unknown; the message says which would be right.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ScorerError(_finding(error, type(self))) from None

    def changed(self, **values: Any) -> Self:
        """Return the same options but for these, checked like all others."""
        return type(self)(**dict(self) | values)

    @classmethod
    def fields(cls) -> Iterator[OptionField]:
        """Yield the options in the order of their declaration."""
        for name, info in cls.model_fields.items():
            yield _field(name, info)

    def that_move(self, *moves: Moves) -> dict[str, Any]:
        """Return the values of the options that can change these."""
        return {
            item.name: getattr(self, item.name) for item in self.fields() if item.moves in moves
        }


def _field(name: str, info: FieldInfo) -> OptionField:
    extra: Mapping[str, Any] = (
        info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    )
    kinds = _kinds(info.annotation)
    words = tuple(word for kind in kinds for word in get_args(kind) if isinstance(word, str))
    plain = [kind for kind in (bool, int, float) if kind in kinds]
    return OptionField(
        name=name,
        help=info.description or "",
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        required=info.is_required(),
        moves=extra.get("moves", "answers"),
        flag=_flag(name, extra.get("flag", False)),
        metavar=extra.get("metavar"),
        choices=words,
        type=plain[0] if plain and not words else str,
        bounds=_bounds(info),
    )


def _flag(name: str, flag: bool | str) -> str:
    if isinstance(flag, str):
        return flag
    return "--" + name.replace("_", "-") if flag else ""


def _kinds(annotation: Any) -> list[Any]:
    """Return the types that a union is made of, or the one type itself; without None."""
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    return [] if annotation is NoneType else [annotation]


def _bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    inside = [part for part in get_args(info.annotation) if get_origin(part) is Annotated]
    metadata = [*info.metadata, *(extra for part in inside for extra in get_args(part)[1:])]
    metadata += [bound for part in metadata for bound in getattr(part, "metadata", ())]
    least = [bound.ge for bound in metadata if hasattr(bound, "ge")]
    most = [bound.le for bound in metadata if hasattr(bound, "le")]
    return (least[0] if least else None, most[0] if most else None)


def _finding(error: ValidationError, options: type[Options]) -> str:
    """Return the first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "options"
    value = first["input"]
    if first["type"] == "extra_forbidden":
        return f'option "{name}" is unknown; {did_you_mean(name, options.model_fields)}'
    if first["type"] == "missing":
        return f"option {name} is missing; give it with -o {name}=VALUE"
    item = next(item for item in options.fields() if item.name == name)
    if item.choices:
        return f'{name} "{value}" is unknown; {did_you_mean(str(value), item.choices)}'
    written = item.flag or f"-o {name}"
    if first["type"] == "value_error":
        said = str(first["msg"]).removeprefix("Value error, ")
        return f"{name} = {value}: {said}; give another with {written}"
    return f"{name} = {value}: it must be {_wanted(item)}; give it with {written}"


def _wanted(item: OptionField) -> str:
    """Return what the value of an option must be, in words."""
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    word = words.get(item.type, "a text")
    least, most = (None if bound is None else f"{bound:g}" for bound in item.bounds)
    if least is not None and most is not None:
        return f"{word} from {least} to {most}"
    if least is not None:
        return f"{word}, {least} or more"
    return word if most is None else f"{word}, {most} or less"
