"""Replies that are generated here, one by one, by a language model of transformers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError, enclosed
from rmbench.scorers.calls import FailedCallError
from rmbench.scorers.verdict import Reply
from rmbench.suite.comparison import Message

if TYPE_CHECKING:
    from rmbench.checkpoint.opening import Checkpoint

__all__ = ["LocalChat"]


class LocalChat:
    """A language model of transformers.

    Args:
        model: a folder, or a model of the Hub.
        options: how to load it, and its chat template.
        labels: first tokens whose log-probabilities are wanted; empty for none.
        awaits_answer: whether the template's generation prompt follows the question.
    """

    at_once = 1

    def __init__(
        self,
        model: str,
        options: ModelOptions,
        *,
        labels: Sequence[str] = (),
        awaits_answer: bool = True,
    ) -> None:
        self.model = model
        self.options = options
        self.labels = labels
        self.awaits_answer = awaits_answer

    @cached_property
    def checkpoint(self) -> "Checkpoint":
        """The model's configuration, tokenizer and template."""
        from rmbench.checkpoint.opening import open_checkpoint

        return open_checkpoint(self.model, self.options)

    @cached_property
    def network(self) -> Any:
        """The model with its weights, loaded for the first question."""
        from rmbench.checkpoint.causal import load_language_model

        return load_language_model(self.checkpoint)

    @property
    def settings(self) -> dict[str, Any]:
        """What can move a reply besides the request."""
        from rmbench.checkpoint.weights import choose_device, choose_dtype

        template = self.checkpoint.template
        return {
            "dtype": choose_dtype(self.options.dtype, choose_device(self.options.device)),
            "attention": self.options.attention,
            "template": template.name,
            "template_sha256": template.sha256,
        }

    def ask(self, body: Mapping[str, Any], run: int) -> Reply:
        """Return the model's reply.

        Raises:
            ScorerError: the model cannot be loaded, or the template refuses the question.
            FailedCallError: the question leaves no room for a reply.
        """
        import torch

        ids = self._encode(body["messages"])  # (1, T)
        limit = self.checkpoint.max_length
        if limit is not None and ids.shape[1] + body["max_tokens"] > limit:
            raise FailedCallError("too long", f"{ids.shape[1]} tokens, and the limit is {limit}")
        with torch.inference_mode():
            if self.labels:
                return self._weigh(ids)
            return self._generate(ids, body)

    def faults(self) -> Mapping[str, int]:
        """Return nothing: what goes wrong here stops the run."""
        return {}

    def finish(self) -> None:
        """Nothing is to be done: every question had its reply."""

    def close(self) -> None:
        """Nothing is open."""

    def _encode(self, messages: Sequence[Mapping[str, str]]) -> Any:
        import torch

        return torch.tensor([self.token_ids(messages)], device=self.network.device)

    def token_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the token ids of a request; no weights are loaded."""
        from rmbench.checkpoint.writing import render_question

        checkpoint = self.checkpoint
        turns = tuple(Message(turn["role"], turn["content"]) for turn in messages)
        text = render_question(
            turns, checkpoint.template, checkpoint.tokenizer, awaits_answer=self.awaits_answer
        )
        plain = checkpoint.template.text is None
        ids = checkpoint.tokenizer(text, add_special_tokens=plain, verbose=False)["input_ids"]
        return list(ids)

    def _weigh(self, ids: Any) -> Reply:
        """Return the log-probabilities of the labels as the first token of a reply."""
        import torch

        network = self.network
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if network.config.is_encoder_decoder:
            start = network.config.decoder_start_token_id
            given["decoder_input_ids"] = ids.new_full((1, 1), start)
        logits = network(**given).logits[0, -1].float()
        logprobs = logits.log_softmax(-1)
        tops = tuple(
            (token, float(logprobs[number])) for token, number in self._label_tokens.items()
        )
        return Reply(text="", finish="length", tokens=(ids.shape[1], 1), tops=tops)

    @cached_property
    def _label_tokens(self) -> dict[str, int]:
        """The tokens that are a label, with or without a space before it, by their texts.

        Raises:
            ScorerError: a label is no single token.
        """
        found: dict[str, int] = {}
        for label in self.labels:
            # Some tokenizers make one token of both texts: it counts once.
            own = {self._token(text): text for text in (f" {label}", label)}
            own.pop(None, None)
            if not own:
                raise ScorerError(
                    f'{self.checkpoint.place}: "{label}" is no single token of its tokenizer; give'
                    " a judge's file with other labels"
                )
            found |= {text: number for number, text in own.items() if number is not None}
        return found

    def _token(self, text: str) -> int | None:
        """Return the one token that a text is; None where it is several."""
        tokenizer = self.checkpoint.tokenizer
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        is_it = len(ids) == 1 and tokenizer.decode(ids).strip() == text.strip()
        return int(ids[0]) if is_it else None

    def _generate(self, ids: Any, body: Mapping[str, Any]) -> Reply:
        import torch
        from transformers import GenerationConfig

        network, tokenizer = self.network, self.checkpoint.tokenizer
        temperature, most = body["temperature"], body["max_tokens"]
        stops = network.generation_config.eos_token_id
        stops = tokenizer.eos_token_id if stops is None else stops
        drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=most,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id or 0,
            decoder_start_token_id=network.generation_config.decoder_start_token_id,
            **(drawn if temperature else {"do_sample": False}),
        )
        torch.manual_seed(body["seed"])
        with enclosed(self._explain):
            output = network.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=config
            )[0]
        start = 0 if network.config.is_encoder_decoder else ids.shape[1]
        new = output[start:].tolist()
        stopped = new and new[-1] in (stops if isinstance(stops, list) else [stops])
        return Reply(
            text=tokenizer.decode(new, skip_special_tokens=True),
            finish="stop" if stopped or len(new) < most else "length",
            tokens=(ids.shape[1], len(new)),
        )

    def _explain(self, error: BaseException) -> ScorerError:
        finding = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return ScorerError(
            f"{self.checkpoint.place}: cannot generate: {finding}; give -o url of a server that"
            " serves it"
        )
