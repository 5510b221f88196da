"""The line that says how a number was made."""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from rmbench.result.record import Result, SuiteFacts
from rmbench.scorers.contract import ScorerInfo

__all__ = ["chosen", "sign", "sign_again", "without_release", "word"]

# Settings that stand in every signature, since a plain run on another machine or another model may
# have other values.
_ALWAYS: Final = ("dtype", "template")
_SHORT: Final = {"template": "tmpl", "system_prompt": "sys"}
_DIGEST: Final = "_sha256"
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


def sign(suite: SuiteFacts, info: ScorerInfo, *, part: str | None) -> str:
    """Return the signature of a measured number, parts joined by ``|``.

    Suite, version and the first digits of the data's digest; model and revision; dtype and
    template; every setting that is not the usual one; part of the suite; rmbench's version. Two
    results with one signature have the same numbers.
    """
    digest = str(suite.get("sha256") or "")[:7]
    revision = (info.revision or "").removeprefix("sha256:")[:7]
    parts = [f"{suite['name']}:{suite['version']}" + (f"-{digest}" if digest else "")]
    parts.append(info.id.replace("|", "_") + (f"@{revision}" if revision else ""))
    if "dtype" in info.settings:
        parts.append(str(info.settings["dtype"]))
    named = {name: info.settings[name] for name in _ALWAYS[1:] if name in info.settings}
    named |= {
        name: value
        for name, value in chosen(info.settings, info.usual).items()
        if name not in _ALWAYS
    }
    parts += [word(name, value, info.settings) for name, value in named.items()]
    if part is not None:
        parts.append(part)
    return "|".join([*parts, f"rmbench:{metadata.version('rmbench')}"])


def without_release(signature: str) -> str:
    """Return a signature without the release of rmbench that made the number."""
    return re.sub(r"\|rmbench:[^|]*", "", signature)


def chosen(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a plain run would not have.

    A setting ``x_sha256`` is the digest of what ``x`` names and goes with it: it makes ``x`` a
    chosen one, and is never named alone.
    """
    names: dict[str, None] = {}
    for name, value in settings.items():
        if name not in usual or usual[name] != value:
            named = name.removesuffix(_DIGEST)
            names[named if named in settings else name] = None
    return {name: settings[name] for name in settings if name in names}


def word(name: str, value: Any, settings: Mapping[str, Any]) -> str:
    """Return a setting as ``name:value``; of a value that is no plain word, its digest."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    digest = settings.get(name + _DIGEST)
    if not _PLAIN.fullmatch(text):
        whole = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        text = whole[:7] if not digest else re.sub(r"[^A-Za-z0-9._-]", "_", text)[:32]
    return f"{_SHORT.get(name, name)}:{text}" + (f"-{str(digest)[:7]}" if digest else "")


def sign_again(result: Result) -> str:
    """Return the signature that today's rules give a record, whatever release wrote it."""
    info = ScorerInfo(
        id=result.model["id"],
        kind=str(result.model.get("kind")),
        revision=result.model.get("revision"),
        settings=result.settings,
        usual=result.usual,
    )
    return sign(result.suite, info, part=result.part)
