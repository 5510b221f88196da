"""Records as they stand at a revision of git."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rmbench.errors import ResultError

__all__ = ["export_records", "is_committed", "split_place"]


def split_place(place: str) -> tuple[str, str] | None:
    """Return revision and path of ``REVISION:PATH``; None where a place is no such thing."""
    revision, colon, path = place.partition(":")
    return (revision, path) if colon else None


def is_committed(path: Path) -> bool:
    """Return whether git keeps a file; no where there is no git, or no repository."""
    command = ["git", "ls-files", "--error-unmatch", "--", path.name]
    try:
        return subprocess.run(command, cwd=path.parent, capture_output=True).returncode == 0
    except OSError:
        return False


def export_records(revision: str, path: str, folder: Path) -> str | None:
    """Write the records and rewards at a path, as a revision has them, below a folder.

    Args:
        revision: a branch, a tag or a commit.
        path: of a record or a folder, taken from where one is, as paths are; where there is none,
            from the top of the repository, as git has it.
        folder: an empty one; files are named in it from the top of the repository.

    Returns:
        The record's own name where the path is one; None where it is a folder.

    Raises:
        ResultError: git is missing, knows no such revision, or has no record there.
    """
    place = f"{revision}:{path}"
    if path.endswith(".jsonl"):  # as for files: the record beside it is meant
        path = path.removesuffix("l")
    commit = _commit(revision, place)
    names = _records_in_git(place, commit, path)
    if not names:
        raise ResultError(
            f"{place}: no result there; `git ls-tree -r --name-only --full-tree {revision}` lists"
            " what is"
        )
    _export(names, commit, folder, place)
    return names[0] if path.endswith(".json") else None


def _records_in_git(place: str, commit: str, path: str) -> list[str]:
    """Return the records and rewards at a path, named from the top of the repository."""
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
