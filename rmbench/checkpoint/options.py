"""How a model is loaded and fed."""

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from rmbench.options import Options, option

__all__ = ["POOLING", "QUANTISED", "TINY", "ModelOptions"]

TINY: Final = "tiny"
Overflow = Literal["error", "truncate-left", "drop"]
Mark = Literal["model", "never", "always"]
Pooling = Literal["model", "last", "first-eos"]
Audit = Literal["sample", "exact"]
Layers = Literal["auto", "together", "streamed"]
Precision = Literal["auto", "bfloat16", "float16", "float32", "cascade", "int8", "int4", "fp8"]
QUANTISED: Final = ("int8", "int4", "fp8")
"""Precisions of weights alone; products are computed as ``auto`` says."""
POOLING: Final[tuple[str, ...]] = get_args(Pooling)


class ModelOptions(Options):
    """How a model is loaded and fed; every field that can move a reward is in the result."""

    revision: str | None = option(
        None, help="Branch, tag or commit on the Hub.", flag=True, moves="nothing"
    )  # it moves the identity
    dtype: Precision = option(
        "auto",
        help="auto: bfloat16 on CUDA, else float32. cascade: half precision, then float32 where"
        " that could change who wins. int8, int4, fp8: the weights so, but for the head's.",
        flag=True,
    )
    device: str = option("auto", help="auto, cuda, cuda:1, mps or cpu.", flag=True, moves="nothing")
    device_map: Literal["auto"] | None = option(
        None, help="Spread a model over several GPUs (needs accelerate).", flag=True
    )
    layers: Layers = option(
        "auto",
        help="auto: all in memory where they fit, else streamed: all conversations go through one"
        " layer while the next is read from disk.",
        flag=True,
        moves="nothing",
    )
    attention: str | None = option(
        None, help="transformers' attn_implementation, such as eager.", flag=True
    )
    template: str = option(
        "tokenizer",
        help="tokenizer, none (plain prompt + response), or a Jinja file.",
        flag=True,
    )
    system_prompt: str | None = option(
        None, help="First message, where the data has none.", flag=True, metavar="TEXT"
    )
    bos: Mark = option(
        "model", help="BOS first: as the template writes it, never, or always once.", flag=True
    )
    eos: Mark = option(
        "model", help="EOS last: as the template writes it, never, or always once.", flag=True
    )
    pooling: Pooling = option(
        "model",
        help="Token whose reward is read: the model's own choice, the last, or the one before the"
        " first EOS.",
        flag=True,
    )
    outputs: str | None = option(
        None,
        help="Which of a model's outputs is the reward, or how they add up to it.",
        metavar="INDEX|NAME=WEIGHT,...",
        flag="--model-output",
    )
    negate: bool = option(False, help="Lower is better: turn the sign (cost models).", flag=True)
    reader: str | None = option(
        None,
        help="TOML file that says where the reward is read; see docs/models.md.",
        flag=True,
        metavar="FILE",
    )
    max_length: Annotated[int, Field(ge=1)] | None = option(
        None,
        help="Most tokens of a conversation; by default the model's own limit.",
        flag=True,
    )
    on_overflow: Overflow = option("error", help="What to do with longer conversations.", flag=True)
    batch_tokens: Annotated[int, Field(ge=1)] | None = option(
        None,
        help="Tokens of one batch; by default what suits the device.",
        flag=True,  # it moves answers: in half precision the last digits hang on the batch
    )
    workers: Annotated[int, Field(ge=1)] = option(
        1,
        help="Processes that compute, each with the model; on CUDA each has a GPU of its own.",
        flag=True,
        moves="nothing",
    )
    trust_remote_code: bool = option(False, help="Run code from the model's repository.", flag=True)
    trust_pickle: bool = option(
        False, help="Load pickle weights, which can run code.", flag=True, moves="nothing"
    )
    audit: Audit = option(
        "sample",
        help="Score a few comparisons again, alone; exact: also all near-ties, in float32.",
        flag=True,
        moves="audit",
    )
