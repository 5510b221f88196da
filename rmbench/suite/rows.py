"""Rows of a data set: from local files, from saved data sets, or from the Hub."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rmbench.errors import DataError
from rmbench.suite.definition import Source, Suite
from rmbench.suite.formats import FORMATS, format_of, read_file
from rmbench.suite.hub import is_saved, open_hub, open_saved
from rmbench.suite.parts import SourcePart, axes_of
from rmbench.suite.row import Row, Rows

__all__ = ["Row", "Rows", "open_rows"]

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


class _Files(NamedTuple):
    """The files of one part, and the folder that they lie in."""

    part: SourcePart
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
                " instead of the Hub's data set; work in another directory, or pass"
                f" --data {suite.name}=PATH"
            )
    return open_hub(suite)


# --- local files ---------------------------------------------------------------------------------


def _open_local(path: Path, source: Source) -> Rows:
    if not _exists(path):
        raise DataError(f"{path}: no such file or folder; give a data file, or a folder of them")
    if path.is_dir() and is_saved(path):
        return open_saved(path, source)
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
        return [_Files(SourcePart(None, {}), path.parent, [path])]
    own = [one for one in _data_files(path) if one.name.removesuffix(".gz") in source.files]
    if own:
        return [_Files(SourcePart(None, {}), path, own)]
    folders = [(SourcePart(None, {}), path)]
    for kind, names in axes_of(source).items():
        folders = [inner for outer in folders for inner in _below(*outer, kind, names)]
    return [part for place in folders for part in _splits(*place, source)]


def _below(
    part: SourcePart, folder: Path, kind: str, names: Sequence[str]
) -> list[tuple[SourcePart, Path]]:
    """Return the folders of these names, or the folder itself if it has none of them."""
    missing = [name for name in names if not (folder / name).is_dir()]
    if len(missing) == len(names):
        return [(part, folder)]
    if missing:
        key = {"path": "paths", "config": "configs", "folder": "data_dirs"}[kind]
        raise DataError(f'{folder}: no folder "{missing[0]}"; the suite reads every one of {key}')
    return [(_named(part, kind, name), folder / name) for name in names]


def _named(part: SourcePart, kind: str, name: str) -> SourcePart:
    return SourcePart("/".join(filter(None, (part.name, name))), {**part.where, kind: name})


def _splits(part: SourcePart, folder: Path, source: Source) -> list[_Files]:
    if not source.splits:
        return [_Files(part, folder, _find_files(folder, source.split))]
    paths = _data_files(folder)
    found = {split: _named_after(split, paths, folder) for split in source.splits}
    missing = [split for split, chosen in found.items() if not chosen]
    if len(missing) == len(found):
        return [_Files(part, folder, paths)]
    if missing and not source.parts:
        raise DataError(f'{folder}: no file is named after the split "{missing[0]}"; add it')
    return [
        _Files(_named(part, "split", split), folder, chosen)
        for split, chosen in found.items()
        if chosen
    ]


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
