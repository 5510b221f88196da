"""What a device says when it fails: short of memory, or broken for good.

Memory that runs out is met with smaller batches. After any other error of a CUDA context the
context is lost: whatever is tried on it next fails too, far from the cause, so nothing is.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from rmbench.errors import ScorerError

__all__ = [
    "ShortOfMemoryError",
    "ends_the_process",
    "free_memory",
    "is_out_of_memory",
    "one_message",
]

# cuBLAS, cuDNN, Apple's Metal and the CPU's allocator have errors of their own for it.
_MEMORY: Final = (
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "can't allocate memory",
    "not enough memory",
)
# From torch 2.8 on there is a class for errors of a device; before, they are told by their text.
_Accelerator: Final = getattr(torch, "AcceleratorError", ())
_STICKY: Final = ("cuda error", "hip error")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, in whatever words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _MEMORY)


def ends_the_process(error: BaseException) -> bool:
    """Return whether a device is lost: nothing more can be computed on it by this process."""
    if is_out_of_memory(error):
        return False
    text = str(error).lower()
    is_told = isinstance(error, RuntimeError) and text.startswith(_STICKY)
    return is_told or isinstance(error, _Accelerator)


@contextmanager
def one_message(device: torch.device) -> Iterator[None]:
    """Turn the loss of a device into one message.

    Raises:
        ScorerError: the device is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not ends_the_process(error):
            raise
        finding = str(error).strip().splitlines()[0]
        raise ScorerError(
            f"{device} failed in mid-computation ({finding}), and nothing that it computes from"
            " here on can be trusted; run again, with CUDA_LAUNCH_BLOCKING=1 to learn which"
            " operation it was"
        ) from error


def free_memory(device: torch.device) -> None:
    """Give back what nobody holds; to be called when the error has been left behind.

    While an error is being handled its traceback still holds the tensors of what failed.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class ShortOfMemoryError(Exception):
    """Memory ran out while a unit was computed.

    Attributes:
        unit: which.
    """

    def __init__(self, unit: Any) -> None:
        super().__init__()
        self.unit = unit
