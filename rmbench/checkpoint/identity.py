"""Which model is it: a commit of the Hub, or the content of a local folder; without loading it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rmbench.checkpoint.hub import find_commit
from rmbench.checkpoint.options import TINY, ModelOptions

__all__ = ["digest_folder", "find_identity", "locate"]

# Endings of the files in a model's folder that can move its rewards.
_DIGESTED: Final = {".json", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".py"}


def locate(model: str) -> tuple[str, str]:
    """Return where to load from, and the model's name: a Hub id, or the folder's own name."""
    if model == TINY:
        return str(Path(__file__).parent.parent / TINY), TINY
    if Path(model).is_dir():
        return model, Path(model).resolve().name
    return model, model


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
