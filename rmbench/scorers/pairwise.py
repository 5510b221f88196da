"""Pairwise models: an encoder that is shown two responses and says how likely the first is better.

Models that say it by the probabilities of two tokens are judges of one token: see the judges' files
``pair-preference`` and ``steamshp``.
"""

import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError, enclosed
from rmbench.options import Options, option, same_option
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.kind import Kind
from rmbench.scorers.opened import folder_name, own_options
from rmbench.suite.comparison import Candidates, Comparison

if TYPE_CHECKING:
    from rmbench.checkpoint.opening import Checkpoint
    from rmbench.scorers.plan import Plan

__all__ = ["KIND", "PairModel", "PairOptions"]

SOURCE: Final = (
    "{% if prompt|length == 1 %}{{ prompt[0].content }}{% else %}"
    "{% for turn in prompt %}{{ turn.role|upper }}: {{ turn.content }}\n{% endfor %}{% endif %}"
)
"""How a prompt is written; one turn as it is, several with their roles."""


class PairOptions(Options):
    """How a pair encoder is loaded, and how long its parts may be."""

    revision: str | None = same_option(ModelOptions, "revision")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = same_option(ModelOptions, "dtype")
    device: str = same_option(ModelOptions, "device")
    trust_remote_code: bool = same_option(ModelOptions, "trust_remote_code")
    trust_pickle: bool = same_option(ModelOptions, "trust_pickle")
    orders: Literal["both", "once"] = option(
        "both", help="Whether two responses are shown in both orders.", flag=True
    )
    marks: str = option(
        "<|source|>,<|candidate1|>,<|candidate2|>",
        help="The tokens before the prompt, the first and the second response.",
    )
    source_tokens: Annotated[int, Field(ge=1)] = option(
        1224, help="Tokens of a prompt; of a longer one the first are kept."
    )
    candidate_tokens: Annotated[int, Field(ge=1)] = option(
        412, help="Tokens of a response; of a longer one the first are kept."
    )


class PairModel:
    """An encoder in PairRM's layout.

    Args:
        model: a folder, or a model of the Hub.
        options: how to load it.
    """

    most = 2

    def __init__(self, model: str, options: PairOptions) -> None:
        self.model = model
        self.options = options
        self.orders = options.orders
        # Its texts are written here, part by part: a chat template has no place for two responses.
        self.own_options = own_options(options).changed(template="none")

    @cached_property
    def checkpoint(self) -> "Checkpoint":
        """The model's configuration and tokenizer."""
        from rmbench.checkpoint.opening import open_checkpoint

        return open_checkpoint(self.model, self.own_options)

    @cached_property
    def revision(self) -> str:
        """The model's commit on the Hub, or a digest of its folder."""
        return str(self.checkpoint.revision)

    @cached_property
    def network(self) -> Any:
        """The model with its weights, loaded for the first question."""
        from rmbench.checkpoint.pairs import load_pair_encoder

        return load_pair_encoder(self.checkpoint)

    @cached_property
    def marks(self) -> tuple[int, int, int]:
        """Ids of the three marks.

        Raises:
            ScorerError: the tokenizer does not have one of them.
        """
        tokenizer, texts = self.checkpoint.tokenizer, self.options.marks.split(",")
        vocabulary = tokenizer.get_vocab()
        lacking = [text for text in texts if text not in vocabulary]
        if lacking or len(texts) != 3:
            raise ScorerError(
                f"{self.checkpoint.place}: its tokenizer has no token"
                f" {', '.join(lacking) or self.options.marks}; give its three marks as -o"
                " marks=PROMPT,FIRST,SECOND"
            )
        one, two, three = (int(vocabulary[text]) for text in texts)
        return one, two, three

    @property
    def info(self) -> ScorerInfo:
        """Which model, and how long its parts may be."""
        from rmbench.checkpoint.weights import choose_device, choose_dtype

        own = ("orders", "marks", "source_tokens", "candidate_tokens")
        defaults = {name: PairOptions.model_fields[name].default for name in own}
        dtype = choose_dtype(self.own_options.dtype, choose_device(self.own_options.device))
        return ScorerInfo(
            id=self.checkpoint.name,
            kind="pairwise",
            revision=self.revision,
            gives="preferences",
            scale="probability",
            settings={"dtype": dtype, **{name: getattr(self.options, name) for name in own}},
            usual=defaults,
        )

    @property
    def identity(self) -> Identity | None:
        """The model and its options."""
        from rmbench.scorers.unloaded import model_identity

        found = model_identity(self.model, self.own_options)
        if found is None:
            return None
        return Identity(f"pairs {found.replies} {self.options.that_move('answers')}")

    def prefer(self, questions: Iterable[Candidates], ledger: Ledger) -> Facts:
        """Record the probability that each of two responses is the better one.

        Raises:
            ScorerError: the model cannot be loaded, or lacks a mark.
        """
        start = time.perf_counter()
        audit = {"prompts cut": 0, "responses cut": 0}
        unanswered: dict[int, str] = {}
        for number, question in enumerate(questions):
            ids, cut = self._encode(question)
            if any(ids.count(mark) != 1 for mark in self.marks):
                unanswered[number] = "a text holds a mark of the model's"
                continue
            audit["prompts cut"] += cut[0]
            audit["responses cut"] += cut[1] + cut[2]
            if ledger.known(number) is None:
                logit = self._logit(ids)
                share = 1 / (1 + math.exp(-max(min(logit, 700.0), -700.0)))
                ledger.record({number: (share, 1 - share)})
        timing = {"score": time.perf_counter() - start}
        return Facts(audit=audit, timing=timing, unanswered=unanswered)

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what it is, what it is shown first, and a few preferences."""
        ids, _ = self._encode(sample[0].candidates((0, len(sample[0].responses) - 1)))
        named = ", ".join(self.checkpoint.config.architectures or ["unknown"])
        return examine_by_asking(
            self,
            sample,
            recognised=f"pairwise: config.json names {named}; marks {self.options.marks}",
            shown=self.checkpoint.tokenizer.decode(ids),
        )

    def _logit(self, ids: Sequence[int]) -> float:
        import torch

        encoder = self.network
        tokens = torch.tensor([ids], device=encoder.backbone.device)

        def explain(error: BaseException) -> ScorerError:
            finding = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return ScorerError(
                f"{self.checkpoint.place}: cannot read {len(ids)} tokens: {finding}; give less with"
                " -o source_tokens and -o candidate_tokens"
            )

        with enclosed(explain):
            return float(encoder.logit(tokens, self.marks))

    def _encode(self, question: Candidates) -> tuple[list[int], tuple[bool, bool, bool]]:
        """Return the token ids of prompt and responses, and which of the three were cut."""
        from rmbench.checkpoint.template import render_template

        turns = [{"role": turn.role, "content": turn.text} for turn in question.prompt]
        source = render_template(SOURCE, {"prompt": turns})
        limits = (self.options.source_tokens, *[self.options.candidate_tokens] * 2)
        texts = (source, *question.responses)
        parts = [self._part(*given) for given in zip(texts, self.marks, limits, strict=True)]
        ids = [token for part, _ in parts for token in part]
        one, two, three = (was_cut for _, was_cut in parts)
        return ids, (one, two, three)

    def _part(self, text: str, mark: int, limit: int) -> tuple[list[int], bool]:
        """Return a part behind its mark, cut at the end; and whether it was."""
        tokenizer = self.checkpoint.tokenizer
        written = tokenizer.convert_ids_to_tokens(mark) + text
        ids = list(tokenizer(written, verbose=False)["input_ids"])
        if len(ids) <= limit:
            return ids, False
        last = ids[-1:] if tokenizer.sep_token_id == ids[-1] else []
        return [*ids[: limit - len(last)], *last], True


def _plan(model: str, options: PairOptions, questions: Iterable[Any], _: bool) -> "Plan":
    import numpy as np

    from rmbench.scorers.plan import plan_alone

    scorer = PairModel(model, options)
    sequences = [np.array(scorer._encode(item)[0], dtype=np.int32) for item in questions]
    return plan_alone(scorer.checkpoint, sequences)


KIND: Final = Kind(
    plan=_plan,
    open=PairModel,
    options=PairOptions,
    result_name=folder_name,
    summary="An encoder that is shown two responses at once, in PairRM's layout.",
)
