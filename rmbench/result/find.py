"""Names → results with their rewards: files, and ``suite/model``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rmbench.answers.lines import read_judgements
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.record import Result
from rmbench.result.store import read_published, read_result
from rmbench.wording import counted

__all__ = ["find_result", "read_with_rewards"]

RESULTS: Final = Path("results")


def read_with_rewards(path: Path) -> Result:
    """Read a record with the rewards beside it; without any when there is no such file.

    Raises:
        ResultError: record or rewards are broken, or belong to different runs.
    """
    result = read_result(path)
    if not path.with_suffix(".jsonl").is_file():
        return result
    rewards = read_judgements(path)
    expected = result.partial or result.suite.get("comparisons")
    if expected is not None and len(rewards) != expected:
        raise ResultError(
            f"{path.with_suffix('.jsonl')}: rewards of {counted(len(rewards), 'comparisons')}"
            f" where the record has {expected}; the two are from different runs: run it again"
        )
    return replace(result, rewards=rewards)


# --- by name -------------------------------------------------------------------------------------


def find_result(name: str, *, folder: Path = RESULTS) -> Result:
    """Return the result that a user named.

    Args:
        name: the path of a record, or ``suite/model``: the model's id, or the name of its file
            without suffix; looked up below ``folder``, then among the published ones. A whole run
            is preferred to a part, a measured one to a published.
        folder: where results are.

    Raises:
        ResultError: there is none, or several that the name does not tell apart.
    """
    path = Path(name)
    if path.suffix == ".jsonl":
        path = path.with_suffix(".json")
    if path.is_file():
        return read_with_rewards(path)
    suite, _, model = name.partition("/")
    if not model or path.suffix == ".json":
        raise ResultError(f"{name}: no such file; give a result's .json, or suite/model")
    # A name becomes no path: the folder's own entries are compared with it.
    places = [place for place in _subfolders(folder) if place.name == suite]
    paths = [path for place in places for path in sorted(place.glob("*.json"))]
    measured = [(path, read_result(path)) for path in paths]
    fitting = [item for item in measured if model in (item[1].model["id"], item[0].stem)]
    if fitting:
        return read_with_rewards(_only(name, fitting, model))
    published = [item for item in read_published() if item.suite["name"] == suite]
    for result in published:
        if result.model["id"] == model:
            return result
    results = (*(item for _, item in measured), *published)
    known = {f"{suite}/{result.model['id']}" for result in results}
    if not known:
        raise ResultError(
            f'{name}: no such file, and no results of a suite "{suite}" below {folder}; give a'
            " result's .json, or suite/model"
        )
    raise ResultError(f"{name}: no such file or result below {folder}; {did_you_mean(name, known)}")


def _subfolders(folder: Path) -> list[Path]:
    return [place for place in folder.iterdir() if place.is_dir()] if folder.is_dir() else []


def _only(name: str, found: Sequence[tuple[Path, Result]], model: str) -> Path:
    """Return the one record meant: the plainest kind of run that there is one of."""
    kept = list(found)
    preferences: list[Callable[[Path, Result], bool]] = [
        lambda path, _: path.stem == model,
        lambda _, result: result.source == "measured",
        lambda _, result: result.partial is None,
        lambda _, result: result.settings.get("template", "tokenizer") == "tokenizer",
    ]
    for prefers in preferences:
        kept = [item for item in kept if prefers(*item)] or kept
    if len(kept) == 1:
        return kept[0][0]
    names = ", ".join(str(path) for path, _ in kept)
    raise ResultError(f"{name}: {len(kept)} results fit: {names}; name one by its path")
