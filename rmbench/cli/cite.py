"""``rmbench cite``: what a paper says of results, and the BibTeX of what it cites."""

import click

from rmbench.cli.options import SUITE_FILE

__all__ = ["cite"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "--bibtex", "is_bibtex", is_flag=True, help="Print the entries of rmbench, suites and models."
)
@SUITE_FILE
def cite(names: tuple[str, ...], is_bibtex: bool, suite_file: str | None) -> None:
    """Print what a paper says of each RESULT: a sentence of methods, in LaTeX.

    \b
    rmbench cite rewardbench/my-rm > methods.tex
    rmbench cite rewardbench/my-rm --bibtex > methods.bib
    """
    from rmbench.compare.comparable import suite_among
    from rmbench.result.find import find_result
    from rmbench.show.citation import bibtex, methods
    from rmbench.suite.catalogue import load_suite

    own = load_suite(suite_file) if suite_file else None
    results = [find_result(name) for name in names]
    suites = {str(result.suite["name"]): suite_among(result, own) for result in results}
    click.echo(bibtex(results, suites) if is_bibtex else methods(results, suites))
