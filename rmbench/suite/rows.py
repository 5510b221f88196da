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

    ``place`` is for error messages; ``part`` the data folder it came from, if the source names
    several; ``number`` counts from 0 within the part.
    """

    place: str
    part: str | None
    number: int
    fields: Mapping[str, Any]


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
    beside = suite.folder / source.path
    if _exists(beside):
        return _open_local(beside, source)
    if format_of(beside) is not None:
        raise DataError(f"{beside}: no such file; the suite's [source] names it")
    if _exists(Path(source.path)):  # which datasets would read in its place, without a word
        raise DataError(
            f"{source.path}: the working directory has something of this name, which would be read"
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


def _find_parts(path: Path, source: Source) -> list[tuple[str | None, list[Path]]]:
    """Return the files to read, by data folder; one part without a name if there are none."""
    if path.is_file():
        if format_of(path) is None:
            raise DataError(f"{path}: unknown format; known: {', '.join(FORMATS)}, each also .gz")
        return [(None, [path])]
    missing = [name for name in source.data_dirs if not (path / name).is_dir()]
    if len(missing) == len(source.data_dirs):
        return [(None, _find_files(path, source.split))]
    if missing:
        raise DataError(f'{path}: no folder "{missing[0]}"; the suite reads every one of data_dirs')
    return [(name, _find_files(path / name, source.split)) for name in source.data_dirs]


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
    named = re.compile(rf"{re.escape(split)}([-.].*)?")
    chosen = [
        path
        for path in paths
        if any(named.fullmatch(name) for name in path.relative_to(folder).parts)
    ]
    if chosen or named.fullmatch(folder.absolute().name):
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


def _read_parts(parts: Sequence[tuple[str | None, list[Path]]]) -> Iterator[Row]:
    for part, paths in parts:
        number = 0
        for path in paths:
            for place, fields in read_file(path):
                yield Row(place, part, number, fields)
                number += 1


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
    dataset = _one_split(saved, source.split, str(folder))
    return Rows(
        origin=folder.absolute().name,
        revision=None,
        read=lambda: _read_datasets([(None, dataset)], str(folder)),
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
    for part in source.data_dirs or (None,):
        with enclosed(partial(_hub_refusal, suite)):
            dataset = datasets.load_dataset(
                source.path,
                source.name,
                data_dir=part,
                split=source.split,
                revision=source.revision,
            )
        loaded.append((part, _one_split(dataset, source.split, source.path)))
    return Rows(
        origin=source.path,
        revision=_commit_in_cache(loaded[0][1]) or source.revision,
        read=lambda: _read_datasets(loaded, source.path),
    )


def _commit_in_cache(dataset: Any) -> str | None:
    """Return the commit that a cached data set was read at, as its file names record it."""
    names = [str(entry["filename"]) for entry in dataset.cache_files]
    found = [match for name in names for match in re.findall(r"\b[0-9a-f]{40}\b", name)]
    return found[-1] if found else None


def _hub_refusal(suite: Suite, error: BaseException) -> DataError:
    local = f"pass --data {suite.name}=PATH with a local copy"
    meaning = hub_failure(error, local=local, remedy="check [source]")
    return DataError(f"{suite.source.path} (split {suite.source.split}): {meaning}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read_datasets(parts: Sequence[tuple[str | None, Any]], name: str) -> Iterator[Row]:
    for part, dataset in parts:
        where = name if part is None else f"{name}/{part}"
        number = 0
        # As Arrow has them, so that no picture is decoded that nobody asked for.
        for batch in dataset.with_format("arrow").iter(_BATCH):
            for fields in batch.to_pylist():
                yield Row(f"{where}, row {number + 1}", part, number, fields)
                number += 1
