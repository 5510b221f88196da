"""What writes a judge's replies: any server that speaks OpenAI's chat completions."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from rmbench.scorers.calls import Caller, FailedCallError
from rmbench.scorers.verdict import Reply

__all__ = ["PATH", "TOPS", "Chat", "Sampling", "ServerChat", "parse_completion"]

PATH: Final = "/chat/completions"
TOPS: Final = 20
"""Likeliest first tokens that are asked for; servers give no more."""

Messages = Sequence[Mapping[str, str]]


class Sampling(BaseModel):
    """How replies are drawn; all of it can move an answer.

    Attributes:
        temperature: 0 for the likeliest reply.
        max_tokens: of a reply, its thought included.
        seed: of the first sample of a question; the next samples take the numbers behind it.
        with_tops: whether the likeliest first tokens are wanted.
        extra: further fields of a request, as the server knows them; null takes a field out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 2048
    seed: int = 0
    with_tops: bool = False
    extra: dict[str, Any] = Field(default_factory=dict)

    def body(self, model: str, messages: Messages, sample: int) -> dict[str, Any]:
        """Return the request for one sample (from 0 on) of a question."""
        body: dict[str, Any] = {
            "model": model,
            "messages": list(messages),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed + sample,
        }
        if self.with_tops:
            body |= {"logprobs": True, "top_logprobs": TOPS}
        return {name: value for name, value in (body | self.extra).items() if value is not None}


class Chat(Protocol):
    """A model that replies; called from as many threads as ``at_once`` says."""

    @property
    def at_once(self) -> int:
        """How many questions may be under way."""

    def ask(self, body: Mapping[str, Any], run: int) -> Reply:
        """Return the reply to a request for chat completions.

        Args:
            body: of the request.
            run: which of several identical runs it belongs to, from 0 on.

        Raises:
            FailedCallError: there is none.
        """

    def faults(self) -> Mapping[str, int]:
        """Return what went wrong so far, by kind."""

    def finish(self) -> None:
        """Say what is to be done where replies are still to come.

        Raises:
            ScorerError: some are.
        """

    def close(self) -> None:
        """Let go of what is open; the next question opens it again."""


class ServerChat:
    """Chat completions over HTTP."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def at_once(self) -> int:
        """How many requests may be under way."""
        return self.caller.options.in_flight

    def ask(self, body: Mapping[str, Any], run: int) -> Reply:
        """Return the server's reply.

        Raises:
            ScorerError: the server refuses every request.
            FailedCallError: it has no reply to this one, or none of the right form.
        """
        return parse_completion(self.caller.post(PATH, body))

    def faults(self) -> Mapping[str, int]:
        """Return the faults of all calls so far, those that another try fixed included."""
        return dict(self.caller.faults)

    def finish(self) -> None:
        """Nothing is to be done: a server has replied to everything, or never will."""

    def close(self) -> None:
        """Close the connections."""
        self.caller.close()


def parse_completion(content: Any) -> Reply:
    """Return the sample that a chat completion's JSON holds.

    Raises:
        FailedCallError: it has another form.
    """
    try:
        choice = content["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        finish = "refusal" if message.get("refusal") else choice.get("finish_reason") or "stop"
        usage = content.get("usage") or {}
        tokens = tuple(int(usage[n]) for n in ("prompt_tokens", "completion_tokens") if n in usage)
        tops = _tops(choice.get("logprobs"))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise FailedCallError("malformed", f"no chat completion ({error})") from None
    if not all(isinstance(part, str) for part in (text, thought, finish)):
        raise FailedCallError("malformed", "no chat completion (its content is no text)")
    return Reply(text=text, thought=thought, finish=finish, tokens=tokens, tops=tops)


def _tops(logprobs: Any) -> tuple[tuple[str, float], ...]:
    if not logprobs or not logprobs.get("content"):
        return ()
    first = logprobs["content"][0]
    found = first.get("top_logprobs") or [first]
    tops = tuple((str(top["token"]), min(float(top["logprob"]), 0.0)) for top in found)
    if any(math.isnan(logprob) for _, logprob in tops):
        raise ValueError("a log-probability is not a number")
    return tops
