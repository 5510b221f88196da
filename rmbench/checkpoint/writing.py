"""Conversations → texts → token ids, in a child process with limits; see ``enclosure``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from rmbench.checkpoint.chat import Template, Tokenizer
from rmbench.checkpoint.child import Failure
from rmbench.checkpoint.enclosure import Child, TextAnswer, TextTask, lease
from rmbench.checkpoint.written import losses
from rmbench.errors import ScorerError, enclosed
from rmbench.suite.comparison import Conversation, Message

__all__ = [
    "TRIAL",
    "Way",
    "library_ids",
    "render",
    "render_all",
    "render_prompt",
    "render_prompts",
    "render_question",
    "token_ids",
    "told",
    "with_parts",
    "write_text",
]

TRIAL: Final = Conversation((Message("user", "qoph"),), "aleph", "a trial conversation")
_PROBE: Final = " Probe 1234,5  it's\n\n\tnaïve 日本 🙂</s> x"

Ids = npt.NDArray[np.int32]


def render(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> str:
    """Return the text of a conversation, special tokens included.

    Raises:
        ScorerError: the template refuses the conversation, or there is none to write its turns.
    """
    return render_all([conversation], template, tokenizer)[0]


def render_all(
    conversations: Sequence[Conversation], template: Template, tokenizer: Tokenizer
) -> list[str]:
    """Return the texts of conversations; as ``render``."""
    way = Way(tokenizer, template)
    with lease() as child, told(conversations, template):
        return way.texts(conversations, child).texts


def render_prompts(
    conversations: Sequence[Conversation], template: Template, tokenizer: Tokenizer
) -> list[str]:
    """Return the texts of prompts alone, up to where an answer is to begin; as ``render``."""
    if template.text is None:
        return [conversation.prompt[0].content for conversation in conversations]
    way = Way(tokenizer, template, awaits_answer=True)
    with lease() as child, told(conversations, template):
        return way.texts(conversations, child).texts


def render_prompt(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> str:
    """Return the text of one prompt; as ``render_prompts``."""
    return render_prompts([conversation], template, tokenizer)[0]


def render_question(
    messages: Sequence[Message], template: Template, tokenizer: Tokenizer, *, awaits_answer: bool
) -> str:
    """Return the text of messages to a model that is to reply.

    Args:
        messages: what it is told.
        template: how they become text.
        tokenizer: the model's.
        awaits_answer: whether the template's generation prompt follows them.

    Raises:
        ScorerError: the template fails, or there is none and the messages are several.
    """
    if template.text is None and len(messages) > 1:
        raise ScorerError(
            f"{len(messages)} messages to a judge, which --template none cannot write; give a Jinja"
            " file"
        )
    question = Conversation(tuple(messages), "", "a question to a judge")
    if template.text is None or awaits_answer:
        return render_prompt(question, template, tokenizer)
    way = Way(tokenizer, template, awaits_answer=True)
    way.variables |= {"add_generation_prompt": False}
    with lease() as child, told([question], template):
        return way.texts([question], child).texts[0]


def write_text(source: str, variables: Mapping[str, Any]) -> str:
    """Return what a text in Jinja says that is no chat template.

    Raises:
        Failure: it fails, or passes a limit.
    """
    with lease() as child:
        return _run(TextTask([[]], source, variables), child).texts[0]


def with_parts(template: Template, tokenizer: Tokenizer) -> Template:
    """Return a template that is given content as parts where it writes no text that is none.

    Those of models that also see pictures walk over content as a list.

    Raises:
        ScorerError: the template fails.
    """
    if template.text is None or TRIAL.response in render(TRIAL, template, tokenizer):
        return template
    parted = replace(template, in_parts=True)
    try:
        is_written = TRIAL.response in render(TRIAL, parted, tokenizer)
    except ScorerError:
        return template
    return parted if is_written else template


def token_ids(
    texts: Sequence[str], tokenizer: Tokenizer, *, add_special: bool, place: str = "a trial text"
) -> list[Ids]:
    """Return the token ids of ready texts; ``place`` is what a message calls them.

    Raises:
        ScorerError: the tokenizer fails.
    """
    with _nameless(texts, place) as child:
        source = _source(tokenizer, child)
        if source is None:
            return _by_own_code(texts, tokenizer, add_special=add_special)
        return _run(
            _with_tokenizer(TextTask(texts), tokenizer, source, add_special), child
        ).sequences


def library_ids(texts: Sequence[str], source: str) -> list[Ids]:
    """Return the ids that a tokenizer's JSON gives, special tokens aside; as ``token_ids``."""
    with _nameless(texts, "tokenizer.json") as child:
        return _run(TextTask(texts, tokenizer=source), child).sequences


@contextmanager
def _nameless(texts: Sequence[str], place: str) -> Iterator[Child]:
    conversations = [Conversation((), text, place) for text in texts]
    with lease() as child, told(conversations, None):
        yield child


@contextmanager
def told(conversations: Sequence[Conversation], template: Template | None) -> Iterator[None]:
    """Tell of which conversation a failure is."""
    try:
        yield
    except Failure as failure:
        name = conversations[failure.number].name
        if failure.stage == "template" and template is not None:
            raise ScorerError(
                f"{name}: {template.title} fails: {failure.finding}; fix it, or give another with"
                " --template FILE"
            ) from None
        raise ScorerError(
            f"{name}: the tokenizer fails: {failure.finding}; use the tokenizer that the model was"
            " trained with, or another release of the package tokenizers"
        ) from None


class Way:
    """How texts and ids are made: in the child, but for what only a tokenizer's own code can do."""

    def __init__(
        self, tokenizer: Tokenizer, template: Template, *, awaits_answer: bool = False
    ) -> None:
        self.tokenizer, self.template = tokenizer, template
        self.awaits_answer = awaits_answer
        base = "transformers.tokenization_utils_base"
        home = type(tokenizer).apply_chat_template.__module__
        self.is_own = template.text is not None and home != base
        self.variables: dict[str, Any] = {}
        if template.text is not None and not self.is_own:
            self.variables = {
                "tools": None,
                "documents": None,
                "add_generation_prompt": awaits_answer,
            }
            self.variables |= tokenizer.special_tokens_map

    def texts(self, conversations: Sequence[Conversation], child: Child) -> TextAnswer:
        """Return rendered conversations.

        Raises:
            Failure: the template fails.
        """
        return self._ready(conversations) or _run(self._job(conversations), child)

    def send(self, conversations: Sequence[Conversation], child: Child) -> TextAnswer | None:
        """Hand conversations to the child; or return what came of them where it has no part."""
        source = _source(self.tokenizer, child)
        ready = self._ready(conversations)
        if source is None:
            answer = ready or _run(self._job(conversations), child)
            ids = self._by_own_code(answer.texts)
            return answer._replace(texts=[], sequences=ids)
        job = TextTask(ready.texts) if ready else self._job(conversations)
        child.send(_with_tokenizer(job, self.tokenizer, source, self.template.text is None))
        return None

    def _job(self, conversations: Sequence[Conversation]) -> TextTask:
        messages = [self._messages(conversation) for conversation in conversations]
        return TextTask(messages, self.template.text, self.variables)

    def _ready(self, conversations: Sequence[Conversation]) -> TextAnswer | None:
        """Return texts that no template writes; None where one does."""
        if self.template.text is None:
            return TextAnswer([_joined(conversation) for conversation in conversations], [], [])
        if not self.is_own:
            return None
        if self.template.date is not None:
            finding = "it asks for today's date, and the tokenizer runs it by code of its own"
            raise Failure("template", 0, finding)
        return self._own(conversations)

    def _own(self, conversations: Sequence[Conversation]) -> TextAnswer:
        """Return what a tokenizer's own code writes; it runs with ``--trust-remote-code`` alone."""
        texts, notes = [], []
        for number, conversation in enumerate(conversations):
            messages = self._messages(conversation)
            with enclosed(partial(_own_failure, conversation.name, self.template.title)):
                text = self.tokenizer.apply_chat_template(
                    messages,
                    chat_template=self.template.text,
                    tokenize=False,
                    add_generation_prompt=self.awaits_answer,
                )
            texts.append(text)
            notes += [(number, loss) for loss in losses(messages, text)]
        return TextAnswer(texts, [], notes)

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        if self.awaits_answer:
            messages = [message.fields for message in conversation.prompt]
        else:
            messages = conversation.messages
        prompt = self.template.system_prompt
        if prompt is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": prompt}, *messages]
        if self.template.in_parts:
            for message in messages:
                message["content"] = [{"type": "text", "text": message["content"] or ""}]
        return messages

    def _by_own_code(self, texts: Sequence[str]) -> list[Ids]:
        return _by_own_code(texts, self.tokenizer, add_special=self.template.text is None)


def _own_failure(name: str, title: str, error: BaseException) -> ScorerError:
    finding = " ".join(str(error).split()) or type(error).__name__
    return ScorerError(f"{name}: {title} fails: {finding}; fix it, or give another")


def _joined(conversation: Conversation) -> str:
    """Return prompt and response of a conversation that needs no template."""
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


def _run(job: TextTask, child: Child) -> TextAnswer:
    child.send(job)
    return child.receive()


def _with_tokenizer(
    job: TextTask, tokenizer: Tokenizer, source: str, add_special: bool
) -> TextTask:
    split = bool(getattr(tokenizer, "split_special_tokens", False))
    return job._replace(tokenizer=source, add_special=add_special, split_special=split)


def _by_own_code(texts: Sequence[str], tokenizer: Tokenizer, *, add_special: bool) -> list[Ids]:
    """Return the ids that a tokenizer in Python gives."""

    def explain(error: BaseException) -> ScorerError:
        return ScorerError(f"the tokenizer fails: {error}; use the one the model was trained with")

    with enclosed(explain):
        batch = tokenizer(
            list(texts),
            add_special_tokens=add_special,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
    return [np.asarray(ids, np.int32) for ids in batch["input_ids"]]


# Of each tokenizer, by its number of tokens: what the tokenizers library needs to do the same.
_SOURCES: "WeakKeyDictionary[Any, tuple[int, str | None]]" = WeakKeyDictionary()


def _source(tokenizer: Any, child: Child) -> str | None:
    """Return a tokenizer as JSON; None where its own code does more than the library would.

    Raises:
        Failure: it fails on a short text.
    """
    size = len(tokenizer) if hasattr(tokenizer, "__len__") else 0
    known = _SOURCES.get(tokenizer)
    if known is None or known[0] != size:
        known = _SOURCES[tokenizer] = (size, _find_source(tokenizer, child))
    return known[1]


def _find_source(tokenizer: Any, child: Child) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    source: str = backend.to_str()
    for add_special in (False, True):  # in the child first, which may not survive it
        (found,) = _run(
            TextTask([_PROBE], tokenizer=source, add_special=add_special), child
        ).sequences
        (own,) = _by_own_code([_PROBE], tokenizer, add_special=add_special)
        if own.tolist() != found.tolist():
            return None
    return source
