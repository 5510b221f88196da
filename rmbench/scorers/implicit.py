"""Implicit rewards: how much likelier a policy makes an answer than its reference does.

The reward of Direct Preference Optimization (arXiv:2305.18290) and its kin is ``beta`` times the
difference of two log-probabilities of the answer. Without a reference it is the policy's own
log-probability, summed or averaged over the answer's tokens.

The policy goes over everything first, and the reference after it, so that one of them is in memory
at a time. What the policy says is kept as the reply to a question: another reference, or none, asks
it nothing again.
"""

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.options import option
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.kind import Kind
from rmbench.scorers.opened import LogitReader, Opened, OpenedOptions, folder_name
from rmbench.suite.comparison import Comparison, Conversation

if TYPE_CHECKING:
    from rmbench.checkpoint.opening import Checkpoint
    from rmbench.checkpoint.spans import Span
    from rmbench.scorers.plan import Plan

__all__ = ["KIND", "Implicit", "ImplicitOptions"]

FREE: Final = ("none:sum", "none:mean")


class ImplicitOptions(OpenedOptions):
    """The reference, and how policy and reference are loaded and fed."""

    reference: str = option(
        help="The model that the policy was trained against; none:sum or none:mean without one.",
        metavar="MODEL",
    )
    reference_revision: str | None = option(
        None, help="Branch, tag or commit of the reference on the Hub.", moves="nothing"
    )
    beta: Annotated[float, Field(gt=0)] = option(
        1.0, help="Scales rewards as in training; moves margins, never their order."
    )


class Implicit(Opened):
    """A policy with its reference, or by itself.

    Args:
        model: the policy: a folder, or a model of the Hub.
        options: the reference, and how both are loaded and fed.
    """

    def __init__(self, model: str, options: ImplicitOptions) -> None:
        super().__init__(model, options)
        self.options = options
        self.audit: dict[str, Any] = {}
        self.timing: dict[str, float] = {}

    @property
    def is_free(self) -> bool:
        """Whether there is no reference."""
        return self.options.reference in FREE

    @property
    def reference_options(self) -> ModelOptions:
        """How the reference is loaded; it is fed the policy's own token ids."""
        return self.own_options.changed(revision=self.options.reference_revision)

    @cached_property
    def reference(self) -> "Checkpoint":
        """The reference's configuration and tokenizer.

        Raises:
            ScorerError: its tokenizer makes other token ids than the policy's.
        """
        from rmbench.checkpoint.opening import open_checkpoint

        reference = open_checkpoint(self.options.reference, self.reference_options)
        mine, other = self.checkpoint.tokenizer.get_vocab(), reference.tokenizer.get_vocab()
        if mine != other:
            differ = sum(other.get(token) != number for token, number in mine.items())
            raise ScorerError(
                f"{self.options.reference}: its tokenizer is another than the policy's ({differ} of"
                f" {len(mine)} tokens differ); a policy and its reference share one vocabulary"
            )
        return reference

    @property
    def info(self) -> ScorerInfo:
        """Which policy and which reference, and how texts are written."""
        options = self.options
        settings: dict[str, Any] = {
            "reference": options.reference if self.is_free else self.reference.name,
            "reference_revision": None if self.is_free else self.reference.revision,
            "beta": options.beta,
            "dtype": self.dtype,
            **self.text_settings(self.max_length),
        }
        usual = {
            "reference_revision": settings["reference_revision"],
            "beta": 1.0,
            **self.usual_text(self.max_length),
        }
        return ScorerInfo(
            id=self.checkpoint.name,
            kind="implicit",
            revision=self.revision,
            scale="ordinal" if self.is_free else "log-odds",
            settings=settings,
            usual=usual,
        )

    @property
    def max_length(self) -> int | None:
        """The most tokens of a conversation: what both models have positions for."""
        limits = [self.checkpoint.max_length]
        if not self.is_free:
            limits.append(self.reference.max_length)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def identity(self) -> Identity | None:
        """The policy, then what is made of its log-probabilities."""
        from rmbench.scorers.unloaded import model_identity

        policy = model_identity(self.model, self.own_options)
        if policy is None:
            return None
        other: Any = None
        if not self.is_free:
            other = model_identity(self.options.reference, self.reference_options)
            if other is None:
                return None
        made_of = repr((self.options.reference, self.options.beta, other))
        return Identity(f"log-probability {policy.replies} {self.max_length}", made_of)

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the policy's log-probabilities less the reference's, or its own.

        Raises:
            ScorerError: a model cannot be loaded, or a conversation cannot be scored.
        """
        start = time.perf_counter()
        self.audit, self.timing = {}, {"tokens": 0.0}
        policy = _Windows(self, conversations)
        sums = dict(self._pass(policy, ledger, {}))
        others: dict[int, float] = {}
        if not self.is_free:
            others = dict(self._pass(_Windows(self, conversations), ledger, sums))
        rewards = {
            number: self._reward(total, policy.lengths[number], others.get(number))
            for number, total in sums.items()
        }
        ledger.record({i: r for i, r in rewards.items() if ledger.known(i) is None})
        self.audit |= {
            "overflowed": policy.encoder.overflowed,
            "longest": policy.encoder.longest,
            "answer_tokens": policy.encoder.answer_tokens,
        }
        return Facts(
            audit=self.audit,
            timing={"score": time.perf_counter() - start, **self.timing},
            unanswered=dict.fromkeys(policy.dropped, "longer than the limit"),
        )

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what it is, where the first answer begins, and a few rewards."""
        windows = _Windows(self, [next(sample[0].conversations())])
        windows.encoder.max_length = None  # shown whole, whatever the limit is
        shown = ""
        for window in windows:
            ids, first, _ = window[0]
            decode = self.checkpoint.tokenizer.decode
            shown = f"{decode(ids[:first])}\n--- the answer begins ---\n{decode(ids[first:])}"
        named = ", ".join(self.checkpoint.config.architectures or ["unknown"])
        against = self.options.reference
        return examine_by_asking(
            self,
            sample,
            recognised=f"implicit: config.json names {named}; reference {against}",
            shown=shown,
            known=self.known_checks,
        )

    def _reward(self, total: float, tokens: int, other: float | None) -> float:
        if self.options.reference == "none:mean":
            return self.options.beta * total / tokens
        return self.options.beta * (total - (other or 0.0))

    def _pass(
        self, windows: "_Windows", ledger: Ledger, policy: Mapping[int, float]
    ) -> Iterator[tuple[int, float]]:
        """Yield the log-probability of each answer under one model, loaded where one is missing.

        Args:
            windows: what is asked.
            ledger: what is known, and where it goes.
            policy: what the policy said; empty while it is asked, and the reference after it.
        """
        checkpoint = self.reference if policy else self.checkpoint
        key = f"reference {self._reference_text}" if policy else "policy"
        reader: LogitReader | None = None
        for window in windows:
            earlier = {i: _content(ledger.reply(i)) for i in window}
            if any(type(content.get(key)) is not float for content in earlier.values()):
                reader = reader or self._reader(checkpoint)
                values = reader.read([_ask(span) for span in window.values()])
                for (i, content), of_tokens in zip(earlier.items(), values, strict=True):
                    content |= {"policy": policy[i]} if policy else {}
                    content[key] = float(of_tokens.sum())  # in float64
                ledger.keep({i: json.dumps(content) for i, content in earlier.items()})
                self.audit.setdefault("reference" if policy else "policy", reader.facts)
                self.timing["tokens"] += sum(span.ids.size for span in window.values())
            for number, content in earlier.items():
                if not math.isfinite(content[key]):
                    raise ScorerError(
                        f"{checkpoint.place}: the log-probability of answer {number} is"
                        f" {content[key]}; try --dtype float32"
                    )
                yield number, content[key]

    def _reader(self, checkpoint: "Checkpoint") -> LogitReader:
        from rmbench.checkpoint.causal import load_language_model
        from rmbench.engine.logits import log_probabilities

        network = load_language_model(checkpoint)
        return LogitReader(network, log_probabilities, self.options.batch_tokens)

    @cached_property
    def _reference_text(self) -> str:
        from rmbench.scorers.unloaded import model_identity

        return repr(model_identity(self.options.reference, self.reference_options))


def _ask(span: "Span") -> Any:
    import numpy as np

    from rmbench.engine.reading import Ask

    places = np.arange(span.first - 1, span.ids.size - 1, dtype=np.int64)
    return Ask(ids=span.ids, places=places, targets=span.ids[span.first :])


class _Windows:
    """The conversations' spans, always in the same windows, whatever is known of them.

    Attributes:
        lengths: tokens of each answer, by its question's number.
        dropped: questions whose conversation is too long.
    """

    SIZE: Final = 256

    def __init__(self, scorer: Implicit, conversations: Iterable[Conversation]) -> None:
        from rmbench.checkpoint.spans import SpanEncoder

        checkpoint = scorer.checkpoint
        self.encoder: SpanEncoder = SpanEncoder(
            checkpoint.tokenizer,
            checkpoint.template,
            max_length=scorer.max_length,
            on_overflow=scorer.options.on_overflow,
        )
        self.conversations = conversations
        self.lengths: dict[int, int] = {}
        self.dropped: list[int] = []

    def __iter__(self) -> "Iterator[dict[int, Span]]":
        iterator, start = iter(self.conversations), 0
        while chunk := list(islice(iterator, self.SIZE)):
            spans = dict(enumerate(self.encoder.encode(chunk), start))
            start += len(chunk)
            self.dropped += [number for number, span in spans.items() if span is None]
            window = {number: span for number, span in spans.items() if span is not None}
            self.lengths |= {i: int(span.ids.size) - span.first for i, span in window.items()}
            if window:
                yield window


def _content(reply: str | None) -> dict[str, Any]:
    """Return what a reply holds; nothing where it is damaged."""
    try:
        content = json.loads(reply) if reply is not None else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _plan(model: str, options: ImplicitOptions, conversations: Iterable[Any], _: bool) -> "Plan":
    """Return what both models would compute; they are given the same token ids."""
    from rmbench.scorers.plan import plan_spans, repeated

    scorer = Implicit(model, options)
    windows = _Windows(scorer, conversations)
    windows.encoder.max_length = None  # the plan counts what is too long
    sequences = [span.ids for window in windows for span in window.values()]
    plan = plan_spans(scorer.checkpoint, sequences, size=_Windows.SIZE)
    if scorer.is_free:
        return plan
    return repeated(plan, plan_spans(scorer.reference, sequences, size=_Windows.SIZE))


KIND: Final = Kind(
    plan=_plan,
    open=Implicit,
    options=ImplicitOptions,
    result_name=folder_name,
    summary="The log-probability of the answer, against a reference model's (DPO and its kin).",
)
