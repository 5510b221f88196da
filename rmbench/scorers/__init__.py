"""What turns conversations into rewards: the protocol, and how a scorer is named and loaded."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from rmbench.cache import Cache
from rmbench.comparison import Conversation
from rmbench.errors import ScorerError, did_you_mean
from rmbench.hub import spare_retries

__all__ = [
    "AUDITS",
    "DTYPES",
    "MARKS",
    "ON_OVERFLOW",
    "POOLING",
    "ModelOptions",
    "Progress",
    "Scored",
    "Scorer",
    "ScorerInfo",
    "builtin_names",
    "check_model_name",
    "load_scorer",
]

BASELINES: Final = ("length", "shorter", "random")
TINY: Final = "tiny"
DTYPES: Final = ("bfloat16", "float16", "float32")
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
ON_OVERFLOW: Final = ("error", "truncate-left", "drop")
AUDITS: Final = ("sample", "exact")
MARKS: Final = ("model", "never", "always")
POOLING: Final = ("model", "last", "first-eos")

Progress = Callable[[int, int], None]
"""Called with the tokens (or conversations) done so far and all there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerInfo:
    """Who gave the rewards.

    Attributes:
        id: the model's name; names the result file.
        kind: ``classifier``, ``builtin``, or a word of your own.
        revision: commit on the Hub, or a digest of local weights; None where there are none.
        parameters: number of weights; None where there are none.
        settings: what can move a reward (dtype, template, ...), in the order to be written.
    """

    id: str
    kind: str
    revision: str | None = None
    parameters: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Rewards, and what happened on the way.

    Attributes:
        rewards: one per conversation, in their order; None for a dropped conversation.
        inputs: one number per conversation, equal where the model saw equal inputs; None where
            there is nothing to tell.
        audit: counts and findings for the result's ``audit``.
        timing: seconds and tokens for the result's ``timing``.
        environment: what the result's ``environment`` should say besides versions.
    """

    rewards: Sequence[float | None]
    inputs: Sequence[int] | None = None
    audit: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Anything that gives conversations a reward; see ``examples/own_scorer.py``."""

    @property
    def info(self) -> ScorerInfo:
        """Who gives the rewards, and under which settings."""

    def score(self, conversations: Iterable[Conversation]) -> Scored:
        """Return one reward per conversation, in their order; only order and differences count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How a model is loaded and fed; every field that can move a reward is in the result.

    Attributes:
        revision: branch, tag or commit on the Hub.
        dtype: ``auto`` (bfloat16 on CUDA, else float32), ``bfloat16``, ``float16``, ``float32``.
        device: ``auto`` (CUDA, then MPS, then CPU), ``cuda``, ``cuda:1``, ``mps``, ``cpu``.
        device_map: ``auto`` spreads a model over several GPUs; needs accelerate.
        attention: transformers' ``attn_implementation``; None for the model's default.
        template: ``tokenizer``, ``none``, or a path to a Jinja file.
        system_prompt: the first message of conversations that bring no system message.
        bos: ``model`` for what the template (or, without one, the tokenizer) writes, ``never`` or
            ``always``, which is once.
        eos: likewise, at the end.
        pooling: which token's reward is read: ``model`` for what the model's forward does,
            ``last``, or ``first-eos``; see ``rmbench.engine.pooling``.
        max_length: most tokens of a conversation; None for the model's own limit.
        on_overflow: ``error``, ``truncate-left`` or ``drop`` for longer conversations.
        batch_tokens: tokens of one batch; None for the device's default.
        trust_remote_code: run code from the model's repository.
        trust_pickle: load weights that are not safetensors, which can run code.
        audit: ``sample`` scores a few comparisons again, alone; ``exact`` also every tie and
            near-tie, in float32.
        seed: of the ``random`` built-in.
    """

    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    attention: str | None = None
    template: str = "tokenizer"
    system_prompt: str | None = None
    bos: str = "model"
    eos: str = "model"
    pooling: str = "model"
    max_length: int | None = None
    on_overflow: str = "error"
    batch_tokens: int | None = None
    trust_remote_code: bool = False
    trust_pickle: bool = False
    audit: str = "sample"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a word that is none of those above.

        Raises:
            ScorerError: it is unknown.
        """
        words = {
            "dtype": ("auto", *DTYPES),
            "on_overflow": ON_OVERFLOW,
            "audit": AUDITS,
            "bos": MARKS,
            "eos": MARKS,
            "pooling": POOLING,
        }
        for name, known in words.items():
            value = getattr(self, name)
            if value not in known:
                raise ScorerError(f'{name} "{value}" is unknown; {did_you_mean(value, known)}')


def builtin_names() -> list[str]:
    """Return the names that need no download: the baselines, and ``tiny``, a small real model."""
    return [*BASELINES, TINY]


def check_model_name(model: str) -> None:
    """Refuse a name that can be no scorer, before anything is read or loaded.

    For a Hub id, its libraries are spared their retries where the Hub cannot be reached.

    Raises:
        ScorerError: it is no built-in, no local folder, and no Hub id of the form org/name.
    """
    # An empty name would be the working directory: "--model $MODEL" with MODEL unset.
    is_folder = bool(model) and Path(model).is_dir()
    if model in builtin_names() or is_folder:
        return
    if HUB_ID.fullmatch(model):
        spare_retries()
        return
    names = ", ".join(builtin_names())
    place = model or '--model ""'
    raise ScorerError(
        f"{place}: no such folder and no built-in; give org/name of the Hub, a folder, or {names}"
    )


def load_scorer(
    model: str,
    options: ModelOptions | None = None,
    *,
    progress: Progress | None = None,
    cache: Cache | None = None,
) -> Scorer:
    """Load a scorer.

    Args:
        model: a built-in name, a local folder, or a Hub id.
        options: how to load and feed a model; the baselines use the seed alone.
        progress: called as the scoring goes on.
        cache: rewards computed before; with one, a model is loaded only when it is needed.

    Raises:
        ScorerError: there is no such model, or it is not safe to score; the message says why and
            what to do.
    """
    options = options or ModelOptions()
    if model in BASELINES:
        from rmbench.scorers.builtin import Baseline

        return Baseline(model, seed=options.seed)
    check_model_name(model)
    if cache is not None:
        from rmbench.scorers.cached import CachedScorer

        return CachedScorer(model, options, cache=cache, progress=progress)
    from rmbench.scorers.classifier import load_classifier

    return load_classifier(model, options, progress=progress)
