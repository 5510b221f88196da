"""Conversation → token ids: the chat template, special tokens, and the limit of length."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import jinja2
import numpy as np
import numpy.typing as npt

from rmbench.checkpoint.template import PINNED_DATE, render_template
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation

__all__ = [
    "Encoded",
    "Encoder",
    "Template",
    "Tokenizer",
    "encode",
    "load_template",
    "render",
    "render_prompt",
    "with_format",
]

MAX_TEMPLATE_BYTES: Final = 1_000_000
# What a template can raise besides jinja2's own errors: it computes, indexes, calls and recurses.
_TEMPLATE_FAILS: Final = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    SyntaxError,  # more loops within each other than Python has blocks
)
_CHUNK: Final = 512

Ids = npt.NDArray[np.int32]


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer."""

    chat_template: Any
    bos_token_id: Any
    eos_token_id: Any
    special_tokens_map: Any

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Render a conversation as text."""

    def __call__(self, text: Any, **options: Any) -> Any:
        """Turn texts into token ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How a conversation becomes text.

    Attributes:
        name: ``tokenizer``, ``none``, or the name of a Jinja file.
        text: the Jinja source; None where there is no template: prompt and response are joined
            as they are, and the tokenizer adds its own special tokens.
        date: the day written where the template asks for today's; None where it does not.
        system_prompt: the first message of conversations that bring no system message; None for
            whatever the template does by itself.
        bos: token that ``--bos always`` puts first, exactly once; None for none put there.
        eos: token that ``--eos always`` puts last, exactly once; None for none put there.
        strip_bos: tokens removed from the beginning, as often as they stand there.
        strip_eos: tokens removed from the end, likewise.
        append: tokens put behind all that, where the model reads its reward at them.
    """

    name: str
    text: str | None
    date: str | None = None
    system_prompt: str | None = None
    bos: int | None = None
    eos: int | None = None
    strip_bos: int | None = None
    strip_eos: int | None = None
    append: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """What to call it in a message."""
        is_own = self.name == "tokenizer"
        return "the tokenizer's chat template" if is_own else f"the template {self.name}"

    @property
    def sha256(self) -> str | None:
        """Digest of the Jinja source in hexadecimal; None without a template."""
        return hashlib.sha256(self.text.encode()).hexdigest() if self.text is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of conversations, in their order, and the conversations' names.

    ``sequences`` holds None for a dropped conversation. ``overflowed`` counts the conversations
    over the limit, ``dropped`` those of them that were dropped, ``longest`` is in tokens.
    """

    sequences: list[Ids | None]
    names: list[str]
    longest: int
    overflowed: int
    dropped: int


def load_template(choice: str, tokenizer: Tokenizer, model: str) -> Template:
    """Return the template that ``--template`` asks for.

    Args:
        choice: ``tokenizer``, ``none``, or a path to a Jinja file.
        tokenizer: the model's.
        model: the model's name, for messages.

    Raises:
        ScorerError: the tokenizer has no template, or the file cannot be read.
    """
    if choice == "none":
        return Template(name="none", text=None)
    if choice == "tokenizer":
        return _template("tokenizer", _own_template(tokenizer, model))
    path = Path(choice)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEMPLATE_BYTES + 1)
        if len(content) > MAX_TEMPLATE_BYTES:
            raise ScorerError(f"{path}: larger than {MAX_TEMPLATE_BYTES} bytes; is it a template?")
        return _template(path.name, content.decode())
    except (OSError, UnicodeDecodeError) as error:
        finding = getattr(error, "strerror", None) or error
        raise ScorerError(
            f"{path}: cannot be read as a template: {finding}; give tokenizer, none or a Jinja file"
        ) from None


def _template(name: str, text: str) -> Template:
    date = PINNED_DATE.date().isoformat() if "strftime_now" in text else None
    return Template(name=name, text=text, date=date)


def with_format(template: Template, tokenizer: Tokenizer, options: Any, *, model: str) -> Template:
    """Return a template that also writes the system prompt, BOS and EOS that were asked for.

    Args:
        template: what ``load_template`` returned.
        tokenizer: the model's.
        options: has ``system_prompt``, ``bos`` and ``eos`` (``model``, ``never`` or ``always``).
        model: the model's name, for messages.

    Raises:
        ScorerError: the tokenizer has no such token, or there is no template to write the prompt.
    """
    if options.system_prompt is not None and template.text is None:
        raise ScorerError(
            f"{model}: --template none has no place for a system prompt; leave --system-prompt"
            " out, or give a Jinja file"
        )
    tokens: dict[str, Any] = {}
    for name in ("bos", "eos"):
        choice, token = getattr(options, name), getattr(tokenizer, f"{name}_token_id")
        if choice == "model":
            continue
        if token is None:
            raise ScorerError(
                f"{model}: --{name} {choice}, but the tokenizer has no {name} token; leave it out"
            )
        tokens[f"strip_{name}"] = token
        if choice == "always":
            tokens[name] = token
    return replace(template, system_prompt=options.system_prompt, **tokens)


def _own_template(tokenizer: Tokenizer, model: str) -> str:
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several named ones, of which transformers takes this one
        template = template.get("default")
    if not isinstance(template, str) or not template:
        raise ScorerError(
            f"{model}: no chat template in the tokenizer; give the one it was trained with as"
            " --template FILE.jinja, or --template none for plain prompt + response"
        )
    return template


def render(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> str:
    """Return the text of a conversation, special tokens included.

    Raises:
        ScorerError: the template refuses the conversation, or there is none to write its turns.
    """
    if template.text is None:
        if len(conversation.prompt) > 1:
            raise ScorerError(
                f"{conversation.name}: the prompt has {len(conversation.prompt)} messages, which"
                " --template none cannot write; give a Jinja file"
            )
        if conversation.turns or conversation.prompt[0].rest:
            raise ScorerError(
                f"{conversation.name}: a message holds more than a text (a call of a tool, a name),"
                " which --template none cannot write; give a Jinja file"
            )
        return conversation.prompt[0].content + conversation.response
    return _render(conversation.messages, template, tokenizer, name=conversation.name)


def render_prompt(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> str:
    """Return the text of a conversation's prompt, up to where an answer is to begin.

    Raises:
        ScorerError: the template refuses it.
    """
    if template.text is None:
        return conversation.prompt[0].content
    messages = [message.fields for message in conversation.prompt]
    return _render(messages, template, tokenizer, name=conversation.name, awaits_answer=True)


def _render(
    messages: list[dict[str, Any]],
    template: Template,
    tokenizer: Tokenizer,
    *,
    name: str,
    awaits_answer: bool = False,
) -> str:
    if template.system_prompt is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": template.system_prompt}, *messages]
    try:
        return _write(messages, template, tokenizer, awaits_answer=awaits_answer)
    except (jinja2.TemplateError, *_TEMPLATE_FAILS) as error:
        raise ScorerError(
            f"{name}: {template.title} fails: {_finding(error)}; mend it, or give"
            " another with --template FILE"
        ) from None


def _finding(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    line = getattr(error, "lineno", None)
    return f"{text} (line {line})" if isinstance(error, jinja2.TemplateSyntaxError) else text


def _write(
    messages: list[dict[str, Any]], template: Template, tokenizer: Tokenizer, *, awaits_answer: bool
) -> str:
    """Return what ``apply_chat_template`` writes, within limits of time and size."""
    assert template.text is not None, "only called with a template"
    if type(tokenizer).apply_chat_template.__module__ == "transformers.tokenization_utils_base":
        given = {"messages": messages, "tools": None, "documents": None}
        given |= {"add_generation_prompt": awaits_answer} | tokenizer.special_tokens_map
        return render_template(template.text, given)
    if template.date is not None:
        raise ValueError("it asks for today's date, and the tokenizer runs it by code of its own")
    text: str = tokenizer.apply_chat_template(
        messages,
        chat_template=template.text,
        tokenize=False,
        add_generation_prompt=awaits_answer,
    )
    return text


def encode(
    conversations: Iterable[Conversation],
    *,
    tokenizer: Tokenizer,
    template: Template,
    max_length: int | None,
    on_overflow: str,
) -> Encoded:
    """Return the token ids of conversations.

    Args:
        conversations: what to encode; rendered and tokenised in chunks.
        tokenizer: the model's.
        template: text from a template carries its special tokens, so none are added to it; without
            a template the tokenizer adds its own.
        max_length: the most tokens a conversation may have; None for no limit.
        on_overflow: ``error``, ``truncate-left`` (the last tokens are kept) or ``drop``.

    Raises:
        ScorerError: a conversation is empty in tokens, or over the limit with ``error``.
    """
    encoder = Encoder(tokenizer, template, max_length=max_length, on_overflow=on_overflow)
    deque(encoder.encode(conversations), maxlen=0)
    return encoder.finish()


class Encoder:
    """Encodes conversations chunk by chunk; arguments as of ``encode``.

    ``sequences`` and ``tokens`` grow with every chunk: the ids so far, and how many there are.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Template,
        *,
        max_length: int | None,
        on_overflow: str,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.on_overflow = on_overflow
        self.tokens = 0
        self.sequences: list[Ids | None] = []
        self._names: list[str] = []
        self._overflowed = self._longest = 0
        self._worst = ""

    def encode(self, conversations: Iterable[Conversation]) -> Iterator[list[Ids | None]]:
        """Yield the token ids of a few hundred conversations at a time; None for a dropped one.

        Raises:
            ScorerError: a conversation is empty in tokens, or cannot be written by the template.
        """
        iterator = iter(conversations)
        while chunk := list(islice(iterator, _CHUNK)):
            batch = self.tokenizer(
                [render(conversation, self.template, self.tokenizer) for conversation in chunk],
                add_special_tokens=self.template.text is None,
                padding=False,
                truncation=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
            names = [conversation.name for conversation in chunk]
            added = [self._fit(*one) for one in zip(names, batch["input_ids"], strict=True)]
            self.sequences += added
            self._names += names
            self.tokens += sum(ids.size for ids in added if ids is not None)
            yield added

    def finish(self) -> Encoded:
        """Return everything that was encoded.

        Raises:
            ScorerError: conversations are over the limit, and ``on_overflow`` is ``error``.
        """
        if self._overflowed and self.on_overflow == "error":
            raise ScorerError(
                f"{self._overflowed} of {len(self.sequences)} conversations have more"
                f" than {self.max_length} tokens, {self._worst} has {self._longest}; pass"
                " --on-overflow truncate-left or drop"
            )
        return Encoded(
            sequences=self.sequences,
            names=self._names,
            longest=self._longest,
            overflowed=self._overflowed,
            dropped=self._overflowed if self.on_overflow == "drop" else 0,
        )

    def _fit(self, name: str, tokens: Sequence[int]) -> Ids | None:
        """Return the ids of one conversation, cut or dropped where it is over the limit."""
        ids = _finish(np.asarray(tokens, dtype=np.int32), self.template)
        if not ids.size:
            raise ScorerError(
                f"{name}: no tokens at all: its texts are empty, or the template writes nothing;"
                " give another with --template FILE"
            )
        if ids.size > self._longest:
            self._longest, self._worst = ids.size, name
        if self.max_length is None or ids.size <= self.max_length:
            return ids
        self._overflowed += 1
        if self.on_overflow == "truncate-left":
            return _keep_right(ids, self.max_length, self.template)
        return None


def _finish(ids: Ids, template: Template) -> Ids:
    """Return token ids with the BOS and EOS that were asked for."""
    start, stop = 0, ids.size
    while start < stop and ids[start] == template.strip_bos:
        start += 1
    while stop > start and ids[stop - 1] == template.strip_eos:
        stop -= 1
    first = [] if template.bos is None else [template.bos]
    last = [] if template.eos is None else [template.eos]
    return np.concatenate([first, ids[start:stop], last, template.append]).astype(np.int32)


def _keep_right(ids: Ids, length: int, template: Template) -> Ids:
    """Return the last ``length`` tokens, after the BOS that was asked for always."""
    if template.bos is None or length == 1:
        return ids[-length:]
    return np.concatenate([ids[:1], ids[1 - length :]])
