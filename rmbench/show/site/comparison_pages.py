"""The pages that list all comparisons of a suite."""

from typing import Any, Final

import numpy as np

from rmbench.show.site.cells import PER_PAGE, comparison_link, suite_link
from rmbench.show.site.material import SuiteMaterial

__all__ = ["comparison_pages"]


NAMED: Final = 12


def comparison_pages(item: SuiteMaterial) -> list[dict[str, Any]]:
    """Return pages that list all comparisons of a suite: who earned each, and its texts."""
    starts = range(0, len(item.ids), PER_PAGE)
    solved = item.solved if item.ids else np.zeros(0)
    links = [comparison_link(item.suite.name, start).partition("#")[0] for start in starts]
    return [
        {
            "title": f"{item.suite.title}: comparisons {start + 1} to"
            f" {min(start + PER_PAGE, len(item.ids))}",
            "file": links[page],
            "suite": item.suite.title,
            "suite_link": suite_link(item.suite.name),
            "previous": links[page - 1] if page else "",
            "next": links[page + 1] if page + 1 < len(links) else "",
            "items": [
                _comparison(item, i, float(solved[i]))
                for i in range(start, min(start + PER_PAGE, len(item.ids)))
            ],
        }
        for page, start in enumerate(starts)
    ]


def _comparison(item: SuiteMaterial, position: int, solved: float) -> dict[str, Any]:
    column = item.credits[:, position]
    missed = [e.name for e, credit in zip(item.scored, column, strict=True) if credit < 1.0]
    texts = None if item.texts is None else item.texts[position]
    return {
        "anchor": f"c{position + 1}",
        "id": item.ids[position],
        "subset": item.subsets[position],
        "share": f"{100 * solved:.0f}",
        "missed": missed[:NAMED],
        "more": max(0, len(missed) - NAMED),
        "texts": None
        if texts is None
        else {
            "prompt": [(message.role, message.content) for message in texts.prompt],
            "chosen": list(texts.chosen),
            "rejected": list(texts.rejected),
        },
    }
