"""The options of scorers on the command line: flags and ``-o`` follow from their declarations."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from rmbench.errors import ScorerError, did_you_mean

if TYPE_CHECKING:
    from rmbench.options import OptionField, Options
    from rmbench.scorers.kind import Kind

__all__ = ["ScorerCommand", "given_options", "options_for", "tell_unused"]

ASSIGNED: Final = "assigned"
GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "Model": frozenset({"models", "config", "name", ASSIGNED}),
    "Text": frozenset(
        {"template", "system_prompt", "bos", "eos", "max_length", "on_overflow", "orders"}
    ),
    "Data": frozenset({"suites", "data", "limit", "quick"}),
    "Gate": frozenset({"baseline", "alpha", "max_drop", "margin", "across_precisions"}),
}
"""The groups in which the help lists options; other options of kinds belong to Model, and other
options of commands to Output."""


class ScorerCommand(click.Command):
    """A command that opens scorers: it has the flags of rmbench's own kinds, and ``-o``.

    They are looked up when the command is used, so that ``rmbench --help`` loads no kind.
    """

    _flags: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, the kinds' flags, and the option for help."""
        if self._flags is None:
            self._flags = [_assignment(), *map(_flag, _fields().values())]
        own = super().get_params(ctx)
        return [*self.params, *self._flags, *own[len(self.params) :]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in their groups."""
        rows: dict[str, list[tuple[str, str]]] = {name: [] for name in (*GROUPS, "Output")}
        fields = _fields()
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                rows[_group(str(param.name), is_of_kind=param.name in fields)].append(record)
        for name, records in rows.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def _group(name: str, *, is_of_kind: bool) -> str:
    """Return the group of an option by its name."""
    found = (group for group, names in GROUPS.items() if name in names)
    return next(found, "Model" if is_of_kind else "Output")


def _assignment() -> click.Option:
    return click.Option(
        ["-o", "--option", ASSIGNED],
        multiple=True,
        metavar="NAME=VALUE",
        help="An option of the model's kind, see `rmbench scorers show`; repeatable.",
    )


def _fields() -> "dict[str, OptionField]":
    """Return the options that have a flag, by name: of rmbench's own kinds, the usual one first."""
    from rmbench.scorers.registry import own_kinds

    fields: dict[str, OptionField] = {}
    for _, kind in own_kinds():
        for field in kind.options.fields():
            if field.flag:
                fields.setdefault(field.name, field)
    return fields


def _flag(field: "OptionField") -> click.Option:
    name = field.flag
    if field.type is bool:
        return click.Option([name, field.name], is_flag=True, help=field.help)
    shown = field.default is not None
    return click.Option(
        [name, field.name],
        type=_type(field),
        default=field.default,
        show_default=shown,
        metavar=field.metavar,
        help=field.help,
    )


def _type(field: "OptionField") -> click.ParamType[Any]:
    least, most = field.bounds
    if field.choices:
        return click.Choice(field.choices)
    if field.type is int:
        return click.IntRange(
            None if least is None else int(least), None if most is None else int(most)
        )
    if field.type is float:
        return click.FloatRange(least, most)
    return click.STRING


def given_options() -> dict[str, Any]:
    """Return the options of scorers that stand on the command line, by name.

    Raises:
        ScorerError: one is given twice, or is not written as ``NAME=VALUE``.
    """
    context = click.get_current_context()
    fields = _fields()
    given = {
        name: value
        for name, value in context.params.items()
        if name in fields and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    for text in context.params.get(ASSIGNED, ()):
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise ScorerError(f"-o {text}: write it as NAME=VALUE")
        if name in given:
            raise ScorerError(f"-o {text}: {name} is given twice; leave one out")
        given[name] = value
    return given


def options_for(kind: "Kind", given: Mapping[str, Any]) -> "Options":
    """Return the options of a kind among those that stand on the command line.

    Raises:
        ScorerError: a value is wrong, or one that it needs is missing.
    """
    known = kind.options.model_fields
    return kind.options(**{name: value for name, value in given.items() if name in known})


def _check_options(models: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse wrong options before any data is read, where the kind of model is known by then.

    Raises:
        ScorerError: a value is wrong, or one that a kind needs is missing.
    """
    from rmbench.scorers.registry import USUAL, load_kind, name_model

    for model in models:
        kind = name_model(model).kind
        if kind:
            options_for(load_kind(kind), given)
        else:  # its configuration will tell; what a usual model knows is the same of all
            usual = load_kind(USUAL).options
            usual(**{name: value for name, value in given.items() if name in usual.model_fields})


def tell_unused(models: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse wrong options, and say on standard error which do nothing for some of the models.

    Raises:
        ScorerError: an option is known to none of them and is no flag, or its value is wrong.
    """
    known = {model: _known(model) for model in dict.fromkeys(models)}
    everything = {name for _, names in known.values() for name in names}
    for name in given:
        if name not in everything | _fields().keys():
            raise ScorerError(f"-o {name}: no such option; {did_you_mean(name, everything)}")
    _check_options(models, given)
    unused: dict[str, list[str]] = {}
    for model, (kind, names) in known.items():
        flags = [_written(name) for name in given if name not in names]
        if flags:
            unused.setdefault(", ".join(flags), []).append(f"{model} ({kind})")
    for flags_text, told in unused.items():
        click.echo(f"rmbench: {flags_text}: without effect on {', '.join(told)}", err=True)


def _written(name: str) -> str:
    """Return an option as it is written: its flag, or ``-o NAME``."""
    field = _fields().get(name)
    return f"-o {name}" if field is None else field.flag


def _known(model: str) -> tuple[str, set[str]]:
    """Return the kind of a model and the options that it may know, without a look at its files."""
    from rmbench.scorers.registry import USUAL, load_kind, name_model, own_kinds

    kind = name_model(model).kind
    if kind:
        return kind, set(load_kind(kind).options.model_fields)
    claiming = [found for _, found in own_kinds() if found.claims is not None]
    return USUAL, {name for found in claiming for name in found.options.model_fields}
