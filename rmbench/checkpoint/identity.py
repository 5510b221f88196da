"""Which model is it: a commit of the Hub, or the content of a local folder; without loading it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rmbench.checkpoint.hub import find_commit
from rmbench.checkpoint.options import TINY, ModelOptions

__all__ = ["digest_folder", "find_identity", "locate", "name_folder", "name_models"]

# Endings of the files in a model's folder that can move its rewards.
_DIGESTED: Final = {".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py"}


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


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(folder: Path, digest: Callable[[Path], str] = file_digest) -> str:
    """Return ``sha256:`` and a digest of a local model: configuration, weights, tokenizer, code.

    Args:
        folder: the model's.
        digest: gives the digest of one file; a cache's spares reading weights again.

    Raises:
        OSError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _DIGESTED and path.is_file():
            whole.update(f"{path.name}:{digest(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


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
        if Path(where).is_dir():
            return digest_folder(Path(where), digest) if options.revision is None else None
        return find_commit(where, options.revision)
    except OSError:
        return None
