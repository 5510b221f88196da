"""Models whose code has a method for the reward of a conversation, and whose forward gives none.

The method takes the tokenizer and the conversation, writes the text itself and returns the reward;
InternLM2's ``get_score`` is the pattern. It is asked about one conversation at a time, so nothing
is shared between them: a model whose forward gives its reward is scored as a classifier, faster.
"""

import math
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final, Literal

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.options import Options, option, same_option
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.examined import Examined, examine_by_asking
from rmbench.scorers.kind import Kind
from rmbench.scorers.opened import Opened, folder_name
from rmbench.suite.comparison import Comparison, Conversation

__all__ = ["KIND", "Method", "MethodOptions"]


class MethodOptions(Options):
    """Which method is asked, and how the model is loaded."""

    method: str = option("get_score", help="The method: tokenizer and conversation in, reward out.")
    revision: str | None = same_option(ModelOptions, "revision")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = same_option(ModelOptions, "dtype")
    device: str = same_option(ModelOptions, "device")
    device_map: Literal["auto"] | None = same_option(ModelOptions, "device_map")
    negate: bool = same_option(ModelOptions, "negate")
    trust_remote_code: bool = same_option(ModelOptions, "trust_remote_code")
    trust_pickle: bool = same_option(ModelOptions, "trust_pickle")


class Method(Opened):
    """A model with code of its own, asked by a method of its class.

    Args:
        model: a folder, or a model of the Hub.
        options: the method's name, and how the model is loaded.
    """

    def __init__(self, model: str, options: MethodOptions) -> None:
        super().__init__(model, options)
        self.own_options = self.own_options.changed(template="none")  # the method writes the text
        self.options = options

    @property
    def info(self) -> ScorerInfo:
        """Which model, and which method of it."""
        method, negate = self.options.method, self.options.negate
        return ScorerInfo(
            id=self.checkpoint.name,
            kind="method",
            revision=self.revision,
            scale="log-odds",
            settings={"method": method, "dtype": self.dtype, "negate": negate},
            usual={"method": "get_score", "negate": False},
        )

    @property
    def identity(self) -> Identity | None:
        """The model and the method."""
        from rmbench.scorers.unloaded import model_identity

        found = model_identity(self.model, self.own_options)
        return found and Identity(f"method {self.options.method} {found.replies}")

    @cached_property
    def network(self) -> Any:
        """The model with its weights, loaded for the first question.

        Raises:
            ScorerError: it cannot be loaded, or its class has no such method.
        """
        from rmbench.checkpoint.causal import load_own_class

        network = load_own_class(self.checkpoint)
        if not callable(getattr(network, self.options.method, None)):
            raise ScorerError(
                f"{self.checkpoint.place}: {type(network).__name__} has no method"
                f" {self.options.method}; name its own with -o method=NAME"
            )
        return network

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record what the method says of each conversation.

        Raises:
            ScorerError: the model cannot be loaded, or its method fails or gives no number.
        """
        start = time.perf_counter()
        for number, conversation in enumerate(conversations):
            if ledger.known(number) is None:
                ledger.record({number: self._ask(conversation)})
        return Facts(timing={"score": time.perf_counter() - start})

    def examine(self, sample: Sequence[Comparison]) -> Examined:
        """Return what it is, what it is given first, and a few rewards."""
        first = next(sample[0].conversations())
        return examine_by_asking(
            self,
            sample,
            recognised=f"method: {type(self.network).__name__}.{self.options.method} of its code",
            shown="\n".join(f"{turn['role']}: {turn['content']}" for turn in first.messages),
        )

    def _ask(self, conversation: Conversation) -> float:
        import torch

        from rmbench.checkpoint.explain import foreign

        ask = getattr(self.network, self.options.method)
        with foreign(self.checkpoint.place, "model"), torch.inference_mode():
            reward = float(ask(self.checkpoint.tokenizer, list(conversation.messages)))
        if not math.isfinite(reward):
            raise ScorerError(
                f"{self.checkpoint.place}: its {self.options.method} gives {reward} for"
                f" {conversation.name or 'a conversation'}; try --dtype float32"
            )
        return -reward if self.options.negate else reward


KIND: Final = Kind(
    open=Method,
    options=MethodOptions,
    result_name=folder_name,
    summary="A model whose code has a method for the reward of a conversation (get_score).",
)
