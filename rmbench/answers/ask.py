"""A suite's questions put to a scorer, and its answers taken in: one for each, and finite."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple, cast
from weakref import WeakKeyDictionary

import numpy as np

from rmbench.answers.judgements import Judgements, Preference
from rmbench.answers.ledger import RunLedger, keys_of
from rmbench.answers.questions import CandidateQuestions, Conversations, Orders
from rmbench.cache import Cache
from rmbench.errors import ScorerError, did_you_mean
from rmbench.scorers.contract import (
    Answer,
    Facts,
    Identity,
    PointwiseScorer,
    Progress,
    Scorer,
    ScorerInfo,
    is_listwise,
)
from rmbench.scorers.reductions import REDUCTIONS
from rmbench.suite.feed import Contents, Feed

__all__ = ["Asked", "ask", "hold", "identity_of"]

_HELD: Final["WeakKeyDictionary[Scorer, Identity | None]"] = WeakKeyDictionary()
"""What each scorer was when it was first asked for."""
SUM_WITHIN: Final = 1e-3
"""How far the shares of an answer may be from a sum of 1."""


class Asked(NamedTuple):
    """All answers of a scorer on a suite, and what happened on the way."""

    judgements: Judgements
    facts: Facts
    info: ScorerInfo

    def named(self, name: str | None) -> "Asked":
        """Return the same under another name of the scorer; None for its own."""
        return self if name is None else self._replace(info=replace(self.info, id=name))


def ask(
    feed: Feed, scorer: Scorer, *, cache: Cache | None = None, progress: Progress | None = None
) -> Asked:
    """Return a scorer's judgements on a suite.

    Args:
        feed: the comparisons.
        scorer: what answers; it is not asked what an earlier run has the answer to.
        cache: where answers are kept; None keeps none.
        progress: called with the number of answers there are, and of all questions.

    Raises:
        ScorerError: the scorer cannot answer, or an answer is missing, no number, or too many.
        DataError: the data changed since it was checked.
    """
    identity = hold(scorer)  # before its files are opened
    questions = _questions(feed, scorer)
    keys = None if cache is None else keys_of(identity, questions.name)
    ledger = RunLedger(len(questions), cache=cache, keys=keys, progress=progress)
    kept = ledger.finished()
    if kept is not None:
        info, facts = kept
        facts = _with_timing(facts, cached=True)
    else:
        facts = _put(scorer, questions, ledger)
        info = scorer.info
    judgements = _take_in(questions, ledger, facts, info)
    if kept is None and facts.is_final:
        ledger.finish(info, facts)
    return Asked(judgements, facts, info)


def hold(scorer: Scorer) -> Identity | None:
    """Return what tells a scorer from every other, once it is what it was when it was first held.

    A scorer opens its files when it is first asked, and goes on with what it read: whatever was
    written to them since, its answers are not those of the new files.

    Raises:
        ScorerError: it changed.
    """
    found = identity_of(scorer)
    try:
        first = _HELD.setdefault(scorer, found)
    except TypeError:  # somebody's own that cannot be remembered
        return found
    if found != first:
        opened = getattr(scorer, "model", None)  # its info may be known of a loaded model only
        name = opened if isinstance(opened, str) else scorer.info.id
        raise ScorerError(
            f"{name}: its files changed after it was opened, and nothing is kept of what"
            " it answered since; run again when they are whole"
        )
    return found


def identity_of(scorer: Scorer) -> Identity | None:
    """Return what tells a scorer from every other, see ``Identity``; None for one that is new."""
    if hasattr(scorer, "identity"):
        found: Identity | None = scorer.identity
        return found
    info = scorer.info
    if info.revision is None:
        return None
    return Identity(repr((info.kind, info.id, info.revision, sorted(info.settings.items()))))


def _questions(feed: Feed, scorer: Scorer) -> Conversations | CandidateQuestions:
    if is_listwise(scorer):
        if scorer.most < 2:
            raise ScorerError(f"{scorer.info.id}: most = {scorer.most}; it must be 2 or more")
        orders: Orders = getattr(scorer, "orders", "both")
        seed: int = getattr(scorer, "seed", 0)
        return CandidateQuestions(feed, scorer.most, orders, seed)
    return Conversations(feed)


def _put(scorer: Scorer, questions: Conversations | CandidateQuestions, ledger: RunLedger) -> Facts:
    """Ask, and refuse the answers of a scorer that is another one afterwards."""
    facts = _put_once(scorer, questions, ledger)
    try:
        hold(scorer)
    except ScorerError:
        ledger.forget()
        raise
    return facts


def _put_once(
    scorer: Scorer, questions: Conversations | CandidateQuestions, ledger: RunLedger
) -> Facts:
    if is_listwise(scorer):
        assert isinstance(questions, CandidateQuestions), "listwise scorers are shown candidates"
        return scorer.prefer(questions, ledger)
    assert isinstance(questions, Conversations), "pointwise scorers are asked conversations"
    return cast(PointwiseScorer, scorer).score(questions, ledger)


def _with_timing(facts: Facts, **more: float) -> Facts:
    return replace(facts, timing=dict(facts.timing) | more)


# --- the border ----------------------------------------------------------------------------------


def _take_in(
    questions: Conversations | CandidateQuestions,
    ledger: RunLedger,
    facts: Facts,
    info: ScorerInfo,
) -> Judgements:
    """Return the judgements, once every question has its answer or the reason why not."""
    total = len(questions)
    if facts.inputs is not None and len(facts.inputs) != total:
        raise ScorerError(
            f"{info.id}: {len(facts.inputs)} inputs for {total} questions;"
            " a scorer must return one for each"
        )
    missing = np.flatnonzero(~ledger.answered()).tolist()
    odd = [number for number in missing if number not in facts.unanswered]
    odd += [number for number in facts.unanswered if not 0 <= number < total]
    if odd:
        raise ScorerError(
            f"{info.id}: no answer to {len(odd)} of {total} questions, such as number {odd[0]};"
            " a scorer must record one for each, or say in unanswered why not"
        )
    contents = questions.feed.contents
    if isinstance(questions, CandidateQuestions):
        found = _preferences(questions, ledger, facts, info)
    elif info.gives == "steps":
        found = _steps(contents, ledger, facts, info)
    else:
        found = _rewards(contents, ledger, facts, info)
    if contents.faulty is not None:
        found = found.with_faulty(contents.faulty)
    has_repeats = contents.num_clusters < len(contents.ids)
    return found.in_clusters(contents.clusters) if has_repeats else found


def _rewards(contents: Contents, ledger: RunLedger, facts: Facts, info: ScorerInfo) -> Judgements:
    # Rewards are compared as they are recorded, so that a result can be recomputed from its file:
    # in float32, to which this rounds.
    with np.errstate(over="ignore"):
        rewards = ledger.rewards().astype(np.float32)
    for number in np.flatnonzero(~np.isfinite(rewards)).tolist():
        if number not in facts.unanswered:
            raise ScorerError(_not_finite(number, float(rewards[number]), contents, info))
    rewards[list(facts.unanswered)] = np.nan
    return Judgements(contents.ids, contents.sides, rewards)


def _not_finite(number: int, reward: float, contents: Contents, info: ScorerInfo) -> str:
    """Return the message for the reward of the response with this number."""
    owners = (
        (identity, side)
        for identity, (num_chosen, num_rejected) in zip(contents.ids, contents.sides, strict=True)
        for side in ["chosen"] * num_chosen + ["rejected"] * num_rejected
    )
    identity, side = next(islice(owners, number, None))
    halved = info.settings.get("dtype") in ("bfloat16", "float16")
    remedy = "try --dtype float32" if halved else "every reward must be a number"
    return (
        f'{info.id}: the reward of "{identity}" ({side}) is {reward} in float32;'
        f" nothing is written; {remedy}"
    )


def _steps(contents: Contents, ledger: RunLedger, facts: Facts, info: ScorerInfo) -> Judgements:
    reduce = str(info.settings.get("reduce"))
    if reduce not in REDUCTIONS:
        raise ScorerError(
            f'{info.id}: gives steps, and its settings have reduce = "{reduce}";'
            f" {did_you_mean(reduce, REDUCTIONS)}"
        )
    steps: list[tuple[float, ...] | None] = []
    rewards: list[float] = []
    for number in range(sum(map(sum, contents.sides))):
        given = None if number in facts.unanswered else ledger.get(number)
        answer = given if isinstance(given, tuple) or given is None else (given,)
        values = None if answer is None else _in_float32(answer)
        if values is not None and not (values and np.isfinite(values).all()):
            shown = values[0] if values else float("nan")
            raise ScorerError(_not_finite(number, shown, contents, info))
        steps.append(values)
        rewards.append(np.nan if values is None else REDUCTIONS[reduce](values))
    return Judgements(contents.ids, contents.sides, rewards, steps=steps)


def _preferences(
    questions: CandidateQuestions, ledger: RunLedger, facts: Facts, info: ScorerInfo
) -> Judgements:
    contents = questions.feed.contents
    numbers = iter(range(len(questions)))
    preferences = []
    for identity, orders in zip(contents.ids, questions.of_each(), strict=True):
        asked = []
        for order, number in zip(orders, numbers, strict=False):
            shares = None if number in facts.unanswered else ledger.get(number)
            asked.append(Preference(order, _shares(shares, order, f"{info.id}: {identity}")))
        preferences.append(tuple(asked))
    rewards = np.full(sum(map(sum, contents.sides)), np.nan, dtype=np.float32)
    return Judgements(contents.ids, contents.sides, rewards, preferences=preferences)


def _shares(answer: Answer | None, order: Sequence[int], place: str) -> tuple[float, ...] | None:
    """Return the shares of an answer, once they are those of the candidates shown."""
    if answer is None:
        return None
    shares = _in_float32(answer) if isinstance(answer, tuple) else ()
    if len(shares) != len(order):
        raise ScorerError(f"{place}: {len(shares)} shares for {len(order)} candidates")
    if not all(0.0 <= share <= 1.0 for share in shares) or abs(sum(shares) - 1.0) > SUM_WITHIN:
        raise ScorerError(f"{place}: shares {shares}; each must be in [0, 1], and their sum 1")
    return shares


def _in_float32(values: Sequence[float]) -> tuple[float, ...]:
    with np.errstate(over="ignore"):
        rounded = np.array(values, dtype=np.float64).astype(np.float32)
    return tuple(rounded.astype(np.float64).tolist())
