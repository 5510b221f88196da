"""What scorers that open a model's folder share: its text, its revision, and reading its logits."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from rmbench.checkpoint.options import Mark, ModelOptions, Overflow
from rmbench.options import Options, same_option

if TYPE_CHECKING:
    from rmbench.checkpoint.findings import Check
    from rmbench.checkpoint.opening import Checkpoint
    from rmbench.engine.logits import Finish
    from rmbench.engine.reading import Ask

__all__ = ["LogitReader", "Opened", "OpenedOptions", "folder_name", "own_options"]

SAMPLE: Final = 8
"""Conversations of the first window that the lone forward looks at again."""


class OpenedOptions(Options):
    """How a model is loaded and its texts are written; what else a classifier has is left out."""

    revision: str | None = same_option(ModelOptions, "revision")
    dtype: Literal["auto", "bfloat16", "float16", "float32", "int8", "int4", "fp8"] = same_option(
        ModelOptions, "dtype"
    )
    device: str = same_option(ModelOptions, "device")
    device_map: Literal["auto"] | None = same_option(ModelOptions, "device_map")
    attention: str | None = same_option(ModelOptions, "attention")
    template: str = same_option(ModelOptions, "template")
    system_prompt: str | None = same_option(ModelOptions, "system_prompt")
    bos: Mark = same_option(ModelOptions, "bos")
    eos: Mark = same_option(ModelOptions, "eos")
    max_length: Annotated[int, Field(ge=1)] | None = same_option(ModelOptions, "max_length")
    on_overflow: Overflow = same_option(ModelOptions, "on_overflow")
    batch_tokens: Annotated[int, Field(ge=1)] | None = same_option(ModelOptions, "batch_tokens")
    trust_remote_code: bool = same_option(ModelOptions, "trust_remote_code")
    trust_pickle: bool = same_option(ModelOptions, "trust_pickle")


class Opened:
    """A model whose configuration, tokenizer and template are at hand; its weights come later.

    Args:
        model: a folder, or a model of the Hub.
        options: how it is loaded and fed, among others.
    """

    passed_over: frozenset[str] = frozenset({"architecture"})

    def __init__(self, model: str, options: Options) -> None:
        self.model = model
        self.own_options = own_options(options)

    @cached_property
    def checkpoint(self) -> "Checkpoint":
        """The model's configuration, tokenizer and template.

        Raises:
            ScorerError: it cannot be opened, or a check refuses it.
        """
        from rmbench.checkpoint.opening import open_checkpoint, refuse

        checkpoint = open_checkpoint(self.model, self.own_options)
        # Whether its class is the right one for another kind is seen when its weights are loaded.
        kept = [check for check in checkpoint.checks if check.name not in self.passed_over]
        refuse(kept, checkpoint.name)
        return checkpoint

    @property
    def known_checks(self) -> "list[Check]":
        """What was found in the model's files that bears on this kind."""
        return [check for check in self.checkpoint.checks if check.name not in self.passed_over]

    @cached_property
    def revision(self) -> str:
        """The model's commit on the Hub, or a digest of its folder."""
        return str(self.checkpoint.revision)

    @property
    def dtype(self) -> str:
        """What the weights are in."""
        from rmbench.checkpoint.weights import choose_device, name_precision

        return name_precision(self.own_options.dtype, choose_device(self.own_options.device))

    def text_settings(self, max_length: int | None) -> dict[str, Any]:
        """Return what says how texts are written."""
        template, options = self.checkpoint.template, self.own_options
        return {
            "template": template.name,
            "template_sha256": template.sha256,
            "system_prompt": options.system_prompt,
            "bos": options.bos,
            "eos": options.eos,
            "max_length": max_length,
            "on_overflow": options.on_overflow,
        }

    def usual_text(self, max_length: int | None) -> dict[str, Any]:
        """Return the same of a plain run."""
        usual = {"template": "tokenizer", "system_prompt": None, "bos": "model", "eos": "model"}
        return self.text_settings(max_length) | usual | {"on_overflow": "error"}


def folder_name(model: str, _: Mapping[str, Any]) -> str:
    """Return what a model is called in its results: the Hub id, or the folder's name."""
    from rmbench.checkpoint.identity import locate

    return locate(model)[1]


def own_options(options: Any) -> ModelOptions:
    """Return how a model is loaded and fed, of the options of a kind that has more."""
    names = ModelOptions.model_fields
    return ModelOptions(**{name: value for name, value in dict(options).items() if name in names})


class LogitReader:
    """A loaded model, read at the places that are asked about; prefixes are computed once.

    Attributes:
        facts: how it was read, and how far from the lone forward a sample of the first asks is.
    """

    def __init__(self, network: Any, finish: "Finish", batch_tokens: int | None) -> None:
        from rmbench.engine.logits import Logits
        from rmbench.engine.scoring import Engine

        reading = Logits(network, finish)
        self.engine = Engine(network, batch_tokens=batch_tokens, reading=reading)
        self.facts: dict[str, Any] = {}

    def read(self, asks: "Sequence[Ask]") -> list[Any]:
        """Return values, (places, outputs), for each ask."""
        found = self.engine.read(asks)
        if not self.facts:
            count = min(SAMPLE, len(asks))
            places = [i * len(asks) // count for i in range(count)]
            alone = self.engine.read_alone([asks[i] for i in places])
            pairs = [(found[i], values) for i, values in zip(places, alone, strict=True)]
            self.facts = {
                "way": self.engine.way,
                "rechecked": len(places),
                "difference": round(max(float(abs(a - b).max()) for a, b in pairs), 9),
                "difference_of_sums": round(
                    max(abs(float(a.sum() - b.sum())) for a, b in pairs), 9
                ),
            }
        return list(found)
