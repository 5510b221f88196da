"""The Hub: is it in reach, and what its clients' errors mean to a user."""

import os
import socket
import sys
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

__all__ = ["hub_failure", "is_broken_transfer", "spare_retries"]

HUB: Final = "https://huggingface.co"
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
