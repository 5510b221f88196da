"""Process rewards: how good each step of an answer is, read where the model marks a step's end.

A response is split into steps; behind each the model's mark is written, where it has one, and its
output is read there, else at the step's last token. Two outputs are classes, of which the second
is a good step; one is a logit; of a language model two tokens are compared.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.options import option, same_option
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.kind import Kind
from rmbench.scorers.opened import LogitReader, Opened, OpenedOptions, folder_name
from rmbench.scorers.reductions import Reduction
from rmbench.suite.comparison import Comparison, Conversation

if TYPE_CHECKING:
    from rmbench.checkpoint.spans import Span
    from rmbench.scorers.plan import Plan

__all__ = ["KIND", "Process", "ProcessOptions", "split_steps"]

WINDOW: Final = 256


class ProcessOptions(OpenedOptions):
    """Where steps end, what is read there, and what makes one reward of them."""

    reader: str | None = same_option(ModelOptions, "reader")
    split: str = option(
        "\\n\\n", help="What stands between two steps of a response; \\n is a new line."
    )
    mark: str | None = option(
        None, help="The token that the model wants after each step, such as <extra_0>."
    )
    tokens: str | None = option(
        None, help="Of a language model: the tokens for a good and a bad step, such as +,-."
    )
    good: Literal["first", "second"] = option("second", help="Which of two classes is a good step.")
    reduce: Reduction = option("min", help="What makes one reward of the steps'.", moves="reading")


def split_steps(response: str, separator: str) -> list[str]:
    """Return the steps of a response, which have other than blanks; at least one.

    Args:
        response: what was answered.
        separator: what stands between two steps; it is no part of them.
    """
    return [step for step in response.split(separator) if step.strip()] or [response]


class Process(Opened):
    """A process reward model.

    Args:
        model: a folder, or a model of the Hub.
        options: where steps end, and how the model is loaded and fed.
    """

    def __init__(self, model: str, options: ProcessOptions) -> None:
        if options.on_overflow == "truncate-left":
            raise ScorerError(
                f"{model}: --on-overflow truncate-left would cut steps off; give drop, or error"
            )
        super().__init__(model, options)
        self.options = options
        self.separator = options.split.replace("\\n", "\n").replace("\\t", "\t")
        if not self.separator:
            raise ScorerError(f"{model}: split is empty; give what stands between two steps")

    @property
    def info(self) -> ScorerInfo:
        """Which model, where its steps end, and how texts are written."""
        options, limit = self.options, self.checkpoint.max_length
        steps = {
            "split": options.split,
            "mark": options.mark,
            "tokens": options.tokens,
            "good": options.good,
        }
        usual = {name: ProcessOptions.model_fields[name].default for name in steps}
        return ScorerInfo(
            id=self.checkpoint.name,
            kind="process",
            revision=self.revision,
            gives="steps",
            scale="ordinal",
            settings={
                "reduce": options.reduce,
                **steps,
                "dtype": self.dtype,
                **self.text_settings(limit),
            },
            usual={**usual, **self.usual_text(limit)},
        )

    @property
    def identity(self) -> Identity | None:
        """The model with its options; what makes one reward of the steps is no part of it."""
        from rmbench.scorers.unloaded import model_identity

        found = model_identity(self.model, self.own_options)
        if found is None:
            return None
        moving = self.options.that_move("answers")
        steps = f"steps {found.replies} {sorted(moving.items())}"
        return Identity(steps, facts=repr(self.options.reduce))

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the rewards of each response's steps.

        Raises:
            ScorerError: the model cannot be loaded, or a conversation cannot be scored.
        """
        start = time.perf_counter()
        reader: LogitReader | None = None
        audit: dict[str, Any] = {"steps": 0}
        windows = _Windows(self, conversations)
        for window in windows:
            audit["steps"] += sum(len(span.places) for span in window.values())
            if all(ledger.known(number) is not None for number in window):
                continue
            reader = reader or _reader(self)
            found = reader.read([_ask(span) for span in window.values()])
            steps = (tuple(values[:, 0].tolist()) for values in found)
            ledger.record(dict(zip(window, steps, strict=True)))
        audit |= {"overflowed": windows.encoder.overflowed, "longest": windows.encoder.longest}
        return Facts(
            audit=audit | ({} if reader is None else {"reading": reader.facts}),
            timing={"score": time.perf_counter() - start},
            unanswered=windows.unanswered,
        )

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what it is, where the first response's steps are read, and a few rewards."""
        shown, windows = "", _Windows(self, [next(sample[0].conversations())])
        windows.encoder.max_length = None  # shown whole, whatever the limit is
        for window in windows:
            ids, _, places = window.get(0) or next(iter(window.values()))
            decode, start = self.checkpoint.tokenizer.decode, 0
            for place in places:
                shown += f"{decode(ids[start : place + 1])}\n--- read here ---\n"
                start = place + 1
            shown += decode(ids[start:])
        named = ", ".join(self.checkpoint.config.architectures or ["unknown"])
        at = self.options.mark or "the last token of a step"
        return examine_by_asking(
            self,
            sample,
            recognised=f"process: config.json names {named}; read at {at}",
            shown=shown,
            known=self.known_checks,
        )

    def prepare(self, conversation: Conversation) -> tuple[Conversation, list[int]]:
        """Return a conversation with its marks written, and where each step ends in it."""
        mark = self.options.mark
        steps = list(conversation.steps) or split_steps(conversation.response, self.separator)
        parts = [step + (mark or "") for step in steps]
        between = "" if mark is not None else self.separator
        ends = [len(between.join(parts[: i + 1])) for i in range(len(parts))]
        written = replace(conversation, response=between.join(parts), turns=())
        if mark is None:
            ends = [len(text.rstrip()) for text in _beginnings(written.response, ends)]
        return written, ends


def _ask(span: "Span") -> Any:
    import numpy as np

    from rmbench.engine.reading import Ask

    return Ask(ids=span.ids, places=np.array(span.places, dtype=np.int64))


def _beginnings(text: str, ends: Sequence[int]) -> Iterator[str]:
    return (text[:end] for end in ends)


class _Windows:
    """The conversations' spans and places of steps, always in the same windows.

    Attributes:
        unanswered: why a question is not asked, by its number.
    """

    def __init__(self, scorer: Process, conversations: Iterable[Conversation]) -> None:
        from rmbench.checkpoint.spans import SpanEncoder

        checkpoint = scorer.checkpoint
        self.scorer = scorer
        self.conversations = conversations
        self.encoder = SpanEncoder(
            checkpoint.tokenizer,
            checkpoint.template,
            max_length=checkpoint.max_length,
            on_overflow=scorer.options.on_overflow,
        )
        self.unanswered: dict[int, str] = {}
        self.mark = self._mark_id()

    def __iter__(self) -> "Iterator[dict[int, Span]]":
        iterator, start = iter(self.conversations), 0
        while chunk := list(islice(iterator, WINDOW)):
            prepared = [self.scorer.prepare(item) for item in chunk]
            spans = self.encoder.encode([item for item, _ in prepared], [e for _, e in prepared])
            window = {}
            for number, span in enumerate(spans, start):
                reason = "longer than the limit" if span is None else self._wrong(span)
                if span is None or reason:
                    self.unanswered[number] = reason
                else:
                    window[number] = span
            start += len(chunk)
            if window:
                yield window

    def _mark_id(self) -> int | None:
        mark, tokenizer = self.scorer.options.mark, self.scorer.checkpoint.tokenizer
        if mark is None:
            return None
        ids = tokenizer(mark, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) != 1:
            raise ScorerError(
                f"{self.scorer.checkpoint.place}: the mark {mark} is {len(ids)} tokens of its"
                " tokenizer; give the one token that it was trained with"
            )
        return int(ids[0])

    def _wrong(self, span: "Span") -> str:
        """Return what is wrong with a response that holds the mark itself; empty for nothing."""
        if self.mark is None:
            return ""
        answer = span.ids[span.first :].tolist()
        marks = [i + span.first for i, token in enumerate(answer) if token == self.mark]
        return "" if marks == list(span.places) else "the response holds the mark"


def _reader(scorer: Process) -> LogitReader:
    """Return the model, loaded; what it gives for a step is the step's reward."""
    from rmbench.checkpoint.causal import load_step_model

    rows = _rows(scorer)
    network = load_step_model(scorer.checkpoint, is_language_model=bool(rows))
    good = 1 if scorer.options.good == "second" else 0
    finish = partial(_rewards, rows=rows, good=good, place=scorer.checkpoint.place)
    return LogitReader(network, finish, scorer.options.batch_tokens)


def _rewards(logits: Any, _: Any, *, rows: Sequence[int], good: int, place: str) -> Any:
    """Return the reward of each step, (rows, 1), in [0, 1], of logits, (rows, outputs)."""
    if rows:
        return logits[:, list(rows)].softmax(-1)[:, :1]
    if logits.shape[1] == 1:
        return logits.sigmoid()
    if logits.shape[1] != 2:
        raise ScorerError(
            f"{place}: {logits.shape[1]} outputs for a step where a process reward model has one or"
            " two; of a language model give -o tokens=GOOD,BAD"
        )
    return logits.softmax(-1)[:, good : good + 1]


def _rows(scorer: Process) -> tuple[int, ...]:
    """Return the token ids of a good and a bad step; empty where classes are read."""
    if scorer.options.tokens is None:
        return ()
    texts = scorer.options.tokens.split(",")
    tokenizer = scorer.checkpoint.tokenizer
    ids = [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]
    if len(texts) != 2 or any(len(own) != 1 for own in ids):
        raise ScorerError(
            f"{scorer.checkpoint.place}: tokens = {scorer.options.tokens}: must be two tokens, each"
            " one of its tokenizer, such as +,-"
        )
    return tuple(int(own[0]) for own in ids)


def _plan(model: str, options: ProcessOptions, conversations: Iterable[Any], _: bool) -> "Plan":
    from rmbench.scorers.plan import plan_spans

    scorer = Process(model, options)
    windows = _Windows(scorer, conversations)
    windows.encoder.max_length = None  # the plan counts what is too long
    sequences = [span.ids for window in windows for span in window.values()]
    return plan_spans(scorer.checkpoint, sequences, size=WINDOW)


KIND: Final = Kind(
    plan=_plan,
    open=Process,
    options=ProcessOptions,
    result_name=folder_name,
    summary="A process reward model: a reward for each step, made one by min, product, last ...",
    claims=lambda config: any(
        "TokenClassification" in str(name) for name in config.get("architectures") or ()
    ),
)
