"""``rmbench rank``: the best of one's own candidates."""

from pathlib import Path
from typing import Any

import click

from rmbench.cli.options import CACHE, FORMAT, open_cache
from rmbench.cli.progress import NO_PROGRESS, progress_bar
from rmbench.cli.scorer_options import ScorerCommand, given_options, options_for, tell_unused

__all__ = ["rank"]


@click.command(cls=ScorerCommand)
@click.argument("rows")
@click.option("--model", required=True, metavar="MODEL", help="What ranks, as for `rmbench run`.")
@click.option("--prompt", metavar="COLUMN", help="Of the prompt.  [default: prompt and its like]")
@click.option(
    "--responses",
    metavar="COLUMN",
    help="Of the list of candidates.  [default: responses, candidates and their like]",
)
@CACHE
@NO_PROGRESS
@FORMAT
def rank(
    rows: str,
    model: str,
    prompt: str | None,
    responses: str | None,
    cache_folder: Path | None,
    fmt: str,
    **_: Any,
) -> None:
    """Rank the candidates of each prompt in ROWS: the best of n, and by how much.

    \b
    {"prompt": "Name a prime.", "responses": ["7", "9", "Seven is one."]}
    rmbench rank candidates.jsonl --model ./my-rm
    rmbench rank candidates.jsonl --model judge:org/name --format json
    """
    from rmbench.answers.best import rank as rank_candidates
    from rmbench.scorers.registry import check_model_name, find_kind, load_kind, name_results
    from rmbench.show.ranking import format_rankings
    from rmbench.suite.choices import open_choices

    check_model_name(model)
    given = given_options()
    tell_unused([model], given)
    choices = open_choices(rows, prompt=prompt, responses=responses)
    name = name_results([model], given)[model]
    with progress_bar(model) as progress:
        found = find_kind(model)
        kind = load_kind(found.kind)
        scorer = kind.open(found.name, options_for(kind, given))
        rankings = rank_candidates(
            choices, scorer, cache=open_cache(cache_folder), progress=progress
        )
    click.echo(format_rankings(rankings, choices, name, fmt))
