"""Pooling rules of other programs, for checkpoints whose training read another token."""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from rmbench.engine.reading import find_readout
from rmbench.errors import ScorerError

__all__ = ["with_pooling"]

PoolingRule = Callable[[torch.Tensor, torch.Tensor, int | None], torch.Tensor]


def with_pooling(model: Any, pooling: str, *, eos: int | None, name: str) -> Any:
    """Return a model that reads its reward where ``pooling`` says.

    Args:
        model: a sequence classifier with one logit, in eval mode.
        pooling: where the reward is read.

            * ``model``: where the model's own forward does; the model itself is returned.
            * ``last``: at the last token, whatever it is.
            * ``first-eos``: at the token before the first eos, at the last token where there is
              none. With pad == eos this is what transformers did until early 2025 (its PR 35911:
              ``eq(pad).argmax(-1) - 1`` before) and what open-instruct's trainer does (the first
              pad, less one). As in both, an eos in the very first place gives -1: the last token.
        eos: the tokenizer's eos token.
        name: the model's, for messages.

    Raises:
        ScorerError: the model reads no single token, or there is no eos to look for.
    """
    if pooling == "model":
        return model
    readout = find_readout(model)
    if readout is None:
        raise ScorerError(
            f"{name}: --pooling {pooling} needs a decoder that reads one token through one linear"
            " head, which this model is not; leave --pooling out"
        )
    if pooling == "first-eos" and eos is None:
        raise ScorerError(
            f"{name}: --pooling first-eos, but the tokenizer has no eos token; give last or model"
        )
    return _Pooled(model, backbone=readout.backbone, head=readout.head, rule=pooling, eos=eos)


class _Pooled(nn.Module):
    """A model with its own backbone and head, and another rule between them."""

    base_model_prefix = "backbone"

    def __init__(
        self, model: Any, *, backbone: nn.Module, head: nn.Module, rule: str, eos: int | None
    ) -> None:
        super().__init__()
        # In a tuple, so that backbone and head are registered once: as parts of this module.
        self._model = (model,)
        self.backbone = backbone
        self.head = head
        self._rule = RULES[rule]
        self._eos = eos

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["_model"][0], name)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
        """Return logits of shape (B, 1) for token ids of shape (B, T)."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        output = self.backbone(input_ids=input_ids, attention_mask=mask, use_cache=False)
        logits = self.head(output.last_hidden_state)  # (B, T, 1)
        places = self._rule(input_ids, mask, self._eos).to(logits.device)
        rows = torch.arange(len(places), device=logits.device)
        return SequenceClassifierOutput(logits=logits[rows, places])


def _last(ids: torch.Tensor, mask: torch.Tensor, eos: int | None) -> torch.Tensor:
    """Return the place of the last attended token, shape (B,)."""
    places = torch.arange(ids.shape[1], device=ids.device)
    return (places * (mask != 0)).argmax(-1)


def _first_eos(ids: torch.Tensor, mask: torch.Tensor, eos: int | None) -> torch.Tensor:
    """Return the place before the first attended eos, shape (B,)."""
    is_eos = (ids == eos) & (mask != 0)
    before = is_eos.int().argmax(-1) - 1  # argmax takes the first of equals; 0 where there is none
    return torch.where(before >= 0, before, _last(ids, mask, eos))


RULES: Final[dict[str, PoolingRule]] = {"last": _last, "first-eos": _first_eos}
