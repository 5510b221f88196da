"""What a row of another program's scores may look like: one entry of ``FORMATS`` for each form.

* ``{"chosen": 1.5, "rejected": -0.5}``, numbers or lists of them; RewardBench writes
  ``scores_chosen`` and ``scores_rejected``, RM-Bench ``score_chosen`` and ``score_rejected``.
* ``{"scores": {"model": [1.5, -0.5]}}``: the chosen response first, for several models at once.
* RewardBench 2: ``scores`` with those of the right answers first, and ``num_correct``.
* JudgeBench's outputs: ``judgments`` with both scores of a pair, or a judge's two decisions, and
  the label.

A row names its comparison by ``uid``, or by ``id`` with an optional ``subset``; rows without either
are taken in the order of the suite's data.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from rmbench.errors import DataError

__all__ = ["FORMATS", "OF_MODEL", "Format", "ScoreSides", "id_of_row", "scores_of", "texts_of"]

OF_MODEL: Final = "model of all rows"
"""The key under which a file of columns says whose scores all its rows are."""
_SHOWN: Final = 60
ScoreSides = tuple[tuple[float, ...], tuple[float, ...]]
"""The scores of the chosen and of the rejected responses."""
Fields = Mapping[str, Any]


class Format(NamedTuple):
    """A form that rows of scores may have.

    Attributes:
        fits: whether a row has this form; the first that fits reads it.
        scores: each model's two sides, from place and row; the model is None where the row names
            none. Raises ``DataError`` for scores that are wrong.
        identity: the comparison's id without its subset; None where the row has none.
    """

    fits: Callable[[Fields], bool]
    scores: Callable[[str, Fields], dict[str | None, ScoreSides]]
    identity: Callable[[Fields], Any] = lambda row: row.get("uid", row.get("id"))


def scores_of(place: str, row: Fields) -> dict[str | None, ScoreSides]:
    """Return each model's two sides.

    Raises:
        DataError: the row has no scores, or one that is no finite number.
    """
    return _format_of(place, row).scores(place, row)


def id_of_row(place: str, row: Fields, subset: str | None) -> str | None:
    """Return the id of a row's comparison, its subset before it; None where it has none."""
    value = next(form for form in (*FORMATS, _NONE) if form.fits(row)).identity(row)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{place}: an id must be a text or a whole number")
    identity = str(value)
    is_whole = subset is None or identity.startswith(f"{subset}/")
    return identity if is_whole else f"{subset}/{identity}"


def texts_of(row: Fields) -> tuple[str, str] | None:
    """Return the texts of both sides, where a row has them."""
    chosen, rejected = row.get("text_chosen"), row.get("text_rejected")
    return (chosen, rejected) if isinstance(chosen, str) and isinstance(rejected, str) else None


def _format_of(place: str, row: Fields) -> Format:
    for form in FORMATS:
        if form.fits(row):
            return form
    raise DataError(
        f"{place}: no scores; it needs chosen and rejected, scores_chosen and scores_rejected, or"
        " scores by model"
    )


# --- the forms -----------------------------------------------------------------------------------


def _rm_bench_id(row: Fields) -> Any:
    """Return RM-Bench's id, which repeats across its domains, with the domain before it."""
    name, domain = row.get("uid", row.get("id")), row.get("domain")
    return name if name is None or domain is None else f"{domain}/{name}"


def _named_sides(chosen: str, rejected: str) -> Format:
    """Return the form with a key for each side."""

    def scores(place: str, row: Fields) -> dict[str | None, ScoreSides]:
        sides = (_side(place, chosen, row[chosen]), _side(place, rejected, row[rejected]))
        return {_model(row): sides}

    return Format(lambda row: chosen in row and rejected in row, scores)


def _by_model(place: str, row: Fields) -> dict[str | None, ScoreSides]:
    """Return both sides of each model's list, whose first score is the chosen response's."""
    found: dict[str | None, ScoreSides] = {}
    for model, values in row["scores"].items():
        if not isinstance(values, list) or len(values) < 2:
            raise DataError(f'{place}: scores of "{model}" must be a list, the chosen one first')
        found[model] = (_side(place, model, values[:1]), _side(place, model, values[1:]))
    return found


def _right_first(place: str, row: Fields) -> dict[str | None, ScoreSides]:
    """Return both sides of RewardBench 2's scores, of which the right answers' come first."""
    scores, right = row["scores"], row["num_correct"]
    if type(right) is not int or not 0 < right < len(scores):
        raise DataError(f"{place}: num_correct must be from 1 to {len(scores) - 1}; copy it again")
    sides = (_side(place, "scores", scores[:right]), _side(place, "scores", scores[right:]))
    return {_model(row): sides}


def _judgebench(place: str, row: Fields) -> dict[str | None, ScoreSides]:
    """Return what JudgeBench's games of a pair gave: a reward model's scores, or a judge's wins.

    A judge plays both orders; each side's score is the number of games it won, which is the
    authors' rule: right where the labelled side won more. A reply without a verdict wins nothing.
    """
    if row.get("label") not in ("A>B", "B>A"):
        raise DataError(f'{place}: label must be "A>B" or "B>A"')
    try:
        games = row["judgments"]
        name = next(game["judgment"]["judge_model"] for game in games if game is not None)
        first = games[0]["judgment"].get("scores") if games[0] is not None else None
        sides = _wins(games) if first is None else [first[0], first[1]]
    except (KeyError, IndexError, TypeError, StopIteration):
        raise DataError(
            f"{place}: no scores and no decisions of two games in judgments; copy the file again"
        ) from None
    if row["label"] == "B>A":
        sides.reverse()
    return {str(name): (_side(place, "scores", sides[0]), _side(place, "scores", sides[1]))}


def _wins(games: list[Any]) -> list[int]:
    """Return the games that A and B won; the second has them in the other order."""
    decisions = [None if game is None else game["decision"] for game in games]
    mirror = {"A>B": "B>A", "B>A": "A>B"}
    true = [mirror.get(str(word)) if number else word for number, word in enumerate(decisions)]
    return [true.count("A>B"), true.count("B>A")]


def _judgebench_id(row: Fields) -> Any:
    if "uid" in row or "id" in row:
        return row.get("uid", row.get("id"))
    parts = [row.get(key) for key in ("response_model", "source", "pair_id")]
    return "/".join(map(str, parts)) if all(parts) else None


FORMATS: Final = (
    Format(lambda row: "judgments" in row, _judgebench, _judgebench_id),
    Format(lambda row: isinstance(row.get("scores"), list) and "num_correct" in row, _right_first),
    Format(lambda row: isinstance(row.get("scores"), dict) and bool(row["scores"]), _by_model),
    _named_sides("scores_chosen", "scores_rejected"),
    _named_sides("score_chosen", "score_rejected")._replace(identity=_rm_bench_id),
    _named_sides("chosen", "rejected"),
)
_NONE: Final = Format(lambda _: True, lambda *_: {})


# --- one score -----------------------------------------------------------------------------------


def _model(row: Fields) -> str | None:
    name = row.get(OF_MODEL)
    return name if isinstance(name, str) and name.strip() else None


def _side(place: str, name: str, value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise DataError(f'{place}: "{name}" is empty; each side needs a score')
    # RewardBench writes [[x]] for models with a head of their own.
    values = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in values]
    return tuple(_score(place, name, item) for item in values)


def _score(place: str, name: str, value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= float(np.finfo(np.float32).max):
        raise DataError(
            f'{place}: "{name}" has the score {_short(value)}; every score must be a finite number,'
            " since a missing one is neither won nor lost: score again, or remove the line"
        )
    # As rmbench records rewards, and by which it tells a tie.
    return float(np.float32(value))


def _short(value: Any) -> str:
    """Return what was found, as far as it fits into a line: a "score" can be a page of text."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]} …"
