"""How far apart the neighbouring numbers of a precision are."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["step", "steps"]

# Bits of the mantissa, and the exponent of the smallest normal number.
PRECISION: Final = {"float32": (23, -126), "float16": (10, -14), "bfloat16": (7, -126)}


def step(reward: float, dtype: str) -> float:
    """Return the distance between neighbouring numbers of ``dtype`` at the magnitude of a reward.

    2^(floor(log2 |reward|) - mantissa bits), the exponent no lower than that of the smallest normal
    number (IEEE 754-2019, 3.4; bfloat16 is float32 with 7 bits). Unknown dtypes count as float32.
    """
    bits, lowest = PRECISION.get(dtype, PRECISION["float32"])
    # frexp gives a mantissa in [0.5, 1), hence the 1.
    exponent = max(math.frexp(reward)[1] - 1, lowest) if reward else lowest
    return math.ldexp(1.0, exponent - bits)


def steps(rewards: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[np.float64]:
    """Return ``step`` of each reward, in the shape of ``rewards``."""
    bits, lowest = PRECISION.get(dtype, PRECISION["float32"])
    exponents = np.frexp(rewards.astype(np.float64))[1] - 1
    exponents = np.where(rewards == 0.0, lowest, np.maximum(exponents, lowest))
    sizes: npt.NDArray[np.float64] = np.ldexp(1.0, exponents - bits)
    return sizes
