"""``rmbench check``: the gate for CI."""

import functools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rmbench.cli.options import SUITE_FILE, tell_passed_over

if TYPE_CHECKING:
    from rmbench.compare.baselines import Baselines
    from rmbench.result.find import Found
    from rmbench.result.record import Result
    from rmbench.suite.feed import Feed

__all__ = ["asked_for_gate", "check", "gate_options", "gate_results", "open_baselines"]


EXIT_CODES: Final = {"not worse": 0, "worse": 1, "cannot tell": 3}
_GATE: Final = ("alpha", "max_drop", "margin", "across_precisions")


def gate_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what fails a comparison with a baseline, as one mapping ``limits``.

    Its keys are the fields of ``compare.gate.Limits``.
    """

    @functools.wraps(command)
    def with_limits(**arguments: Any) -> None:
        limits = {name: arguments.pop(name) for name in _GATE}
        command(limits=limits, **arguments)

    alpha = click.option(
        "--alpha",
        type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
        default=0.01,
        show_default=True,
        help="Chance that an unchanged model fails.",
    )
    max_drop = click.option(
        "--max-drop",
        type=click.FloatRange(min=0.0),
        metavar="POINTS",
        help="Also fail when a section or average loses more than this, significant or not.",
    )
    margin = click.option(
        "--margin",
        type=click.FloatRange(min=0.0),
        metavar="POINTS",
        help="Pass only if a loss of this much is ruled out; exit code 3 when the data cannot"
        " tell.",
    )
    across = click.option(
        "--across-precisions",
        is_flag=True,
        help="Compare results of different precisions, such as float32 and bfloat16.",
    )
    return alpha(max_drop(margin(across(with_limits))))


def asked_for_gate() -> bool:
    """Return whether any option of the gate was given on the command line."""
    context = click.get_current_context()
    sources = [context.get_parameter_source(name) for name in _GATE]
    return any(source is not click.core.ParameterSource.DEFAULT for source in sources)


@click.command()
@click.argument("result")
@click.option(
    "--baseline",
    required=True,
    metavar="PLACE",
    help="A result, a folder of results, or REVISION:PATH of git, such as main:results.",
)
@gate_options
@SUITE_FILE
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "markdown", "csv", "json", "latex", "html", "junit"]),
    default="table",
    show_default=True,
    help="How to print.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a file too, by its suffix: .xml (JUnit), .md, .json or .txt; repeatable.",
)
def check(
    result: str,
    baseline: str,
    limits: dict[str, Any],
    suite_file: str | None,
    fmt: str,
    outputs: tuple[Path, ...],
) -> None:
    """Fail (exit code 1) when RESULT is worse than its baseline.

    A section or average fails when it is worse beyond chance, or by more than --max-drop points.
    With --margin a pass is proof that no more was lost; exit code 3 says that nothing is proven.

    \b
    rmbench check results/mini/tiny.json --baseline main:results --output check.xml
    """
    from rmbench.compare.baselines import read_baselines
    from rmbench.compare.comparable import suite_of
    from rmbench.compare.contrast import compare
    from rmbench.compare.gate import Limits
    from rmbench.compare.gate import check as hold
    from rmbench.result.find import find_one
    from rmbench.show.gate import format_gate, write_gate
    from rmbench.suite.catalogue import load_suite

    found = find_one(result)
    new = found.result
    suite = suite_of(new, load_suite(suite_file) if suite_file else None)
    baselines = read_baselines(baseline, [(suite.name, str(new.model["id"]))])
    tell_passed_over(baselines.passed_over)
    contrast = compare(_not_itself(result, found, baselines), new, suite)
    gate = hold(contrast, Limits(**limits))
    for path in outputs:
        write_gate(gate, path)
    click.echo(format_gate(gate, fmt))
    if not gate.passed:
        sys.exit(EXIT_CODES[gate.outcome])


def _not_itself(name: str, new: "Found", baselines: "Baselines") -> "Result":
    """Return the baseline of a result, once it is another file.

    Raises:
        ResultError: it is the very file, against which nothing ever fails.
    """
    from rmbench.errors import ResultError

    old = baselines.find(new.result)
    if _real(Path(old.name)) == _real(Path(new.name)):
        raise ResultError(
            f"--baseline {baselines.place}: the result would be compared with itself ({name}); give"
            f" another, such as what git has of its folder: --baseline main:results"
        )
    return old.result


def open_baselines(
    place: str, output: Path, feeds: "Sequence[Feed]", names: "Mapping[str, str]"
) -> "Baselines":
    """Read what a run will be compared with, before anything is scored.

    Args:
        place: of the baselines.
        output: where the run writes its results.
        feeds: the suites that it scores.
        names: what its models are called.

    Raises:
        ResultError: there is no such place, it lacks a suite or a model, what it has is not
            comparable, or the run would overwrite it, so that the next run were compared with this
            one.
    """
    from rmbench.compare.baselines import read_baselines
    from rmbench.errors import ResultError
    from rmbench.result.measured import planned_result

    planned = [planned_result(feed, name) for feed in feeds for name in names.values()]
    if _is_overwritten(place, output, planned):
        raise ResultError(
            f"--check {place}: the run writes its results there ({output}); give another --output,"
            f" or what git has: --check main:{place}"
        )
    baselines = read_baselines(place, [(r.suite["name"], r.model["id"]) for r in planned])
    for result in planned:
        baselines.check(result)
    tell_passed_over(baselines.passed_over)
    return baselines


def _is_overwritten(place: str, output: Path, planned: "Sequence[Result]") -> bool:
    from rmbench.result.names import safe_name, suite_folder

    path = Path(place)
    if path.is_dir():
        folders = _real(path), _real(output)
        return any(one.is_relative_to(two) for one, two in (folders, folders[::-1]))
    if not path.exists():  # a name such as mini/tiny stands for a file below results
        suite, _, model = place.partition("/")
        path = Path("results", suite, f"{safe_name(model)}.json")
    for result in planned:
        stem = safe_name(result.model["id"])
        is_there = _real(path.parent) == _real(suite_folder(output, result.suite["name"]))
        if is_there and re.fullmatch(rf"{re.escape(stem)}([+.].*)?", path.stem):
            return True
    return False


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve fails on links that go round in circles


def gate_results(
    results: "Sequence[Result]",
    feeds: "Sequence[Feed]",
    baselines: "Baselines",
    limits: dict[str, Any],
    fmt: str,
) -> int:
    """Print how results of a run stand against their baselines; return the exit code.

    1 if any is worse, else 3 if any cannot tell, else 0.

    Tables go to standard output; beside JSON or CSV, which must stay whole, to standard error.
    """
    from rmbench.compare.contrast import compare
    from rmbench.compare.gate import Limits
    from rmbench.compare.gate import check as hold
    from rmbench.show.gate import format_gate

    suites = {feed.suite.name: feed.suite for feed in feeds}
    is_data = fmt in ("json", "csv")
    outcomes = set()
    for result in results:
        old = baselines.find(result).result
        contrast = compare(old, result, suites[result.suite["name"]])
        gate = hold(contrast, Limits(**limits))
        click.echo(format_gate(gate, "table" if is_data else fmt) + "\n", err=is_data)
        outcomes.add(gate.outcome)
    return next((EXIT_CODES[name] for name in ("worse", "cannot tell") if name in outcomes), 0)
