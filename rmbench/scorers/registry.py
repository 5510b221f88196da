"""Names → scorers: the rules, the small model, folders, and models of the Hub."""

import re
from pathlib import Path
from typing import Final

from rmbench.cache import Cache
from rmbench.checkpoint.options import TINY, ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Progress, Scorer
from rmbench.suite.hub import spare_retries

__all__ = ["BASELINES", "builtin_names", "check_model_name", "load_scorer"]

BASELINES: Final = ("length", "shorter", "random")
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def builtin_names() -> list[str]:
    """Return the names that need no download: the baselines, and ``tiny``, a small real model."""
    return [*BASELINES, TINY]


def check_model_name(model: str) -> None:
    """Refuse a name that can be no scorer, before anything is read or loaded.

    For a Hub id, its libraries are spared their retries where the Hub cannot be reached.

    Raises:
        ScorerError: it is no built-in, no local folder, and no Hub id of the form org/name.
    """
    # An empty name would be the working directory: "--model $MODEL" with MODEL unset.
    is_folder = bool(model) and Path(model).is_dir()
    if model in builtin_names() or is_folder:
        return
    if HUB_ID.fullmatch(model):
        spare_retries()
        return
    names = ", ".join(builtin_names())
    place = model or '--model ""'
    raise ScorerError(
        f"{place}: no such folder and no built-in; give org/name of the Hub, a folder, or {names}"
    )


def load_scorer(
    model: str,
    options: ModelOptions | None = None,
    *,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> Scorer:
    """Load a scorer.

    Args:
        model: a built-in name, a local folder, or a Hub id.
        options: how to load and feed a model; the baselines use the seed alone.
        progress: called as the scoring goes on.
        cache: rewards computed before; with one, a model is loaded only when it is needed.

    Raises:
        ScorerError: there is no such model, or it is not safe to score; the message says why and
            what to do.
    """
    options = options or ModelOptions()
    if model in BASELINES:
        from rmbench.scorers.rules import Baseline

        return Baseline(model, seed=options.seed)
    check_model_name(model)
    if cache is not None:
        from rmbench.scorers.cached import CachedScorer

        return CachedScorer(model, options, cache=cache, progress=progress)
    from rmbench.scorers.classifier import load_classifier

    return load_classifier(model, options, progress=progress)
