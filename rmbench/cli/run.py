"""``rmbench run``: score suites with reward models and print the accuracies."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmbench.cli.check import asked_for_gate, gate_options, gate_results, open_baselines
from rmbench.cli.cluster import RAY, ray_needs, run_there
from rmbench.cli.jobs import Done, Folders, Planned, run_here
from rmbench.cli.options import CACHE, DATA, FORMAT, OUTPUT, note, open_cache
from rmbench.cli.plan import print_plan
from rmbench.cli.probe import PROBE, Rewrite, plain_feeds, print_probes, rewrites_of
from rmbench.cli.progress import NO_PROGRESS
from rmbench.cli.scorer_options import ScorerCommand, given_options, options_for, tell_unused
from rmbench.cli.sweep import run_sweep, table_of_models

if TYPE_CHECKING:
    from rmbench.result.record import Result
    from rmbench.suite.definition import Suite
    from rmbench.suite.feed import Feed, Part

__all__ = ["run"]


@click.command(cls=ScorerCommand)
@click.argument("rows", required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Hub id, local folder, KIND:NAME (see `rmbench scorers list`), or tiny, length, shorter,"
    " random; repeatable.  [default: tiny]",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="SUITE",
    help="Bundled name or .toml file; repeatable.  [default: rewardbench and ultrafeedback;"
    " mini for built-in models]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="SWEEP",
    help="A TOML file of models and suites, instead of --model and --suite; see docs/scale.md.",
)
@DATA
@OUTPUT
@click.option(
    "--name",
    metavar="NAME",
    help="What the model is called in the results.  [default: Hub id, or the folder's name]",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Score only N comparisons: a partial run."
)
@click.option(
    "--quick",
    type=click.IntRange(min=1),
    help="Score only N comparisons that tell the most, the same ones each time, of every subset.",
)
@click.option("--subsets", is_flag=True, help="Print every subset too.")
@click.option(
    "--plan",
    "is_plan",
    is_flag=True,
    help="Print what the run would cost, without loading weights; with a --device, in seconds too.",
)
@CACHE
@NO_PROGRESS
@click.option("--no-cache", is_flag=True, help="Ask everything again and keep no answers.")
@click.option(
    "--check",
    "baseline",
    metavar="BASELINE",
    help="Fail (exit code 1) when worse than this: a result, a folder of results, or REVISION:PATH"
    " of git; see `rmbench check`.",
)
@gate_options
@RAY
@PROBE
@FORMAT
def run(
    rows: str | None,
    models: tuple[str, ...],
    suites: tuple[str, ...],
    config: Path | None,
    data: tuple[str, ...],
    output: Path,
    name: str | None,
    limit: int | None,
    quick: int | None,
    subsets: bool,
    is_plan: bool,
    cache_folder: Path | None,
    no_cache: bool,
    baseline: str | None,
    limits: dict[str, Any],
    address: str | None,
    probes: tuple[str, ...],
    fmt: str,
    **more: Any,
) -> None:
    """Score suites with reward models and print the accuracies.

    \b
    rmbench run                                           tiny on mini: no download
    rmbench run --model SultanR/SmolTulu-1.7b-RM          the model card's table
    rmbench run --model ./my-rm --suite rewardbench --data rewardbench=FILE
    rmbench run --model ./my-rm pairs.jsonl               your own rows, see `rmbench suites new`
    """
    _refuse_contradictions(baseline, is_plan, no_cache, cache_folder)
    part, needs = _part(limit, quick), ray_needs({**more, "address": address})
    folders = Folders(output, None if no_cache or is_plan else open_cache(cache_folder))
    run_jobs = _runner(folders, address)
    if config is not None:
        _refuse_beside_config(rows, models, suites, data, name, baseline, is_plan)
        sys.exit(2 if run_sweep(config, open_feeds, run_jobs, (part, needs), fmt) else 0)
    models = tuple(dict.fromkeys(models)) or ("tiny",)
    given = given_options()
    names = _name_models(models, name)
    tell_unused(models, given)
    feeds = (
        open_rows(rows, part, suites)
        if rows is not None
        else _open_suites(
            _suite_names(suites, models), data, part, () if is_plan or address else models
        )
    )
    if is_plan:
        print_plan(models, feeds, given, fmt)
        return
    rewrites = rewrites_of(feeds, probes, is_apart=(baseline, address) == (None, None))
    every = plain_feeds(feeds, rewrites)
    _check_folders(output, every)
    baselines = open_baselines(baseline, output, feeds, names) if baseline is not None else None
    done = run_jobs([Planned(model, name, given, every, needs) for model, name in names.items()])
    results = done.all_results
    _print_all(results, feeds, rewrites, fmt, subsets=subsets)
    code = gate_results(results, feeds, baselines, limits, fmt) if baselines is not None else 0
    if done.has_failed or code:
        sys.exit(2 if done.has_failed else code)


def _runner(folders: Folders, address: str | None) -> "Callable[[Sequence[Planned]], Done]":
    """Return what does jobs: here, or on a cluster."""
    if address is None:
        return lambda jobs: run_here(jobs, folders)
    return lambda jobs: run_there(jobs, folders, address)


def _print_all(
    results: Sequence["Result"],
    feeds: Sequence["Feed"],
    rewrites: Sequence[Rewrite],
    fmt: str,
    *,
    subsets: bool,
) -> None:
    """Print the accuracies, or with rewrites what these moved."""
    if rewrites:
        print_probes(results, rewrites, fmt)
    else:
        _print_results(results, [feed.suite for feed in feeds], fmt, subsets=subsets)


def _refuse_contradictions(
    baseline: str | None, is_plan: bool, no_cache: bool, cache_folder: Path | None
) -> None:
    if baseline is None and asked_for_gate():
        raise click.UsageError(
            "--alpha, --max-drop, --margin and --across-precisions are limits of --check BASELINE;"
            " add it"
        )
    if is_plan and baseline is not None:
        raise click.UsageError("--plan scores nothing, so that there is nothing to --check")
    if no_cache and cache_folder is not None:
        raise click.UsageError("--cache and --no-cache contradict each other; leave one out")


def _part(limit: int | None, quick: int | None) -> "Part | None":
    from rmbench.suite.feed import Part

    if limit is not None and quick is not None:
        raise click.UsageError("--limit and --quick both say how many comparisons; give one")
    if quick is not None:
        return Part(quick, "quick")
    return None if limit is None else Part(limit)


def _refuse_beside_config(*given: Any) -> None:
    if any(given) or given_options():
        raise click.UsageError(
            "--config SWEEP says models, suites, data, names and options itself, and neither plans"
            " nor checks; leave the others out"
        )


def _name_models(models: Sequence[str], name: str | None) -> dict[str, str]:
    """Return what each model is called, once each is a model and no two have one name."""
    from rmbench.errors import ScorerError
    from rmbench.scorers.registry import check_model_name, name_results

    if name is not None and (len(models) > 1 or not name.strip()):
        raise click.UsageError("--name NAME is the name of one --model; give one of each")
    for model in models:
        check_model_name(model)
    names = name_results(models, given_options()) if name is None else {models[0]: name}
    for model, other in ((a, b) for a in models for b in models if a != b and names[a] == names[b]):
        raise ScorerError(
            f'--model {model}: its results would be those of "{names[model]}", as of --model'
            f" {other}; run them one by one, each with a --name"
        )
    return names


def _check_folders(output: Path, feeds: Sequence["Feed"]) -> None:
    from rmbench.result.names import suite_folder
    from rmbench.result.store import check_folder

    for feed in feeds:
        check_folder(suite_folder(output, feed.suite.name))


def _open_suites(
    names: Sequence[str], data: Sequence[str], part: "Part | None", models: Sequence[str]
) -> list["Feed"]:
    """Read suites; first all but the weights of the models, where data are to be fetched."""
    from rmbench.scorers.registry import find_kind, load_kind
    from rmbench.suite.catalogue import load_suite

    at_hand = {item.partition("=")[0] for item in data}
    if not all(name in at_hand or load_suite(name).is_at_hand for name in names):
        for model in models:
            found = find_kind(model)
            kind = load_kind(found.kind)
            scorer = kind.open(found.name, options_for(kind, given_options()))
            if hasattr(scorer, "open_files"):
                scorer.open_files()
    return open_feeds(names, data, part)


def _suite_names(suites: Sequence[str], models: Sequence[str]) -> list[str]:
    """Return the suites to run; by default mini for built-in models, which need no network."""
    from rmbench.scorers.registry import unprefixed_names

    if suites:
        from rmbench.suite.group import expand_groups

        return expand_groups(list(suites))
    if all(model in unprefixed_names() for model in models):
        return ["mini"]
    return ["rewardbench", "ultrafeedback"]


def open_rows(rows: str, part: "Part | None", suites: Sequence[str] = ()) -> list["Feed"]:
    """Read rows that no suite file describes, and say what they were taken for."""
    from rmbench.accuracy.quick import open_part
    from rmbench.suite.recognise import recognise

    if suites:
        raise click.UsageError("ROWS are a suite of their own; leave --suite out")
    suite, _, reading = recognise(rows)
    note(f"{reading}; if that is wrong, see `rmbench suites new`")
    return [open_part(suite, data=rows if Path(rows).exists() else None, part=part)]


def open_feeds(names: Sequence[str], data: Sequence[str], part: "Part | None") -> list["Feed"]:
    """Read and check the rows of every suite, before any model is loaded."""
    from rmbench.accuracy.quick import open_part
    from rmbench.errors import SuiteError, did_you_mean
    from rmbench.suite.catalogue import load_suite

    suites = [load_suite(name) for name in names]
    places: dict[str, str] = {}
    for item in data:
        name, equals, path = item.partition("=")
        if not equals or not path:
            raise SuiteError(f"--data {item}: write it as SUITE=PATH")
        if name not in {suite.name for suite in suites}:
            remedy = did_you_mean(name, [suite.name for suite in suites])
            raise SuiteError(f'--data {item}: suite "{name}" is not in this run; {remedy}')
        if name in places:
            raise SuiteError(f"--data {item}: {name} has its rows from {places[name]} already")
        places[name] = path
    return [open_part(suite, data=places.get(suite.name), part=part) for suite in suites]


def _print_results(
    results: Sequence["Result"], suites: Sequence["Suite"], fmt: str, *, subsets: bool
) -> None:
    from rmbench.result.store import read_published
    from rmbench.show.bars import can_draw, draw_bars
    from rmbench.show.card_table import card_table
    from rmbench.show.exports import results_as_csv, results_as_json
    from rmbench.show.formats import format_table
    from rmbench.show.result import result_table

    if fmt in ("json", "csv"):
        click.echo(results_as_json(results) if fmt == "json" else results_as_csv(results))
        return
    by_name = {suite.name: suite for suite in suites}
    for result in results:
        table = result_table(result, by_name[result.suite["name"]], subsets=subsets)
        click.echo(format_table(table, fmt) + "\n")
        if fmt == "table" and can_draw(sys.stdout):
            click.echo(draw_bars(result, subsets=subsets) + "\n")
    models: dict[str, list[Result]] = {}
    for result in results:
        models.setdefault(str(result.model["id"]), []).append(result)
    if len(models) > 1:
        click.echo(format_table(table_of_models(models, suites, "All models"), fmt) + "\n")
    if {"rewardbench", "ultrafeedback"} <= set(by_name):
        table_of_card = card_table([*results, *read_published()], suites)
        if table_of_card is not None:
            click.echo(format_table(table_of_card, fmt) + "\n")
