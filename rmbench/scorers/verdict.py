"""What a judge's reply says: a rating, or a share for each candidate; or why it says nothing.

A reply is read in one of three ways: by the marks that a regular expression finds, by a value in
its JSON, or by the log-probabilities of its first token. The judge's thought is never read, and a
reply that gives two different verdicts gives none.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = ["CUT_OFF", "REFUSED", "UNREADABLE", "Reply", "VerdictRule", "is_bounded", "read"]

CUT_OFF: Final = "cut off"
REFUSED: Final = "refused"
UNREADABLE: Final = "unreadable"
_MISSING: Final = object()

Shares = tuple[float, ...]
Label = float | Literal["tie"] | tuple[Annotated[float, Field(ge=0, le=1)], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply of a judge, as it is kept.

    Attributes:
        text: what was said, without what the server set apart as reasoning.
        thought: what the server set apart; kept for people, never read.
        finish: why it ended: ``stop``, ``length`` (cut off), ``content_filter`` or ``refusal``.
        tokens: of the prompt and of the reply, as the server counts them; empty where it does not.
        tops: log-probabilities of the likeliest first tokens, by their text.
    """

    text: str
    thought: str = ""
    finish: str = "stop"
    tokens: tuple[int, ...] = ()
    tops: tuple[tuple[str, float], ...] = ()

    def packed(self) -> dict[str, Any]:
        """Return what differs from the defaults, for a reply's JSON."""
        empty = asdict(Reply(text=""))
        return {k: v for k, v in asdict(self).items() if k == "text" or v != empty[k]}

    @classmethod
    def unpacked(cls, content: Mapping[str, Any]) -> "Reply":
        """Return the sample that ``packed`` gave."""
        tops = tuple((token, value) for token, value in content.get("tops", ()))
        tokens = tuple(content.get("tokens", ()))
        return cls(**{**content, "tops": tops, "tokens": tokens})


def _compiled(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"needs one group, which holds the mark, and has {groups}")
    return pattern


class VerdictRule(BaseModel):
    r"""How a reply is read; the table ``[verdict]`` of a judge's file.

    Attributes:
        pattern: regular expression whose one group is the mark, such as ``\[\[([AB])\]\]``.
        json_path: where the verdict stands in a JSON object of the reply, parts joined by dots;
            or where the rating of each candidate stands.
        tokens: first tokens whose probabilities are compared, and what each says.
        labels: what each mark says. Of one response: a rating; without labels the mark is a
            number. Of several: the place of the better one, from 1 on; ``tie``; or a share each.
            Without labels A is the first, B the second and so on. A list in the JSON is a rating
            of each.
        within: only what stands between the last two such texts is read.
        thought: what stands between these is not read.
        conflict: ``unreadable``, or ``last``: what two different marks say.
        range: the least and the largest rating; one beyond is unreadable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    pattern: Annotated[str, AfterValidator(_compiled)] | None = None
    json_path: Annotated[str | tuple[str, ...] | None, Field(alias="json")] = None
    tokens: dict[str, Label] | None = None
    labels: dict[str, Label] = Field(default_factory=dict)
    within: tuple[str, str] | None = None
    thought: tuple[str, str] = ("<think>", "</think>")
    conflict: Literal["unreadable", "last"] = "unreadable"
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "VerdictRule":
        ways = [self.pattern, self.json_path, self.tokens]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("needs one of pattern, json and tokens")
        return self


def read(verdict: VerdictRule, sample: Reply, count: int) -> Shares | str:
    """Return what a reply says, or in a word why it says nothing.

    Args:
        verdict: how to read it.
        sample: the reply.
        count: number of candidates; 1 for a rating.

    Returns:
        One rating, or a share for each candidate, as shown; or ``cut off``, ``refused`` or
        ``unreadable``.
    """
    if sample.finish in ("content_filter", "refusal"):
        return REFUSED
    if verdict.tokens is not None:
        return _weigh(verdict.tokens, sample, count) or UNREADABLE
    if sample.finish == "length":
        return CUT_OFF
    text = _spoken(verdict, sample.text)
    if text is None:
        return UNREADABLE
    marks = _marks(verdict, text) if verdict.pattern is not None else _values(verdict, text)
    said = [_meaning(verdict, mark, count) for mark in marks]
    said = said[-1:] if verdict.conflict == "last" else said
    if not said or said[-1] is None or any(other != said[-1] for other in said):
        return UNREADABLE
    return said[-1]


def is_bounded(verdict: VerdictRule, sample: Reply) -> bool:
    """Return whether a label is missing among the likeliest tokens, so that a bound stood in."""
    if not verdict.tokens or not sample.tops:
        return False
    given = {token.strip() for token, _ in sample.tops}
    return bool(given & verdict.tokens.keys()) and not verdict.tokens.keys() <= given


def _spoken(verdict: VerdictRule, text: str) -> str | None:
    """Return the part of a reply that is read; None where the thought does not end."""
    begin, end = verdict.thought
    text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", "", text, flags=re.DOTALL)
    text = text.rpartition(end)[2]  # a template may have opened the thought itself
    if begin in text:
        return None
    if verdict.within is None:
        return text
    _, found, tail = text.rpartition(verdict.within[0])
    inside, closed, _ = tail.partition(verdict.within[1])
    return inside if found and closed else None


def _marks(verdict: VerdictRule, text: str) -> Iterator[Any]:
    assert verdict.pattern is not None, "only called with one"
    for match in re.finditer(verdict.pattern, text):
        yield match[1].strip() if match[1] is not None else ""


def _values(verdict: VerdictRule, text: str) -> Iterator[Any]:
    """Yield what the JSON objects of a text have at the path, or a list for several paths."""
    assert verdict.json_path is not None, "only called with one"
    is_one = isinstance(verdict.json_path, str)
    paths = [verdict.json_path] if isinstance(verdict.json_path, str) else verdict.json_path
    for content in _objects(text):
        found = [_at(content, path) for path in paths]
        if not any(value is _MISSING for value in found):
            yield found[0] if is_one else found


def _at(content: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return _MISSING
    return content


def _objects(text: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            content, end = decoder.raw_decode(text, place)
            yield content
        except (ValueError, RecursionError):
            end = place + 1
        place = text.find("{", end)


def _meaning(verdict: VerdictRule, mark: Any, count: int) -> Shares | None:
    """Return what a mark says; None where it says nothing that can be."""
    if isinstance(mark, list):
        return _best(mark) if len(mark) == count > 1 else None
    label: Any = _label(verdict.labels, mark) if verdict.labels else mark
    if count == 1:
        return _rating(label, verdict.range)
    if not verdict.labels and isinstance(mark, str) and len(mark) == 1:
        label = ord(mark.upper()) - ord("A") + 1
    return _shares(label, count)


def _label(labels: Mapping[str, Label], mark: Any) -> Label | None:
    text = mark.strip() if isinstance(mark, str) else json.dumps(mark)
    folded = {name.casefold(): label for name, label in labels.items()}
    return labels.get(text, folded.get(text.casefold()))


def _rating(label: Any, within: tuple[float, float] | None) -> Shares | None:
    try:
        value = math.nan if label is None or isinstance(label, bool | tuple) else float(label)
    except (ValueError, OverflowError):
        return None
    low, high = within or (-math.inf, math.inf)
    return (value,) if math.isfinite(value) and low <= value <= high else None


def _shares(label: Any, count: int) -> Shares | None:
    if label == "tie":
        return (1 / count,) * count
    if isinstance(label, tuple):
        fits = len(label) == count and math.isclose(sum(label), 1.0, abs_tol=1e-6)
        return label if fits else None
    is_place = isinstance(label, int | float) and not isinstance(label, bool)
    if not is_place or label not in range(1, count + 1):
        return None
    return tuple(float(i + 1 == label) for i in range(count))


def _best(ratings: Sequence[Any]) -> Shares | None:
    """Return equal shares for the best rated; None where a rating is no number."""
    if not all(type(rating) in (int, float) and math.isfinite(rating) for rating in ratings):
        return None
    best = [rating == max(ratings) for rating in ratings]
    return tuple(is_best / sum(best) for is_best in best)


def _weigh(tokens: Mapping[str, Label], sample: Reply, count: int) -> Shares | None:
    """Return what the probabilities of the labels as first tokens say.

    A label that is not among the likeliest tokens is taken at the most it can have, the last
    one's probability, so that the share of the others is a lower bound.
    """
    mass = dict.fromkeys(tokens, 0.0)
    for token, logprob in sample.tops:
        if token.strip() in mass:
            mass[token.strip()] += math.exp(logprob)
    if not any(mass.values()):
        return None
    bound = math.exp(min(logprob for _, logprob in sample.tops))
    mass = {label: share or bound for label, share in mass.items()}
    whole = sum(mass.values())
    said = [
        _rating(tokens[label], None) if count == 1 else _shares(tokens[label], count)
        for label in mass
    ]
    if any(shares is None for shares in said):
        return None
    weights = [share / whole for share in mass.values()]
    columns = zip(*(shares for shares in said if shares is not None), strict=True)
    return tuple(sum(w * s for w, s in zip(weights, column, strict=True)) for column in columns)
