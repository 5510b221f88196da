"""A reward head found in the weights: what is left of them when the backbone is taken away.

The backbone is built without memory from the configuration; the prefix under which its names and
shapes stand in the weights is found by matching. No code of the model's own is needed, and no list
of names: a head is whatever linear layer remains.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from rmbench.checkpoint.stored import Stored, Tensor

__all__ = [
    "FoundHead",
    "Headed",
    "Layer",
    "build_head",
    "find_layers",
    "find_parts",
    "is_spare",
]

# A classifier has no use for these: the head of a language model, and what is computed from the
# configuration (positions, masks, rotary frequencies) and was once stored too.
_SPARE: Final = re.compile(
    r"(^|\.)(lm_head|embed_out|cls\.(predictions|seq_relationship)|generator_predictions"
    r"|lm_loss|mtp|pooler)\."
    r"|(^|\.)(rotary_emb|rotary_pos_emb|attention|attn|self_attn)\."
    r"(rotary_emb\.)?(inv_freq|cos_cached|sin_cached|bias|masked_bias)$"
    r"|(^|\.)(inv_freq|position_ids|token_type_ids)$"
)
_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
}


class Layer(NamedTuple):
    """A linear layer as it is stored."""

    name: str
    outputs: int
    inputs: int
    has_bias: bool

    @property
    def shown(self) -> str:
        """The layer for a message."""
        bias = ", bias" if self.has_bias else ""
        return f"{self.name} ({self.outputs} x {self.inputs}{bias})"


@dataclass(frozen=True, slots=True)
class FoundHead:
    """What stands in the weights besides the backbone.

    Attributes:
        prefix: what stands before the backbone's names.
        layers: the linear layers that remain, in their order.
        others: names of all else that remains.
    """

    prefix: str
    layers: tuple[Layer, ...]
    others: tuple[str, ...]


def is_spare(name: str) -> bool:
    """Whether weights of this name may be left out in peace."""
    return _SPARE.search(name) is not None


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts ``score.2`` before ``score.10``."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in name.split("."))


def find_parts(backbone: Any, stored: Stored) -> FoundHead | None:
    """Return what stands in the weights besides the backbone; None where the backbone does not.

    Args:
        backbone: a model without memory for its weights.
        stored: the headers of the weights.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone.state_dict().items()}
    prefixes = Counter(
        name[: -len(rest)]
        for name, tensor in stored.tensors.items()
        for rest in _endings(name)
        if shapes.get(rest) == tensor.shape
    )
    if not prefixes:
        return None
    prefix = max(prefixes, key=lambda item: (prefixes[item], -len(item)))
    if 2 * prefixes[prefix] < len(shapes):  # a few names of its kind may be stored otherwise
        return None
    inside = {f"{prefix}{name}" for name, _ in backbone.named_children()}
    rest = {
        name: tensor
        for name, tensor in stored.tensors.items()
        if not is_spare(name) and not any(name.startswith(f"{part}.") for part in inside)
    }
    return FoundHead(prefix, *find_layers(rest))


def _endings(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def find_layers(rest: Mapping[str, Tensor]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Return the linear layers among stored weights, in order, and the names of the others."""
    layers, used = [], set()
    for name in sorted(rest, key=_natural):
        path, _, kind = name.rpartition(".")
        if kind != "weight" or len(rest[name].shape) != 2:
            continue
        outputs, inputs = rest[name].shape
        bias = rest.get(f"{path}.bias")
        has_bias = bias is not None and bias.shape == (outputs,)
        layers.append(Layer(path, outputs, inputs, has_bias))
        used |= {name, f"{path}.bias"} if has_bias else {name}
    return tuple(layers), tuple(sorted(set(rest) - used))


def build_head(
    weights: Mapping[str, torch.Tensor], layers: Sequence[Layer], activation: str
) -> Any:
    """Return a head of linear layers in float32, whatever the states' dtype.

    Args:
        weights: of the layers, by their names in the file.
        layers: in their order.
        activation: between two layers.
    """
    parts: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.has_bias, dtype=torch.float32)
        with torch.no_grad():
            linear.weight.copy_(weights[f"{layer.name}.weight"])
            if layer.has_bias:
                linear.bias.copy_(weights[f"{layer.name}.bias"])
        parts += [linear, _ACTIVATIONS[activation]()]
    head = parts[0] if len(layers) == 1 else nn.Sequential(*parts[:-1])
    head.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
    return head.requires_grad_(False)


class Headed(nn.Module):
    """A backbone and a head that is read at one token, counted from the last attended one."""

    base_model_prefix = "backbone"
    described = "rows of lm_head"

    def __init__(self, backbone: Any, head: nn.Module, place: int = -1) -> None:
        super().__init__()
        self.backbone = backbone
        self.reward_head = head
        self._place = place

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("backbone"), name)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
        """Return logits of shape (B, K) for token ids of shape (B, T)."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        output = self.backbone(input_ids=input_ids, attention_mask=mask, use_cache=False)
        logits = self.reward_head(output.last_hidden_state)  # (B, T, K)
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (places * (mask != 0)).argmax(-1)  # (B,)
        read = (last + 1 + self._place).clamp(min=0).to(logits.device)
        return SequenceClassifierOutput(logits=logits[torch.arange(len(read)), read])
