"""Which model is it: a commit of the Hub, or the content of a local folder; without loading it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rmbench.checkpoint.adapter import combine, read_adapter
from rmbench.checkpoint.hub import find_commit, snapshot
from rmbench.checkpoint.options import TINY, ModelOptions
from rmbench.checkpoint.stored import named_by_indexes, read_json
from rmbench.errors import ScorerError
from rmbench.files import Stamp, stamp

__all__ = [
    "check_unmoved",
    "digest_folder",
    "find_identity",
    "locate",
    "model_files",
    "name_folder",
    "name_models",
    "take_stamps",
]

# Endings of the files in a model's folder that can move its rewards.
_DIGESTED: Final = {
    ".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py", ".tiktoken", ".spm", ".bpe",
    ".codes", ".vocab", ".toml", ".pt", ".pth", ".gguf",
}  # fmt: skip
_CONFIGS: Final = ("config.json", "tokenizer_config.json")


# Names of folders that say nothing of the model in them.
_GENERIC: Final = re.compile(
    r"((checkpoint|ckpt|global|step|epoch|iter)[-_]?)+(\d+)?|final|best|last|latest|merged|output"
)
_LONGEST_NAME: Final = 3


def locate(model: str) -> tuple[str, str]:
    """Return where to load from, and the model's name: a Hub id, or the name of a folder."""
    if model == TINY:
        return str(Path(__file__).parent.parent / TINY), TINY
    if Path(model).is_dir():
        return model, name_folder(Path(model))
    return model, model


def name_folder(folder: Path, *, parts: int = 1) -> str:
    """Return what the model in a folder is called by default.

    The folder's own name, and before it that of the folder above where its own says nothing:
    ``runA/checkpoint-500``. A folder of the Hub's cache has the name of its repository.

    Args:
        folder: an existing one.
        parts: at least so many folders' names.
    """
    names = folder.resolve().parts[1:] or ("model",)
    if len(names) > 2 and names[-2] == "snapshots" and names[-3].startswith("models--"):
        return names[-3].removeprefix("models--").replace("--", "/")
    while parts < _LONGEST_NAME and _GENERIC.fullmatch(names[-parts]) and parts < len(names):
        parts += 1
    # A name that is not UTF-8 cannot stand in a record.
    return "/".join(names[-parts:]).encode(errors="backslashreplace").decode()


def name_models(models: Sequence[str]) -> dict[str, str]:
    """Return what each model is called, told apart where two folders have one name."""
    names = {model: locate(model)[1] for model in models}
    for parts in range(2, 9):
        counts = Counter(names.values())
        for model, name in names.items():
            if counts[name] > 1 and model != TINY and Path(model).is_dir():
                names[model] = name_folder(Path(model), parts=parts)
    return names


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files that loading a model's folder can open, by their names from the folder.

    Besides those of the folder itself: named templates, code in sub-folders where the model brings
    its own, and whatever its indexes of weights name, in sub-folders or outside.
    """
    found = [path for path in folder.iterdir() if path.suffix in _DIGESTED]
    found += folder.glob("additional_chat_templates/*.jinja")
    if any(_auto_map(folder / name) for name in _CONFIGS):
        found += folder.rglob("*.py")
    names = {path.relative_to(folder).as_posix(): path for path in found}
    names |= {name: folder / name for name in named_by_indexes(folder)}
    return {name: names[name] for name in sorted(names) if names[name].is_file()}


def _auto_map(path: Path) -> Any:
    """Return what a configuration says of code of its own."""
    try:
        settings = read_json(path) if path.is_file() else None
    except ScorerError:
        return None  # loading says what is wrong with it
    return settings.get("auto_map") if isinstance(settings, dict) else None


def digest_folder(folder: Path, digest: Callable[[Path], str] = sha256_of) -> str:
    """Return ``sha256:`` and a digest of a local model: configuration, weights, tokenizer, code.

    Args:
        folder: the model's.
        digest: gives the digest of one file; a cache's spares reading weights again.

    Raises:
        OSError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for name, path in model_files(folder).items():
        whole.update(f"{name}:{digest(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def take_stamps(folder: Path) -> Mapping[str, Stamp]:
    """Return what the system says of each file that loading can open, without reading it.

    Raises:
        ScorerError: an adapter does not say what its base is.
    """
    files = {name: stamp(path) for name, path in model_files(folder).items()}
    adapter = read_adapter(folder, str(folder))
    if adapter is not None and Path(adapter.base).is_dir():
        base = model_files(Path(adapter.base))
        files |= {f"{adapter.base}/{name}": stamp(path) for name, path in base.items()}
    return files


def check_unmoved(folder: Path, before: Mapping[str, Stamp]) -> None:
    """Refuse a model whose files changed while it was identified and loaded.

    Args:
        folder: the model's.
        before: of ``take_stamps``, taken before the first file was read.

    Raises:
        ScorerError: a file was written, replaced, added or removed meanwhile.
    """
    after = take_stamps(folder)
    moved = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if moved:
        raise ScorerError(
            f"{folder}: {moved[0]} changed while the model was being loaded, so that it is not"
            " known which one was; run again when it is written, or give a copy of the folder"
        )


def find_identity(model: str, options: ModelOptions, digest: Callable[[Path], str]) -> str | None:
    """Return what identifies a model's weights, configuration, tokenizer and code.

    The Hub is asked for the commit that the revision stands for; when it cannot be reached, the
    commit in the local cache counts, as it does for loading.

    Returns:
        None for a folder that cannot be read or is given with a revision; loading then says what
        is wrong.

    Raises:
        ScorerError: the Hub has no such model, or gives none.
    """
    where, _ = locate(model)
    try:
        if not Path(where).is_dir():
            commit = find_commit(where, options.revision)
            return _with_base(commit, snapshot(where, commit), digest, place=where)
        if options.revision is not None:
            return None
        return _with_base(digest_folder(Path(where), digest), Path(where), digest, place=where)
    except OSError:
        return None


def _with_base(
    revision: str, folder: Path, digest: Callable[[Path], str], *, place: str
) -> str | None:
    """Return what identifies a model, and for an adapter its base too."""
    adapter = read_adapter(folder, place)
    if adapter is None:
        return revision
    try:
        base = find_identity(adapter.base, ModelOptions(revision=adapter.revision), digest)
    except ScorerError as error:
        raise ScorerError(f"{place}: its base model: {error}") from None
    return None if base is None else combine(revision, base)
