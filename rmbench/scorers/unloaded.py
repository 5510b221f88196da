"""A model that is loaded when it is first asked: what tells it from others is known before."""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rmbench.cache import file_digest
from rmbench.checkpoint.identity import find_identity, locate
from rmbench.checkpoint.machine import accelerator
from rmbench.checkpoint.options import TINY, ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.contract import Facts, Identity, Ledger, ScorerInfo
from rmbench.scorers.kind import Kind
from rmbench.suite.comparison import Conversation

if TYPE_CHECKING:
    from rmbench.scorers.cascade import Cascade
    from rmbench.scorers.classifier import Classifier
    from rmbench.scorers.plan import Plan

__all__ = ["KIND", "Unloaded", "model_identity"]

PACKAGES: Final = ("torch", "transformers", "tokenizers")


class Unloaded:
    """A sequence classifier that loads its weights for the first question.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how to load and feed it.
        load: what loads it.
    """

    gives: Final = "rewards"

    def __init__(
        self,
        model: str,
        options: ModelOptions | None = None,
        load: "Callable[[str, ModelOptions], Classifier | Cascade] | None" = None,
    ) -> None:
        self.model = model
        self.options = options or ModelOptions()
        self._load = load or _load_classifier
        self._loaded: Classifier | Cascade | None = None
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity | None:
        """What tells this model and its options from every other, read from its files again.

        Raises:
            ScorerError: the Hub has no such model, or gives none.
        """
        return model_identity(self.model, self.options)

    @property
    def info(self) -> ScorerInfo:
        """Who gives the rewards; what the settings are is only known of a loaded model."""
        return self._at_hand().info

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the model's rewards.

        Raises:
            ScorerError: the model cannot be loaded or trusted, it changed while it was loaded, or a
                conversation cannot be scored.
        """
        return self._at_hand().score(conversations, ledger)

    def open_files(self) -> None:
        """Open all of the model but its weights, so that what is wrong is known early.

        Raises:
            ScorerError: there is no such model, or its configuration, tokenizer or template are
                wrong.
        """
        from rmbench.checkpoint.opening import open_checkpoint, refuse

        checkpoint = open_checkpoint(self.model, self.options)
        refuse(checkpoint.checks, checkpoint.name)

    def _at_hand(self) -> "Classifier | Cascade":
        before = self.identity
        if self._loaded is None:
            loaded = self._load(self.model, self.options)
            if self.identity != before:
                raise ScorerError(
                    f"{self.model}: its files changed while it was loaded; run again when they are"
                    " whole"
                )
            self._loaded, self._identity = loaded, before
        elif before != self._identity:  # else these weights would answer for the new ones
            raise ScorerError(
                f"{self.model}: its files changed after it was loaded; run again to score the new"
                " ones"
            )
        return self._loaded


def _load_classifier(model: str, options: ModelOptions) -> "Classifier | Cascade":
    from rmbench.scorers.classifier import load_classifier

    loaded = load_classifier(model, options, digest=file_digest)
    if options.dtype != "cascade":
        return loaded
    from rmbench.scorers.cascade import Cascade

    exact = options.changed(dtype="float32", audit="sample")
    return Cascade(loaded, partial(load_classifier, model, exact, digest=file_digest))


def model_identity(model: str, options: ModelOptions) -> Identity | None:
    """Return what tells a model and its options from every other; None if that is not known.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how it is loaded and fed.

    Raises:
        ScorerError: the Hub has no such model, or gives none.
    """
    weights = find_identity(model, options, file_digest)
    if weights is None:
        return None
    moving = options.that_move("answers", "reading")
    for name, value in moving.items():
        if isinstance(value, str) and Path(value).is_file():  # a template, by its content
            moving[name] = f"{Path(value).name} {file_digest(Path(value))}"
    _, name = locate(model)  # two folders of one content are two models in the results
    versions = [metadata.version(package) for package in PACKAGES]
    parts = (weights, name, sorted(moving.items()), versions, accelerator(options.device))
    return Identity(repr(parts), facts=repr(options.that_move("audit")))


def _plan(
    model: str, options: ModelOptions, conversations: Iterable[Conversation], estimate: bool
) -> "Plan":
    from rmbench.scorers.plan import plan_scoring

    return plan_scoring(model, options, conversations, estimate=estimate)


KIND: Final = Kind(
    open=Unloaded,
    options=ModelOptions,
    summary="A reward model with a head: a classifier, or a head found in its weights.",
    names=(TINY,),
    result_name=lambda model, _: locate(model)[1],
    plan=_plan,
    claims=lambda config: True,
)
