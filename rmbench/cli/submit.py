"""``rmbench submit``: a pull request's folder for results that others are to see."""

from pathlib import Path

import click

__all__ = ["submit"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("submission"),
    show_default=True,
    help="The folder; a clone of a results repository will do.",
)
def submit(names: tuple[str, ...], output: Path) -> None:
    """Check results of one model as a results repository does, and prepare a pull request.

    A result has to be measured, whole, on a bundled suite and its own rows, and every number what
    its rewards give. The folder gets records and rewards below results/, the entry of the model's
    card, and the text of the pull request.

    \b
    rmbench submit rewardbench/my-rm rm-bench/my-rm -o ../results-repository
    """
    from rmbench.result.find import find_result
    from rmbench.show.submission import prepare

    done = prepare([find_result(name) for name in names], output)
    for path in (*done.records, done.card, done.words):
        click.echo(path)
    click.echo(
        f"Commit results/ in {output}, and open a pull request with the text of {done.words.name};"
        f" `rmbench card` merges {done.card.name} into the model's card.",
        err=True,
    )
