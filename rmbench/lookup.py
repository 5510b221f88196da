"""Names and places → results with their rewards: files, ``suite/model``, folders, git revisions."""

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rmbench.comparison import counted
from rmbench.errors import ResultError, did_you_mean
from rmbench.records import find_results, read_published, read_result
from rmbench.result import Result, file_stem
from rmbench.rewards import read_rewards

__all__ = ["check_place", "check_suites", "find_baseline", "find_result", "read_with_rewards"]

RESULTS: Final = Path("results")


def read_with_rewards(path: Path) -> Result:
    """Read a record with the rewards beside it; without any when there is no such file.

    Raises:
        ResultError: record or rewards are broken, or belong to different runs.
    """
    result = read_result(path)
    if not path.with_suffix(".jsonl").is_file():
        return result
    rewards = read_rewards(path)
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


# --- baselines -----------------------------------------------------------------------------------


def find_baseline(place: str, result: Result) -> Result:
    """Return the result to compare ``result`` with.

    Args:
        place: the path of a record; a folder, searched for the same suite and model; or
            ``REVISION:PATH`` of git, PATH being a record or a folder, relative to where one is.
        result: whose suite, model and kind of run a folder is searched for.

    Raises:
        ResultError: there is no such place, or nothing in it fits.
    """
    path = Path(place)
    if path.is_dir():
        return _in_folder(place, path, result)
    revision, colon, inner = place.partition(":")
    if colon and not path.exists():
        return _in_git(revision, inner, result)
    return find_result(place)


def check_place(place: str) -> None:
    """Refuse a place that can hold no baseline, before hours of scoring.

    Args:
        place: a record's path or name, or ``REVISION:PATH`` of git.

    Raises:
        ResultError: there is no such record, or no such revision.
    """
    revision, colon, _ = place.partition(":")
    if colon and not Path(place).exists():
        _commit(revision, place)
    else:
        find_result(place)


def check_suites(folder: str, suites: Iterable[str]) -> None:
    """Refuse a folder that has no baseline on some suite, before hours of scoring.

    Args:
        folder: where the baselines are.
        suites: names of all suites that a baseline is needed on.

    Raises:
        ResultError: it has no result of one of them, or a record in it cannot be read.
    """
    held = {str(read_result(path).suite["name"]) for path in find_results([Path(folder)])}
    for suite in suites:
        if suite not in held:
            raise ResultError(
                f"{folder}: no result of the suite {suite}, which is to be checked; measure the"
                " baseline on it first, or leave the suite out"
            )


def _in_folder(place: str, folder: Path, result: Result) -> Result:
    paths = find_results([folder])
    records = [(path, read_result(path)) for path in paths]
    of_suite = [item for item in records if item[1].suite["name"] == result.suite["name"]]
    fitting = [item for item in of_suite if item[1].model["id"] == result.model["id"]]
    if not fitting:
        known = sorted({str(item.model["id"]) for _, item in of_suite})
        raise ResultError(
            f'{place}: no result of "{result.model["id"]}" on {result.suite["name"]};'
            f" {_models(known)}; to compare two models, give the other's file"
        )
    twins = [item for item in fitting if file_stem(item[1]) == file_stem(result)]
    best = twins or [item for item in fitting if item[1].source == "measured"] or fitting
    if len(best) > 1:
        names = ", ".join(str(path) for path, _ in best)
        raise ResultError(f"{place}: {len(best)} results fit: {names}; name one")
    return read_with_rewards(best[0][0])


def _models(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"it has {names}" if names else "it has no result of this suite"


def _in_git(revision: str, path: str, result: Result) -> Result:
    """Copy the records at a revision to a temporary folder and search that."""
    place = f"{revision}:{path}"
    commit = _commit(revision, place)
    # Relative to where one is, as paths are; ls-tree takes no trailing "." to mean here.
    listing = _git(place, "ls-tree", "-r", "-z", "--name-only", commit, "--", path or ".")
    names = [name for name in listing.decode(errors="replace").split("\0") if name]
    kept = [name for name in names if name.endswith((".json", ".jsonl"))]
    if not kept:
        raise ResultError(f"{place}: no result there; `git ls-tree -r {revision}` lists its files")
    with tempfile.TemporaryDirectory(prefix="rmbench-") as temporary:
        folder = Path(temporary)
        _export(kept, commit, folder, place)
        try:
            single = folder / path
            if single.is_file():
                return read_with_rewards(single)
            return _in_folder(place, folder, result)
        except ResultError as error:
            raise ResultError(str(error).replace(f"{folder}/", f"{revision}:")) from None


def _export(names: Sequence[str], commit: str, folder: Path, place: str) -> None:
    # A record that is named alone has its rewards beside it.
    wanted = dict.fromkeys(names)
    if len(names) == 1 and names[0].endswith(".json"):
        beside = f"{names[0]}l"
        if _git(place, "ls-tree", "--name-only", commit, "--", beside):
            wanted[beside] = None
    for name in wanted:
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise ResultError(f"{place}: {name} is above the current folder; change there first")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_git(place, "show", f"{commit}:./{name}"))


def _commit(revision: str, place: str) -> str:
    if not revision or revision.startswith("-"):
        raise ResultError(f'{place}: "{revision}" is no revision; write it as REVISION:PATH')
    _git(place, "rev-parse", "--git-dir")
    try:
        name = f"{revision}^{{commit}}"
        return _run_git("rev-parse", "--verify", "--quiet", name).decode().strip()
    except subprocess.CalledProcessError:
        raise ResultError(
            f'{place}: git knows no revision "{revision}"; fetch it first'
            " (a shallow clone holds one commit only)"
        ) from None


def _git(place: str, *arguments: str) -> bytes:
    try:
        return _run_git(*arguments)
    except FileNotFoundError:
        raise ResultError(f"{place}: no such file, and git is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["git failed"]
        finding = lines[0].removeprefix("fatal: ")
        raise ResultError(f"{place}: no such file, and git says: {finding}") from None


def _run_git(*arguments: str) -> bytes:
    command = ["git", *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout
