"""Sequence classifiers with one logit: conversations in, rewards out."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from rmbench.checkpoint.adapter import combine
from rmbench.checkpoint.encode import Encoded, Encoder, Template
from rmbench.checkpoint.findings import WARNING, Check
from rmbench.checkpoint.identity import (
    check_unmoved,
    digest_folder,
    locate,
    sha256_of,
    take_stamps,
)
from rmbench.checkpoint.machine import has_fast_bfloat16
from rmbench.checkpoint.network_findings import check_place, count_embeddings
from rmbench.checkpoint.opening import Checkpoint, open_checkpoint, refuse
from rmbench.checkpoint.options import QUANTISED, ModelOptions
from rmbench.checkpoint.outputs import turns_sign
from rmbench.checkpoint.reader import EncodingAhead
from rmbench.checkpoint.stored import refuse_empty
from rmbench.checkpoint.tokenizer_findings import watched
from rmbench.checkpoint.weights import Loaded, choose_dtype, load_weights
from rmbench.engine.packing import window_sizes
from rmbench.engine.pooling import with_pooling
from rmbench.engine.rate import layer_weights, matrix_rate
from rmbench.engine.reading import Reward
from rmbench.engine.scoring import Engine, Scoring
from rmbench.engine.workers import ModelSource
from rmbench.errors import ScorerError
from rmbench.files import Stamp
from rmbench.scorers.again import group, recheck, recheck_exactly
from rmbench.scorers.contract import Facts, Ledger, ScorerInfo
from rmbench.scorers.inputs import Inputs
from rmbench.suite.comparison import Conversation

__all__ = ["Classifier", "Scored", "describe", "load_classifier", "note", "windows"]

CALIBRATION_S: Final = 0.1
HINT_S: Final = 60.0
UNQUANTISED: Final = 32
"""Conversations about so many of which the unquantised model scores too."""
_log = logging.getLogger("rmbench")


class Scored(NamedTuple):
    """What a classifier did with conversations.

    Attributes:
        facts: what happened on the way.
        encoded: their token ids.
        rewards: of each conversation; None for a dropped one.
    """

    facts: Facts
    encoded: Encoded
    rewards: list[float | None]


class Classifier:
    """A loaded reward model with its tokenizer and template."""

    def __init__(
        self,
        info: ScorerInfo,
        *,
        engine: Engine,
        checkpoint: Checkpoint,
        checks: Sequence[Check] = (),
    ) -> None:
        self.info = info
        self.load_seconds = 0.0
        self.engine = engine
        self.checkpoint = checkpoint
        self.checks = checks
        self.tokenizer = checkpoint.tokenizer
        self.template = checkpoint.template
        self.options = checkpoint.options

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the model's rewards.

        Raises:
            ScorerError: a conversation is too long, the template refuses it, or memory is short.
        """
        return self.scored(conversations, ledger).facts

    def scored(self, conversations: Iterable[Conversation], ledger: Ledger) -> Scored:
        """Do the same, and return the token ids and rewards too."""
        encoder = Encoder(
            self.tokenizer,
            self.template,
            max_length=self.info.settings["max_length"],
            on_overflow=self.options.on_overflow,
        )
        inputs = Inputs(ledger)
        # Read before the scoring begins, which exchanges parts of the network now and then.
        embeddings = self.embeddings

        def accept(chunk: Sequence[Any]) -> None:
            check_ids(chunk, embeddings=embeddings, name=self.info.id)
            inputs.add(chunk)

        compared = watched(
            conversations, self.tokenizer, self.template, self.checkpoint.text_folder
        )
        with closing(self.engine), EncodingAhead(encoder, compared, accept=accept) as ahead:
            self.engine.progress = lambda _: ahead.check()
            self.engine.kept = inputs
            scoring = self.engine.score_windows(ahead.windows())
            encoded = ahead.finish()
        self.engine.progress = self.engine.kept = None
        scoring, checked = self._until_sound(encoded, scoring)
        rewards = _by_question(encoded, scoring)
        answers = {i: reward for i, reward in enumerate(rewards) if reward is not None}
        if checked["contradicted"]:
            ledger.record(answers)  # instead of those that were contradicted
        else:
            inputs.record_rest(answers)
        facts = Facts(
            audit=self._audit(encoded, scoring)
            | checked
            | self._exact(encoded, rewards)
            | self._unquantised(encoded, rewards),
            timing={"load": self.load_seconds, "tokenise": ahead.seconds} | self._timing(scoring),
            environment=self.engine.environment(),
            unanswered=dict.fromkeys(inputs.dropped, "longer than the model's limit"),
            inputs=inputs.numbers,
        )
        _hint(self.info, scoring, self.engine.device)
        return Scored(facts, encoded, rewards)

    @property
    def embeddings(self) -> int | None:
        """Number of token ids that the model has an embedding for; None where it does not tell."""
        return count_embeddings(self.engine.model)

    def _until_sound(self, encoded: Encoded, scoring: Scoring) -> tuple[Scoring, dict[str, Any]]:
        """Check some comparisons alone; where they contradict, score all again in a slower way.

        Returns:
            The scoring that stands, and for the audit what the check said of it and which ways it
            contradicted, each with the largest difference of a reward.
        """
        contradicted: dict[str, float] = {}
        while True:
            rewards = _by_question(encoded, scoring)
            found = recheck(
                group(encoded.keys, rewards),
                rewards,
                lambda numbers: self.engine.score_alone(_kept(encoded, numbers)),
                tolerance=scoring.proof.tolerance,
                dtype=self._computed_in,
            )
            if not found.is_fault or scoring.way == "alone":
                return scoring, {"rechecked": found.describe(), "contradicted": contradicted}
            contradicted[scoring.way] = found.difference
            self.engine.fall_back()
            kept = [ids for ids in encoded.sequences if ids is not None]
            scoring = self.engine.score_windows(windows(kept))

    def _audit(self, encoded: Encoded, scoring: Scoring) -> dict[str, Any]:
        first = [ids for ids in encoded.sequences if ids is not None][:1]
        places = [check_place(self.engine, self.tokenizer, ids.tolist()) for ids in first]
        found = (*self.checks, *places)
        warnings = {check.name: check.seen for check in found if check.status == WARNING}
        if encoded.altered:
            changes = ", ".join(f"{loss}: {n:,}" for loss, n in encoded.altered.items())
            warnings["messages"] = f"the template does not write all that they say ({changes})"
        return {
            "overflowed": encoded.overflowed,
            "longest": encoded.longest,
            "warnings": warnings,
            "batching": scoring.way,
            "difference": round(scoring.difference, 9),
            "proof": {
                "tokens": scoring.proof.tokens,
                "state": _rounded(scoring.proof.state),
                "limit": _rounded(scoring.proof.limit),
                "floor": _rounded(scoring.proof.floor),
            },
            # JSON has no infinity: null is a way that this model does not allow.
            "refused_batching": {
                way: round(difference, 9) if math.isfinite(difference) else None
                for way, difference in scoring.refused.items()
            },
        }

    def _timing(self, scoring: Scoring) -> dict[str, float]:
        """Return seconds and tokens, and the share of this device's matrix products reached."""
        network, device = self.engine.model, self.engine.device
        computed = scoring.tokens_computed
        achieved = 2 * layer_weights(network) * computed / scoring.seconds
        rate = matrix_rate(network, device=device, dtype=network.dtype, seconds=CALIBRATION_S)
        return {
            "score": scoring.seconds,
            "tokens": scoring.tokens,
            "tokens_computed": computed,
            "tokens_per_second": scoring.tokens / scoring.seconds,
            "gflops": achieved / 1e9,
            "share_of_matrix_rate": achieved / rate,
        }

    def _exact(self, encoded: Encoded, rewards: Sequence[float | None]) -> dict[str, Any]:
        """Return what float32 says of all close comparisons, if that was asked for."""
        if self.options.audit != "exact":
            return {}
        dtype = self._computed_in

        def exactly(numbers: Sequence[int]) -> list[float]:
            engine = self.engine
            if str(self.info.settings["dtype"]) != "float32":
                options = self.options.changed(dtype="float32", audit="sample")
                engine = load_classifier(self.checkpoint.model, options).engine
            return engine.score_alone(_kept(encoded, numbers))

        pairs = group(encoded.keys, rewards)
        return {"exact": recheck_exactly(pairs, rewards, exactly, dtype=dtype)}

    @property
    def _computed_in(self) -> str:
        """The dtype of products, which quantised weights have too."""
        return choose_dtype(self.options.dtype, self.engine.device)

    def _unquantised(self, encoded: Encoded, rewards: Sequence[float | None]) -> dict[str, Any]:
        """Return how far a sample's rewards are from the unquantised model's, where that fits."""
        if self.options.dtype not in QUANTISED:
            return {}
        known = [i for i, reward in enumerate(rewards) if reward is not None]
        numbers = known[:: max(1, len(known) // UNQUANTISED)]
        options = self.options.changed(dtype="auto", audit="sample", workers=1)
        try:
            engine = load_classifier(self.checkpoint.model, options).engine
            plain = engine.score_alone(_kept(encoded, numbers))
        except ScorerError as error:  # it was loaded once: what is short now is memory
            return {"quantised": {"compared": 0, "difference": None, "why": str(error)}}
        moved = [abs((rewards[i] or 0.0) - x) for i, x in zip(numbers, plain, strict=True)]
        return {"quantised": {"compared": len(moved), "difference": round(max(moved), 6)}}


def _hint(info: ScorerInfo, scoring: Scoring, device: torch.device) -> None:
    """Say what would have been faster, where much time was spent."""
    is_worth_it = scoring.seconds > HINT_S and info.settings["dtype"] == "float32"
    if is_worth_it and device.type == "cpu" and has_fast_bfloat16():
        _log.warning(
            "%s: this processor multiplies bfloat16 faster than float32; --dtype cascade ends every"
            " comparison as float32 does, in less time where margins are wide",
            info.id,
        )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 9)


def _by_question(encoded: Encoded, scoring: Scoring) -> list[float | None]:
    """Return a reward for each conversation; None for a dropped one."""
    rewards = iter(scoring.rewards)
    return [None if ids is None else float(next(rewards)) for ids in encoded.sequences]


def windows(sequences: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield sequences window by window, as a run cuts them."""
    start = 0
    for size in window_sizes():
        if start >= len(sequences):
            return
        yield sequences[start : start + size]
        start += size


def _kept(encoded: Encoded, numbers: Sequence[int]) -> list[Any]:
    return [ids for i in numbers if (ids := encoded.sequences[i]) is not None]


def load_classifier(
    model: str,
    options: ModelOptions,
    *,
    checks: list[Check] | None = None,
    digest: Callable[[Path], str] = sha256_of,
) -> Classifier:
    """Load a reward model, or refuse it.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how to load and feed it.
        checks: where the findings go, refused ones too; by default a refused one is an error.
        digest: gives the digest of a file; a cache's spares reading weights again.

    Raises:
        ScorerError: it cannot be loaded, is no reward model with one logit, lacks its head or
            template, would need code or pickle that is not trusted, or a check refuses it.
    """
    start = time.perf_counter()
    where, _ = locate(model)
    if Path(where).is_dir():
        refuse_empty(Path(where))
    before = _stamps(model)
    checkpoint = open_checkpoint(model, options)
    revision = _revision(checkpoint, digest)
    found = note(checkpoint.checks, checks, checkpoint.name)
    loaded = load_weights(checkpoint)
    found += note(loaded.checks, checks, checkpoint.name)
    eos = checkpoint.tokenizer.eos_token_id
    network = with_pooling(loaded.network, options.pooling, eos=eos, name=checkpoint.name)
    info = describe(checkpoint, loaded, revision)
    if before is not None:
        check_unmoved(checkpoint.own_folder, before)
    job = _job(model, options, network.device)
    engine = Engine(network, batch_tokens=options.batch_tokens, job=job)
    scorer = Classifier(info, engine=engine, checkpoint=checkpoint, checks=found)
    scorer.load_seconds = time.perf_counter() - start
    return scorer


def load_network(model: str, options: ModelOptions, device: str) -> Any:
    """Return a model that was loaded and checked before, once more, on another device."""
    checkpoint = open_checkpoint(model, options.changed(device=device))
    network = load_weights(checkpoint).network
    eos = checkpoint.tokenizer.eos_token_id
    return with_pooling(network, options.pooling, eos=eos, name=checkpoint.name)


def _job(model: str, options: ModelOptions, device: torch.device) -> ModelSource | None:
    """Return how other processes come by their model; None where there are to be none.

    Raises:
        ScorerError: there are fewer GPUs than processes, or the model is spread over several.
    """
    count = options.workers
    if count == 1:
        return None
    if options.device_map is not None:
        raise ScorerError("--workers loads a whole model on each device; leave --device-map out")
    threads = None
    if device.type == "cuda":
        found = torch.cuda.device_count()
        if count > found:
            raise ScorerError(
                f"--workers {count}, but there are {found} GPUs; give {found} or less"
            )
        own = device.index or 0
        others = tuple(f"cuda:{i}" for i in range(found) if i != own)[: count - 1]
    else:
        others = (device.type,) * (count - 1)
        threads = max(1, torch.get_num_threads() // count)
    load = partial(load_network, model, options)
    return ModelSource(load=load, read=Reward, devices=others, threads=threads)


def note(found: list[Check], checks: list[Check] | None, name: str) -> list[Check]:
    """Hand findings to who asked for them, or refuse the model on the first that refuses it."""
    if checks is None:
        refuse(found, name)
    else:
        checks += found
    return found


def describe(checkpoint: Checkpoint, loaded: Loaded, revision: str | None) -> ScorerInfo:
    """Return who answers: a model with its tokenizer, and what can move a reward.

    Args:
        checkpoint: all of the model but its weights.
        loaded: its weights.
        revision: what tells it from others; None where nothing does.
    """
    network, options = loaded.network, checkpoint.options
    settings = {
        "dtype": loaded.dtype,
        "attention": getattr(network.config, "_attn_implementation", None),
        **_text_settings(checkpoint.template, options),
        "max_length": loaded.max_length,
        "on_overflow": options.on_overflow,
        "outputs": options.outputs,
        "negate": turns_sign(options, checkpoint.config, checkpoint.reader.sign),
        **_reader_settings(checkpoint.reader.path),
    }
    return ScorerInfo(
        id=checkpoint.name,
        kind="classifier",
        scale="log-odds",
        revision=revision,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        settings=settings,
        usual=_usual(settings, options, network.device),
    )


def _reader_settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"reader": None}
    return {"reader": path.name, "reader_sha256": sha256_of(path)}


def _usual(
    settings: Mapping[str, Any], options: ModelOptions, device: torch.device
) -> dict[str, Any]:
    """Return the settings of a run of this model, on this device, for which nothing was chosen."""
    plain = ModelOptions()
    found: dict[str, Any] = {}
    for name, value in settings.items():
        option = name.removesuffix("_sha256").removesuffix("_date")
        if getattr(options, option) == getattr(plain, option):
            found[name] = value
    if options.on_overflow == "error":  # the limit then moves no reward
        found["max_length"] = settings["max_length"]
    return found | {"dtype": choose_dtype("auto", device), "on_overflow": plain.on_overflow}


def _text_settings(template: Template, options: ModelOptions) -> dict[str, Any]:
    date = {} if template.date is None else {"template_date": template.date}
    return {
        "template": template.name,
        "template_sha256": template.sha256,
        **date,
        "system_prompt": options.system_prompt,
        "bos": options.bos,
        "eos": options.eos,
        "pooling": options.pooling,
    }


def _stamps(model: str) -> Mapping[str, Stamp] | None:
    """Return what tells whether a local model changes while it is loaded; None for the Hub's."""
    where, _ = locate(model)
    return take_stamps(Path(where)) if Path(where).is_dir() else None


def _revision(checkpoint: Checkpoint, digest: Callable[[Path], str]) -> str:
    """Return the commit on the Hub, or a digest of a local model."""
    own = checkpoint.commit or digest_folder(checkpoint.own_folder, digest)
    if checkpoint.adapter is None:
        return own
    return combine(own, checkpoint.base_commit or digest_folder(checkpoint.folder, digest))


def check_ids(sequences: Iterable[Any], *, embeddings: int | None, name: str) -> None:
    """Refuse token ids for which a model has no embedding: on a GPU they would crash it.

    Args:
        sequences: arrays of token ids; None for a dropped conversation.
        embeddings: number of ids that have one; None where that is not known.
        name: the model's, for the message.

    Raises:
        ScorerError: an id is beyond the embeddings.
    """
    largest = max((int(ids.max()) for ids in sequences if ids is not None), default=0)
    if embeddings is not None and largest >= embeddings:
        raise ScorerError(
            f"{name}: its tokenizer gives token id {largest} where the model has embeddings for"
            f" {embeddings}; use the tokenizer that it was trained with"
        )
