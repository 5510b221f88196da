"""``rmbench run --ray``: the same list of jobs on a cluster, all of them at once."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from rmbench.answers.jobs import Needs
from rmbench.cli.jobs import Done, Folders, Planned, tell_warnings, write
from rmbench.cli.progress import progress_bar
from rmbench.errors import RmbenchError

if TYPE_CHECKING:
    from rmbench.answers.ray import Cluster
    from rmbench.result.record import Result
    from rmbench.scorers.contract import Progress, Scorer
    from rmbench.suite.feed import Feed

__all__ = ["RAY", "ray_needs", "run_there"]

SHOW_EVERY_S: Final = 0.2


def RAY(command: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802  (a decorator like DATA)
    """Add the options that say which cluster is asked, and what a model takes of it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: Final = (
    click.option(
        "--ray",
        "address",
        metavar="ADDRESS",
        help="Ask the models on a Ray cluster: auto, or HOST:PORT; see docs/scale.md.",
    ),
    click.option(
        "--ray-cpus", type=click.FloatRange(min=0), help="CPUs that a model takes.  [default: 1]"
    ),
    click.option(
        "--ray-gpus",
        type=click.FloatRange(min=0),
        help="GPUs that a model takes.  [default: 1 where there are any, and it can use one]",
    ),
    click.option(
        "--ray-shard",
        type=click.IntRange(min=1),
        help="Cut suites into parts of N prompts, for as many copies of a model as find a place.",
    ),
)


def ray_needs(given: Mapping[str, Any]) -> Needs:
    """Return what a model takes of a node, as the command line says.

    Raises:
        click.UsageError: it says so without a cluster.
    """
    needs = Needs(given.get("ray_cpus"), given.get("ray_gpus"), given.get("ray_shard"))
    if needs != Needs() and given.get("address") is None:
        raise click.UsageError("--ray-cpus, --ray-gpus and --ray-shard go with --ray ADDRESS")
    return needs


class _Cell(NamedTuple):
    """One model on one suite."""

    job: Planned
    scorer: "Scorer"
    feed: "Feed"


def run_there(jobs: Sequence[Planned], folders: Folders, address: str) -> Done:
    """Return the results; a model or a suite that fails does not stop the others.

    Raises:
        RmbenchError: the cluster cannot be had, or can never place one of the models.
    """
    from rmbench.answers.ray import connect

    cluster = connect(address)
    try:
        resources = [_resources(cluster, job) for job in jobs]
        cluster.refuse_other_versions()
        threads = sum(len(job.feeds) for job in jobs)
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            try:
                return _run_all(pool, cluster, list(zip(jobs, resources, strict=True)), folders)
            except BaseException:
                cluster.stopped.set()
                raise
    finally:
        cluster.close()


def _resources(cluster: "Cluster", job: Planned) -> dict[str, float]:
    """Return what a model takes of a node, once a node has it."""
    from rmbench.scorers.registry import find_kind, load_kind

    fields = load_kind(find_kind(job.model).kind).options.model_fields
    takes_gpu = "device" in fields and job.options.get("device", "auto") != "cpu"
    return cluster.needs_of(job.needs, takes_gpu=takes_gpu, place=job.model)


def _run_all(
    pool: ThreadPoolExecutor,
    cluster: "Cluster",
    jobs: "Sequence[tuple[Planned, dict[str, float]]]",
    folders: Folders,
) -> Done:
    told = _Told()
    opened = {pool.submit(_open, cluster, *item): item[0] for item in jobs}
    cells = [
        _Cell(job, scorer, feed)
        for job, scorer in _as_they_come(opened, told)
        for feed in job.feeds
    ]
    counts = _Counts()
    asked = {
        pool.submit(_ask, cell, folders, counts.of(number)): cell
        for number, cell in enumerate(cells)
    }
    found: dict[tuple[str, str], Result] = {}
    with progress_bar(f"{len(jobs)} models on the cluster") as progress:
        for cell, result in _as_they_come(asked, told, lambda: counts.show(progress)):
            write(result, folders.output)
            found[cell.job.name, cell.feed.suite.name] = result
    return Done(_in_order([job for job, _ in jobs], found), told.count > 0)


def _in_order(
    jobs: Sequence[Planned], found: "Mapping[tuple[str, str], Result]"
) -> "dict[str, list[Result]]":
    """Return the results of each model that has any, in the order of the jobs."""
    results: dict[str, list[Result]] = {}
    for job in jobs:
        places = [(job.name, feed.suite.name) for feed in job.feeds]
        if own := [found[place] for place in places if place in found]:
            results[job.name] = own
            tell_warnings(job.model, own)
    return results


def _open(cluster: "Cluster", job: Planned, resources: Mapping[str, float]) -> "Scorer":
    from rmbench.answers.ray_node import Work
    from rmbench.answers.ray_scorers import open_remote
    from rmbench.scorers.registry import find_kind, load_kind

    known = load_kind(find_kind(job.model).kind).options.model_fields
    options = {name: value for name, value in job.options.items() if name in known}
    work = Work(job.model, options, str(Path.cwd()))
    return open_remote(cluster, work, resources, job.needs.shard)


def _ask(cell: _Cell, folders: Folders, progress: "Progress") -> "Result":
    from rmbench.run import evaluate_feed

    return evaluate_feed(
        cell.feed, cell.scorer, name=cell.job.name, cache=folders.cache, progress=progress
    )


class _Told:
    """Says what failed, and counts it."""

    count = 0

    def __call__(self, error: RmbenchError) -> None:
        from rmbench.wording import printable

        click.echo(f"rmbench: {printable(str(error))}", err=True)
        self.count += 1


def _as_they_come(
    futures: Mapping["Future[Any]", Any], told: _Told, meanwhile: Callable[[], None] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Yield what each future was for and what it gave, as they end; tell of those that failed."""
    open_ = set(futures)
    while open_:
        done, open_ = wait(open_, timeout=SHOW_EVERY_S, return_when="FIRST_COMPLETED")
        if meanwhile is not None:
            meanwhile()
        for future in done:
            try:
                yield futures[future], future.result()
            except RmbenchError as error:
                told(error)


class _Counts:
    """How many answers all cells have, of how many; counted in threads, shown by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[int, tuple[int, int]] = {}

    def of(self, number: int) -> "Progress":
        """Return what the cell of this number reports to."""

        def count(done: int, total: int) -> None:
            with self._lock:
                self._cells[number] = (done, total)

        return count

    def show(self, progress: "Progress") -> None:
        """Show the sums, once anything has come."""
        with self._lock:
            cells = list(self._cells.values())
        if cells:
            progress(sum(done for done, _ in cells), sum(total for _, total in cells))
