"""How many tokens to compute at once: what a device's caches like, or its memory allows."""

from typing import Any, Final

import torch

__all__ = ["choose_batch_tokens", "chunks_per_row"]

CPU_TOKENS: Final = 1_024
"""On a processor a batch's states should stay in its caches; measured in docs/performance.md."""
CPU_CHUNKS: Final = 4
"""There a row may be this many batches long: long rows share more."""
LEAST: Final = 512
MOST: Final = 16_384
"""Enough to keep the largest GPU busy; more would only cost memory."""
MEMORY_SHARE: Final = 0.5
"""Of the free memory, for what one batch needs; the rest is for attention's own workspace."""


def choose_batch_tokens(
    config: Any, *, device: torch.device, dtype: torch.dtype, reserved: int = 0
) -> int:
    """Return the tokens of one batch for a network's shape on a device.

    Of an accelerator's free memory half is shared out among tokens, each of which needs room for
    the states of the layer that is being computed: about 8 vectors of the hidden width (residual,
    norm, queries, keys, values, attention, output, and the sum) and 3 of the inner width of a
    gated layer. Keys and values of layers that are done are not kept.

    Args:
        config: a transformers model's configuration.
        device: where it computes.
        dtype: in what it computes.
        reserved: bytes that will not be free any more: of weights that are still to be loaded.

    Returns:
        A power of two between 512 and 16,384, so that a little more or less of free memory does
        not change it; on a CPU always 1,024.
    """
    free = _free_memory(device)
    if free is None:
        return CPU_TOKENS
    fitting = int((free - reserved) * MEMORY_SHARE / _bytes_per_token(config, dtype))
    return min(MOST, max(LEAST, 1 << max(fitting, 1).bit_length() - 1))


def chunks_per_row(device: torch.device) -> int:
    """Return how many batches long a packed row may be, computed batch by batch."""
    return CPU_CHUNKS if device.type == "cpu" else 1


def _bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    text = config.get_text_config()
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return (8 * int(text.hidden_size) + 3 * int(inner)) * dtype.itemsize


def _free_memory(device: torch.device) -> int | None:
    """Return an accelerator's free memory in bytes; None for a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
