"""A classifier behind the cache: what was scored before is read back, and no model is loaded."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Final

from rmbench.cache import SCORING_VERSION, Cache, make_key
from rmbench.checkpoint.identity import find_identity, locate
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Progress, Scored, Scorer, ScorerInfo
from rmbench.suite.comparison import Conversation

__all__ = ["CachedScorer"]

# Options that cannot move a reward, or only decide whether there is one; the revision is part of
# the model's identity.
PACKAGES: Final = ("torch", "transformers", "tokenizers")
_NO_PART: Final = {"batch_tokens", "seed", "trust_pickle", "revision"}


class CachedScorer:
    """Scores as ``load_classifier`` does, and keeps what it gave.

    A whole call is known by the model's identity and name, the options, the versions of torch,
    transformers and tokenizers, the kind of device, and every text. Within a call, single rewards
    are kept batch by batch (see ``rmbench.engine``), so that a crash loses no more than a batch.
    """

    def __init__(
        self, model: str, options: ModelOptions, *, cache: Cache, progress: Progress | None = None
    ) -> None:
        self.model = model
        self.options = options
        self.cache = cache
        self.progress = progress
        self._loaded: Scorer | None = None
        self._info: ScorerInfo | None = None

    @property
    def info(self) -> ScorerInfo:
        """Who gives the rewards; loads the model unless a call was answered from the cache."""
        if self._info is None:
            self._info = self._load().info
        return self._info

    def score(self, conversations: Iterable[Conversation]) -> Scored:
        """Return the model's rewards, from the cache where this very call was made before.

        Raises:
            ScorerError: the model cannot be loaded or trusted, or a conversation cannot be scored.
        """
        # They are gone through twice: once for the key, once for the rewards.
        if isinstance(conversations, Iterator):
            conversations = list(conversations)
        identity = find_identity(self.model, self.options, self.cache.file_digest)
        if identity is None:
            return self._load().score(conversations)
        key = make_key(identity, self._settings(), _digest(conversations))
        known = self.cache.get_run(key)
        if known is not None:
            self._info = ScorerInfo(**known["info"])
            known["scored"]["timing"]["cached"] = True
            return Scored(**known["scored"])
        self._info = self._load().info
        if self._info.revision != identity:
            raise ScorerError(
                f"{self.model}: the model changed between being identified and being loaded; run"
                " again when it is written, or give a copy of the folder"
            )
        scored = self._load().score(conversations)
        if all(reward is None or math.isfinite(reward) for reward in scored.rewards):
            self.cache.put_run(key, {"info": asdict(self._info), "scored": asdict(scored)})
        return scored

    def _load(self) -> Scorer:
        if self._loaded is None:
            from rmbench.scorers.classifier import load_classifier

            self._loaded = load_classifier(
                self.model, self.options, progress=self.progress, cache=self.cache
            )
        return self._loaded

    def _settings(self) -> str:
        options = {k: v for k, v in asdict(self.options).items() if k not in _NO_PART}
        for name in ("template", "reader"):
            path = Path(options[name] or "")
            if path.is_file():
                options[name] = f"{path.name} {self.cache.file_digest(path)}"
        _, name = locate(self.model)  # two folders of one content are two models in the results
        versions = [metadata.version(package) for package in PACKAGES]
        return repr((SCORING_VERSION, name, sorted(options.items()), versions, _device_kind()))


def _device_kind() -> tuple[bool, str | None]:
    """Tell machines with and without CUDA apart, without torch: ``auto`` differs between them."""
    return Path("/dev/nvidiactl").exists(), os.environ.get("CUDA_VISIBLE_DEVICES")


def _digest(conversations: Iterable[Conversation]) -> bytes:
    digest = make_key()
    for conversation in conversations:
        digest = make_key(digest, *conversation.texts)
    return digest
