"""Candidates in a scorer's order, as a table, JSON and CSV."""

from collections.abc import Sequence
from typing import Any, Final

from rmbench.answers.best import Ranking
from rmbench.show.formats import format_table, to_json
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.choices import Choices
from rmbench.wording import counted

__all__ = ["format_rankings"]

EXCERPT: Final = 60


def format_rankings(rankings: Sequence[Ranking], choices: Choices, model: str, fmt: str) -> str:
    """Return rankings in one of ``table.FORMATS``.

    JSON has each prompt with all its candidates and the text of the best; CSV a line for each
    candidate, best first; the others a line for each prompt.

    Args:
        rankings: of ``best.rank``.
        choices: what was ranked.
        model: what ranked them.
        fmt: of the text.
    """
    texts = {item.id: item.chosen for item in choices}
    if fmt == "json":
        return to_json({"model": model, "prompts": [_record(r, texts[r.id]) for r in rankings]})
    if fmt == "csv":
        return format_table(_lines(rankings), fmt)
    return format_table(_table(rankings, texts, model), fmt)


def _record(ranking: Ranking, texts: Sequence[str]) -> dict[str, Any]:
    best = ranking.order[0]
    return {
        "id": ranking.id,
        "best": best,
        "order": list(ranking.order),
        "scores": list(ranking.scores),
        "margin": ranking.margin,
        "tie": ranking.tie,
        "response": None if ranking.scores[best] is None else texts[best],
    }


def _lines(rankings: Sequence[Ranking]) -> Table:
    rows: list[list[Content]] = [
        [
            item.id,
            place,
            number,
            item.scores[number],
            *((item.margin, item.tie) if place == 1 else (None, None)),
        ]
        for item in rankings
        for place, number in enumerate(item.order, 1)
    ]
    return Table(title="", columns=["id", "rank", "candidate", "score", "margin", "tie"], rows=rows)


def _table(rankings: Sequence[Ranking], texts: dict[str, tuple[str, ...]], model: str) -> Table:
    rows: list[list[Content]] = []
    for item in rankings:
        best, second = item.order[:2]
        text = " ".join(texts[item.id][best].split())
        rows.append(
            [
                item.id,
                "" if item.scores[best] is None else str(best + 1),
                Cell("signed", item.scores[best]),
                "" if item.scores[second] is None else str(second + 1),
                Cell("number", item.margin),
                item.tie,
                text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…",
            ]
        )
    return Table(
        title=f"{counted(len(rankings), 'prompts')}, best candidate by {model}",
        columns=["id", "best", "score", "second", "margin", "", "response"],
        rows=rows,
        notes=_notes(rankings),
        numeric=False,
    )


def _notes(rankings: Sequence[Ranking]) -> list[str]:
    total = counted(sum(len(item.scores) for item in rankings), "candidates")
    notes = [f"{total}, numbered from 1 (from 0 in JSON and CSV); margin: best minus second"]
    ties, near = (sum(item.tie == kind for item in rankings) for kind in ("tie", "near"))
    if ties:
        notes.append(
            f"{counted(ties, 'prompts')} with two best candidates of one score (tie): the first"
            " in the row stands"
        )
    if near:
        notes.append(
            f"{counted(near, 'prompts')} where rounding or the order of the candidates decides"
            " between the best two (near)"
        )
    missing = sum(score is None for item in rankings for score in item.scores)
    return [*notes, f"{missing:,} without an answer"] if missing else notes
