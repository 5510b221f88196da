"""Linear layers computed otherwise: faster for float32 on a CPU, exactly for a reward head.

PyTorch multiplies float32 matrices with MKL, which rearranges a layer's weights at every call and
has slower kernels for processors that are not Intel's. PyTorch brings oneDNN as well; its operator
for compiled models takes weights that are rearranged already.

A reward head is computed in float32 whatever the model's precision is. Both are exchanged and put
back by ``Exchanged``, so that the truth of a sample is what the model computes as it was loaded.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from torch import nn

__all__ = ["Exchanged", "size_in_float32", "speed_up_linear"]

SMALLEST: Final = 2**16
"""Weights of the smallest layer that is worth a copy."""
MEMORY_SHARE: Final = 8
"""The copies may take up one part in so many of the machine's memory."""


class _Part(NamedTuple):
    """A layer, the name of what computes it, and what is to compute it instead."""

    layer: nn.Module
    name: str
    forward: Callable[[torch.Tensor], torch.Tensor]


class Exchanged:
    """The layers of a network that are computed otherwise, and can be put back as they were."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._before: list[Any] = []

    def __len__(self) -> int:
        """Return how many layers there are."""
        return len(self._parts)

    def exchange(self, parts: list[_Part]) -> None:
        """Let more layers be computed otherwise."""
        for part in parts:
            self._parts.append(part)
            self._before.append(vars(part.layer).get(part.name))
            setattr(part.layer, part.name, part.forward)

    def put_back(self) -> None:
        """Leave the network as it was loaded, for good."""
        for part, before in zip(self._parts, self._before, strict=True):
            _set(part, before)
        self._parts, self._before = [], []

    @contextlib.contextmanager
    def as_loaded(self) -> Iterator[None]:
        """Leave the network as it was loaded, for a while."""
        for part, before in zip(self._parts, self._before, strict=True):
            _set(part, before)
        try:
            yield
        finally:
            for part in self._parts:
                setattr(part.layer, part.name, part.forward)


def _set(part: _Part, before: Any) -> None:
    if before is None:
        delattr(part.layer, part.name)
    else:
        setattr(part.layer, part.name, before)


def size_in_float32(network: Any) -> int:
    """Return the bytes of a network's large linear layers in float32, wherever they are."""
    layers = [module for module in network.modules() if _is_large(module)]
    return sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)


def faster_layers(network: Any, size: int | None = None) -> list[_Part]:
    """Return the large linear layers of a network as oneDNN computes them.

    A product is summed in another order, which moves a reward by no more than choosing another
    matrix library does. Left alone are other devices and types, layers that are more than
    ``nn.Linear``, builds of PyTorch without the operator, and networks whose weights would not fit
    into memory twice.

    Args:
        network: in eval mode, on its device; or a part of one.
        size: of the whole network's layers, in bytes, where only a part is given.
    """
    layers = [module for module in network.modules() if _is_eligible(module)]
    size = size_in_float32(network) if size is None else size
    if not _has_operator() or size * MEMORY_SHARE > _memory():
        return []
    return [
        _Part(layer, "forward", partial(_product, _reordered(layer), layer.bias))
        for layer in layers
    ]


def exact_heads(heads: list[nn.Linear]) -> list[_Part]:
    """Return reward heads as they compute their product in float32.

    In bfloat16 rewards from 8 to 16 would be multiples of 1/16. The weights stay where and what
    they are: those of a model that is spread over devices come only when the layer is called.
    """
    parts = []
    for head in heads:
        if head.weight.dtype != torch.float32:
            # Where accelerate fetches a layer's weights, it calls the layer's own forward so.
            name = "_old_forward" if hasattr(head, "_hf_hook") else "forward"
            parts.append(_Part(head, name, partial(_exact_product, head)))
    return parts


def _exact_product(head: nn.Linear, given: torch.Tensor) -> torch.Tensor:
    bias = None if head.bias is None else head.bias.float()
    return nn.functional.linear(given.float(), head.weight.float(), bias)


def speed_up_linear(network: Any) -> int:
    """Let a network's large linear layers use oneDNN for good; return how many there are.

    Args:
        network: in eval mode, on its device; used for inference alone from here on.
    """
    parts = faster_layers(network)
    Exchanged().exchange(parts)
    return len(parts)


def _reordered(layer: nn.Linear) -> torch.Tensor:
    weight: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
    return weight


def _product(packed: torch.Tensor, bias: torch.Tensor | None, given: torch.Tensor) -> torch.Tensor:
    """Return ``given @ weight.T + bias``, with a weight that was rearranged for it."""
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, packed, bias, "none", [], "")
    return result


def _is_eligible(module: nn.Module) -> bool:
    return _is_large(module) and module.weight.device.type == "cpu"


def _is_large(module: nn.Module) -> bool:
    # Exactly this class, without hooks or an exchanged forward: whatever is more does more.
    return (
        type(module) is nn.Linear
        and "forward" not in vars(module)
        and type(module.weight) is nn.Parameter  # no quantised one, which says float32 too
        and module.weight.dtype == torch.float32
        and module.weight.numel() >= SMALLEST
    )


def _has_operator() -> bool:
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return bool(torch._C._has_mkldnn) and all(hasattr(torch.ops.mkldnn, name) for name in names)


def _memory() -> int:
    """Return the machine's memory in bytes; 0 where the system does not tell.

    Not what is free of it: the same run on the same machine gives the same bits.
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
