"""Everything rmbench raises on purpose, as one small tree.

* RmbenchError: what a user can fix; shown as one line, without a traceback
    * SuiteError: a suite file, or a suite that does not fit its data
    * DataError: the rows of a suite
    * ScorerError: a model, a tokenizer, a template, or the rewards they gave
    * ResultError: a result file, or the place where one is written

A message reads ``place: finding; remedy``: where it is, what was found, what to do.
"""

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rmbench.wording import printable

__all__ = [
    "DataError",
    "ResultError",
    "RmbenchError",
    "ScorerError",
    "SuiteError",
    "did_you_mean",
    "enclosed",
    "install",
]

MAX_NAMES: Final = 30
EXTRAS: Final = {
    "accelerate": "multi-gpu",
    "datasketch": "overlap",
    "httpx2": "servers",
    "markupsafe": "report",
    "matplotlib": "report",
    "peft": "adapters",
    "trl": "trl",
}
"""Packages that rmbench does without, and the extra that brings each."""


class RmbenchError(Exception):
    """Something the user can fix; ``str(error)`` is one line: place, finding, remedy."""

    def __str__(self) -> str:
        # Names from files stand in messages; one must not break the line or steer the terminal.
        return printable(super().__str__())


class SuiteError(RmbenchError):
    """A suite file is wrong, or a suite does not fit the data it was given."""


class DataError(RmbenchError):
    """A row, a file or a data set cannot be read as comparisons."""


class ScorerError(RmbenchError):
    """A model cannot be loaded, or must not be trusted with a number."""


class ResultError(RmbenchError):
    """A result file is wrong, or cannot be written."""


def install(package: str) -> str:
    """Return the remedy for a package that is not installed: what brings it."""
    extra = EXTRAS.get(package)
    return "pip install rmbench" if extra is None else f"pip install 'rmbench[{extra}]'"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the nearest known one, or the known ones.

    Args:
        name: what was given.
        known: what would have been right.

    Returns:
        ``did you mean "chat-hard"?`` or ``known: a, b, c``, of which at most ``MAX_NAMES``.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    if not names:
        return "there is none"
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return "known: " + ", ".join(names[:MAX_NAMES]) + more


@contextlib.contextmanager
def enclosed(explain: Callable[[BaseException], RmbenchError]) -> Iterator[None]:
    """Turn whatever a library raises over a foreign file into one line.

    A library may raise anything over a file that it does not expect, a bare ``Exception`` or a
    panic of its Rust code (which is no ``Exception``); what counts is where it happens. Only the
    library's call belongs inside, so that a bug of rmbench's own keeps its traceback.

    Args:
        explain: gives the error to raise instead: place, finding, remedy.

    Raises:
        RmbenchError: what ``explain`` returned; one that was raised inside goes through as it is.
    """
    try:
        yield
    except (RmbenchError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise explain(error) from error
