"""Names of files: letters, digits, ``.``, ``_``, ``-`` and ``+``, and no two results share one."""

import hashlib
import re
from pathlib import Path
from typing import Final

from rmbench.result.record import Result
from rmbench.result.signature import chosen, word

__all__ = ["file_stem", "kept_stem", "safe_name", "suite_folder"]

# Windows opens a device for these, whatever follows the first dot.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# What rmbench itself puts at the end of a stem.
_MARKED = re.compile(r".*\.(published|(partial|quick)-\d+)")
_PART = re.compile(r"\.(?:partial|quick)-\d+$")
_LONGEST: Final = 120


def suite_folder(output: Path, suite: str) -> Path:
    """Return the folder below ``output`` where the results of a suite of this name go."""
    return output / safe_name(suite)


def file_stem(result: Result) -> str:
    """Return the name of a result's files without suffix, the same for the same kind of run.

    The model's id with ``--`` for ``/``, every setting that a plain run would not have, and part of
    the suite. An id that cannot be read back from its name has a digest beside it.
    """
    words = [
        safe_name(word(name, value, result.settings).replace(":", "-"))
        for name, value in chosen(result.settings, result.usual).items()
    ]
    settings = "+".join(["", *words])
    if len(settings) > _LONGEST:
        settings = f"+settings-{_digest(settings)}"
    stem = safe_name(str(result.model["id"])) + settings
    if result.source == "published":
        return f"{stem}.published"
    return stem + (f".{result.part.replace(':', '-')}" if result.part else "")


def kept_stem(result: Result) -> str:
    """Return the name under which an earlier result is kept when another takes its place."""
    whole = file_stem(result)
    stem = _PART.sub("", whole)
    part = whole.removeprefix(stem)
    return f"{stem}+{_digest(str(result.signature))[:7]}{part}"


def safe_name(text: str) -> str:
    """Return a name of letters, digits, ``.``, ``_``, ``-`` and ``+`` that no other text has."""
    name = text.replace("/", "--")
    is_faithful = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name) is not None
    is_faithful = is_faithful and name.replace("--", "/") == text and not name.endswith(".")
    if is_faithful and not _RESERVED.fullmatch(name) and not _MARKED.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80]
    return f"{readable}+{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
