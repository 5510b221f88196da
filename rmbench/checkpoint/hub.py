"""A model of the Hub, fetched file by file at one commit, so that all else reads a folder."""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from rmbench.checkpoint.stored import Tensor
from rmbench.errors import ScorerError, enclosed
from rmbench.suite.hub import hub_failure, is_broken_transfer, spare_retries

__all__ = [
    "fetch_config",
    "fetch_header",
    "fetch_texts",
    "fetch_weights",
    "find_commit",
    "snapshot",
]

# Everything that is read before the weights; the first of a repository tells its commit.
_FIRST: Final = ("config.json", "adapter_config.json")
_TEXTS: Final = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".spm", ".bpe", ".toml", ".py")
_INDEXES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
ATTEMPTS: Final = 5
_TEMPLATES: Final = "additional_chat_templates/"


def find_commit(repository: str, revision: str | None) -> str:
    """Return the commit of a model's revision: as the Hub says, or without it the cache.

    Raises:
        ScorerError: there is no such model or revision, it may not be read, or the Hub cannot be
            reached and the model is not in the cache.
    """
    spare_retries()
    for name in _FIRST:
        file = _fetch(repository, name, revision)
        if file is not None:
            return file.parent.name  # the Hub's cache keeps each file below snapshots/<commit>/
    raise ScorerError(
        f"{repository}: no config.json in the repository; give a model in the format of"
        " transformers, as save_pretrained writes it"
    )


def fetch_config(repository: str, revision: str | None = None) -> Path:
    """Return a model's configuration, fetched if it is not in the cache.

    Raises:
        ScorerError: as for ``find_commit``.
    """
    folder = snapshot(repository, find_commit(repository, revision))
    return next((folder / name for name in _FIRST if (folder / name).exists()), folder / _FIRST[0])


def fetch_texts(repository: str, commit: str) -> Path:
    """Return the folder of a commit with its configuration, tokenizer, templates and code.

    Raises:
        ScorerError: a file cannot be fetched.
    """
    names = _list(repository, commit)
    texts = [
        name
        for name in names
        if name.endswith(_TEXTS)
        and ("/" not in name.removeprefix(_TEMPLATES) or name.endswith(".py"))
    ]
    return _fetch_all(repository, texts, commit)


def fetch_weights(repository: str, commit: str, *, pickle: bool) -> Path:
    """Return the folder of a commit with its weights: safetensors, or pickle where there are none.

    Args:
        repository: ``org/name``.
        commit: from ``find_commit``; its texts have been fetched.
        pickle: whether weights that are not safetensors may be fetched.

    Raises:
        ScorerError: a file cannot be fetched, or all weights are pickle, which is not trusted.
    """
    names = _list(repository, commit)
    # Mistral's own format stands beside that of transformers, with the same weights.
    top = [name for name in names if "/" not in name and not name.startswith("consolidated")]
    chosen = [name for name in top if name.endswith(".safetensors")]
    if not chosen:
        chosen = [name for name in top if name.endswith((".bin", ".pt", ".pth"))]
        if chosen and not pickle:
            raise ScorerError(
                f"{repository}: no safetensors weights; pickle weights can run code: convert them,"
                " or pass --trust-pickle if you trust their author"
            )
    folder = _fetch_all(repository, chosen, commit)
    named = {name for index in _INDEXES for name in _named_by(folder / index)}
    if not pickle:
        named = {name for name in named if name.endswith(".safetensors")}
    _fetch_all(repository, sorted(named.intersection(names) - set(chosen)), commit)
    return folder


def _list(repository: str, commit: str) -> list[str]:
    """Return the names of a repository's files: the Hub's, or without it those in the cache."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if not HF_HUB_OFFLINE:
        with enclosed(partial(_refusal, repository)):
            return sorted(HfApi().list_repo_files(repository, revision=commit))
    folder = snapshot(repository, commit)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fetch_header(repository: str, commit: str) -> dict[str, Tensor]:
    """Return the tensors that a repository's safetensors state, without their content.

    Empty where they are not to be had so: for pickle, without a network, where another file may
    hold a head, or for what is in the cache already, whose own headers are read.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE or any(snapshot(repository, commit).glob("*.safetensors")):
        return {}
    try:
        with enclosed(partial(_refusal, repository)):
            files = HfApi().get_safetensors_metadata(repository, revision=commit).files_metadata
            others = {name for name in _list(repository, commit) if name.endswith(".safetensors")}
            if others - files.keys():
                return {}
            return {
                name: Tensor(tuple(tensor.shape), str(tensor.dtype))
                for file in files.values()
                for name, tensor in file.tensors.items()
            }
    except ScorerError:
        return {}  # fetching the weights says what is wrong with them


def snapshot(repository: str, commit: str) -> Path:
    """Return the folder of the Hub's cache that holds what was fetched of a commit."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "snapshots", commit)


def _fetch_all(repository: str, names: Iterable[str], commit: str) -> Path:
    for name in names:
        if _fetch(repository, name, commit) is None:
            raise ScorerError(f"{repository}: {name} is not in the repository any more; try again")
    return snapshot(repository, commit)


def _fetch(repository: str, name: str, revision: str | None) -> Path | None:
    """Return the file in the Hub's cache, fetched if it is not there; None where there is none.

    A transfer that breaks goes on where it broke: newer clients do so themselves, older ones at the
    next call.

    Raises:
        ScorerError: the Hub refuses, or the connection breaks again and again.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    with enclosed(partial(_refusal, repository)):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return Path(hf_hub_download(repository, name, revision=revision))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return None
            except OSError as error:
                if attempt == ATTEMPTS or not is_broken_transfer(error):
                    raise
    raise AssertionError("the last attempt returns or raises")


def _refusal(repository: str, error: BaseException) -> ScorerError:
    return ScorerError(f"{repository}: {hub_failure(error, local='give a local folder')}")


def _named_by(index: Path) -> set[str]:
    """Return the files that an index of weights names; none where it cannot be read."""
    try:
        found: Any = json.loads(index.read_bytes())
        return {str(name) for name in found["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # loading will say what is wrong with it
