"""The package's page on an index: README with working links, and the project's addresses.

The repository is named by ``GITHUB_REPOSITORY``, which a release's workflow has; without it the
README stays as it is and no address is claimed.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackagePage(MetadataHookInterface):
    """What an index shows of a release."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the fields that pyproject.toml calls dynamic."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("GITHUB_REPOSITORY")
        metadata["urls"] = {}
        if repository:
            home = f"https://github.com/{repository}"
            tag = f"v{metadata['version']}" if "version" in metadata else "main"
            text = absolute_links(text, home, tag)
            metadata["urls"] = {
                "Repository": home,
                "Documentation": f"{home}/tree/main/docs",
                "Changelog": f"{home}/blob/main/CHANGELOG.md",
                "Issues": f"{home}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute_links(text: str, home: str, tag: str) -> str:
    """Return Markdown whose links to files of the repository lead to the forge."""
    raw = home.replace("github.com", "raw.githubusercontent.com")
    local = r"\]\((?!https?:|#|mailto:)([^)\s]+)\)"
    text = re.sub("!" + r"\[([^\]]*)" + local, rf"![\1]({raw}/{tag}/\2)", text)
    return re.sub(local, rf"]({home}/blob/{tag}/\1)", text)
