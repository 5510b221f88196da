"""The Hub, and data sets that are on it or were saved: in reach, opened, and what errors mean."""

import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from rmbench.errors import DataError, enclosed
from rmbench.suite.definition import Source, Suite
from rmbench.suite.parts import SourcePart, parts_of
from rmbench.suite.row import Row, Rows

__all__ = [
    "hub_failure",
    "is_broken_transfer",
    "is_saved",
    "open_hub",
    "open_saved",
    "spare_retries",
]

HUB: Final = "https://huggingface.co"
_BATCH: Final = 256
CONNECT_S: Final = 3.0
_PORTS: Final = {"http": 80, "https": 443}

_UNREACHABLE: Final = "unreachable"
# Class of an error, of huggingface_hub or datasets → finding and remedy. The nearest class counts.
_MEANINGS: Final = {
    "GatedRepoError": "its authors give access on request; ask for it on its page of the Hub,"
    " then log in with hf auth login",
    "DisabledRepoError": "the Hub has disabled it; give another one",
    "RepositoryNotFoundError": "no such repository on the Hub, or it is private; check the id, or"
    " log in with hf auth login",
    "RevisionNotFoundError": "no such revision on the Hub; check the revision",
    "HFValidationError": "no name that a repository of the Hub can have; check the id",
    "LocalEntryNotFoundError": _UNREACHABLE,
    "OfflineModeIsEnabled": _UNREACHABLE,
    "TransportError": _UNREACHABLE,  # of httpx2 and httpx: connections and time-outs
    "ConnectionError": _UNREACHABLE,
    "TimeoutError": _UNREACHABLE,
}


def spare_retries() -> None:
    """Put the Hub's libraries in offline mode where its host cannot be connected to.

    They would ask six times for each file, for minutes, even if all of them are in the cache: the
    usual case on a cluster whose computing nodes have no network. Sets ``HF_HUB_OFFLINE`` of this
    process; does nothing where the user has set it, where a proxy connects, or where
    ``huggingface_hub`` has read it already.
    """
    if "HF_HUB_OFFLINE" in os.environ or "huggingface_hub" in sys.modules:
        return
    if getproxies().keys() & {"http", "https", "all"}:
        return
    address = urlsplit(endpoint())
    if address.hostname is None:  # no address: the libraries will say so
        return
    try:
        port = address.port or _PORTS.get(address.scheme, 443)
        socket.create_connection((address.hostname, port), timeout=CONNECT_S).close()
    except (OSError, ValueError):  # a name that is none cannot be encoded, nor a port beyond 65535
        os.environ["HF_HUB_OFFLINE"] = "1"


def endpoint() -> str:
    """Return the address of the Hub: ``HF_ENDPOINT``, or the public one."""
    return os.environ.get("HF_ENDPOINT") or HUB


def hub_failure(error: BaseException, *, local: str, remedy: str = "try again") -> str:
    """Return what an error of the Hub's clients means: finding and remedy, in one line.

    The errors behind it count too: ``datasets`` and ``transformers`` word many causes alike.

    Args:
        error: what huggingface_hub or datasets raised.
        local: the way on without the Hub: ``give a local folder``.
        remedy: what to do about an error that is not the Hub's.
    """
    meaning, status = _meaning(error)
    if meaning == _UNREACHABLE:
        return (
            f"not in the cache, and the Hub ({endpoint()}) cannot be reached; run once with a"
            f" network to cache it, or {local}"
        )
    if meaning is not None:
        return f"{meaning}, or {local}"
    if status is not None:
        return (
            f"the Hub ({endpoint()}) answers with HTTP status {status}; try again later, or {local}"
        )
    # DatasetGenerationError says what failed only in its cause.
    cause = error.__cause__ or error
    lines = (str(cause).strip() or type(cause).__name__).splitlines()
    return f"cannot be loaded: {lines[0].rstrip('.:')}; {remedy}, or {local}"


def is_broken_transfer(error: BaseException) -> bool:
    """Tell whether an answer of the Hub broke off, rather than being a refusal or no answer."""
    return _meaning(error) == (None, None)


def _meaning(error: BaseException) -> tuple[str | None, int | None]:
    """Return the most telling meaning among an error and those behind it, and the HTTP status."""
    seen: BaseException | None = error
    meaning = status = None
    while seen is not None and meaning in (None, _UNREACHABLE):
        names = [kind.__name__ for kind in type(seen).__mro__]
        meaning = next((_MEANINGS[name] for name in names if name in _MEANINGS), meaning)
        status = getattr(getattr(seen, "response", None), "status_code", status)
        seen = seen.__cause__ or seen.__context__
    return meaning, status


# --- data sets: on the Hub, or saved to disk -----------------------------------------------------


def is_saved(folder: Path) -> bool:
    """Return whether ``Dataset.save_to_disk`` wrote a folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def open_saved(folder: Path, source: Source) -> Rows:
    """Open what ``Dataset.save_to_disk`` wrote.

    Raises:
        DataError: it is broken, or has several splits and none is named.
    """
    import datasets

    with enclosed(partial(_damage, f"{folder}: not a saved data set")):
        saved = datasets.load_from_disk(str(folder))
    if source.splits and not isinstance(saved, datasets.Dataset):
        loaded = [
            (SourcePart(split, {"split": split}), _one_split(saved, split, str(folder)))
            for split in source.splits
        ]
    else:
        loaded = [(SourcePart(None, {}), _one_split(saved, source.split, str(folder)))]
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


def open_hub(suite: Suite) -> Rows:
    """Open a Hub data set, from its cache where it has been read before.

    Raises:
        DataError: it cannot be loaded; the message says why and what to do.
    """
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
    split = f" (split {splits})" if splits else ""
    wanted = f" ({suite.source.wanted})" if suite.source.wanted else ""
    local = f"pass --data {suite.name}=PATH with a local copy{wanted}"
    if suite.folder == Path(path).parent and not suite.folder.exists():  # rows without a suite file
        local = "give the path of a local file or folder in its place"
    meaning = hub_failure(error, local=local, remedy="check [source]")
    return DataError(f"{path}{split}: {meaning}")


def _damage(finding: str, error: BaseException) -> DataError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(f"{finding}: {first}; save or copy it again")


def _read_datasets(parts: Sequence[tuple[SourcePart, Any]], name: str) -> Iterator[Row]:
    for part, dataset in parts:
        where = name if part.name is None else f"{name}/{part.name}"
        number = 0
        # As Arrow has them, so that no picture is decoded that nobody asked for.
        batches = iter(dataset.with_format("arrow").iter(_BATCH))
        while True:
            with enclosed(partial(_damage, f"{where}: broken after {number} rows")):
                batch = next(batches, None)
                rows = [] if batch is None else batch.to_pylist()
            if batch is None:
                break
            for fields in rows:
                yield Row(f"{where}, row {number + 1}", part.name, number, fields, part.where)
                number += 1
