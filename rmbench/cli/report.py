"""``rmbench report``: results as one HTML page."""

from pathlib import Path

import click

from rmbench.cli.options import note

__all__ = ["report"]


@click.command()
@click.argument("results", nargs=-1, required=True, metavar="RESULT...")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="SUITE[=PATH]",
    help="Show a suite's texts, from a local file or folder, or from its own source; repeatable.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="FILE",
    help="A suite file of your own that a result was measured on; repeatable.",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write every chart into this folder too, as SVG, PDF and PNG, for a paper.",
)
def report(
    results: tuple[str, ...],
    output: Path,
    data: tuple[str, ...],
    suites: tuple[str, ...],
    figures: Path | None,
) -> None:
    """Write RESULTs (files, folders, or suite/model) as one HTML page that opens from disk.

    With two results of a suite it shows what changed from the first to the second.
    """
    from rmbench.errors import ResultError
    from rmbench.files import write_bytes, write_text
    from rmbench.show.report import gather, render_report, report_figures
    from rmbench.wording import counted

    if output.suffix not in (".html", ".htm"):
        raise ResultError(f"--output {output}: the page is HTML; give a name that ends in .html")
    places: dict[str, str | None] = {}
    for item in data:
        name, _, path = item.partition("=")
        places[name] = path or None
    materials = gather(results, suites=suites, data=places)
    write_text(output, render_report(materials))
    note(f"written: {output} ({output.stat().st_size / 1e6:.1f} MB)")
    if figures is not None:
        files = report_figures(materials)
        for name, content in files.items():
            write_bytes(figures / name, content)
        note(f"written: {figures} ({counted(len(files), 'files')})")
