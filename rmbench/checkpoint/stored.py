"""What a model's folder holds in weights: files, names and shapes, read from headers alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from rmbench.errors import ScorerError, enclosed

__all__ = [
    "LFS",
    "Stored",
    "Tensor",
    "is_pointer",
    "named_by_indexes",
    "read_header",
    "read_json",
    "read_stored",
    "refuse_empty",
    "refuse_pointers",
]

MAX_HEADER_BYTES: Final = 100_000_000  # safetensors' own limit
MAX_JSON_BYTES: Final = 200_000_000
WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
_PICKLES: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_SHARD: Final = re.compile(r"model-\d+-of-\d+\.(safetensors|bin)")
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)\.")
_WRAPPER: Final = re.compile(r"(?:(?:module|_orig_mod)\.)+")
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
LFS: Final = (
    "is a Git LFS pointer, not the file itself; run `git lfs pull` in the folder, or download the"
    " model with hf download"
)


class Tensor(NamedTuple):
    """A tensor as a safetensors header states it.

    Attributes:
        shape: of it.
        dtype: by safetensors' name, such as ``BF16``.
        start: where it begins in the file, in bytes.
        stop: where it ends.
    """

    shape: tuple[int, ...]
    dtype: str
    start: int = 0
    stop: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """The weights that loading a folder reads.

    Attributes:
        tensors: by name. Empty where the names are unknown: for pickle, and for a model of the Hub
            whose weights were not fetched yet.
        homes: the file of each tensor.
        is_pickle: whether the weights are pickle.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    homes: Mapping[str, Path] = field(default_factory=dict)
    is_pickle: bool = False

    @property
    def layers(self) -> int | None:
        """How many layers the deepest stack has; None where no names tell."""
        numbers = [int(found[1]) for name in self.tensors if (found := _LAYER.search(name))]
        return max(numbers) + 1 if numbers else None

    @property
    def wrapper(self) -> str:
        """What a wrapper of training put before every name (``module.``); empty for none."""
        found = {match[0] if (match := _WRAPPER.match(name)) else "" for name in self.tensors}
        return found.pop() if len(found) == 1 else ""

    @property
    def size(self) -> int:
        """How many numbers are stored."""
        return sum(_count(tensor.shape) for tensor in self.tensors.values())


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def read_stored(folder: Path, *, pickle: bool = False) -> Stored:
    """Return what the weights of a folder are.

    Args:
        folder: the model's.
        pickle: whether weights that are not safetensors may be loaded.

    Raises:
        ScorerError: there are none, they are cut off or damaged, Git LFS pointers, shards without
            their index, or pickle that may not be loaded.
    """
    if (folder / WHOLE).exists():
        return _headers([folder / WHOLE])
    if (folder / INDEX).exists():
        return _headers(_shards(folder))
    if any((folder / name).exists() for name in _PICKLES):
        if not pickle:
            raise ScorerError(
                f"{folder}: no safetensors weights; pickle weights can run code: convert them, or"
                " pass --trust-pickle if you trust their author"
            )
        return Stored(is_pickle=True)
    raise ScorerError(f"{folder}: {_absence(folder)}")


def refuse_empty(folder: Path) -> None:
    """Refuse a model's folder without any weights, before all else that may be wrong with it.

    Raises:
        ScorerError: it has a configuration and no weights, nor is it an adapter's.
    """
    names = ("adapter_config.json", WHOLE, INDEX, *_PICKLES)
    is_whole = any((folder / name).exists() for name in names)
    if (folder / "config.json").is_file() and not is_whole:
        raise ScorerError(f"{folder}: {_absence(folder)}")


def _absence(folder: Path) -> str:
    """Return finding and remedy for a folder in which loading finds no weights."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    if any(_SHARD.fullmatch(name) for name in names):
        return (
            f"it has weights in parts ({next(filter(_SHARD.fullmatch, names))}), and their index,"
            f" {INDEX}, is missing; copy or download it too"
        )
    others = [name for name in names if name.endswith((".safetensors", ".bin", ".pt", ".gguf"))]
    if "adapter_config.json" in names:
        others = [name for name in others if not name.startswith("adapter_model")]
    seen = f" (it has {', '.join(others[:3])})" if others else ""
    return f"no weights{seen}; a model has them in model.safetensors (or several such files)"


def _shards(folder: Path) -> list[Path]:
    """Return the files that the index names.

    Raises:
        ScorerError: it is no index, or one of them is not there.
    """
    index = read_json(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ScorerError(
            f"{folder / INDEX}: no weight_map of names and files; copy or download it again"
        )
    files = [folder / name for name in sorted(set(names.values()))]
    for file in files:
        if not file.is_file():
            raise ScorerError(
                f"{folder}: {INDEX} names {file.relative_to(folder)}, which is not there; copy or"
                " download it too"
            )
    return files


def _headers(files: list[Path]) -> Stored:
    tensors: dict[str, Tensor] = {}
    homes: dict[str, Path] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            tensors[name], homes[name] = tensor, file
    return Stored(tensors, homes)


def read_header(file: Path) -> dict[str, Tensor]:
    """Return the tensors that a safetensors file states, by name.

    Raises:
        ScorerError: it is cut off or damaged, or a Git LFS pointer.
    """
    from safetensors import safe_open

    if is_pointer(file):
        raise ScorerError(f"{file.parent}: {file.name} {LFS}")
    # The library looks whether all of it is there, and whether every tensor lies within the file.
    with enclosed(lambda error: _damaged(file, error)), safe_open(file, framework="numpy"):
        pass
    with enclosed(lambda error: _damaged(file, error)), file.open("rb") as stream:
        size = min(int.from_bytes(stream.read(8), "little"), MAX_HEADER_BYTES)
        header: dict[str, Any] = json.loads(stream.read(size))
        return {
            name: Tensor(
                tuple(map(int, entry["shape"])),
                str(entry["dtype"]),
                *(8 + size + int(offset) for offset in entry["data_offsets"]),
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }


def _damaged(file: Path, error: BaseException) -> ScorerError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ScorerError(
        f"{file.parent}: {file.name} is damaged or cut off ({first}); copy or download it again"
    )


def is_pointer(file: Path) -> bool:
    """Return whether a file is what Git writes instead of a large file that was not fetched."""
    try:
        with file.open("rb") as stream:
            return stream.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def refuse_pointers(folder: Path) -> None:
    """Refuse a folder in which Git LFS left a pointer instead of a file of the model.

    Raises:
        ScorerError: there is one.
    """
    for path in sorted(folder.iterdir()):
        kind = path.suffix in (".json", ".safetensors", ".bin", ".model", ".txt", ".jinja")
        if kind and path.is_file() and is_pointer(path):
            raise ScorerError(f"{folder}: {path.name} {LFS}")


def named_by_indexes(folder: Path) -> list[str]:
    """Return the files that indexes of weights in a folder name, wherever these are."""
    names: set[str] = set()
    for path in folder.glob("*.index.json"):
        try:
            index = read_json(path)
        except ScorerError:
            continue  # loading says what is wrong with it
        files = index.get("weight_map") if isinstance(index, dict) else None
        if isinstance(files, dict):
            names |= {name for name in files.values() if isinstance(name, str)}
    return sorted(names)


def read_json(path: Path) -> Any:
    """Return what a JSON file of a model holds.

    Raises:
        ScorerError: it cannot be read, or is no JSON.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError(f"larger than {MAX_JSON_BYTES} bytes")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        finding = getattr(error, "strerror", None) or error
        raise ScorerError(
            f"{path.parent}: its {path.name} is not JSON ({finding}); copy or download it again"
        ) from None
