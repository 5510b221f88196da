"""Faster linear layers for float32 on a CPU: oneDNN with weights laid out once, ahead of time.

PyTorch multiplies float32 matrices with MKL, which rearranges a layer's weights at every call and
has slower kernels for processors that are not Intel's. PyTorch brings oneDNN as well; its operator
for compiled models takes weights that are rearranged already.
"""

import os
from functools import partial
from typing import Any, Final

import torch
from torch import nn

__all__ = ["speed_up_linear"]

SMALLEST: Final = 2**16
"""Weights of the smallest layer that is worth a copy."""
MEMORY_SHARE: Final = 8
"""The copies may take up one part in so many of the machine's memory."""


def speed_up_linear(network: Any) -> int:
    """Let a network's large linear layers use oneDNN, in all its forward passes.

    A product is summed in another order, which moves a reward by no more than choosing another
    matrix library does; the lone forward and every faster way move alike. Left alone are other
    devices and types, layers that are more than ``nn.Linear``, builds of PyTorch without the
    operator, and networks whose weights would not fit into memory twice.

    Args:
        network: in eval mode, on its device; used for inference alone from here on.

    Returns:
        How many layers were changed.
    """
    layers = [module for module in network.modules() if _is_eligible(module)]
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    if not _has_operator() or size * MEMORY_SHARE > _memory():
        return 0
    for layer in layers:
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
        layer.forward = partial(_product, packed, layer.bias)
    return len(layers)


def _product(packed: torch.Tensor, bias: torch.Tensor | None, given: torch.Tensor) -> torch.Tensor:
    """Return ``given @ weight.T + bias``, with a weight that was rearranged for it."""
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, packed, bias, "none", [], "")
    return result


def _is_eligible(module: nn.Module) -> bool:
    # Exactly this class, without hooks or an exchanged forward: whatever is more does more.
    return (
        type(module) is nn.Linear
        and "forward" not in vars(module)
        and module.weight.device.type == "cpu"
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
