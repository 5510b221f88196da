"""Scorers of one's own: a plain function, or what a Python file holds under a name."""

import hashlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rmbench.errors import ScorerError, did_you_mean, enclosed
from rmbench.options import Options
from rmbench.scorers.contract import (
    Facts,
    Identity,
    Ledger,
    Scale,
    Scorer,
    ScorerInfo,
)
from rmbench.scorers.kind import Kind
from rmbench.suite.comparison import Conversation

__all__ = ["FILE_KIND", "FunctionScorer", "open_file", "scorer"]

RECORD_S: Final = 1.0
"""Answers of a slow function are kept about so often."""
_AT_ONCE: Final = 1024

RewardFunction = Callable[[Conversation], float]


class FunctionScorer:
    """A function of a conversation as a scorer."""

    def __init__(self, info: ScorerInfo, reward: RewardFunction) -> None:
        """Keep what it is called and what it calls."""
        self.info = info
        self._reward = reward

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the function's rewards; what an earlier run recorded is not asked again."""
        rewards: dict[int, float] = {}
        last = time.monotonic()
        for number, conversation in enumerate(conversations):
            known = ledger.known(number)
            if known is None:
                rewards[number] = self._ask(conversation)
            now = time.monotonic()
            if len(rewards) >= _AT_ONCE or (rewards and now - last > RECORD_S):
                ledger.record(rewards)
                rewards, last = {}, now
        ledger.record(rewards)
        return Facts()

    def _ask(self, conversation: Conversation) -> float:
        reward = self._reward(conversation)
        if isinstance(reward, bool) or not isinstance(reward, int | float):
            raise ScorerError(
                f"{self.info.id}: gave {type(reward).__name__} for {conversation.name or 'a text'};"
                " a reward is a number"
            )
        return float(reward)


def scorer(
    name: str,
    reward: RewardFunction,
    *,
    settings: Mapping[str, Any] | None = None,
    scale: Scale = "ordinal",
    revision: str | None = None,
) -> FunctionScorer:
    """Return a scorer that gives each conversation what a function returns.

    Args:
        name: of the scorer; names the result.
        reward: takes a ``Conversation`` (``prompt``, ``response``, ``messages``) and returns a
            finite number, higher for better.
        settings: everything that can move a reward; stands in the record and in the signature.
        scale: what a difference of two rewards means: ``log-odds`` or ``ordinal``.
        revision: what tells this function from what it was before; with one, answers are kept from
            run to run.
    """
    info = ScorerInfo(
        id=name, kind="function", revision=revision, scale=scale, settings=dict(settings or {})
    )
    return FunctionScorer(info, reward)


# --- a file --------------------------------------------------------------------------------------


class _OfFile:
    """A scorer of a file under the file's digest, which is its revision."""

    def __init__(self, scorer: Scorer, path: Path, revision: str) -> None:
        self._scorer = scorer
        self._path = path
        self._revision = revision

    @property
    def info(self) -> ScorerInfo:
        return replace(self._scorer.info, revision=self._revision)

    @property
    def identity(self) -> Identity | None:
        info = self.info
        try:
            now = _revision(self._path.read_bytes())
        except OSError:
            return None
        return Identity(repr((info.id, now, sorted(info.settings.items()))))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._scorer, name)
        return self._enclosed(found) if name in ("score", "prefer") else found

    def _enclosed(self, ask: Callable[..., Facts]) -> Callable[..., Facts]:
        def asked(*given: Any) -> Facts:
            with enclosed(partial(_failure, self._path)):
                return ask(*given)

        return asked


def open_file(name: str, _: Options | None = None) -> Scorer:
    """Return the scorer that a Python file holds; the file's digest is its revision.

    Args:
        name: ``PATH.py:NAME``: a scorer, a class of scorers that is made without arguments, or a
            function of a conversation.

    Raises:
        ScorerError: the file cannot be run, has no such name, or it is no scorer.
    """
    path, colon, attribute = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise ScorerError(f"file:{name}: write it as file:PATH.py:NAME")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ScorerError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    revision, file = _revision(content), Path(path)
    module = _run(file)
    if not hasattr(module, attribute):
        known = _scorers_in(module)
        remedy = did_you_mean(attribute, known) if known else "it defines no scorer"
        raise ScorerError(f'{path}: has no "{attribute}"; {remedy}')
    return _OfFile(_as_scorer(getattr(module, attribute), file, attribute), file, revision)


def _revision(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"rmbench_own_{path.stem}", path)
    assert spec is not None and spec.loader is not None, "the name ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    with enclosed(partial(_failure, path)):
        spec.loader.exec_module(module)
    return module


def _scorers_in(module: ModuleType) -> list[str]:
    """Return the names of what a file defines, rather than imports, and that may be a scorer."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (hasattr(value, "info") or getattr(value, "__module__", None) == module.__name__)
        and (callable(value) or hasattr(value, "score") or hasattr(value, "prefer"))
    ]


def _failure(path: Path, error: BaseException) -> ScorerError:
    """Return where in a file of the user's own what went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    return ScorerError(f"{place}: {type(error).__name__}: {error}; fix the file")


def _as_scorer(found: Any, path: Path, attribute: str) -> Scorer:
    if isinstance(found, type):
        with enclosed(partial(_failure, path)):
            found = found()
    if hasattr(found, "info") and (hasattr(found, "score") or hasattr(found, "prefer")):
        made: Scorer = found
        return made
    if callable(found):
        return scorer(f"{path.stem}/{attribute}", found)
    raise ScorerError(
        f"{path}: {attribute} is {type(found).__name__}; it must be a scorer (info with score or"
        " prefer), a class of them, or a function of a conversation"
    )


FILE_KIND: Final = Kind(
    open=open_file,
    summary="A scorer or a function in a Python file; the file's digest is its revision.",
    metavar="PATH.py:NAME",
    result_name=lambda name, _: open_file(name).info.id,
)
