"""An encoder that reads a prompt and two responses in one text, with a head on pairs of states.

The layout is PairRM's (arXiv:2306.02561): the states of a mark before the prompt and of a mark
before each response; the head is given prompt and response side by side, and the difference of the
two outputs is the logit of the first response being the better one.
"""

from typing import Any, NamedTuple

import torch
from torch import nn

from rmbench.checkpoint.explain import foreign
from rmbench.checkpoint.head import build_head, find_parts
from rmbench.checkpoint.headed import StoredWeights, prefix_mapping
from rmbench.checkpoint.hub import fetch_weights
from rmbench.checkpoint.loading import build_skeleton, from_pretrained
from rmbench.checkpoint.opening import Checkpoint
from rmbench.checkpoint.stored import read_stored
from rmbench.checkpoint.weights import choose_device, choose_dtype
from rmbench.errors import ScorerError

__all__ = ["PairEncoder", "load_pair_encoder"]

LAYERS = 2
ACTIVATION = "tanh"


class PairEncoder(NamedTuple):
    """A backbone and its head, in eval mode, on their device."""

    backbone: Any
    head: nn.Module

    def logit(self, ids: torch.Tensor, marks: tuple[int, int, int]) -> float:
        """Return the logit of the first response being better; no padding, one text.

        Args:
            ids: token ids, (1, T).
            marks: ids of the marks of prompt, first and second response, each once in ``ids``.
        """
        with torch.inference_mode():
            states = self.backbone(input_ids=ids, attention_mask=torch.ones_like(ids))
            hidden = states.last_hidden_state[0]  # (T, H)
            prompt, first, second = (hidden[(ids[0] == mark).nonzero()[0, 0]] for mark in marks)
            pairs = torch.stack([torch.cat([prompt, first]), torch.cat([prompt, second])])
            left, right = self.head(pairs).mean(-1).tolist()  # the mean over tasks
        return float(left - right)


def load_pair_encoder(checkpoint: Checkpoint) -> PairEncoder:
    """Return the encoder with the head that stands in its weights.

    Raises:
        ScorerError: the weights have no such head, or cannot be loaded whole.
    """
    from transformers import AutoModel

    options, place = checkpoint.options, checkpoint.place
    if checkpoint.commit is not None:
        fetch_weights(checkpoint.name, checkpoint.commit, pickle=options.trust_pickle)
    stored = read_stored(checkpoint.folder, pickle=options.trust_pickle)
    skeleton = build_skeleton(checkpoint, loader=AutoModel)
    found = find_parts(skeleton, stored) if stored.tensors else None
    if found is None:
        raise ScorerError(
            f"{place}: the weights of its backbone cannot be found in its safetensors files; give"
            " the model as transformers saves it"
        )
    width = 2 * int(checkpoint.config.hidden_size)
    layers = found.layers
    if len(layers) != LAYERS or layers[0].inputs != width or layers[0].outputs != layers[1].inputs:
        shown = ", ".join(layer.shown for layer in layers) or "none"
        raise ScorerError(
            f"{place}: a pair encoder has two linear layers after the backbone, the first on"
            f" {width} inputs; its weights have {shown}"
        )
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    backbone, loading = from_pretrained(
        checkpoint, AutoModel, dtype=dtype, **prefix_mapping(skeleton, found.prefix)
    )
    if loading["missing_keys"]:
        lacking = min(map(str, loading["missing_keys"]))
        raise ScorerError(f"{place}: the checkpoint lacks {lacking}; download it again")
    head = build_head(StoredWeights(place, stored.homes), layers, ACTIVATION)
    with foreign(place, "model"):
        return PairEncoder(backbone.to(device).eval(), head.to(device).eval())
