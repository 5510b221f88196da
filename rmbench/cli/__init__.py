"""The command line: parse, call, print; no arithmetic.

Results go to standard output, progress to standard error. Everything heavy is imported by the
command that needs it.

Exit codes: 0 done; 1 `check` found a regression, or `leaderboard --verify` a stale table; 2 the
user or a file is wrong; 70 a bug of rmbench (EX_SOFTWARE of BSD's sysexits.h); 130 and 141 stopped
by Ctrl-C, or since nobody reads the output (128 + SIGINT and SIGPIPE, as shells have it).
"""

import errno
import io
import os
import sys
import traceback
from typing import Any, Final, NoReturn

import click

from rmbench.cli.cache import cache
from rmbench.cli.card import card
from rmbench.cli.check import check
from rmbench.cli.cite import cite
from rmbench.cli.compare import compare
from rmbench.cli.doctor import doctor
from rmbench.cli.ensemble import ensemble
from rmbench.cli.export import export
from rmbench.cli.import_ import import_
from rmbench.cli.leaderboard import leaderboard
from rmbench.cli.options import add_loudness
from rmbench.cli.overlap import overlap
from rmbench.cli.rank import rank
from rmbench.cli.report import report
from rmbench.cli.reproduce import reproduce
from rmbench.cli.run import run
from rmbench.cli.scorers import scorers
from rmbench.cli.site import site
from rmbench.cli.submit import submit
from rmbench.cli.suites import suites
from rmbench.errors import EXTRAS, RmbenchError, install

__all__ = ["main"]


WRONG: Final = 2
BUG: Final = 70
INTERRUPTED: Final = 130
UNREAD: Final = 141
FULL: Final = {errno.ENOSPC, errno.EIO}
LIGHT_LACKS: Final = {
    "datasets", "pandas", "pyarrow", "safetensors", "tokenizers", "torch", "transformers", *EXTRAS
}  # fmt: skip
"""What is not there after the light install of docs/install.md, and where an extra was left out."""
SHOWN: Final = 100
"""Characters of a name in a message: names can be too long for the system, not only for a line."""


class _Group(click.Group):
    """Turns whatever stops a command into its exit code, and all but a bug into one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # What a terminal cannot show is no reason to lose a result.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _tell_usage(error)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RmbenchError as error:
            click.echo(f"rmbench: {error}", err=True)
            ctx.exit(WRONG)
        except KeyboardInterrupt:
            click.echo("\nrmbench: stopped", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # What Python would flush at its end must not fail a second time.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(UNREAD)
        except click.UsageError as error:
            _tell_usage(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # else Python exits with 1, which says that a gate failed
            _tell_unforeseen(ctx, error)


def _tell_usage(error: click.UsageError) -> NoReturn:
    """Say in one line what is wrong with a command, as for everything else that is wrong."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        raise error
    ctx = error.ctx
    finding = error.format_message()
    names = [param.name for param in ctx.command.params] if ctx else []
    if finding.startswith("Got unexpected extra argument") and "models" in names:
        finding += "; a model is given with --model"
    finding += "" if finding.endswith(("?", ".")) else "."
    click.echo(
        f"rmbench: {finding} See `{ctx.command_path if ctx else 'rmbench'} --help`", err=True
    )
    raise click.exceptions.Exit(WRONG)


def _tell_unforeseen(ctx: click.Context, error: Exception) -> NoReturn:
    if isinstance(error, OSError):
        _tell_refusal(ctx, error)
    if isinstance(error, ModuleNotFoundError):
        _tell_missing(ctx, error)
    _report_bug(ctx)


def _tell_refusal(ctx: click.Context, error: OSError) -> NoReturn:
    """Say what the operating system refused: a name too long, a full disk, a missing right."""
    if error.filename is None and error.errno not in FULL:
        _report_bug(ctx)
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "output"
    place = name if len(name) <= SHOWN else f"{name[:SHOWN]} …"
    # As an RmbenchError, so that nothing in the name steers the terminal.
    told = RmbenchError(f"{place}: {error.strerror or error}; check the path and the disk")
    click.echo(f"rmbench: {told}", err=True)
    ctx.exit(WRONG)


def _tell_missing(ctx: click.Context, error: ModuleNotFoundError) -> NoReturn:
    """Say which package a light install lacks; a module that no package has is a bug."""
    package = str(error.name).partition(".")[0]
    if package not in LIGHT_LACKS:
        _report_bug(ctx)
    command = ctx.invoked_subcommand or "this"
    told = RmbenchError(f"{command}: {package} is not installed; {install(package)}")
    click.echo(f"rmbench: {told}", err=True)
    ctx.exit(WRONG)


def _report_bug(ctx: click.Context) -> NoReturn:
    click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(
        "rmbench: this is a bug of rmbench, not a finding about a model; please report it with the"
        " lines above, the command, and what `rmbench --version` says",
        err=True,
    )
    ctx.exit(BUG)


def _name_variables(command: click.Command, prefix: str) -> None:
    """Give every option a variable of the environment, called after the option as it is typed."""
    for name, inner in command.commands.items() if isinstance(command, click.Group) else ():
        _name_variables(inner, f"{prefix}_{name.upper()}")
    for param in command.params:
        if isinstance(param, click.Option) and param.envvar is None:
            flag = max(param.opts, key=len).lstrip("-")
            param.envvar = f"{prefix}_{flag.replace('-', '_').upper()}"


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="rmbench")
def main() -> None:
    """Tell how good a reward model is, and how far to trust the number.

    Every option has a variable too: that of check --alpha is RMBENCH_CHECK_ALPHA.

    \b
    Exit codes:
      0    done
      1    a gate failed: check, run --check, leaderboard --verify, reproduce
      2    an option, a file or a model is wrong; one line says what to do
      3    check --margin, run --check --margin: cannot tell
      70   a bug of rmbench; the traceback is printed
      130  stopped by Ctrl-C
    """


for _command in (
    run,
    doctor,
    compare,
    ensemble,
    check,
    leaderboard,
    rank,
    overlap,
    report,
    reproduce,
    site,
    card,
    cite,
    export,
    submit,
    import_,
    suites,
    scorers,
    cache,
):
    main.add_command(_command)
    add_loudness(_command)
    _name_variables(_command, f"RMBENCH_{str(_command.name).upper()}")
