"""What runs on the nodes of a Ray cluster: one model is opened, asked, and its answers sent back.

A node owns nothing: suites, kept answers, checks and records are the driver's. What a user can fix
comes back as a ``Refusal`` rather than as an exception, so that Ray does not try it again.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final, NamedTuple

from rmbench.answers.ask import identity_of
from rmbench.errors import RmbenchError
from rmbench.scorers.contract import (
    Answer,
    Facts,
    Gives,
    Identity,
    MemoryLedger,
    Scorer,
    ScorerInfo,
    is_listwise,
    kind_of_answers,
)
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Candidates, Conversation

__all__ = ["Answered", "Asker", "Described", "Inbox", "Question", "Refusal", "Work", "versions"]

SEND_EVERY_S: Final = 1.0
PACKAGES: Final = ("rmbench", "ray", "torch", "transformers", "tokenizers")
Question = Conversation | Candidates


class Work(NamedTuple):
    """A model with its options, to be opened in the driver's working directory.

    Attributes:
        model: as ``--model`` takes it.
        options: of its kind, by name.
        folder: the driver's working directory, where relative paths begin.
        identity: what the model must be; None before that is known.
    """

    model: str
    options: Mapping[str, Any]
    folder: str
    identity: Identity | None = None


class Described(NamedTuple):
    """What a scorer is, before it is loaded; see ``PointwiseScorer`` and ``ListwiseScorer``."""

    gives: Gives
    identity: Identity | None
    most: int | None
    orders: str
    node: str


class Answered(NamedTuple):
    """All answers to what was asked, by the question's number, and who gave them."""

    answers: dict[int, Answer]
    replies: dict[int, str]
    facts: Facts
    info: ScorerInfo


class Refusal(NamedTuple):
    """What a user can fix, and where it was found."""

    message: str
    node: str


class Inbox:
    """Answers on their way: an actor on the driver's node, so that a dead worker loses few.

    What was sent is kept until the work is done: who takes the work over asks only for the rest.
    """

    def __init__(self) -> None:
        self._all: dict[str, tuple[dict[int, Answer], dict[int, str]]] = {}
        self._new: dict[str, tuple[dict[int, Answer], dict[int, str]]] = {}

    def put(self, name: str, answers: dict[int, Answer], replies: dict[int, str]) -> None:
        """Keep answers and replies of the work of this name."""
        for kept in (self._all, self._new):
            known = kept.setdefault(name, ({}, {}))
            known[0].update(answers)
            known[1].update(replies)

    def take(self, name: str) -> tuple[dict[int, Answer], dict[int, str]]:
        """Return what came since this was last called."""
        return self._new.pop(name, ({}, {}))

    def everything(self, name: str) -> tuple[dict[int, Answer], dict[int, str]]:
        """Return all that came."""
        return self._all.get(name, ({}, {}))

    def forget(self, name: str) -> None:
        """Let go of work that is done."""
        self._all.pop(name, None)
        self._new.pop(name, None)


class SendingLedger(MemoryLedger):
    """Keeps answers, and sends them to the driver about once a second.

    Args:
        name: of the work.
        inbox: the handle of an ``Inbox``.
        known: what is answered already.
        replies: likewise.
    """

    def __init__(
        self, name: str, inbox: Any, known: Mapping[int, Answer], replies: Mapping[int, str]
    ) -> None:
        super().__init__(known, replies)
        self._name, self._inbox = name, inbox
        self._sent = time.monotonic()
        self._unsent: tuple[dict[int, Answer], dict[int, str]] = ({}, {})

    def record(self, answers: Mapping[int, Answer]) -> None:
        """Keep answers."""
        super().record(answers)
        self._unsent[0].update(answers)
        self._send()

    def keep(self, replies: Mapping[int, str]) -> None:
        """Keep replies."""
        super().keep(replies)
        self._unsent[1].update(replies)
        self._send()

    def _send(self) -> None:
        if time.monotonic() - self._sent >= SEND_EVERY_S:
            self._inbox.put.remote(self._name, *self._unsent)
            self._sent, self._unsent = time.monotonic(), ({}, {})


class Asker:
    """A model on a node; as an actor for many shards, or for one task.

    Whatever was lost with a dead worker is only the loaded model.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._scorer: Scorer | None = None

    def describe(self) -> Described | Refusal:
        """Return what the scorer is; no weights are loaded."""
        try:
            scorer = self._open()
            return Described(
                gives=kind_of_answers(scorer),
                identity=identity_of(scorer),
                most=scorer.most if is_listwise(scorer) else None,
                orders=getattr(scorer, "orders", "both"),
                node=node_name(),
            )
        except RmbenchError as error:
            return Refusal(str(error), node_name())

    def ask_shard(self, start: int, *asked: Any) -> "tuple[int, Answered | Refusal]":
        """Return the same as ``ask``, with the number of the shard's first question."""
        return start, self.ask(*asked)

    def ask(
        self,
        name: str,
        questions: Sequence[Question],
        kept: tuple[Mapping[int, Answer], Mapping[int, str]],
        inbox: Any,
    ) -> Answered | Refusal:
        """Return the answers to questions, without those that are kept already.

        Args:
            name: of the work, for the inbox.
            questions: numbered from 0 on.
            kept: answers and replies of an earlier run, by number.
            inbox: where answers are sent as they come; what an earlier worker sent is taken up.
        """
        import ray

        sent = ray.get(inbox.everything.remote(name))
        known, replies = ({**mine, **theirs} for mine, theirs in zip(kept, sent, strict=True))
        ledger = SendingLedger(name, inbox, known, replies)
        try:
            scorer = self._open()
            self._refuse_another(scorer)
            facts = _put(scorer, questions, ledger)
            return Answered(sent[0] | ledger.answers, sent[1] | ledger.replies, facts, scorer.info)
        except RmbenchError as error:
            return Refusal(str(error), node_name())

    def _open(self) -> Scorer:
        if self._scorer is None:
            with contextlib.suppress(OSError):  # then only paths from the root will do
                os.chdir(self.work.folder)
            self._scorer = load_scorer(self.work.model, self.work.options)
        return self._scorer

    def _refuse_another(self, scorer: Scorer) -> None:
        if identity_of(scorer) != self.work.identity:
            raise RmbenchError(
                f"{self.work.model}: its files, its device or its packages are not those that the"
                " cluster's other node has; make them the same, or leave this node out"
            )


def _put(scorer: Scorer, questions: Iterable[Any], ledger: SendingLedger) -> Facts:
    if is_listwise(scorer):
        return scorer.prefer(questions, ledger)
    return scorer.score(questions, ledger)  # type: ignore[union-attr]


def node_name() -> str:
    """Return what this node is called, for a message."""
    return socket.gethostname()


def versions() -> dict[str, str]:
    """Return the versions of the packages that can move an answer."""
    found: dict[str, str] = {"host": node_name()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
