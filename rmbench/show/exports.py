"""Results, comparisons and leaderboards as data: JSON and CSV, with the numbers in full."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.compare.contrast import Contrast
from rmbench.compare.flips import Flip
from rmbench.compare.verdict import Verdict
from rmbench.result.record import SLICE_COLUMNS, Result
from rmbench.show.board import Board, BoardRow
from rmbench.show.contrast import verdict_sentence
from rmbench.show.formats import csv_text, format_table, to_json
from rmbench.show.leaderboard import ranking_note, settings_text
from rmbench.show.table import Cell, Content, Table
from rmbench.suite.comparison import Comparison

__all__ = [
    "board_as_csv",
    "boards_as_json",
    "contrast_as_csv",
    "contrast_as_json",
    "contrast_record",
    "results_as_csv",
    "results_as_json",
    "verdict_record",
]


def results_as_json(results: Sequence[Result]) -> str:
    """Return the records as a JSON list, each as its file holds it; in ASCII, for terminals."""
    return to_json([result.to_dict() for result in results])


def results_as_csv(results: Sequence[Result]) -> str:
    """Return every number of the records as CSV, one line each; accuracies in [0, 1]."""
    rows: list[Sequence[Any]] = [["suite", "model", "source", *SLICE_COLUMNS]]
    for result in results:
        head = [result.suite["name"], result.model["id"], result.source]
        for item in result.slices():
            rows.append([*head, *(item[column] for column in SLICE_COLUMNS)])
    return csv_text(rows)


def contrast_as_json(
    contrast: Contrast,
    *,
    alpha: float,
    flips: Sequence[Flip] = (),
    texts: Mapping[str, Comparison] | None = None,
) -> str:
    """Return a comparison as JSON; accuracies and differences in [0, 1], p values in full.

    Args:
        contrast: what ``compare.compare`` found.
        alpha: for the marks.
        flips: to list.
        texts: of the flips, where the data is at hand.
    """
    found = texts or {}
    record = contrast_record(contrast)
    record["verdict"] = verdict_sentence(contrast, alpha=alpha)
    record["alpha"] = alpha
    for row, item in zip(record["slices"], contrast.verdicts, strict=True):
        row["mark"] = item.mark(alpha)
    record["flips"] = [_flip_record(flip, found.get(flip.id)) for flip in flips]
    return to_json(record)


def contrast_as_csv(contrast: Contrast, *, alpha: float) -> str:
    """Return a comparison as CSV; numbers as in ``contrast_as_json``.

    A line per slice, and one of level ``suite`` for how far the two agree on all comparisons.
    """
    columns = ["level", "name", "old", "new", "n", "difference", "low", "high"]
    columns += ["p", "p_adjusted", "alternative", "design_effect", "won", "lost", "mark"]
    columns += ["same", "kappa", "standard_error"]
    records = [verdict_record(item) | {"mark": item.mark(alpha)} for item in contrast.verdicts]
    if contrast.agreement is not None:
        whole = {"level": "suite", "name": contrast.suite.name}
        records.append(whole | contrast.agreement._asdict())
    rows = [[record.get(column) for column in columns] for record in records]
    return format_table(Table(title="", columns=columns, rows=rows), "csv")


def contrast_record(contrast: Contrast) -> dict[str, Any]:
    """Return a comparison as JSON takes it."""
    return {
        "suite": contrast.suite.name,
        "paired": contrast.paired,
        "old": _result_record(contrast.old),
        "new": _result_record(contrast.new),
        "changed": [
            {"name": key, "old": before, "new": after} for key, before, after in contrast.changed
        ],
        "agreement": None if contrast.agreement is None else contrast.agreement._asdict(),
        "notes": list(contrast.notes),
        "slices": [verdict_record(item) for item in contrast.verdicts],
    }


def _result_record(result: Result) -> dict[str, Any]:
    return {
        "model": result.model["id"],
        "source": result.source,
        "signature": result.signature,
        "citation": result.citation,
    }


def verdict_record(item: Verdict) -> dict[str, Any]:
    """Return one slice as JSON takes it."""
    record: dict[str, Any] = {"level": item.level, "name": item.name}
    record |= {"old": item.old, "new": item.new, "n": item.n}
    if item.difference is not None:
        low, high = item.difference.interval
        record |= {"difference": item.difference.estimate, "low": low, "high": high}
        record |= {"p": item.difference.p_value, "p_adjusted": item.adjusted}
        record |= {"alternative": "two-sided", "design_effect": item.difference.design}
        record |= {"won": item.gained, "lost": item.lost}
    return record


def _flip_record(flip: Flip, comparison: Comparison | None) -> dict[str, Any]:
    record: dict[str, Any] = {"id": flip.id}
    record |= {"old_credit": flip.old_credit, "new_credit": flip.new_credit}
    record |= {"old_margin": flip.old_margin, "new_margin": flip.new_margin}
    record["change"] = flip.change
    if comparison is not None:
        record["prompt"] = [{"role": m.role, "content": m.content} for m in comparison.prompt]
        record |= {"chosen": list(comparison.chosen), "rejected": list(comparison.rejected)}
    return record


# What a line of CSV says of length and calibration, after the accuracies.
ANALYSES: Final = (
    "chosen longer",
    "chosen shorter",
    "odds ratio of longer",
    "calibration error",
)


def boards_as_json(boards: Sequence[Board]) -> str:
    """Return boards as a JSON list; accuracies in [0, 1], with interval and count where known."""
    return to_json([_board_record(board) for board in boards])


def _board_record(board: Board) -> dict[str, Any]:
    return {
        "suites": [{"name": suite.name, "version": suite.version} for suite in board.suites],
        "ranked_by": board.label(board.ranked_by),
        "rows": [_row_record(row, board) for row in board.rows],
        "notes": [ranking_note(board), *board.notes],
    }


def _row_record(row: BoardRow, board: Board) -> dict[str, Any]:
    results = row.results.values()
    return {
        "model": row.model,
        "rank": None if row.rank is None else [row.rank.best, row.rank.worst],
        "baseline": row.is_baseline,
        "source": "published" if row.is_published else "measured",
        "citations": sorted({result.citation for result in results if result.citation}),
        "settings": dict(row.settings),
        "signatures": [result.signature for result in results if result.signature],
        "analyses": {
            suite: _analyses(result)
            for suite, result in row.results.items()
            if result.analyses is not None
        },
        "accuracies": {board.label(column): _numbers(row.find(column)) for column in board.columns},
    }


def _analyses(result: Result) -> dict[str, Any]:
    """Return the analyses as the record has them, but for what only a figure needs."""
    analyses: dict[str, Any] = result.to_dict()["analyses"]
    if analyses["length"] is not None:
        del analyses["length"]["bins"]
    return analyses


def _numbers(item: Accuracy | None) -> dict[str, Any] | None:
    if item is None:
        return None
    numbers = {"accuracy": item.accuracy, "low": item.low, "high": item.high, "n": item.n}
    return {key: value for key, value in numbers.items() if value is not None}


def board_as_csv(board: Board) -> str:
    """Return a board as CSV: a line per model, accuracies in [0, 1] with the ends of intervals."""
    # A spreadsheet takes 2-4 for a date.
    heads = ["model", "rank", "rank to", "source", "settings", *map(board.label, board.columns)]
    for suite in board.suites:
        of_suite = f"{suite.name}: " if len(board.suites) > 1 else ""
        heads += [f"{of_suite}{name}" for name in ANALYSES]
    rows: list[list[Content]] = []
    for row in board.rows:
        source = "published" if row.is_published else "measured"
        ends = (None, None) if row.rank is None else row.rank
        cells: list[Content] = [row.model, *ends, source, settings_text(row)]
        cells += [Cell("accuracy", row.find(column)) for column in board.columns]
        for suite in board.suites:
            cells += _analysis_cells(row.results.get(suite.name))
        rows.append(cells)
    return format_table(Table(title="", columns=heads, rows=rows), "csv")


def _analysis_cells(result: Result | None) -> list[float | None]:
    """Return the values under ``ANALYSES``; None where something is not known."""
    found = None if result is None else result.analyses
    if found is None:
        return [None] * len(ANALYSES)
    sides, length = found.by_length(), found.length
    shares = [sides[name].accuracy if name in sides else None for name in ANALYSES[:2]]
    odds = None if length is None or length.odds is None else length.odds.ratio
    return [*shares, odds, found.calibration.error if found.calibration is not None else None]
