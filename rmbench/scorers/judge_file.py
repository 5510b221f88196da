"""A judge's file: what it is asked, as Jinja, and how its reply is read; data, no code."""

import hashlib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rmbench.errors import ScorerError, did_you_mean, enclosed
from rmbench.scorers.verdict import VerdictRule
from rmbench.suite.comparison import Message

__all__ = ["JudgeFile", "known_judges", "load_judge", "render_question"]

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_BYTES: Final = 1_000_000


class Turn(BaseModel):
    """One message to the judge: its role, and its text as Jinja.

    With ``insert = "prompt"`` the turns of the conversation stand here as they are, in their own
    roles.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Annotated[str, Field(min_length=1)] = "user"
    text: str = ""
    insert: Literal["prompt"] | None = None


class JudgeFile(BaseModel):
    """What a judge is asked and how its reply is read.

    The texts may name ``prompt`` (messages with role and content), ``question`` (the last of them),
    ``responses`` in the order shown, ``response`` (the first of them) and ``letters`` (A, B, ...).

    Attributes:
        title: for people.
        reference: where the wording or the form of the reply was described.
        asks: ``pointwise`` for a rating of one response, ``pairwise`` for two side by side,
            ``listwise`` for two or more.
        most: responses that it can see at once.
        messages: what it is told.
        verdict: how its reply is read.
        max_tokens: of a reply, unless an option says otherwise.
        awaits_answer: whether a model that runs here is given its template's generation prompt.
        sha256: of the file, in hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    reference: str = ""
    asks: Literal["pointwise", "pairwise", "listwise"]
    most: Annotated[int, Field(ge=1, le=len(LETTERS))] = 2
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    verdict: VerdictRule
    max_tokens: Annotated[int, Field(ge=1)] = 2048
    awaits_answer: bool = True
    sha256: str = ""

    @model_validator(mode="after")
    def _number(self) -> "JudgeFile":
        if self.asks == "pairwise" and self.most != 2:
            raise ValueError('asks = "pairwise" is about two responses; leave out most')
        if self.asks == "listwise" and self.most < 2:
            raise ValueError("most must be 2 or more for a listwise judge")
        return self


def known_judges() -> list[str]:
    """Return the names of the judges' files that come with rmbench."""
    files = resources.files("rmbench.scorers").joinpath("judges").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_judge(choice: str) -> JudgeFile:
    """Return a judge's file, by its name or its path.

    Raises:
        ScorerError: there is none, or something in it is wrong; the message says where.
    """
    path = Path(choice)
    if choice in known_judges():
        content = (
            resources.files("rmbench.scorers").joinpath("judges", f"{choice}.toml").read_bytes()
        )
    elif path.suffix == ".toml":
        with enclosed(
            lambda error: ScorerError(f"{choice}: cannot be read: {error}; check the path")
        ):
            content = path.read_bytes()
    else:
        raise ScorerError(
            f'judge "{choice}" is unknown; {did_you_mean(choice, known_judges())}, or a .toml file'
        )
    return parse_judge(content, choice)


def parse_judge(content: bytes, place: str) -> JudgeFile:
    """Return the judge that a TOML file describes.

    Raises:
        ScorerError: it is no TOML, or a key is missing, unknown or wrong.
    """
    if len(content) > MAX_BYTES:
        raise ScorerError(f"{place}: larger than {MAX_BYTES} bytes; is it a judge's file?")
    with enclosed(lambda error: ScorerError(f"{place}: no TOML: {error}; fix it there")):
        table = tomllib.loads(content.decode())
    try:
        judge = JudgeFile(**table, sha256=hashlib.sha256(content).hexdigest())
    except (ValidationError, TypeError) as error:
        raise ScorerError(f"{place}: {_complaint(error)}; docs/judges.md lists the keys") from None
    for number, turn in enumerate(judge.messages, 1):
        _try(turn.text, f"{place}, message {number}", judge.most)
    return judge


def _complaint(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _try(text: str, place: str, most: int) -> None:
    """Render a text once, so that a wrong one is refused before anybody is asked."""
    _render(text, _variables((Message("user", "?"),), ["?"] * most), place)


def render_question(
    judge: JudgeFile, prompt: Sequence[Message], responses: Sequence[str], *, place: str
) -> list[dict[str, str]]:
    """Return the messages that put a question to the judge.

    Each text is rendered once, and what stands in a response stays as it is, placeholders too.

    Args:
        judge: what to ask.
        prompt: the conversation up to the last turn.
        responses: in the order to be shown.
        place: what the question is called in a message.

    Raises:
        ScorerError: a text cannot be rendered.
    """
    variables = _variables(prompt, responses)
    messages: list[dict[str, str]] = []
    for turn in judge.messages:
        if turn.insert is not None:
            messages += variables["prompt"]
        else:
            messages.append({"role": turn.role, "content": _render(turn.text, variables, place)})
    return messages


def _variables(prompt: Sequence[Message], responses: Sequence[str]) -> dict[str, Any]:
    return {
        "prompt": [{"role": message.role, "content": message.text} for message in prompt],
        "question": prompt[-1].text,
        "responses": list(responses),
        "response": responses[0],
        "letters": list(LETTERS[: len(responses)]),
    }


def _render(text: str, variables: dict[str, Any], place: str) -> str:
    from rmbench.checkpoint.child import Failure
    from rmbench.checkpoint.writing import write_text

    try:
        return write_text(text, variables)
    except Failure as failure:
        raise ScorerError(
            f"{place}: the judge's text fails: {failure.finding}; fix its file"
        ) from None
