"""A model that is in memory already, as in a training script: scored, and left as it was."""

import contextlib
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from rmbench.checkpoint.chat import load_template, with_format
from rmbench.checkpoint.opening import Checkpoint, limit_length, position_limit
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.reader_file import Reader
from rmbench.checkpoint.text_findings import check_text
from rmbench.checkpoint.weights import Loaded
from rmbench.checkpoint.writing import with_parts
from rmbench.engine.pooling import with_pooling
from rmbench.engine.scoring import Engine
from rmbench.errors import ScorerError
from rmbench.scorers.classifier import Classifier, describe, note
from rmbench.scorers.contract import Facts, Ledger, ScorerInfo
from rmbench.suite.comparison import Conversation

__all__ = ["InMemory", "left_as_it_was"]

# Wrappers of training, around the model itself.
_INNER = ("module", "_orig_mod")


class InMemory:
    """A sequence classifier with one logit that somebody holds; its weights are not copied.

    Afterwards it trains on as if nothing had been: the training mode of every module, the forwards
    of its layers and the states of all random generators are as they were, and no gradient was
    touched. Its answers are kept nowhere, since nothing tells its weights from those of the next
    step.

    Raises:
        ScorerError: it gives no single reward, its template is missing, or a check refuses it.
    """

    def __init__(
        self, model: Any, tokenizer: Any, name: str, options: ModelOptions | None = None
    ) -> None:
        self._model = _inside(model)
        self._options = options or ModelOptions()
        outputs = getattr(self._model.config, "num_labels", None)
        if outputs != 1:
            raise ScorerError(
                f"{name}: {outputs} outputs in its configuration, and a reward is one; load it with"
                " num_labels=1"
            )
        if self._options.audit == "exact" or self._options.dtype == "cascade":
            asked = "audit=exact" if self._options.audit == "exact" else "dtype=cascade"
            raise ScorerError(
                f"{name}: {asked} needs the model in float32 too, and one in memory is not"
                " copied; save it, and run rmbench on the folder"
            )
        self._checkpoint = _as_checkpoint(self._model, tokenizer, name, self._options)
        note(self._checkpoint.checks, None, name)
        self.info: ScorerInfo = describe(self._checkpoint, self._loaded(), None)

    def score(self, conversations: Iterable[Conversation], ledger: Ledger) -> Facts:
        """Record the model's rewards.

        Raises:
            ScorerError: a conversation is too long, the template refuses it, or memory is short.
        """
        eos = self._checkpoint.tokenizer.eos_token_id
        with left_as_it_was(self._model):
            self._model.eval()
            network = with_pooling(self._model, self._options.pooling, eos=eos, name=self.info.id)
            engine = Engine(network, batch_tokens=self._options.batch_tokens)
            scorer = Classifier(
                self.info,
                engine=engine,
                checkpoint=self._checkpoint,
                checks=self._checkpoint.checks,
            )
            try:
                return scorer.score(conversations, ledger)
            finally:
                engine.ways.put_back()

    def _loaded(self) -> Loaded:
        dtype = str(self._model.dtype).removeprefix("torch.")
        return Loaded(self._model, dtype, self._checkpoint.max_length, [])


def _inside(model: Any) -> Any:
    """Return the model inside the wrappers of training."""
    while not hasattr(model, "config"):
        inner = [getattr(model, name) for name in _INNER if hasattr(model, name)]
        if not inner:
            raise ScorerError(
                f"{type(model).__name__}: no model of transformers: it has no config; give a"
                " function to rmbench.scorer instead"
            )
        model = inner[0]
    return model


def _as_checkpoint(model: Any, tokenizer: Any, name: str, options: ModelOptions) -> Checkpoint:
    template = load_template(options.template, tokenizer, name)
    template = with_parts(with_format(template, tokenizer, options, model=name), tokenizer)
    return Checkpoint(
        model=name,
        name=name,
        where=os.devnull,  # it has no files
        commit=None,
        adapter=None,
        base_commit=None,
        config=model.config,
        stated={},
        tokenizer=tokenizer,
        template=template,
        max_length=limit_length(position_limit(model.config, model), options, name),
        reader=Reader(),
        options=options,
        checks=check_text(template, tokenizer, options),
    )


@contextlib.contextmanager
def left_as_it_was(model: Any) -> Iterator[None]:
    """Give training modes and random states back as they were, whatever happens meanwhile."""
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda: Any = torch.cuda
    gpus = cuda.get_rng_state_all() if cuda.is_initialized() else []
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if gpus:
            cuda.set_rng_state_all(gpus)
