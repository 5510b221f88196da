"""A reader: a small TOML file that says where a model's reward is read, where its files do not."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rmbench.errors import ScorerError, SuiteError
from rmbench.suite.toml import TomlTable

__all__ = ["ACTIVATIONS", "BESIDE", "Reader", "find_reader"]

BESIDE: Final = "reader.toml"
ACTIVATIONS: Final = ("none", "relu", "tanh", "gelu", "silu", "sigmoid")
MAX_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Where a reward is read; every field left out is what the model's files say.

    Attributes:
        path: the file; None where there is none.
        layers: names of the head's linear layers in the weights, in their order (``score.0``), or
            ``lm_head``; empty for what is found.
        activation: between two layers.
        rows: weight of each of the head's outputs that counts, by its number.
        tokens: likewise by the token, for ``lm_head``.
        place: the token that is read, counted from the end: -1 is the last one.
        append: a text put behind every conversation, as the tokens that it stands for.
        sign: -1 where lower is better.
        file: the safetensors file beside the weights that holds the head.
    """

    path: Path | None = None
    layers: tuple[str, ...] = ()
    activation: str = "none"
    rows: Mapping[int, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    place: int = -1
    append: str = ""
    sign: int = 1
    file: str | None = None


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
        table = TomlTable(str(path), tomllib.loads(content.decode()))
        return _read(table, path)
    except SuiteError as error:
        raise ScorerError(str(error)) from None
    except (OSError, ValueError, RecursionError) as error:
        finding = getattr(error, "strerror", None) or error
        raise ScorerError(
            f"{path}: cannot be read as a reader: {finding}; see docs/models.md for what it holds"
        ) from None


def _read(table: TomlTable, path: Path) -> Reader:
    place, sign = table.take("place", int, default=-1), table.take("sign", int, default=1)
    if place > -1 or sign not in (-1, 1):
        raise SuiteError(f"{path}: place must be -1 or less, and sign 1 or -1; mend it")
    file = table.take("file", str, default=None)
    if file is not None and (Path(file).name != file or not file.endswith(".safetensors")):
        raise SuiteError(f"{path}: file must name a .safetensors file beside the weights")
    rows = _weights(table, "rows", path)
    if not all(name.isdecimal() for name in rows):
        raise SuiteError(f"{path}: the keys of rows must be numbers; tokens go into [tokens]")
    found = Reader(
        path=path,
        layers=table.texts("layers", default=[]),
        activation=table.choice("activation", ACTIVATIONS, default="none"),
        rows={int(name): weight for name, weight in rows.items()},
        tokens=_weights(table, "tokens", path),
        place=place,
        append=table.take("append", str, default=""),
        sign=sign,
        file=file,
    )
    table.take("about", str, default="")  # for whoever reads the file
    table.done()
    return found


def _weights(table: TomlTable, key: str, path: Path) -> dict[str, float]:
    found: Mapping[str, Any] = table.take(key, dict, default={})
    for name, weight in found.items():
        if type(weight) not in (int, float) or not abs(weight) < 1e6:
            raise SuiteError(f"{path}: {key}: {name} must be a number; mend it")
    return {name: float(weight) for name, weight in found.items()}
