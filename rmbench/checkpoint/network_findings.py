"""Where is the reward read? One check of a loaded model on one conversation."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rmbench.checkpoint.findings import OK, WARNING, Check
from rmbench.engine.reading import read_place
from rmbench.engine.ways import Engine

__all__ = ["check_place"]

PAINTED: Final = 8
"""Pad tokens behind a conversation, to see whether they move the token that is read."""


def check_place(engine: Engine, tokenizer: Any, ids: Sequence[int]) -> Check:
    """Say which token's reward is read, and warn where trailing eos are passed over for pads."""
    name = "reward read at"
    if engine.readout is None:
        return Check(name=name, status=OK, seen="the whole input, or a token the model chooses")
    pad = getattr(engine.model.config.get_text_config(), "pad_token_id", None)
    alone = read_place(engine.model, engine.readout, np.array(ids, dtype=np.int32))
    token = tokenizer.convert_ids_to_tokens(ids[alone])
    seen = f'token {alone + 1} of {len(ids)}, "{token}"'
    if pad is None:
        return Check(name=name, status=OK, seen=f"{seen}; the model has no pad token")
    painted = np.array([*ids, *[pad] * PAINTED], dtype=np.int32)
    padded = read_place(engine.model, engine.readout, painted)
    if alone == len(ids) - 1 and padded == alone:
        same = "; pad == eos" if pad == tokenizer.eos_token_id else ""
        return Check(name=name, status=OK, seen=f"{seen}, with and without padding{same}")
    if padded != alone:
        return Check(
            name=name,
            status=WARNING,
            seen=f"{seen}, yet token {padded + 1} once padding follows: the model takes one for"
            " the other",
            remedy="nothing to do: rmbench reads where the model reads without padding",
        )
    return Check(
        name=name,
        status=WARNING,
        seen=f"{seen}: pad == eos, so the model passes over the {len(ids) - 1 - alone} behind it",
        remedy="right if the model was trained so; else --pooling last or first-eos",
    )
