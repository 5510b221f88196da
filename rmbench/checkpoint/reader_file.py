"""A reader: a small TOML file that says where a model's reward is read, where its files do not."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from rmbench.errors import ScorerError, SuiteError
from rmbench.suite.shape import Texts
from rmbench.suite.toml import TomlTable, read_model

__all__ = ["BESIDE", "Reader", "find_reader"]

BESIDE: Final = "reader.toml"
MAX_BYTES: Final = 100_000


class Reader(TomlTable):
    """Where a reward is read; every field left out is what the model's files say.

    Attributes:
        path: the file; None where there is none.
        layers: names of the head's linear layers in the weights, in their order (``score.0``), or
            ``lm_head``; empty for what is found.
        activation: between two layers.
        rows: weight of each of the head's outputs that counts, by its number.
        tokens: likewise by the token, for ``lm_head``.
        place: the token that is read, counted from the end: -1 is the last one.
        append: a text appended to every conversation, as the tokens that it stands for.
        sign: -1 where lower is better.
        file: the safetensors file beside the weights that holds the head.
        backbone: transformers' model type of the decoder, where config.json names one of its own.
        about: a note for whoever reads the file.
    """

    in_file: ClassVar = (
        *("layers", "activation", "rows", "tokens", "place", "append", "sign", "file", "backbone"),
        "about",
    )

    path: Path | None = Field(default=None, exclude=True)
    layers: Texts = ()
    activation: Literal["none", "relu", "tanh", "gelu", "silu", "sigmoid"] = "none"
    rows: dict[int, float] = Field(default_factory=dict)
    tokens: dict[str, float] = Field(default_factory=dict)
    place: Annotated[int, Field(le=-1)] = -1
    append: str = ""
    sign: int = 1
    file: str | None = None
    backbone: str | None = None
    about: str = Field(default="", exclude=True)

    @field_validator("rows", mode="before")
    @classmethod
    def _check_rows(cls, rows: Any) -> Any:
        if not isinstance(rows, dict):
            return rows
        if not all(isinstance(name, int) or str(name).isdecimal() for name in rows):
            raise ValueError("the keys of rows must be numbers; tokens go into [tokens]")
        return {int(name): weight for name, weight in rows.items()}

    @field_validator("rows", "tokens")
    @classmethod
    def _check_weights(cls, weights: dict[Any, float]) -> dict[Any, float]:
        for name, weight in weights.items():
            if not abs(weight) < 1e6:
                raise ValueError(f"{name} = {weight}; a weight must lie between -1e6 and 1e6")
        return weights

    @model_validator(mode="after")
    def _check(self) -> "Reader":
        if self.sign not in (-1, 1):
            raise ValueError(f"sign = {self.sign}; it must be 1 or -1")
        file = self.file
        if file is not None and (Path(file).name != file or not file.endswith(".safetensors")):
            raise ValueError(f'file = "{file}"; name a .safetensors file beside the weights')
        return self


def find_reader(asked: str | None, folder: Path) -> Reader:
    """Return the reader that was asked for, or the one beside the weights, or an empty one.

    Raises:
        ScorerError: it cannot be read, or has a key or value that there is not.
    """
    path = folder / BESIDE if asked is None else Path(asked)
    if asked is None and not path.is_file():
        return Reader()
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        found = read_model(Reader, tomllib.loads(content.decode()), str(path))
    except SuiteError as error:
        raise ScorerError(str(error)) from None
    except (OSError, ValueError, RecursionError) as error:
        finding = getattr(error, "strerror", None) or error
        raise ScorerError(
            f"{path}: cannot be read as a reader: {finding}; see docs/models.md for what it holds"
        ) from None
    return found.model_copy(update={"path": path})
