"""A static site of many models: no server, no requests, and no text of others runs in it."""

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rmbench.errors import RmbenchError, install
from rmbench.files import write_text
from rmbench.show.policy import content_policy
from rmbench.show.site.cells import model_link, suite_link
from rmbench.show.site.comparison_pages import comparison_pages
from rmbench.show.site.index_page import index_page
from rmbench.show.site.material import Site, gather_site
from rmbench.show.site.model_page import model_page
from rmbench.show.site.suite_page import suite_page
from rmbench.wording import printable

__all__ = ["Site", "build_site", "gather_site"]

_FOLDER: Final = Path(__file__).parent


def build_site(site: Site, folder: Path) -> list[Path]:
    """Write a site; return its files, the first page first.

    Args:
        site: from `gather_site`.
        folder: is made; files of an earlier site in it are replaced.

    Raises:
        RmbenchError: jinja2 is not installed, or a file cannot be written.
    """
    paths = []
    for name, text in _render(site):
        write_text(folder / name, text)
        paths.append(folder / name)
    return paths


def _render(site: Site) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    environment = _environment()
    shared = _shared(site)

    def page(template: str, content: Mapping[str, Any]) -> str:
        return str(environment.get_template(template).render(shared | {"page": content}))

    yield "index.html", page("index.html.j2", index_page(site))
    for item in site.suites:
        yield suite_link(item.suite.name), page("suite.html.j2", suite_page(item))
        for content in comparison_pages(item):
            yield content["file"], page("comparisons.html.j2", content)
    for entry in site.entries:
        yield model_link(entry), page("model.html.j2", model_page(entry, site))


def _environment() -> Any:
    try:
        import jinja2
    except ImportError:
        raise RmbenchError(f"site: jinja2 is not installed; {install('jinja2')}") from None
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: Any) -> Any:
    """Return text of others without marks that reorder or hide it; markup of our own as it is."""
    return _printable_lines(value) if type(value) is str else value


def _printable_lines(text: str) -> str:
    if text.isprintable():
        return text
    return "\n".join(map(printable, text.split("\n")))


def _shared(site: Site) -> dict[str, Any]:
    import markupsafe

    style, script = (_read(name) for name in ("site.css", "site.js"))
    return {
        "policy": content_policy(style, script),
        "style": markupsafe.Markup(style),  # our own file
        "script": markupsafe.Markup(script),  # likewise
        "version": metadata.version("rmbench"),
        "nav": [
            {"title": item.suite.title, "link": suite_link(item.suite.name)} for item in site.suites
        ],
    }


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
