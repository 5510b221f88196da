"""Scores that another program gave, as a scorer: it reads a file where others ask a model."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rmbench.errors import DataError, ResultError, ScorerError, did_you_mean
from rmbench.options import Options, option
from rmbench.scorers.contract import Facts, Ledger, ScorerInfo
from rmbench.scorers.kind import Kind
from rmbench.scorers.score_formats import ScoreSides
from rmbench.scorers.score_rows import ScoreRow, read_score_rows
from rmbench.suite.comparison import Conversation

__all__ = ["KIND", "RecordedOptions", "RecordedScorer", "models_of", "open_recorded", "scores_by"]


class RecordedOptions(Options):
    """Options of recorded scores."""

    model: str | None = option(None, help="The model, if the file names none; or one of several.")


class RecordedScorer:
    """Gives each response the score that a file has for it, found by the comparison's id."""

    def __init__(self, path: Path, model: str, scores: Mapping[str, ScoreSides]) -> None:
        """Keep the scores.

        Args:
            path: the file; its digest is the revision.
            model: whose scores they are.
            scores: chosen and rejected ones of each comparison, by its id.
        """
        self._path, self._scores = path, scores
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.info = ScorerInfo(
            id=model, kind="recorded", revision=f"sha256:{digest}", scale="log-odds"
        )

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the file's scores.

        Raises:
            DataError: the file has none for a response, or more than a comparison has responses.
        """
        answers: dict[int, float] = {}
        last: dict[tuple[str, int], int] = {}
        for number, conversation in enumerate(conversations):
            key = conversation.key
            if key is None or key.comparison not in self._scores:
                raise DataError(
                    f"{self._path}: no scores of {conversation.name or 'a text of no suite'};"
                    " rmbench import takes scores of a part of a suite"
                )
            side = 0 if key.side == "chosen" else 1
            given = self._scores[key.comparison][side]
            last[key.comparison, side] = key.number
            answers[number] = given[key.number] if key.number < len(given) else float("nan")
        self._check_sides(last)
        ledger.record(answers)
        return Facts(environment={"imported_from": self._path.name})

    def _check_sides(self, last: Mapping[tuple[str, int], int]) -> None:
        for (identity, side), number in last.items():
            given = len(self._scores[identity][side])
            if given != number + 1:
                raise DataError(
                    f'{self._path}: scores of "{identity}": {given}'
                    f" {('chosen', 'rejected')[side]} where it has {number + 1}"
                )


def models_of(path: Path, rows: Sequence[ScoreRow], model: str | None) -> dict[str | None, str]:
    """Return whose scores are wanted: the key of each model in the rows, and its id.

    Args:
        path: the file, for messages.
        rows: all of it, one or more.
        model: the model's id, where the file names none; of several models, the one wanted.

    Raises:
        ResultError: the model is missing, has no name, or is not in the file.
    """
    keys = list(rows[0].scores)
    if keys == [None]:
        if model is None:
            raise ResultError(f"{path}: does not name its model; say which with --model")
        return {None: model}
    names = [str(key) for key in keys]
    if not all(map(str.strip, names)):
        raise ResultError(f"{path}: a model without a name in scores; name it")
    if model is not None and model not in names:
        raise ResultError(f'{path}: no scores of "{model}"; {did_you_mean(model, names)}')
    return {name: name for name in names if model in (None, name)}


def scores_by(
    identities: Sequence[str], rows: Sequence[ScoreRow], key: str | None
) -> dict[str, ScoreSides]:
    """Return a model's scores by comparison.

    Args:
        identities: of the comparison of each row.
        rows: all of a file.
        key: the model's, from ``models_of``.

    Raises:
        DataError: not all rows have scores of the same models.
    """
    found = {}
    for identity, row in zip(identities, rows, strict=True):
        if key not in row.scores:
            raise DataError(f'{row.place}: no scores of "{key or "one model"}", as line 1 has')
        for other in row.scores.keys() - rows[0].scores.keys():
            raise DataError(
                f'{row.place}: scores of "{other or "one model"}", which line 1 lacks; give all'
                " lines scores of the same models"
            )
        found[identity] = row.scores[key]
    return found


def open_recorded(name: str, options: RecordedOptions) -> RecordedScorer:
    """Return the scorer of a file whose rows have ids.

    Args:
        name: the file.
        options: which model of it.

    Raises:
        DataError: the file cannot be read, or a row is wrong.
        ScorerError: a row has no id, or the file does not say which model's scores they are.
    """
    path = Path(name)
    rows = list(read_score_rows(path))
    identities = [row.identity for row in rows if row.identity is not None]
    if not rows or len(set(identities)) < len(rows):
        raise ScorerError(
            f"{path}: not every row has an id of its own; rmbench import joins rows in the order"
            " of the suite's data"
        )
    try:
        models = models_of(path, rows, options.model)
    except ResultError as error:
        raise ScorerError(str(error).replace("--model", "-o model=NAME")) from None
    if len(models) > 1:
        raise ScorerError(f"{path}: scores of {', '.join(models.values())}; say -o model=NAME")
    [(key, model)] = models.items()
    return RecordedScorer(path, model, scores_by(identities, rows, key))


def _result_name(name: str, given: Mapping[str, Any]) -> str:
    return open_recorded(name, RecordedOptions(model=given.get("model"))).info.id


KIND: Final = Kind(
    open=open_recorded,
    options=RecordedOptions,
    summary="Scores that another program gave, from a file; see rmbench import.",
    metavar="PATH.jsonl",
    result_name=_result_name,
)
