"""What do template and tokenizer make of a conversation? Cheap checks, like ``checks.py``."""

import re
from collections.abc import Sequence
from typing import Any, Final

from rmbench.checkpoint.chat import Template
from rmbench.checkpoint.encode import encode
from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.writing import TRIAL, render, render_all, token_ids
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation

__all__ = ["check_text", "encode_one"]

RENDERINGS: Final = 8
"""A template with one random choice of two passes unseen once in 2^7 times."""
MIN_WORDS: Final = 4
"""A template's own words between messages, from which on they count as a text: role names are less
("GPT4 Correct User:")."""
PROBE: Final = TRIAL
_QUESTION: Final = PROBE.prompt[0].content
_ANSWER: Final = PROBE.response


def check_text(template: Template, tokenizer: Any, options: ModelOptions) -> list[Check]:
    """Check what template and tokenizer make of the shortest conversation."""
    try:
        text, *others = render_all([PROBE] * RENDERINGS, template, tokenizer)
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        return _refused(seen, remedy)
    if any(other != text for other in others):
        return _refused(
            "it writes another text each time",
            "rewards could not be repeated; give a fixed template with --template FILE",
        )
    if not text or not (_QUESTION in text or _ANSWER in text):
        seen = "it writes no word of the messages" if text else "it writes nothing"
        return _refused(seen, "give another with --template FILE")
    ids = encode_one(PROBE, template, tokenizer)
    return [
        check_date(template),
        check_own_text(text, template, tokenizer),
        check_system_prompt(text, options),
        check_thinking(template, tokenizer),
        check_bos(ids, template, tokenizer),
        check_eos(ids, tokenizer),
    ]


def _refused(seen: str, remedy: str) -> list[Check]:
    return [Check(name="template", status=REFUSED, seen=seen, remedy=remedy)]


def encode_one(conversation: Conversation, template: Template, tokenizer: Any) -> list[int]:
    """Return the token ids of one conversation, whatever its length."""
    encoded = encode(
        [conversation],
        tokenizer=tokenizer,
        template=template,
        max_length=None,
        on_overflow="error",
    )
    ids = encoded.sequences[0]
    assert ids is not None, "nothing is dropped without a limit"
    return [int(token) for token in ids]


def check_date(template: Template) -> Check:
    """Warn of a template that asks for the day of the run, which it is not told."""
    name = "date"
    if template.date is not None:
        return Check(
            name=name,
            status=WARNING,
            seen="the template asks for today's date, which would change rewards from day to day",
            remedy=f"nothing to do: rmbench always tells it {template.date}",
        )
    return Check(name=name, status=OK, seen="none written")


def check_own_text(text: str, template: Template, tokenizer: Any) -> Check:
    """Warn of a text that stands in no message, such as a default system prompt."""
    name = "system prompt"
    own = own_text(text, tokenizer, template)
    if not own:
        return Check(name=name, status=OK, seen="none of its own")
    return Check(
        name=name,
        status=WARNING,
        seen=f"the template adds a text of its own: {_quoted(own)}",
        remedy="right if the model was trained with it; --system-prompt TEXT gives another",
    )


def own_text(text: str, tokenizer: Any, template: Template) -> str:
    """Return what a rendered probe says beyond its messages, role names and special tokens."""
    for given in filter(None, (template.system_prompt, _QUESTION, _ANSWER)):
        text = text.replace(given, "\0")
    for token in sorted(tokenizer.get_added_vocab(), key=len, reverse=True):
        text = text.replace(token, " ")
    marks = re.compile(r"<[^<>]*>|\[/?\w+\]")
    roles = re.compile(r"^\W*(system|user|assistant)\W*$", re.MULTILINE)
    gaps = [roles.sub(" ", marks.sub(" ", gap)) for gap in text.split("\0")]
    found = [" ".join(gap.split()) for gap in gaps if len(re.findall(r"\w+", gap)) >= MIN_WORDS]
    return " … ".join(found)


def _quoted(text: str) -> str:
    return f'"{text[:200]}…"' if len(text) > 200 else f'"{text}"' if " " in text else text


def check_system_prompt(text: str, options: ModelOptions) -> Check:
    """Refuse a system prompt that was asked for and that the template leaves out."""
    name = "system prompt asked for"
    asked = options.system_prompt
    if asked and asked.strip() not in text:
        return Check(
            name=name,
            status=REFUSED,
            seen="the template does not write it",
            remedy="leave --system-prompt out, or give a template that has a place for it",
        )
    return Check(name=name, status=OK, seen="written" if asked else "none")


def check_thinking(template: Template, tokenizer: Any) -> Check:
    """Warn of a template that takes words out of responses."""
    name = "responses"
    response = f"<think>{_QUESTION}</think>{_ANSWER}"
    probe = Conversation(PROBE.prompt, response, PROBE.name)
    if response in render(probe, template, tokenizer):
        return Check(name=name, status=OK, seen="written unchanged")
    return Check(
        name=name,
        status=WARNING,
        seen="the template changes responses: it does not write <think>…</think> as it stands",
        remedy="right if the model was trained so; --template gives another",
    )


def check_bos(ids: Sequence[int], template: Template, tokenizer: Any) -> Check:
    """Refuse two BOS tokens; warn of none where the tokenizer would add one to plain text."""
    name = "BOS"
    bos = tokenizer.bos_token_id
    if bos is None:
        return Check(name=name, status=OK, seen="the tokenizer has none")
    count = next((i for i, token in enumerate(ids) if token != bos), len(ids))
    if count > 1:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"{count} times at the beginning",
            remedy="--bos always keeps one, --bos never none; or fix the template",
        )
    plain = token_ids([_QUESTION], tokenizer, add_special=True)[0]
    if not count and plain.size and plain[0] == bos and template.strip_bos is None:
        return Check(
            name=name,
            status=WARNING,
            seen="the tokenizer adds it to plain text, the template does not write it",
            remedy="--bos always if the model was trained with it, --bos never to confirm",
        )
    return Check(name=name, status=OK, seen="once, first" if count else "not written")


def check_eos(ids: Sequence[int], tokenizer: Any) -> Check:
    """Warn when no EOS follows the response."""
    name = "EOS"
    eos = tokenizer.eos_token_id
    if eos is None:
        return Check(name=name, status=OK, seen="the tokenizer has none")
    behind = len(ids) - 1 - list(ids)[::-1].index(eos) if eos in ids else -1
    answered = _ANSWER in tokenizer.decode(ids[:behind]) if behind > 0 else False
    if not answered:
        return Check(
            name=name,
            status=WARNING,
            seen="none after the response",
            remedy="--eos always if the model was trained with one; this can move an accuracy by"
            " points",
        )
    after = len(ids) - 1 - behind
    seen = "the last token" if not after else f"after the response, then {after} more"
    return Check(name=name, status=OK, seen=seen)
