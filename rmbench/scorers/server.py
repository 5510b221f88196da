"""Rewards over HTTP: a server that is proven to give what the model itself would.

A server can change a reward in many ways without a word: by a sigmoid, by a second template or
BOS, by cutting the text off. So it is sent token ids where it takes them, what it read is compared
with what was sent, and before anything is scored it has to show (see ``proof.py``) that its rewards
are raw, that they do not hang on the order of a request, and that they are those of the model's
own forward, where its weights are at hand.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from rmbench.checkpoint.findings import OK, Check
from rmbench.errors import ScorerError
from rmbench.options import option
from rmbench.scorers.calls import Caller, CallOptions, FailedCallError, in_flight
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.kind import Kind
from rmbench.scorers.opened import Opened, OpenedOptions, folder_name
from rmbench.scorers.protocols import (
    PROTOCOLS,
    Input,
    RecognisedServer,
    ServerProtocol,
    recognise_server,
)
from rmbench.suite.comparison import Comparison, Conversation

__all__ = ["KIND", "RewardServer", "ServerOptions"]

SAMPLE: Final = 8
"""Conversations that the proof looks at: those of the first comparisons."""


class ServerOptions(CallOptions, OpenedOptions):
    """How a reward server is asked, and how texts become what it is sent."""

    model: str = option(help="The served model: a folder, or org/name of the Hub.")
    protocol: Literal["auto", "vllm", "sglang", "tei", "openrlhf"] = option(
        "auto", help="What the server speaks; OpenRLHF's does not say so itself.", moves="nothing"
    )
    served_name: str | None = option(
        None, help="What the server calls the model; by default what it says.", moves="nothing"
    )
    batch: Annotated[int, Field(ge=1, le=1024)] = option(
        8, help="Conversations of one request.", moves="nothing"
    )
    check: Literal["auto", "always", "never"] = option(
        "auto",
        help="Compare with the model's own forward: where its folder is at hand, always, never.",
        moves="audit",
    )
    tolerance: Annotated[float, Field(gt=0)] = option(
        0.05,
        help="How far a reward may be from the model's own forward.",
        moves="audit",
    )


class _Batch(NamedTuple):
    """One request: the numbers of its questions, and what is sent for each."""

    numbers: list[int]
    inputs: list[Input]


class RewardServer(Opened):
    """A server that gives rewards; asked first what it is, and proven before it scores.

    Args:
        url: of the server, without the path of an endpoint.
        options: how to ask it.
    """

    passed_over = frozenset()

    def __init__(self, url: str, options: ServerOptions) -> None:
        super().__init__(options.model, options)
        self.url = url
        self.options = options
        self.caller = Caller(url, options)
        self.audit: dict[str, Any] = {"overflowed": 0, "longest": 0}
        self.unanswered: dict[int, str] = {}

    @cached_property
    def server(self) -> RecognisedServer:
        """What the server says of itself.

        Raises:
            ScorerError: it says nothing that is known, and no protocol was given.
        """
        found = recognise_server(self.caller.get)
        self.caller.close()
        asked = self.options.protocol
        if asked == "auto":
            if found is None:
                raise ScorerError(
                    f"{self.url}: no answer by which vLLM, SGLang or TEI could be told; is it up?"
                    " For OpenRLHF's server give -o protocol=openrlhf"
                )
            return found
        if found is not None and found.protocol == asked:
            return found
        return RecognisedServer(asked, None, None, None)

    @property
    def protocol(self) -> ServerProtocol:
        """How it is asked."""
        return PROTOCOLS[self.server.protocol]

    @cached_property
    def max_length(self) -> int | None:
        """The most tokens of a conversation: the model's limit, and the server's."""
        limits = (self.checkpoint.max_length, self.server.max_length, self.protocol.limit)
        known = [limit for limit in limits if isinstance(limit, int)]
        asked = self.options.max_length
        if asked is not None and self.server.protocol == "openrlhf":
            return asked  # its own limit is an option of its command line, which it does not tell
        return min(known, default=None)

    @property
    def served_name(self) -> str:
        """What the server calls the model."""
        return self.options.served_name or self.server.model or self.checkpoint.name

    @property
    def info(self) -> ScorerInfo:
        """Which model is served, by what, and how its texts are written."""
        version = f" {self.server.version}" if self.server.version else ""
        served = f"{self.server.protocol}{version}"
        return ScorerInfo(
            id=self.checkpoint.name,
            kind="server",
            revision=self.revision,
            scale="log-odds",
            settings={"served": served, **self.text_settings(self.max_length)},
            usual=self.usual_text(self.max_length),
        )

    @property
    def identity(self) -> Identity | None:
        """The model with its options, and the server: its address, kind, version, model's name."""
        from rmbench.scorers.unloaded import model_identity

        found = model_identity(self.options.model, self.own_options)
        if found is None:
            return None
        server = repr((self.url, *self.server, self.served_name, self.max_length))
        proof = repr(self.options.that_move("audit"))
        return found._replace(replies=f"{found.replies} {server}", facts=proof)

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the server's rewards.

        Raises:
            ScorerError: it is not proven, reads something else than what was sent, or has no answer
                to a request however often it is asked.
        """
        start = time.perf_counter()
        self.audit = {"overflowed": 0, "longest": 0}
        self.unanswered = {}
        try:
            asked = self._ask_all(conversations, ledger)
        finally:
            self.caller.close()
        return Facts(
            audit=self.audit,
            timing={"score": time.perf_counter() - start, "asked": asked},
            environment={"faults": dict(self.caller.faults)},
            unanswered=self.unanswered,
        )

    def _ask_all(self, conversations: Iterable[Conversation], ledger: Ledger) -> int:
        """Prove the server, ask what is missing, and return how many conversations that were."""
        from rmbench.scorers.proof import prove_server

        sample = list(islice(iter(conversations), SAMPLE))
        self.audit["proof"] = prove_server(self, sample)
        batches = self._batches(conversations, ledger)
        asked = 0
        for batch, rewards in in_flight(batches, self._ask_batch, at_once=self.options.in_flight):
            ledger.record(dict(zip(batch.numbers, rewards, strict=True)))
            asked += len(rewards)
        return asked

    def close(self) -> None:
        """Close all connections."""
        self.caller.close()

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what is served, what was proven, and what is answered to a few conversations."""
        (first,) = self.encode([next(sample[0].conversations())])
        shown = "" if first is None else self.checkpoint.tokenizer.decode(first.ids)
        said = f"{self.server.protocol} {self.server.version or 'of a version it does not tell'}"
        found = examine_by_asking(
            self, sample, recognised=f"server: {said}, which serves {self.served_name}", shown=shown
        )
        if "proof" in self.audit:  # else a check says why it was not
            proof = ", ".join(f"{name}: {seen}" for name, seen in self.audit["proof"].items())
            found.checks.append(Check(name="proof", status=OK, seen=proof))
        return found

    def encode(self, conversations: Sequence[Conversation]) -> list[Input | None]:
        """Return what is sent for conversations; None for a dropped one.

        Raises:
            ScorerError: one is too long, or its texts cannot be written.
        """
        from rmbench.checkpoint.encode import Encoder
        from rmbench.checkpoint.writing import render_all

        checkpoint = self.checkpoint
        encoder = Encoder(
            checkpoint.tokenizer,
            checkpoint.template,
            max_length=self.max_length,
            on_overflow=self.options.on_overflow,
        )
        for _ in encoder.encode(conversations):
            pass
        encoded = encoder.finish()
        self.audit["overflowed"] += encoded.overflowed
        self.audit["longest"] = max(self.audit["longest"], encoded.longest)
        texts = [""] * len(conversations)
        if not self.protocol.takes_ids:
            texts = render_all(conversations, checkpoint.template, checkpoint.tokenizer)
        return [
            None if ids is None else Input(ids.tolist(), text)
            for ids, text in zip(encoded.sequences, texts, strict=True)
        ]

    def ask(self, inputs: Sequence[Input], *, is_raw: bool = True) -> list[float]:
        """Return the rewards of some inputs.

        Raises:
            ScorerError: the server has no answer, another one than asked for, or has read something
                else than what was sent.
        """
        path = self.protocol.path
        body = self.protocol.body(inputs, self.served_name, is_raw=is_raw)
        place = f"{self.url}{path}"
        try:
            content = self.caller.post(path, body)
            given = self.protocol.read(content)
        except FailedCallError as failure:
            raise ScorerError(
                f"{place}: {failure}; answers so far are kept: run it again"
            ) from None
        except ScorerError as error:
            message = str(error)
            raise ScorerError(message if self.url in message else f"{place} {message}") from None
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ScorerError(
                f"{place}: answers in another form than {self.protocol.name}'s ({error!r}); check"
                " -o protocol"
            ) from None
        sent = sum(len(item.ids) for item in inputs)
        if len(given.rewards) != len(inputs):
            raise ScorerError(
                f"{place}: {len(given.rewards)} rewards for {len(inputs)} conversations; start the"
                " server again"
            )
        if given.tokens is not None and given.tokens != sent:
            raise ScorerError(
                f"{place}: read {given.tokens} tokens where {sent} were sent: it cuts texts off, or"
                " adds a template or a BOS of its own; switch that off at the server"
            )
        return given.rewards

    def ask_all(self, inputs: Sequence[Input], *, is_raw: bool = True) -> list[float]:
        """Return the rewards of some inputs, in requests of the size that the run's have."""
        size = self.options.batch
        parts = [inputs[i : i + size] for i in range(0, len(inputs), size)]
        return [reward for part in parts for reward in self.ask(part, is_raw=is_raw)]

    def _ask_batch(self, batch: _Batch) -> list[float]:
        return self.ask(batch.inputs)

    def _batches(self, conversations: Iterable[Conversation], ledger: Ledger) -> Iterator[_Batch]:
        """Yield requests for what has no answer yet; read only as fast as they are sent."""
        iterator, number = iter(conversations), 0
        batch = _Batch([], [])
        while chunk := list(islice(iterator, self.options.batch)):
            for item in self.encode(chunk):
                if item is None:
                    self.unanswered[number] = "longer than the limit"
                elif ledger.known(number) is None:
                    batch.numbers.append(number)
                    batch.inputs.append(item)
                number += 1
            if len(batch.numbers) >= self.options.batch:
                yield batch
                batch = _Batch([], [])
        if batch.numbers:
            yield batch


KIND: Final = Kind(
    open=RewardServer,
    options=ServerOptions,
    summary="Rewards over HTTP, from vLLM, SGLang, TEI or OpenRLHF.",
    metavar="URL",
    result_name=lambda url, given: folder_name(given.get("model") or url, given),
)
