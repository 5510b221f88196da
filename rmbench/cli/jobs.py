"""A run's list of jobs, models with their options on suites, done here one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from rmbench.answers.jobs import Needs
from rmbench.cli.options import note
from rmbench.cli.progress import progress_bar
from rmbench.cli.scorer_options import options_for
from rmbench.errors import RmbenchError

if TYPE_CHECKING:
    from rmbench.cache import Cache
    from rmbench.result.record import Result
    from rmbench.suite.feed import Feed

__all__ = ["Done", "Folders", "Planned", "run_here", "tell_warnings", "write"]


class Planned(NamedTuple):
    """One model that is to be asked suites, in their order."""

    model: str
    name: str
    options: Mapping[str, Any]
    feeds: "Sequence[Feed]"
    needs: Needs = Needs()


class Folders(NamedTuple):
    """Where results are written, and where answers are kept; None keeps none."""

    output: Path
    cache: "Cache | None"


class Done(NamedTuple):
    """The results of each model, by its name, and whether any job failed."""

    results: "dict[str, list[Result]]"
    has_failed: bool

    @property
    def all_results(self) -> "list[Result]":
        """The results of all models, one model after the other."""
        return [result for own in self.results.values() for result in own]


def run_here(jobs: Sequence[Planned], folders: Folders) -> Done:
    """Return the results; one of several models that fails does not stop the others.

    Raises:
        RmbenchError: the only model fails.
    """
    from rmbench.wording import printable

    results: dict[str, list[Result]] = {}
    for job in jobs:
        try:
            results[job.name] = _run_model(job, folders)
        except RmbenchError as error:
            if len(jobs) == 1:
                raise
            click.echo(f"rmbench: {printable(str(error))}", err=True)
    return Done(results, len(results) < len(jobs))


def _run_model(job: Planned, folders: Folders) -> "list[Result]":
    from rmbench.run import evaluate_feed
    from rmbench.scorers.registry import find_kind, load_kind

    results = []
    with progress_bar(job.model) as progress:
        found = find_kind(job.model)
        kind = load_kind(found.kind)
        scorer = kind.open(found.name, options_for(kind, job.options))
        for feed in job.feeds:
            result = evaluate_feed(
                feed, scorer, name=job.name, cache=folders.cache, progress=progress
            )
            write(result, folders.output)
            results.append(result)
    tell_warnings(job.model, results)
    return results


def tell_warnings(model: str, results: "Sequence[Result]") -> None:
    """Say on standard error what is odd about a model."""
    for name, seen in results[0].audit.get("warnings", {}).items() if results else ():
        note(f"warning: {model}: {name}: {seen}; see `rmbench doctor`")


def write(result: "Result", output: Path) -> None:
    """Write a result, and say where, and what became of the one that stood there.

    Raises:
        ResultError: it cannot be written where it should.
    """
    from rmbench.result.store import find_replaced

    folder = _own_folder(result, output)
    replaced = find_replaced(result, folder)
    note(f"written: {_write(result, folder)}")
    if replaced is not None:
        _tell_replaced(replaced[0], replaced[1], result)


def _own_folder(result: "Result", output: Path) -> Path:
    """Return where a result goes: not over a committed one, unless its folder was asked for."""
    from rmbench.result.git import is_committed
    from rmbench.result.names import file_stem, suite_folder

    source = click.get_current_context().get_parameter_source("output")
    place = suite_folder(output, result.suite["name"]) / f"{file_stem(result)}.json"
    if source is not click.core.ParameterSource.DEFAULT or not place.is_file():
        return output
    if not is_committed(place):
        return output
    note(f"{place} is committed and stays as it is; --output {output} writes there")
    return output.with_name(f"{output.name}-new")


def _write(result: "Result", output: Path) -> Path:
    """Write a result; where that fails, to a temporary folder, so that no scoring is lost.

    Raises:
        ResultError: it cannot be written anywhere.
    """
    import tempfile

    from rmbench.errors import ResultError
    from rmbench.result.store import write_result

    try:
        return write_result(result, output)
    except ResultError as error:
        try:
            kept = write_result(result, Path(tempfile.mkdtemp(prefix="rmbench-results-")))
        except (ResultError, OSError):
            raise error from None
        raise ResultError(f"{error}; the result is kept as {kept}") from None


def _tell_replaced(earlier: "Result", kept: Path | None, result: "Result") -> None:
    """Say what became of the record that stood where this one was written."""
    if kept is not None:
        note(f"kept the earlier result as {kept}: {earlier.signature}")
    elif earlier.signature != result.signature:
        note(f"overwrote {earlier.signature}")
