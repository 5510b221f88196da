"""Rows of a data set: from local files, from saved data sets, or from the Hub."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.errors import DataError, enclosed
from rmbench.suite.definition import Source, Suite
from rmbench.suite.formats import FORMATS, format_of, read_file
from rmbench.suite.hub import hub_failure, spare_retries
from rmbench.suite.parts import Part, axes_of, parts_of

__all__ = ["Row", "Rows", "open_rows"]

_BATCH: Final = 256
# As data sets on the Hub call their splits.
_SPLITS: Final = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}


class Row(NamedTuple):
    """One row and where it stands.

    ``place`` is for error messages; ``part`` the part of the source that it came from, if there are
    several; ``number`` counts from 0 within the part; ``where`` says where it was found (``path``,
    ``config``, ``split``, ``folder``, ``file``), and is one object for the rows of one file.
    """

    place: str
    part: str | None
    number: int
    fields: Mapping[str, Any]
    where: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a source, read anew at each iteration.

    ``origin`` says where from; ``revision`` is the Hub's commit, None for local files.
    """

    origin: str
    revision: str | None
    read: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in the order of the source.

        Raises:
            DataError: a file is broken; the message names file and row.
        """
        return self.read()


class _Files(NamedTuple):
    """The files of one part, and the folder that they lie in."""

    part: Part
    folder: Path
    paths: list[Path]


def open_rows(suite: Suite, *, data: str | None = None) -> Rows:
    """Return the rows of a suite: from beside its file where they are there, else from the Hub.

    Args:
        suite: its ``[source]`` says what to read.
        data: a local file or folder to read instead.

    Raises:
        DataError: nothing is there, or the Hub cannot be reached and nothing is cached.
    """
    source = suite.source
    if data is not None:
        return _open_local(Path(data), source)
    for path in source.places:
        beside = suite.folder / path
        if _exists(beside):
            return _open_local(beside, source)
        if format_of(beside) is not None:
            raise DataError(f"{beside}: no such file; the suite's [source] names it")
        if _exists(Path(path)):  # which datasets would read in its place, without a word
            raise DataError(
                f"{path}: the working directory has something of this name, which would be read"
                " in place of the Hub's data set; work in another directory, or pass"
                f" --data {suite.name}=PATH"
            )
    return _open_hub(suite)


# --- local files ---------------------------------------------------------------------------------


def _open_local(path: Path, source: Source) -> Rows:
    if not _exists(path):
        raise DataError(f"{path}: no such file or folder; give a data file, or a folder of them")
    if path.is_dir() and _is_saved(path):
        return _open_saved(path, source)
    parts = _find_parts(path, source)
    return Rows(origin=path.absolute().name, revision=None, read=lambda: _read_parts(parts))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; check path and rights"
        ) from None


def _find_parts(path: Path, source: Source) -> list[_Files]:
    """Return the files to read, by part; one part without a name if there are none."""
    if path.is_file():
        if format_of(path) is None:
            raise DataError(f"{path}: unknown format; known: {', '.join(FORMATS)}, each also .gz")
        return [_Files(Part(None, {}), path.parent, [path])]
    folders = [(Part(None, {}), path)]
    for kind, names in axes_of(source).items():
        folders = [inner for outer in folders for inner in _below(*outer, kind, names)]
    return [part for place in folders for part in _splits(*place, source)]


def _below(part: Part, folder: Path, kind: str, names: Sequence[str]) -> list[tuple[Part, Path]]:
    """Return the folders of these names, or the folder itself if it has none of them."""
    missing = [name for name in names if not (folder / name).is_dir()]
    if len(missing) == len(names):
        return [(part, folder)]
    if missing:
        key = {"path": "paths", "config": "configs", "folder": "data_dirs"}[kind]
        raise DataError(f'{folder}: no folder "{missing[0]}"; the suite reads every one of {key}')
    return [(_named(part, kind, name), folder / name) for name in names]


def _named(part: Part, kind: str, name: str) -> Part:
    return Part("/".join(filter(None, (part.name, name))), {**part.where, kind: name})


def _splits(part: Part, folder: Path, source: Source) -> list[_Files]:
    if not source.splits:
        return [_Files(part, folder, _find_files(folder, source.split))]
    paths = _data_files(folder)
    found = {split: _named_after(split, paths, folder) for split in source.splits}
    missing = [split for split, chosen in found.items() if not chosen]
    if len(missing) == len(found):
        return [_Files(part, folder, paths)]
    if missing:
        raise DataError(f'{folder}: no file is named after the split "{missing[0]}"; add it')
    return [_Files(_named(part, "split", split), folder, chosen) for split, chosen in found.items()]


def _named_after(split: str, paths: Sequence[Path], folder: Path) -> list[Path]:
    """Return the files that, or a folder above them, are named after a split."""
    named = re.compile(rf"{re.escape(split)}([-.].*)?")
    return [
        path
        for path in paths
        if any(named.fullmatch(name) for name in path.relative_to(folder).parts)
    ]


def _find_files(folder: Path, split: str | None) -> list[Path]:
    """Return a folder's data files, in order of their names: those of the split.

    They, or a folder above them, are named after the split (``test-00000-of-00001.parquet``,
    ``test/0.jsonl``). Where none is, the folder holds one data set: a single file, or files whose
    names differ in digits alone.
    """
    paths = _data_files(folder)
    if split is None:
        _check_one_split(folder, paths)
        return paths
    chosen = _named_after(split, paths, folder)
    own = Path(folder.absolute().name)
    if chosen or _named_after(split, [own], Path()):
        return chosen or paths
    if len({re.sub(r"\d+", "", str(path)) for path in paths}) > 1:
        names = ", ".join(path.name for path in paths[:3])
        raise DataError(
            f'{folder}: no file is named after the split "{split}" ({names} ...); give one file,'
            f' or put the files in a folder called "{split}"'
        )
    return paths


def _check_one_split(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse files of several splits, which no suite means as one data set."""
    splits = sorted({split for path in paths for split in _splits_of(path.relative_to(folder))})
    if len(splits) > 1:
        raise DataError(
            f"{folder}: several splits: {', '.join(splits[:8])}; name one as split in [source], or"
            " give the file of one"
        )


def _splits_of(path: Path) -> Iterator[str]:
    """Yield what a path names a split: ``test.jsonl``, ``data/train/0.json``, ``x-00000-of-00001``.

    As the Hub has them: a word of those below, or what stands before the number of a shard.
    """
    shard = re.match(r"(.+)-\d{5}-of-\d{5}\b", path.name)
    if shard:
        yield shard[1]
        return
    words = [word for part in path.parts for word in re.split(r"[-._ ]", part.lower())]
    found = [_SPLITS[word] for word in words if word in _SPLITS]
    yield from found[-1:]


def _data_files(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and format_of(path))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read: {error.strerror}; check path and rights"
        ) from None
    paths = [path for path in paths if not _is_hidden(path.relative_to(folder))]
    if not paths:
        raise DataError(
            f"{folder}: no data file in this folder; known: {', '.join(FORMATS)}, each also .gz"
        )
    return paths


def _is_hidden(path: Path) -> bool:
    """Return whether a path is of what editors and systems leave behind, as on the Hub."""
    return any(part.startswith((".", "__")) for part in path.parts)


def _read_parts(parts: Sequence[_Files]) -> Iterator[Row]:
    for part, folder, paths in parts:
        number = 0
        for path in paths:
            where = {**_place_of(path.relative_to(folder)), **part.where}
            for place, fields in read_file(path):
                yield Row(place, part.name, number, fields, where)
                number += 1


def _place_of(path: Path) -> dict[str, str]:
    """Return folder and file of a path below the one that is read, the file without suffix."""
    stem = re.sub(r"(\.[a-z]+)(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    folder = path.parent.as_posix()
    where = {"file": stem if folder == "." else f"{folder}/{stem}"}
    return where if folder == "." else {"folder": folder, **where}


# --- data sets: saved to disk, or on the Hub -----------------------------------------------------


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _open_saved(folder: Path, source: Source) -> Rows:
    """Open what ``Dataset.save_to_disk`` wrote."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        finding = f"not a saved data set: {_first_line(error)}"
        raise DataError(f"{folder}: {finding}; save or copy it again") from None
    if source.splits and not isinstance(saved, datasets.Dataset):
        loaded = [
            (Part(split, {"split": split}), _one_split(saved, split, str(folder)))
            for split in source.splits
        ]
    else:
        loaded = [(Part(None, {}), _one_split(saved, source.split, str(folder)))]
    return Rows(
        origin=folder.absolute().name,
        revision=None,
        read=lambda: _read_datasets(loaded, str(folder)),
    )


def _one_split(loaded: Any, split: str | None, place: str) -> Any:
    """Return the named split of a data set that may have several, or the only one."""
    import datasets

    if isinstance(loaded, datasets.Dataset):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        finding = "several splits" if split is None else f'no split "{split}"'
        names = ", ".join(map(str, loaded))
        raise DataError(f"{place}: {finding}; it has {names}; name one as split in [source]")
    return loaded[split]


def _open_hub(suite: Suite) -> Rows:
    """Open a Hub data set, from its cache where it has been read before."""
    spare_retries()
    import datasets

    source = suite.source
    loaded = []
    for part, path in parts_of(source):
        split = part.where.get("split")
        with enclosed(partial(_hub_refusal, suite, path)):
            dataset = datasets.load_dataset(
                path,
                part.where.get("config"),
                data_dir=part.where.get("folder"),
                split=split,
                revision=source.revision,
            )
        loaded.append((part, _one_split(dataset, split, path)))
    return Rows(
        origin=", ".join(source.places),
        revision=_commit_in_cache(loaded[0][1]) or source.revision,
        read=lambda: _read_datasets(loaded, source.places[0]),
    )


def _commit_in_cache(dataset: Any) -> str | None:
    """Return the commit that a cached data set was read at, as its file names record it."""
    names = [str(entry["filename"]) for entry in dataset.cache_files]
    found = [match for name in names for match in re.findall(r"\b[0-9a-f]{40}\b", name)]
    return found[-1] if found else None


def _hub_refusal(suite: Suite, path: str, error: BaseException) -> DataError:
    splits = ", ".join(suite.source.splits) or suite.source.split
    wanted = f" ({suite.source.wanted})" if suite.source.wanted else ""
    local = f"pass --data {suite.name}=PATH with a local copy{wanted}"
    meaning = hub_failure(error, local=local, remedy="check [source]")
    return DataError(f"{path} (split {splits}): {meaning}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_datasets(parts: Sequence[tuple[Part, Any]], name: str) -> Iterator[Row]:
    for part, dataset in parts:
        where = name if part.name is None else f"{name}/{part.name}"
        number = 0
        # As Arrow has them, so that no picture is decoded that nobody asked for.
        for batch in dataset.with_format("arrow").iter(_BATCH):
            for fields in batch.to_pylist():
                yield Row(f"{where}, row {number + 1}", part.name, number, fields, part.where)
                number += 1
