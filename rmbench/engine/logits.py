"""Reads logits at given tokens: a language model's log-probabilities, or the outputs of steps.

The model's own code makes logits of hidden states, at the tokens that are asked about and at no
others: all of them would take vocabulary times tokens of memory.
"""

import inspect
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from rmbench.engine.reading import Ask, TokenPlaces, find_backbone

__all__ = ["Finish", "Logits", "log_probabilities"]

ROWS: Final = 256
"""Tokens whose logits are held at once."""

Finish = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
"""Makes values, (rows, outputs), of float32 logits, (rows, vocabulary), and the asked tokens."""


def log_probabilities(logits: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
    """Return the log-probability of each row's target, (rows, 1)."""
    assert targets is not None, "asked about tokens"
    chosen = logits.gather(-1, targets[:, None])  # (rows, 1)
    return chosen - logits.logsumexp(-1, keepdim=True)


class Logits:
    """What a model's logits say at the places of a sequence.

    Args:
        model: gives logits for every token, (B, T, V).
        finish: makes values of logits, a few rows at a time.
    """

    is_batched = False

    def __init__(self, model: Any, finish: Finish) -> None:
        self.model = model
        self.heads: list[nn.Linear] = []  # a vocabulary's products stay as they were loaded
        self.finish = finish
        self.backbone = find_backbone(model)
        self.reads_states = self.backbone is not None
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def places(self, ask: Ask) -> TokenPlaces:
        """Return where a sequence is read."""
        assert ask.places is not None, "places are given"
        return ask.places

    def values(self, states: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """Return values, (places, outputs), of last hidden states, (places, width)."""
        parts = []
        for start in range(0, len(states), ROWS):
            rows = slice(start, start + ROWS)
            logits = self._behind(states[None, rows])[0]
            parts.append(self.finish(logits.float(), None if targets is None else targets[rows]))
        return torch.cat(parts)

    def own(self, ids: torch.Tensor, mask: torch.Tensor, asks: list[Ask]) -> list[torch.Tensor]:
        """Return what the model's own forward says of one sequence."""
        (ask,) = asks
        places = torch.from_numpy(self.places(ask)).to(ids.device)
        given = {"logits_to_keep": places} if self._keeps else {}
        logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False, **given).logits[0]
        logits = logits if self._keeps else logits[places]
        return [self.finish(logits.float(), _targets(ask, ids.device))]

    def behind(self, ask: Ask, states: torch.Tensor) -> torch.Tensor:
        """Return what the model's own code makes of last hidden states, (places, outputs)."""
        places = torch.from_numpy(self.places(ask)).to(states.device)
        return self.values(states[0, places], _targets(ask, states.device))

    def _behind(self, states: torch.Tensor) -> torch.Tensor:
        """Return the logits, (1, rows, V), that the model's own code makes of hidden states."""
        from transformers.modeling_outputs import BaseModelOutputWithPast

        from rmbench.engine.reading import StandIn, exchanged

        assert self.backbone is not None, "only asked where there are hidden states"
        ids = torch.zeros(states.shape[:2], dtype=torch.int64, device=states.device)
        output = BaseModelOutputWithPast(last_hidden_state=states)
        with exchanged(self.model, self.backbone, StandIn(output)):
            logits: torch.Tensor = self.model(input_ids=ids).logits
        return logits


def _targets(ask: Ask, device: torch.device) -> torch.Tensor | None:
    if ask.targets is None:
        return None
    return torch.from_numpy(ask.targets).to(device=device, dtype=torch.int64)
