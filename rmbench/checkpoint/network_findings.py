"""What a loaded model is: its head, its vocabulary, and where it reads the reward."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.engine.reading import read_place
from rmbench.engine.scoring import Engine

__all__ = ["check_head", "check_place", "check_vocabulary", "count_embeddings"]

PAINTED: Final = 8
"""Pad tokens after a conversation, to see whether they move the token that is read."""


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
    if (alone, padded) == (len(ids) - 1, painted.size - 1):
        return Check(name=name, status=OK, seen=f"{seen}, the last one, whatever it is")
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


def check_head(network: Any) -> Check:
    """Refuse a reward head that was quantised: its rounding is the reward's."""
    name = "head"
    inside = f"{getattr(network, 'base_model_prefix', '')}."
    heads = {
        path: module
        for path, module in network.named_modules()
        if not path.startswith(inside) and getattr(module, "weight", None) is not None
    }
    for path, module in heads.items():
        weight = module.weight() if callable(module.weight) else module.weight
        if not weight.dtype.is_floating_point or weight.element_size() < 2:
            return Check(
                name=name,
                status=REFUSED,
                seen=f"{path} is quantised ({type(module).__name__}, {weight.dtype})",
                remedy="quantise the model without its head (modules_to_not_convert), or take the"
                " original",
            )
    return Check(name=name, status=OK, seen=", ".join(heads) or "part of the model")


def count_embeddings(network: Any) -> int | None:
    """Return for how many token ids a model has an embedding; None where it does not tell."""
    try:
        return int(network.get_input_embeddings().weight.shape[0])
    except (AttributeError, NotImplementedError, TypeError, IndexError):  # code of its own
        return None


def check_vocabulary(network: Any, tokenizer: Any, ids: Sequence[int]) -> Check:
    """Refuse tokens without an embedding in a conversation and as padding; warn of others.

    Args:
        network: the loaded model.
        tokenizer: the model's.
        ids: of a short conversation; on a GPU one that is too large would crash it.
    """
    name = "vocabulary"
    rows = count_embeddings(network)
    if rows is None:
        return Check(name=name, status=OK, seen="the model does not tell its embeddings")
    seen = f"{len(tokenizer)} tokens, {rows} embeddings"
    pad = getattr(network.config.get_text_config(), "pad_token_id", None)
    if isinstance(pad, int) and pad >= rows:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"{seen}; the pad token is {pad}",
            remedy="set pad_token_id in config.json to a token that the model has",
        )
    if max(ids, default=0) >= rows:
        return Check(
            name=name,
            status=REFUSED,
            seen=f"{seen}; a short conversation has the token {max(ids)}",
            remedy="use the tokenizer that it was trained with",
        )
    if len(tokenizer) > rows:
        return Check(
            name=name,
            status=WARNING,
            seen=seen,
            remedy="take the model's own tokenizer; a conversation with a token beyond the"
            " embeddings is refused",
        )
    return Check(name=name, status=OK, seen=seen)
