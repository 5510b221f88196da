"""Is the Hub in reach? Its libraries are told before they are imported: they try for long."""

import os
import socket
import sys
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

__all__ = ["spare_retries"]

HUB: Final = "https://huggingface.co"


def spare_retries() -> None:
    """Put the Hub's libraries in offline mode where the name of its host cannot be resolved.

    They would ask six times for each file, for half a minute, even if all of them are in the cache:
    the usual case on a cluster whose computing nodes have no network. Sets ``HF_HUB_OFFLINE`` of
    this process; does nothing where the user has set it, where a proxy resolves names, or where
    ``huggingface_hub`` has read it already.
    """
    if "HF_HUB_OFFLINE" in os.environ or "huggingface_hub" in sys.modules:
        return
    if getproxies().keys() & {"http", "https", "all"}:
        return
    host = urlsplit(os.environ.get("HF_ENDPOINT") or HUB).hostname
    if host is None:  # no address: the libraries will say so
        return
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):  # a name that is none cannot be encoded
        os.environ["HF_HUB_OFFLINE"] = "1"
