"""Is this model safe to score? One list of checks, each with what was seen and what to do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rmbench.checkpoint.encode import Encoded, encode
from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.text_findings import encode_one
from rmbench.errors import ScorerError
from rmbench.scorers.kind import Kind
from rmbench.scorers.registry import USUAL, find_kind, load_kind
from rmbench.suite.comparison import Comparison, Conversation
from rmbench.suite.feed import Feed
from rmbench.wording import counted

if TYPE_CHECKING:
    from rmbench.scorers.classifier import Classifier

__all__ = ["Report", "examine"]

SAMPLE: Final = 8
"""Comparisons, so twice as many conversations, scored alone, in a batch and in reverse order."""


class Report(list[Check]):
    """The checks of one model, and the first conversation as the model is given it.

    Attributes:
        conversation: text with its special tokens, as decoded from the token ids; empty where the
            model could not be loaded.
    """

    conversation: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether any check refuses the model."""
        return any(check.status == REFUSED for check in self)

    @property
    def verdict(self) -> str:
        """One line: whether the model is safe to score, and what is to be read before."""
        refused = sum(check.status == REFUSED for check in self)
        found = sum(check.status == WARNING for check in self)
        warnings = counted(found, "warnings")
        if refused:
            return f"not safe to score: {refused} refused, {warnings}"
        return f"safe to score: {warnings}" if found else "safe to score"


def examine(model: str, given: ModelOptions | Mapping[str, Any], feeds: Sequence[Feed]) -> Report:
    """Load a model once and return what was found.

    Args:
        model: a Hub id, a local folder, or ``tiny``.
        given: how to load and feed it: its options, or those that are not the usual ones by name.
        feeds: suites whose lengths count; conversations for the trial come from the first.

    Raises:
        ScorerError: ``model`` is a rule without a model, of which there is nothing to check.
    """
    named = find_kind(model)
    kind = load_kind(named.kind)
    if named.kind != USUAL:
        return _examine_kind(model, kind.open(named.name, _options(kind, given)), feeds)
    options: ModelOptions = _options(kind, given)
    from rmbench.scorers.classifier import load_classifier

    report = Report()
    try:
        scorer = load_classifier(named.name, options, checks=report)
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        report.append(Check(name="loading", status=REFUSED, seen=seen, remedy=remedy))
        return report
    report.insert(0, check_weights(scorer))
    try:
        _examine_scorer(scorer, feeds, report)
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        report.append(Check(name="scoring", status=REFUSED, seen=seen, remedy=remedy))
    return report


def _options(kind: Kind, given: ModelOptions | Mapping[str, Any]) -> Any:
    return given if isinstance(given, kind.options) else kind.options(**dict(given))


def _examine_kind(model: str, scorer: Any, feeds: Sequence[Feed]) -> Report:
    """Examine a scorer that is no classifier, as its kind does.

    Raises:
        ScorerError: it is a rule or a function, of which there is nothing to check.
    """
    if not hasattr(scorer, "examine"):
        raise ScorerError(f"{model}: a {scorer.info.kind}, not a model; there is nothing to check")
    report = Report()
    try:
        checks, report.conversation = scorer.examine(_sample(feeds[0]))
        report += checks
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        report.append(Check(name="asking", status=REFUSED, seen=seen, remedy=remedy))
    return report


def _examine_scorer(scorer: "Classifier", feeds: Sequence[Feed], report: Report) -> None:
    from rmbench.checkpoint.network_findings import check_place

    if any(check.name == "template" for check in report):  # only where it is refused
        return
    sample = _sample(feeds[0])
    first = next(sample[0].conversations())
    ids = encode_one(first, scorer.template, scorer.tokenizer)
    report.conversation = scorer.tokenizer.decode(ids)
    if report.is_refused:
        return  # its rewards mean nothing, and it may not even compute them
    report.append(check_place(scorer.engine, scorer.tokenizer, ids))
    for feed in feeds:
        report.append(check_lengths(scorer, feed))
    report.append(check_batching(scorer, sample))


def _sample(feed: Feed) -> list[Comparison]:
    """Return up to ``SAMPLE`` comparisons, evenly spaced over the suite."""
    total = len(feed.contents.ids)
    wanted = {i * total // SAMPLE for i in range(SAMPLE)}
    return [comparison for i, comparison in enumerate(feed) if i in wanted]


def check_weights(scorer: "Classifier") -> Check:
    """Say what was loaded."""
    count = scorer.info.parameters or 0
    dtype = scorer.info.settings["dtype"]
    return Check(name="model", status=OK, seen=f"one logit, {count:,} parameters in {dtype}")


def check_lengths(scorer: "Classifier", feed: Feed) -> Check:
    """Count a suite's conversations over the limit of length."""
    name = f"lengths of {feed.suite.name}"
    encoded = _encode(scorer, (item for pair in feed for item in pair.conversations()))
    limit = scorer.info.settings["max_length"]
    seen = f"longest {encoded.longest} tokens, limit {limit or 'none'}"
    if not encoded.overflowed:
        return Check(name=name, status=OK, seen=seen)
    seen = f"{seen}: {encoded.overflowed} of {len(encoded.sequences)} conversations over it"
    asked = scorer.options.on_overflow
    if asked != "error":
        remedy = f"--on-overflow {asked} applies to them, and the result counts them"
        return Check(name=name, status=WARNING, seen=seen, remedy=remedy)
    remedy = "pass --on-overflow truncate-left or drop"
    return Check(name=name, status=REFUSED, seen=seen, remedy=remedy)


def _encode(scorer: "Classifier", conversations: Iterable[Conversation]) -> Encoded:
    from rmbench.scorers.classifier import check_ids

    encoded = encode(
        conversations,
        tokenizer=scorer.tokenizer,
        template=scorer.template,
        max_length=scorer.info.settings["max_length"],
        on_overflow="drop",
    )
    check_ids(encoded.sequences, embeddings=scorer.embeddings, name=scorer.info.id)
    return encoded


def check_batching(scorer: "Classifier", sample: Sequence[Comparison]) -> Check:
    """Score conversations alone, in batches and in reverse order, and compare.

    A comparison flips when its best chosen and its best rejected reward change their order.
    """
    from rmbench.scorers.again import group, margin

    name = "batch invariance"
    encoded = _encode(scorer, (item for pair in sample for item in pair.conversations()))
    kept = [(i, ids) for i, ids in enumerate(encoded.sequences) if ids is not None]
    if not kept:
        return Check(name=name, status=OK, seen="every conversation of the sample is too long")
    sequences = [ids for _, ids in kept]
    alone = np.array(scorer.engine.score_alone(sequences))
    pairs = group([encoded.keys[i] for i, _ in kept], list(alone))
    ways, contradicted = _score_until_sound(scorer, sequences, alone, pairs)
    difference = max(float(np.abs(rewards - alone).max()) for rewards in ways)
    flips = sum(
        any(np.sign(margin(pair, list(alone))) != np.sign(margin(pair, list(way))) for way in ways)
        for pair in pairs
    )
    seen = (
        f"{len(kept)} conversations alone, in batches, in reverse: {difference:.2g} apart,"
        f" {flips} of {len(pairs)} comparisons flip"
    )
    if contradicted:
        seen += f"; the lone forward contradicts {', '.join(contradicted)}, and so will it in `run`"
        remedy = "nothing to do: `run` then scores in the next slower way, and its result says so"
        return Check(name=name, status=WARNING, seen=seen, remedy=remedy)
    if not flips:
        return Check(name=name, status=OK, seen=seen)
    remedy = "use --dtype float32, or --audit exact to count what hangs on it"
    return Check(name=name, status=WARNING, seen=seen, remedy=remedy)


def _score_until_sound(
    scorer: "Classifier", sequences: Sequence[Any], alone: Any, pairs: Sequence[Any]
) -> tuple[list[Any], list[str]]:
    """Score forwards and backwards, as a run does, which leaves a way that is contradicted.

    Returns:
        The rewards in both orders, and the ways that the lone forward contradicts.
    """
    from rmbench.scorers.again import recheck

    contradicted: list[str] = []
    while True:
        scoring = scorer.engine.score(sequences)
        found = recheck(
            pairs,
            list(scoring.rewards),
            lambda numbers: [float(alone[i]) for i in numbers],
            tolerance=scoring.proof.tolerance,
            dtype=str(scorer.info.settings["dtype"]),
        )
        if not found.is_fault or scoring.way == "alone":
            break
        contradicted.append(scoring.way)
        scorer.engine.fall_back()
    backwards = scorer.engine.score(sequences[::-1]).rewards[::-1]
    return [scoring.rewards, backwards], contradicted
