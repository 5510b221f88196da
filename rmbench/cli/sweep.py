"""``rmbench run --config``: every model on every suite that a file states, and one table of all."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmbench.cli.jobs import Done, Planned
from rmbench.errors import RmbenchError, ScorerError, did_you_mean
from rmbench.wording import printable

if TYPE_CHECKING:
    from rmbench.answers.jobs import Job, Needs, Sweep
    from rmbench.result.record import Result
    from rmbench.show.table import Table
    from rmbench.suite.definition import Suite
    from rmbench.suite.feed import Feed, Part

__all__ = ["run_sweep", "table_of_models"]

OpenFeeds = Callable[[Sequence[str], Sequence[str], "Part | None"], "list[Feed]"]
RunJobs = Callable[[Sequence[Planned]], Done]


def run_sweep(
    path: Path,
    open_feeds: OpenFeeds,
    run_jobs: RunJobs,
    usual: "tuple[Part | None, Needs]",
    fmt: str,
) -> bool:
    """Run every job of a sweep and print one table; return whether any job failed.

    Args:
        path: of the sweep's file.
        open_feeds: reads and checks suites.
        run_jobs: asks the models about their suites and writes the results.
        usual: the part of each suite, None for all; and what a model takes of a cluster's node
            where the file does not say.
        fmt: of the table.

    Raises:
        RmbenchError: the file is wrong, a suite cannot be read, or two models have one name.
    """
    from rmbench.answers.jobs import read_sweep
    from rmbench.show.formats import format_table
    from rmbench.suite.group import expand_groups

    part, needs = usual
    sweep = read_sweep(path)
    names = _names(sweep, str(path))
    every = expand_groups([suite for job in sweep.jobs for suite in job.suites])
    data = [f"{suite}={place}" for suite, place in sweep.data.items()]
    feeds = dict(zip(every, open_feeds(every, data, part), strict=True))
    planned, failed = [], False
    for job, name in zip(sweep.jobs, names, strict=True):
        own = [feeds[suite] for suite in expand_groups(job.suites)]
        try:
            planned.append(Planned(job.model, name, _options(job), own, job.needs.over(needs)))
        except RmbenchError as error:
            click.echo(f"rmbench: {printable(str(error))}", err=True)
            failed = True
    done = run_jobs(planned)
    every_suite = [feed.suite for feed in feeds.values()]
    click.echo(format_table(table_of_models(done.results, every_suite, "Sweep"), fmt))
    return failed or done.has_failed


def _names(sweep: "Sweep", place: str) -> list[str]:
    """Return what each model is called, once no two have one name."""
    from rmbench.scorers.registry import name_results

    found: list[str] = []
    for job in sweep.jobs:
        name = job.name or name_results([job.model], job.shared | job.options)[job.model]
        if name in found:
            raise ScorerError(
                f'{place}: two models are called "{name}"; give one of them a name of its own'
            )
        found.append(name)
    return found


def _options(job: "Job") -> dict[str, Any]:
    """Return a job's options: its own, and the shared ones that its kind knows.

    Raises:
        ScorerError: its kind does not know one of its own.
    """
    from rmbench.scorers.registry import find_kind, load_kind

    kind = load_kind(find_kind(job.model).kind)
    known = kind.options.model_fields
    for name in job.options:
        if name not in known:
            raise ScorerError(f'{job.model}: unknown option "{name}"; {did_you_mean(name, known)}')
    idle = kind.idle(job.shared | job.options)
    shared = {n: value for n, value in job.shared.items() if n in known and n not in idle}
    return shared | job.options


def table_of_models(
    rows: Mapping[str, "Sequence[Result]"], suites: "Sequence[Suite]", title: str
) -> "Table":
    """Return the headline of each model on each suite."""
    from rmbench.show.table import Cell, Content, Table

    cells: list[list[Content]] = []
    for name, results in rows.items():
        found = {result.suite["name"]: result.averages for result in results}
        headlines = [found.get(suite.name, {}).get(suite.headline) for suite in suites]
        cells.append([name, *(Cell("accuracy and interval", item) for item in headlines)])
    is_partial = any(item.partial is not None for results in rows.values() for item in results)
    notes = [f"{suite.title}: {suite.headline}" for suite in suites]
    return Table(
        title=f"{title}, partial" if is_partial else title,
        columns=["model", *(suite.title for suite in suites)],
        rows=cells,
        notes=notes,
    )
