"""What a user calls a result: a file, a folder, ``suite/model``, or ``REVISION:PATH`` of git."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from rmbench.answers.lines import read_judgements
from rmbench.errors import ResultError, did_you_mean
from rmbench.result.git import export_records, split_place
from rmbench.result.record import Result
from rmbench.result.store import read_published, read_result
from rmbench.wording import counted

__all__ = ["Found", "Listing", "find_one", "find_result", "find_results", "read_with_rewards"]

RESULTS: Final = Path("results")


class Found(NamedTuple):
    """A result, and what its file is called in the user's terms."""

    name: str
    result: Result


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found at some places.

    Attributes:
        found: the results, in the order of the places, sorted within a folder.
        passed_over: a line for each file below a folder that is no readable record.
    """

    found: tuple[Found, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def results(self) -> list[Result]:
        """The results alone."""
        return [item.result for item in self.found]


Wanted = Callable[[Result], bool]


def find_results(
    places: Iterable[str], *, rewards: Wanted | None = None, folder: Path = RESULTS
) -> Listing:
    """Return the results at some places.

    Args:
        places: of each: the path of a record, a folder, which is searched, ``suite/model``, or
            ``REVISION:PATH`` of git, PATH being a record or a folder.
        rewards: of which results the rewards are read too; None means of none.
        folder: where ``suite/model`` is looked up.

    Raises:
        ResultError: there is nothing at a place, or a record that is named alone is broken. What is
            broken below a folder is passed over, and said.
    """
    found: list[Found] = []
    passed_over: list[str] = []
    for place in places:
        listing = _at(place, rewards, folder)
        found += listing.found
        passed_over += listing.passed_over
    return Listing(tuple(found), tuple(passed_over))


def find_result(name: str, *, folder: Path = RESULTS) -> Result:
    """Return the one result that a user named, with its rewards; see ``find_results``.

    Raises:
        ResultError: there is none, or several that the name does not tell apart.
    """
    return find_one(name, folder=folder).result


def find_one(name: str, *, folder: Path = RESULTS) -> Found:
    """Return the one result that a user named, as ``find_result``, with its file's name."""
    listing = find_results([name], rewards=lambda _: True, folder=folder)
    if len(listing.found) == 1:
        return listing.found[0]
    names = ", ".join(item.name for item in listing.found) or "none"
    raise ResultError(
        f"{name}: {counted(len(listing.found), 'results')} there, where one is needed: {names};"
        " name one"
    )


def read_with_rewards(path: Path) -> Result:
    """Read a record with the rewards beside it; without any when there is no such file.

    Raises:
        ResultError: record or rewards are broken, or belong to different runs.
    """
    return _with_rewards(read_result(path), path)


def _with_rewards(result: Result, path: Path) -> Result:
    if not path.with_suffix(".jsonl").is_file():
        return result
    rewards = read_judgements(path, reduce=str(result.settings.get("reduce", "min")))
    expected = result.partial or result.suite.get("comparisons")
    if expected is not None and len(rewards) != expected:
        raise ResultError(
            f"{path.with_suffix('.jsonl')}: rewards of {counted(len(rewards), 'comparisons')}"
            f" where the record has {expected}; the two are from different runs: run it again"
        )
    return result.model_copy(update={"rewards": rewards})


# --- places --------------------------------------------------------------------------------------


def _at(place: str, rewards: Wanted | None, folder: Path) -> Listing:
    path = Path(place)
    if path.is_dir():
        return _in_folder(path, rewards)
    path = path.with_suffix(".json") if path.suffix == ".jsonl" else path
    if path.is_file():
        return Listing((Found(place, _read(path, rewards)),))
    in_git = split_place(place)
    if in_git is not None:
        return _in_git(*in_git, rewards)
    return Listing((_by_name(place, rewards, folder),))


def _read(path: Path, rewards: Wanted | None) -> Result:
    result = read_result(path)
    return _with_rewards(result, path) if rewards is not None and rewards(result) else result


def _in_folder(folder: Path, rewards: Wanted | None) -> Listing:
    found: list[Found] = []
    passed_over: list[str] = []
    for path in _records(folder):
        try:
            found.append(Found(str(path), _read(path, rewards)))
        except ResultError as error:
            passed_over.append(f"passed over: {error}")
    return Listing(tuple(found), tuple(passed_over))


def _records(folder: Path) -> Iterator[Path]:
    """Yield the JSON files below a folder, sorted, but for those in hidden folders."""
    for path in sorted(folder.rglob("*.json")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in inside):
            yield path


def _in_git(revision: str, path: str, rewards: Wanted | None) -> Listing:
    """Copy the records at a revision to a temporary folder, and read what is there."""
    with tempfile.TemporaryDirectory(prefix="rmbench-") as temporary:
        root = Path(temporary)
        record = export_records(revision, path, root)

        def named(text: str) -> str:
            return text.replace(f"{root}/", f"{revision}:")

        try:
            if record is not None:
                return Listing((Found(f"{revision}:{path}", _read(root / record, rewards)),))
            listing = _in_folder(root, rewards)
        except ResultError as error:
            raise ResultError(named(str(error))) from None
    found = tuple(Found(named(item.name), item.result) for item in listing.found)
    return Listing(found, tuple(map(named, listing.passed_over)))


# --- suite/model ---------------------------------------------------------------------------------


def _by_name(name: str, rewards: Wanted | None, folder: Path) -> Found:
    """Return the result called ``suite/model``: the model's id, or its file's name without suffix.

    A measured one is preferred to a published, and the latest to an earlier; a part of a run is
    meant only where its file is named.
    """
    suite, _, model = name.partition("/")
    if not model or name.endswith(".json"):
        raise ResultError(f"{name}: no such file; give a result's .json, a folder, or suite/model")
    measured, broken = _of_suite(folder, suite)
    fitting = [item for item in measured if model in (item[1].model["id"], item[0].stem)]
    if fitting:
        path, result = _only(name, fitting, model)
        if result.partial is not None and model != path.stem:
            raise ResultError(
                f"{name}: only a part of the suite was scored ({path}); name that file, or run the"
                " whole suite"
            )
        wanted = rewards is not None and rewards(result)
        return Found(str(path), _with_rewards(result, path) if wanted else result)
    published = [item for item in read_published() if item.suite["name"] == suite]
    for result in published:
        if result.model["id"] == model:
            return Found(name, result)
    if broken:
        raise broken[0]
    known = {f"{suite}/{item.model['id']}" for item in (*(r for _, r in measured), *published)}
    if not known:
        raise ResultError(
            f'{name}: no such file, and no results of a suite "{suite}" below {folder}; give a'
            " result's .json, a folder, or suite/model"
        )
    raise ResultError(f"{name}: no such file or result below {folder}; {did_you_mean(name, known)}")


def _of_suite(folder: Path, suite: str) -> tuple[list[tuple[Path, Result]], list[ResultError]]:
    """Return the records in a suite's folder, and what is wrong with the others."""
    # A name becomes no path: the folder's own entries are compared with it.
    entries = folder.iterdir() if folder.is_dir() else ()
    places = [place for place in entries if place.is_dir() and place.name == suite]
    found: list[tuple[Path, Result]] = []
    broken: list[ResultError] = []
    for path in (path for place in places for path in sorted(place.glob("*.json"))):
        try:
            found.append((path, read_result(path)))
        except ResultError as error:
            broken.append(error)
    return found, broken


def _only(name: str, found: Sequence[tuple[Path, Result]], model: str) -> tuple[Path, Result]:
    """Return the one record meant: the plainest kind of run that there is one of."""
    kept = list(found)
    preferences: list[Callable[[Path, Result], bool]] = [
        lambda path, _: path.stem == model,
        lambda _, result: result.source == "measured",
        lambda _, result: result.partial is None,
        lambda _, result: all(result.usual.get(k) == v for k, v in result.settings.items()),
        lambda _, result: result.date == max(item.date for _, item in kept),
    ]
    for prefers in preferences:
        kept = [item for item in kept if prefers(*item)] or kept
    if len(kept) == 1:
        return kept[0]
    names = ", ".join(str(path) for path, _ in kept)
    raise ResultError(f"{name}: {len(kept)} results fit: {names}; name one by its path")
