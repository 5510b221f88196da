"""``rmbench export``: results in the forms of other tools and places."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmbench.cli.options import SUITE_FILE

if TYPE_CHECKING:
    from rmbench.result.record import Result
    from rmbench.suite.definition import Suite

__all__ = ["export"]

EVAL_RESULTS, EVERY_EVAL_EVER = "eval-results", "every-eval-ever"


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--as",
    "form",
    type=click.Choice([EVERY_EVAL_EVER, EVAL_RESULTS]),
    required=True,
    help="every_eval_ever 0.3.0 (JSON), or .eval_results of the Hub (YAML).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write below this folder, where the form wants its files; else print.",
)
@click.option("--organization", help="every-eval-ever: who measured it.")
@click.option(
    "--relationship",
    type=click.Choice(["first_party", "third_party", "collaborative", "other"]),
    default="other",
    show_default=True,
    help="every-eval-ever: theirs to the model's authors.",
)
@click.option("--url", help="eval-results: where the run can be looked at.")
@SUITE_FILE
def export(
    names: tuple[str, ...],
    form: str,
    output: Path | None,
    organization: str | None,
    relationship: str,
    url: str | None,
    suite_file: str | None,
) -> None:
    """Write results in the forms of other tools and places.

    The model-index of a model card is `rmbench card`.

    \b
    rmbench export rewardbench/my-rm --as every-eval-ever --organization "My lab" -o eee
    rmbench export rewardbench/my-rm --as eval-results -o my-rm-repository
    """
    from rmbench.compare.comparable import suite_among
    from rmbench.files import write_text
    from rmbench.result.find import find_result
    from rmbench.show.exchange import eval_results, every_eval_ever, to_yaml
    from rmbench.suite.catalogue import load_suite

    if form == EVERY_EVAL_EVER and organization is None:
        raise click.UsageError("every-eval-ever asks who measured it: give --organization NAME")
    own = load_suite(suite_file) if suite_file else None
    for result in (find_result(name) for name in names):
        suite = suite_among(result, own)
        if form == EVAL_RESULTS:
            text = to_yaml(eval_results(result, suite, url=url))
        else:
            record = every_eval_ever(
                result, suite, organization=organization or "", relationship=relationship
            )
            text = json.dumps(record, indent=2) + "\n"
        if output is None:
            click.echo(text, nl=False)
            continue
        path = output / _place(result, suite, form)
        write_text(path, text)
        click.echo(path)


def _place(result: "Result", suite: "Suite", form: str) -> Path:
    from rmbench.show.exchange import place_of

    if form == EVERY_EVAL_EVER:
        return Path(place_of(result, suite))
    return Path(".eval_results", f"{suite.name}.yaml")
