"""Options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

from rmbench.checkpoint.options import AUDITS, DTYPES, MARKS, ON_OVERFLOW, POOLING, ModelOptions
from rmbench.scorers.registry import BASELINES

if TYPE_CHECKING:
    from rmbench.cache import Cache

__all__ = [
    "CACHE",
    "DATA",
    "FORMAT",
    "OUTPUT",
    "SUITE_FILE",
    "model_options",
    "open_cache",
    "path_of",
    "tell_passed_over",
    "tell_unused",
]

FORMAT = click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "markdown", "csv", "json", "latex", "html"]),
    default="table",
    show_default=True,
    help="How to print.",
)

SUITE_FILE = click.option(
    "--suite", "suite_file", metavar="FILE", help="The suite, if it is one of your own."
)

DATA = click.option(
    "--data",
    "data",
    multiple=True,
    metavar="SUITE=PATH",
    help="Read a suite's rows from a local file or folder; repeatable.",
)

OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for the results.",
)

CACHE = click.option(
    "--cache",
    "cache_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for rewards already computed.  [default: the user's cache folder]",
)


def path_of(data: str | None, suite: str) -> str | None:
    """Return the path in ``PATH`` or ``SUITE=PATH``, where only one suite can be meant."""
    return None if data is None else data.removeprefix(f"{suite}=")


def open_cache(folder: Path | None) -> "Cache":
    """Return the cache in ``folder``, or the user's."""
    from rmbench.cache import Cache, default_folder

    return Cache(folder or default_folder())


_MODEL_OPTIONS: Final = (
    click.option("--revision", help="Branch, tag or commit on the Hub."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", *DTYPES]),
        default="auto",
        show_default=True,
        help="auto: bfloat16 on CUDA, else float32.",
    ),
    click.option(
        "--device", default="auto", show_default=True, help="auto, cuda, cuda:1, mps or cpu."
    ),
    click.option(
        "--device-map",
        type=click.Choice(["auto"]),
        help="Spread a model over several GPUs (needs accelerate).",
    ),
    click.option("--attention", help="transformers' attn_implementation, such as eager."),
    click.option(
        "--template",
        default="tokenizer",
        show_default=True,
        help="tokenizer, none (plain prompt + response), or a Jinja file.",
    ),
    click.option("--system-prompt", metavar="TEXT", help="First message, where the data has none."),
    click.option(
        "--bos",
        type=click.Choice(MARKS),
        default="model",
        show_default=True,
        help="BOS first: as the template writes it, never, or always once.",
    ),
    click.option(
        "--eos",
        type=click.Choice(MARKS),
        default="model",
        show_default=True,
        help="EOS last: as the template writes it, never, or always once.",
    ),
    click.option(
        "--pooling",
        type=click.Choice(POOLING),
        default="model",
        show_default=True,
        help="Token whose reward is read: the model's own choice, the last, or the one before"
        " the first EOS.",
    ),
    click.option(
        "--model-output",
        "outputs",
        metavar="INDEX|NAME=WEIGHT,...",
        help="Which of a model's outputs is the reward, or how they add up to it.",
    ),
    click.option("--negate", is_flag=True, help="Lower is better: turn the sign (cost models)."),
    click.option(
        "--reader",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="TOML file that says where the reward is read; see docs/models.md.",
    ),
    click.option(
        "--max-length",
        type=click.IntRange(min=1),
        help="Most tokens of a conversation; by default the model's own limit.",
    ),
    click.option(
        "--on-overflow",
        type=click.Choice(ON_OVERFLOW),
        default="error",
        show_default=True,
        help="What to do with longer conversations.",
    ),
    click.option(
        "--batch-tokens",
        type=click.IntRange(min=1),
        help="Tokens of one batch; by default what suits the device.",
    ),
    click.option("--trust-remote-code", is_flag=True, help="Run code from the model's repository."),
    click.option("--trust-pickle", is_flag=True, help="Load pickle weights, which can run code."),
    click.option(
        "--audit",
        type=click.Choice(AUDITS),
        default="sample",
        show_default=True,
        help="Score a few comparisons again, alone; exact: also all near-ties, in float32.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of the random baseline."),
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how a model is loaded and fed."""
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


def tell_unused(models: Sequence[str]) -> None:
    """Say on standard error which options of the command line do nothing for some of the models."""
    context = click.get_current_context()
    known = ModelOptions.__dataclass_fields__
    given = [
        (parameter.name, parameter.opts[-1])
        for parameter in context.command.params
        if parameter.name in known
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    unused: dict[str, list[str]] = {}
    for model in dict.fromkeys(models):
        flags = [flag for name, flag in given if name and not _is_used(name, model, models)]
        if flags:
            unused.setdefault(", ".join(flags), []).append(model)
    for flags_text, names in unused.items():
        told = ", ".join(f"{name} (a rule)" if name in BASELINES else name for name in names)
        click.echo(f"rmbench: {flags_text}: without effect on {told}", err=True)


def _is_used(name: str, model: str, models: Sequence[str]) -> bool:
    if name == "seed":  # where random is among the models, it is meant for that one
        return "random" in models
    return model not in BASELINES


def tell_passed_over(lines: Sequence[str]) -> None:
    """Name the files of a folder that were no records, on standard error."""
    from rmbench.wording import printable

    for line in lines:
        click.echo(f"rmbench: {printable(line)}", err=True)
