"""What a result is to be compared with: a record, a folder of them, or a revision of git."""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rmbench.compare.comparable import check_comparable
from rmbench.errors import ResultError
from rmbench.result.find import find_result, read_with_rewards
from rmbench.result.record import Result, file_stem
from rmbench.result.store import find_results, read_result

__all__ = ["Baselines", "read_baselines"]

_Name = TypeVar("_Name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Results to compare others with, read once: what happens to their files later is no matter.

    Attributes:
        place: where they were found, in the user's words.
        results: with their rewards.
        names: of their files, for messages.
        is_single: whether the place names one result, which is then the baseline of any other.
    """

    place: str
    results: tuple[Result, ...]
    names: tuple[str, ...]
    is_single: bool = False

    def find(self, result: Result) -> Result:
        """Return the baseline of a result: of its suite, its model and, if it can be, its settings.

        Raises:
            ResultError: none fits, or several do.
        """
        if self.is_single:
            return self.results[0]
        fitting = self._fitting(result)
        twins = [item for item in fitting if file_stem(item[1]) == file_stem(result)]
        best = twins or [item for item in fitting if item[1].source == "measured"] or fitting
        if len(best) > 1:
            names = ", ".join(name for name, _ in best)
            raise ResultError(f"{self.place}: {len(best)} results fit: {names}; name one")
        return best[0][1]

    def check(self, planned: Result) -> None:
        """Refuse a place that has nothing which a planned result can be compared with.

        Raises:
            ResultError: every baseline of it scored other data, or another part of it.
        """
        refused: list[ResultError] = []
        for _, item in self._fitting(planned):
            try:
                check_comparable(item, planned)
            except ResultError as error:
                refused.append(error)
            else:
                return
        raise refused[0]

    def _fitting(self, result: Result) -> list[tuple[str, Result]]:
        """Return the results of a result's suite and model, with the names of their files."""
        found = list(zip(self.names, self.results, strict=True))
        if self.is_single:
            return found
        return _of_model(found, str(result.suite["name"]), str(result.model["id"]), self.place)


def read_baselines(place: str, wanted: Iterable[tuple[str, str]]) -> Baselines:
    """Read the baselines of results, before hours of scoring.

    Args:
        place: the path of a record, or its name; a folder, searched for the same suites and models;
            or ``REVISION:PATH`` of git, PATH being a record or a folder, from where one is or, if
            there is none, from the top of the repository.
        wanted: names of the suite and the model of each result that is to be compared.

    Raises:
        ResultError: there is no such place, a record in it is broken, or it lacks one of them.
    """
    wanted = list(wanted)
    path = Path(place)
    if path.is_dir():
        return _in_folder(place, path, wanted)
    revision, colon, inner = place.partition(":")
    if colon and not path.exists():
        if inner.endswith(".jsonl"):  # as for files: the record beside it is meant
            inner = inner.removesuffix("l")
        return _in_git(revision, inner, wanted)
    return _single(place, find_result(place), wanted)


def _single(place: str, result: Result, wanted: Iterable[tuple[str, str]]) -> Baselines:
    for suite, _ in wanted:
        if suite != result.suite["name"]:
            raise ResultError(
                f"{place}: a result on {result.suite['name']}, where one on {suite} is to be"
                " compared; give its own baseline, or a folder of them"
            )
    return Baselines(place=place, results=(result,), names=(place,), is_single=True)


def _in_folder(place: str, folder: Path, wanted: Iterable[tuple[str, str]]) -> Baselines:
    records = [(path, read_result(path)) for path in find_results([folder])]
    found: dict[Path, Result] = {}
    for suite, model in wanted:
        fitting = _of_model(records, suite, model, place)
        found |= {path: read_with_rewards(path) for path, _ in fitting if path not in found}
    return Baselines(
        place=place, results=tuple(found.values()), names=tuple(str(path) for path in found)
    )


def _of_model(
    found: Sequence[tuple[_Name, Result]], suite: str, model: str, place: str
) -> list[tuple[_Name, Result]]:
    """Return the results of a model on a suite, each with what it is called; refuse none."""
    of_suite = [item for item in found if item[1].suite["name"] == suite]
    fitting = [item for item in of_suite if item[1].model["id"] == model]
    if fitting:
        return fitting
    known = sorted({str(item.model["id"]) for _, item in of_suite})
    if not known:
        raise ResultError(
            f"{place}: no result on {suite}, which is to be compared; measure the baseline on it"
            " first, or leave the suite out"
        )
    raise ResultError(
        f'{place}: no result of "{model}" on {suite}; it has {", ".join(known)}; to compare two'
        " models, give the other's file"
    )


# --- git -----------------------------------------------------------------------------------------


def _in_git(revision: str, path: str, wanted: Iterable[tuple[str, str]]) -> Baselines:
    """Copy the records at a revision to a temporary folder and search that."""
    place = f"{revision}:{path}"
    commit = _commit(revision, place)
    kept = _records_in_git(place, commit, path)
    if not kept:
        raise ResultError(
            f"{place}: no result there; `git ls-tree -r --name-only --full-tree {revision}` lists"
            " what is"
        )
    with tempfile.TemporaryDirectory(prefix="rmbench-") as temporary:
        folder = Path(temporary)
        _export(kept, commit, folder, place)
        try:
            if path.endswith(".json"):  # a record, and not a folder of them
                return _single(place, read_with_rewards(folder / kept[0]), wanted)
            return _in_folder(place, folder, wanted)
        except ResultError as error:
            raise ResultError(str(error).replace(f"{folder}/", f"{revision}:")) from None


def _records_in_git(place: str, commit: str, path: str) -> list[str]:
    """Return the records and rewards at a path, named from the top of the repository.

    The path is taken from the current folder, as paths are; else from the top, as git has it.
    """
    list_names = ("ls-tree", "-r", "-z", "--name-only")
    # ls-tree takes no trailing "." to mean here.
    listing = _git(place, *list_names, "--full-name", commit, "--", path or ".")
    if not listing and path:
        listing = _git(place, *list_names, "--full-tree", commit, "--", path)
    names = [os.fsdecode(name) for name in listing.split(b"\0") if name]
    return [name for name in names if name.endswith((".json", ".jsonl"))]


def _export(names: Sequence[str], commit: str, folder: Path, place: str) -> None:
    # A record that is named alone has its rewards beside it.
    wanted = dict.fromkeys(names)
    if len(names) == 1 and names[0].endswith(".json"):
        beside = f"{names[0]}l"
        if _git(place, "ls-tree", "--name-only", "--full-tree", commit, "--", beside):
            wanted[beside] = None
    for name in wanted:
        file = folder / name  # git keeps no name that leaves the repository
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_git(place, "show", f"{commit}:{name}"))


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
