"""The site's front page and leaderboard, which stand outside docs/, and links that leave docs/."""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
# Pages of the site that are files elsewhere in the repository.
PAGES = {
    "index.md": "README.md",
    "leaderboard.md": "results/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand outside docs/."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links that leave docs/ to the page made of that file, or to the repository."""
    if page.file.src_uri in PAGES:
        return markdown
    return relinked(markdown, f"docs/{page.file.src_uri}")


def relinked(markdown: str, source: str) -> str:
    """Return Markdown of a file of the repository with its links as the site has them."""
    folder = Path(source).parent

    def target(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        inside = Path(os.path.normpath(folder / path)).as_posix()
        pages = {origin: page for page, origin in PAGES.items()}
        tail = f"#{anchor}" if anchor else ""
        if inside in pages:
            return f"[{match[1]}]({pages[inside]}{tail})"
        if inside.startswith("docs/"):
            return f"[{match[1]}]({inside.removeprefix('docs/')}{tail})"
        if not REPOSITORY:
            return match[1]
        return f"[{match[1]}](https://github.com/{REPOSITORY}/blob/main/{inside}{tail})"

    return re.sub(r"\[([^\]\[]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)", target, markdown)
