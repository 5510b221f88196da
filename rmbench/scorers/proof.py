"""Is a server's reward the model's? Shown on the first conversations, before anything is scored."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rmbench.errors import ScorerError
from rmbench.scorers.protocols import Input
from rmbench.suite.comparison import Conversation

if TYPE_CHECKING:
    from rmbench.scorers.server import RewardServer

__all__ = ["prove_server"]

SAME_WITHIN: Final = 1e-3
"""Of a reward that is asked for twice, and of a sigmoid: servers batch, and round as they do."""


def prove_server(server: "RewardServer", sample: Sequence[Conversation]) -> dict[str, Any]:
    """Return what was shown, for the result's audit.

    Args:
        server: the server.
        sample: conversations of the run, the first ones.

    Raises:
        ScorerError: the rewards are activated, hang on the order of a request, cannot be shown to
            be raw, or are not those of the model's own forward.
    """
    found: dict[str, Any] = {}
    inputs = list({tuple(sent.ids): sent for sent in server.encode(sample) if sent}.values())
    server.audit["overflowed"] = 0  # those of the sample are counted when they are scored
    if not inputs:
        return found
    rewards = server.ask_all(inputs)
    found["order"] = _prove_order(server, inputs, rewards)
    own = _own_forward(server, inputs)
    if own is not None:
        found["difference"] = _prove_agreement(server, rewards, own)
    found["raw"] = _prove_raw(server, inputs, rewards, is_checked=own is not None)
    if own is None:
        _refuse_second_bos(server, inputs)
    return found


def _place(server: "RewardServer") -> str:
    return f"{server.url}{server.protocol.path}"


def _prove_order(
    server: "RewardServer", inputs: Sequence[Input], rewards: Sequence[float]
) -> float:
    """Return how far rewards move when a request is turned round."""
    turned = server.ask_all(inputs[::-1])[::-1]
    moved = max(abs(a - b) for a, b in zip(rewards, turned, strict=True))
    largest = max(map(abs, rewards))
    if moved > SAME_WITHIN * max(1.0, largest) and moved > server.options.tolerance:
        raise ScorerError(
            f"{_place(server)}: rewards move by up to {moved:.3g} when a request is turned round:"
            " it mixes answers up, or hangs on its batches; try -o batch=1"
        )
    return round(moved, 9)


def _prove_raw(
    server: "RewardServer",
    inputs: Sequence[Input],
    rewards: Sequence[float],
    *,
    is_checked: bool,
) -> str:
    """Return how it was shown that no sigmoid or softmax was put over the rewards."""
    place = _place(server)
    if len(inputs) > 1 and all(reward == 1.0 for reward in rewards):
        raise ScorerError(
            f"{place}: every reward is 1, as of a softmax over one number; ask the server for raw"
            " rewards, or serve the model by vLLM's /classify"
        )
    if server.protocol.has_switch:
        activated = server.ask_all(inputs, is_raw=False)
        differ = max(abs(a - b) for a, b in zip(rewards, activated, strict=True))
        expected = [1 / (1 + math.exp(-min(max(reward, -700.0), 700.0))) for reward in rewards]
        off = max(abs(a - b) for a, b in zip(expected, activated, strict=True))
        if off <= SAME_WITHIN < differ:
            return "sigmoid of the reward is what the server gives with activation"
        if not is_checked:
            raise ScorerError(
                f"{place}: rewards cannot be shown to be raw: with activation they differ by"
                f" {differ:.3g}, and their sigmoid by {off:.3g} from it; start the server with"
                f" {_switch(server)}, or let -o check=always compare them with the model's own"
                " forward"
            )
    if is_checked:
        return "equal to the model's own forward"
    if any(reward < 0.0 or reward > 1.0 for reward in rewards):
        return "beyond the range of a sigmoid"
    raise ScorerError(
        f"{place}: all of {len(rewards)} rewards are between 0 and 1, so a sigmoid cannot be ruled"
        " out; let -o check=always compare them with the model's own forward"
    )


def _switch(server: "RewardServer") -> str:
    if server.protocol.name == "vllm":
        return """--pooler-config '{"use_activation": false}'"""
    return "a version that knows raw_scores"


def _own_forward(server: "RewardServer", inputs: Sequence[Input]) -> list[float] | None:
    """Return the rewards of the model's own forward; None where it is not asked."""
    check, model = server.options.check, server.options.model
    if check == "never" or (check == "auto" and not Path(model).is_dir() and model != "tiny"):
        return None
    import numpy as np

    from rmbench.scorers.classifier import load_classifier

    classifier = load_classifier(model, server.own_options)
    sequences = [np.array(item.ids, dtype=np.int32) for item in inputs]
    return [float(reward) for reward in classifier.engine.score_alone(sequences)]


def _prove_agreement(
    server: "RewardServer", rewards: Sequence[float], own: Sequence[float]
) -> float:
    """Return how far the server's rewards are from the model's own at most."""
    difference = max(abs(a - b) for a, b in zip(rewards, own, strict=True))
    if not difference <= server.options.tolerance:
        raise ScorerError(
            f"{_place(server)}: rewards are up to {difference:.3g} from the model's own forward"
            f" (tolerance {server.options.tolerance:g}): it serves another model, another text, or"
            " activated rewards; serve this model in float32, or give -o tolerance"
        )
    return round(difference, 9)


def _refuse_second_bos(server: "RewardServer", inputs: Sequence[Input]) -> None:
    """Refuse a server that is sent text where its tokenizer would add special tokens to it."""
    if server.protocol.takes_ids:
        return
    tokenizer = server.checkpoint.tokenizer
    for item in inputs:
        ids = tokenizer(item.text, verbose=False)["input_ids"]
        if list(ids) != item.ids:
            raise ScorerError(
                f"{_place(server)}: takes texts, and its tokenizer would make {len(ids)} tokens of"
                f" one where the model is given {len(item.ids)}; let -o check=always compare it"
                " with the model's own forward, or serve the model by vLLM, which takes token ids"
            )
