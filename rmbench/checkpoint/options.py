"""How a model is loaded and fed, and the words that each option knows."""

from dataclasses import dataclass
from typing import Final

from rmbench.errors import ScorerError, did_you_mean

__all__ = ["AUDITS", "DTYPES", "MARKS", "ON_OVERFLOW", "POOLING", "TINY", "ModelOptions"]

TINY: Final = "tiny"
DTYPES: Final = ("bfloat16", "float16", "float32")
ON_OVERFLOW: Final = ("error", "truncate-left", "drop")
AUDITS: Final = ("sample", "exact")
MARKS: Final = ("model", "never", "always")
POOLING: Final = ("model", "last", "first-eos")


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
        outputs: which of a model's outputs is the reward: an index, a name, or name=weight,...;
            None for a model that has one.
        negate: whether lower is better; a configuration with ``score_type: cost`` says so itself.
        reader: path to a TOML file that says where a model's reward is read; None for what its
            files say.
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
    outputs: str | None = None
    negate: bool = False
    reader: str | None = None
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
