"""Models asked on a Ray cluster, as if they stood here: the driver owns all but the asking.

A task opens one model and asks it one suite; a suite that is to be cut goes to a pool of actors,
each with the model, shard by shard.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from rmbench.answers.ray import POLL_S, TRIES, Cluster, StoppedError, accepted, told
from rmbench.answers.ray_node import Answered, Asker, Described, Question, Refusal, Work
from rmbench.answers.shards import cut, join_facts
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Answer, Facts, Gives, Identity, Ledger, ScorerInfo
from rmbench.suite.comparison import Candidates, Conversation

__all__ = ["RemoteListwise", "RemotePointwise", "open_remote"]

Kept = tuple[dict[int, Answer], dict[int, str]]
"""Answers and replies of an earlier run."""


def open_remote(
    cluster: Cluster, work: Work, resources: Mapping[str, float], shard: int | None
) -> "RemotePointwise | RemoteListwise":
    """Return a model of the cluster as a scorer; nothing is loaded yet.

    Raises:
        ScorerError: it cannot be opened there.
    """
    import ray

    described = cluster.wait(
        ray.remote(_describe).options(**resources, max_retries=TRIES).remote(work), work.model
    )
    known = work._replace(identity=described.identity)
    kind = RemotePointwise if described.most is None else RemoteListwise
    return kind(cluster, known, described, (resources, shard))


def _describe(work: Work) -> Described | Refusal:
    return Asker(work).describe()


def _ask(
    work: Work, name: str, questions: list[Question], kept: Kept, inbox: Any
) -> Answered | Refusal:
    return Asker(work).ask(name, questions, kept, inbox)


class _Remote:
    """A model on the cluster, asked from here; see ``contract.py`` for what it promises."""

    def __init__(
        self,
        cluster: Cluster,
        work: Work,
        described: Described,
        placed: tuple[Mapping[str, float], int | None],
    ) -> None:
        self.cluster = cluster
        self.work = work
        self.gives: Gives = described.gives
        self.identity: Identity | None = described.identity
        self.most = described.most or 0
        self.orders = described.orders
        self._resources, self._shard = placed
        self._info: ScorerInfo | None = None

    @property
    def info(self) -> ScorerInfo:
        """Who answers; known once it has answered."""
        if self._info is None:
            return ScorerInfo(id=self.work.model, kind="ray", gives=self.gives)
        return self._info

    def _ask(self, questions: Iterable[Question], ledger: Ledger) -> Facts:
        start = time.perf_counter()
        if self._shard is None:
            facts = self._ask_whole(questions, ledger)
        else:
            facts = self._ask_shards(questions, ledger, self._shard)
        waited = {"on_cluster": time.perf_counter() - start}
        return replace(facts, timing={**facts.timing, **waited})

    def _ask_whole(self, questions: Iterable[Question], ledger: Ledger) -> Facts:
        import ray

        inbox, name = self.cluster.inbox, uuid4().hex
        kept = _kept(ledger, 0, sum(1 for _ in questions))
        handle = (
            ray.remote(_ask)
            .options(**self._resources, max_retries=TRIES, retry_exceptions=[OSError])
            .remote(self.work, name, self.cluster.put(questions), kept, inbox)
        )

        def take_in() -> None:
            _record(ledger, 0, *ray.get(inbox.take.remote(name)))

        try:
            answered: Answered = self.cluster.wait(handle, self.work.model, take_in)
        except (ScorerError, StoppedError):
            take_in()
            raise
        _record(ledger, 0, answered.answers, answered.replies)
        inbox.forget.remote(name)
        self._info = answered.info
        return answered.facts

    def _ask_shards(self, questions: Iterable[Question], ledger: Ledger, size: int) -> Facts:
        import ray
        from ray.util import ActorPool

        shards = [
            (shard.start, uuid4().hex, ray.put(shard.questions), _kept(ledger, *shard.span))
            for shard in cut(questions, size)
        ]
        count = min(self.cluster.replicas(self._resources), len(shards))
        asker = ray.remote(Asker).options(
            **self._resources, max_restarts=TRIES, max_task_retries=TRIES
        )
        actors = [asker.remote(self.work) for _ in range(count)]
        pool = ActorPool(actors)
        for shard in shards:
            pool.submit(
                lambda actor, item: actor.ask_shard.remote(*item, self.cluster.inbox), shard
            )
        try:
            return join_facts(sorted(self._gather(pool, ledger), key=lambda part: part[0]))
        finally:
            for actor in actors:
                ray.kill(actor)

    def _gather(self, pool: Any, ledger: Ledger) -> Iterator[tuple[int, Facts]]:
        """Record what each shard gives as it comes; yield its facts with its first number."""
        while pool.has_next():
            if self.cluster.stopped.is_set():
                raise StoppedError
            try:
                with told(self.work.model):
                    start, found = pool.get_next_unordered(timeout=POLL_S)
            except TimeoutError:
                continue
            answered: Answered = accepted(found)
            _record(ledger, start, answered.answers, answered.replies)
            self._info = answered.info
            yield start, answered.facts


def _kept(ledger: Ledger, start: int, count: int) -> Kept:
    """Return what an earlier run left of these questions, numbered from 0 on."""
    answers = {i: ledger.known(start + i) for i in range(count)}
    replies = {i: ledger.reply(start + i) for i in range(count)}
    return (
        {i: answer for i, answer in answers.items() if answer is not None},
        {i: reply for i, reply in replies.items() if reply is not None},
    )


def _record(
    ledger: Ledger, start: int, answers: Mapping[int, Answer], replies: Mapping[int, str]
) -> None:
    ledger.keep({start + i: reply for i, reply in replies.items()})
    ledger.record({start + i: answer for i, answer in answers.items()})


class RemotePointwise(_Remote):
    """A model on the cluster that is asked about one conversation at a time."""

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the answers that the cluster gives.

        Raises:
            ScorerError: the model cannot answer there, or Ray gives up.
        """
        return self._ask(conversations, ledger)


class RemoteListwise(_Remote):
    """A model on the cluster that is shown responses side by side."""

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        """Record the shares that the cluster gives.

        Raises:
            ScorerError: as ``RemotePointwise.score``.
        """
        return self._ask(questions, ledger)
