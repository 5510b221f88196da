"""What a library says over a foreign model, as one line: place, finding, remedy."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

import transformers

from rmbench.errors import ScorerError, enclosed, install

__all__ = ["TRUST", "first_line", "foreign", "muted", "quiet"]

TRUST: Final = (
    "the {what} needs code from the model's repository; read that code, then pass"
    " --trust-remote-code"
)
_NO_TOKENIZER: Final = (
    "no tokenizer that can be read; put the one that the model was trained with (tokenizer.json,"
    " tokenizer_config.json) beside its weights"
)
# What libraries say in many words, or in misleading ones → finding and remedy.
_SAYINGS: Final = {
    "trust_remote_code": TRUST,
    "not a valid JSON file": "its config.json is not JSON; copy or download it again",
    "requires `accelerate`": f"--device-map needs the package accelerate; {install('accelerate')}",
    "instantiate the backend tokenizer": _NO_TOKENIZER,
    # transformers 4 looks for other kinds of tokenizers, and misses what they would need.
    "requires the protobuf library": _NO_TOKENIZER,
    "requires the SentencePiece library": _NO_TOKENIZER,
    "'NoneType' object has no attribute 'endswith'": _NO_TOKENIZER,
    "TokenizersBackend": "its tokenizer was saved by transformers 5 (TokenizersBackend), which"
    f" transformers {transformers.__version__} does not have; use transformers 5, or write"
    ' "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json',
    "does not recognize this architecture": "its model_type is unknown to transformers"
    f" {transformers.__version__}; upgrade transformers, or name the decoder that it is built over"
    " as backbone in a file for --reader",
    "Weights only load failed": "its pickle file holds more than weights, which could run code, so"
    " torch refuses it; convert the weights to safetensors",
    "Unrecognized configuration class": "transformers"
    f" {transformers.__version__} has no sequence classifier for its model_type; upgrade"
    " transformers, or state its head in a file for --reader",
    "out of memory": "it does not fit into the device's memory; use --dtype bfloat16 or"
    " --device-map auto",
}
_INSTALL: Final = re.compile(r"pip install (?:-U |--upgrade )?[\"'`]?([A-Za-z][\w.\-\[\]]+)")
# A part of tokenizer.json that this release of tokenizers has not, in the words of its reader.
_UNKNOWN_PART: Final = ("untagged enum", "unknown variant", "unknown field", "missing field")
# The words of the reader of tokenizer.json about a file that is no JSON.
_NOT_JSON: Final = re.compile(r"at line \d+ column \d+")
_WHERE_MENDED: Final = {
    "configuration": "fix config.json, or copy it from the original model",
    "tokenizer": "fix the tokenizer's files, or copy them from the original model",
    "model": "fix config.json, or copy the model's files again",
}


@contextlib.contextmanager
def foreign(place: str, what: str) -> Iterator[None]:
    """Enclose a library's work on a model's files: whatever it raises becomes one line.

    Args:
        place: what messages call the model: its folder or Hub id.
        what: what is being read: ``configuration``, ``tokenizer`` or ``model``.

    Raises:
        ScorerError: the library raised something, an ``Exception`` or not.
    """
    with enclosed(lambda error: ScorerError(f"{place}: {_explain(what, error)}")), quiet():
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' reports on loading off the screen: what matters in them is checked."""
    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Keep off the screen what Rust code writes there by itself before it panics."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no standard error
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _explain(what: str, error: BaseException) -> str:
    """Return finding and remedy."""
    text = _whole_text(error)
    for saying, message in _SAYINGS.items():
        if saying in text:
            return message.format(what=what)
    finding = f"the {what} cannot be loaded: {first_line(error)}"
    if what == "tokenizer" and any(words in text for words in _UNKNOWN_PART):
        return (
            f"tokenizer.json has a part that tokenizers {metadata.version('tokenizers')} does not"
            f" know ({first_line(error)}); upgrade tokenizers and transformers to those that saved"
            " it"
        )
    if what == "tokenizer" and _NOT_JSON.search(text):
        return _NO_TOKENIZER
    return f"{finding}; {_remedy(what, error, text)}"


def _remedy(what: str, error: BaseException, text: str) -> str:
    package = _INSTALL.search(text)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install the package that has {error.name.partition('.')[0]}"
    if isinstance(error, ImportError) and package is None:
        return (
            f"it was written for another release of transformers than {transformers.__version__};"
            " install the one that its config.json or card names"
        )
    if package is not None:
        return f"pip install {package[1]}, or give a model that needs no such package"
    if isinstance(error, FileNotFoundError):
        return "is the folder complete?"
    return _WHERE_MENDED[what]


def _whole_text(error: BaseException | None) -> str:
    """Return what an error and those behind it say; transformers 4 words some differently."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line, with its type where the text alone says little."""
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".:;")
    if isinstance(error, OSError):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
