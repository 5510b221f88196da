"""How a conversation becomes text: the template, and what was asked for besides."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from rmbench.checkpoint.template import PINNED_DATE
from rmbench.errors import ScorerError

__all__ = ["Template", "Tokenizer", "load_template", "with_format"]

MAX_TEMPLATE_BYTES: Final = 1_000_000


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
        in_parts: whether it is given the content of messages as a list of parts.
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
    in_parts: bool = False
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
