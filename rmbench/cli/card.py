"""``rmbench card``: results for a Hub model card."""

from pathlib import Path

import click

from rmbench.cli.options import SUITE_FILE, note

__all__ = ["card"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--into",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Merge into this card; nothing else in it changes.",
)
@SUITE_FILE
def card(names: tuple[str, ...], into: Path | None, suite_file: str | None) -> None:
    """Print results of one model as the model-index of a Hub model card.

    \b
    rmbench card rewardbench/my-rm ultrafeedback/my-rm --into README.md
    """
    from rmbench.compare.comparable import suite_among
    from rmbench.result.find import find_result
    from rmbench.show.model_card import merge_card, model_index, to_yaml
    from rmbench.suite.catalogue import load_suite

    own = load_suite(suite_file) if suite_file else None
    results = [find_result(name) for name in names]
    suites = {str(result.suite["name"]): suite_among(result, own) for result in results}
    index = model_index(results, suites)
    if into is None:
        click.echo(to_yaml(index), nl=False)
        return
    changed = merge_card(into, index)
    note(f"{into}: {'updated' if changed else 'up to date'}")
