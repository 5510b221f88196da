"""Small results to write and to read."""

from pathlib import Path
from typing import Any

import numpy as np

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import Analyses, Confidence, LengthBias, LengthBin, OddsRatio
from rmbench.answers.judgements import Judgement
from rmbench.result.record import Result

THIRD = Accuracy(accuracy=1 / 3, low=0.0614915, high=0.7923404, n=3, wins=1, ties=1)
REWARDS = [
    Judgement("a/1", (0.1,), (-2.0,)),
    Judgement("a/2", (1.5,), (1.5,)),
    Judgement("a/3", (None,), (float(np.float32(1e-7)),)),
]


def a_result(model: str = "org/name", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "source": "measured",
        "suite": {"name": "small", "version": 1, "headline": "pooled"},
        "model": {"id": model},
        "settings": {"template": "tokenizer"},
        "usual": {"template": "tokenizer"},
        "signature": "small:1|org/name",
        "averages": {"pooled": THIRD},
        "subsets": {"a": THIRD},
        "audit": {"ties": 1},
        "date": "2025-01-02T03:04:05+00:00",
        "rewards": REWARDS,
    }
    return Result(**(fields | changes))


def changed(result: Result, **changes: Any) -> Result:
    """Return a result with other fields."""
    fields = {name: getattr(result, name) for name in Result.model_fields}
    return Result(**(fields | changes))


def published(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "source": "published",
        "citation": "a card",
        "signature": None,
        "averages": {"pooled": Accuracy(accuracy=0.7243)},
        "subsets": {},
        "rewards": (),
    }
    return a_result(**(fields | changes))


def files(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}


def analyses() -> Analyses:
    """Return analyses whose numbers have no more digits than a record keeps."""
    third = Accuracy(accuracy=0.333333, low=0.061491, high=0.79234, n=3, wins=1, ties=1)
    return Analyses(
        length=LengthBias(
            longer=third,
            equal=None,
            shorter=third,
            odds=OddsRatio(1.25, 0.5, 3.125),
            bins=(LengthBin(-20, -5, -7.5, third), LengthBin(3, 3, 3.0, third)),
        ),
        calibration=Confidence(
            error=0.1, brier=0.2, confidence=0.75, right=0.5, n=6, ties=1, p_value=0.25
        ),
    )
