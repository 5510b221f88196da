"""How fast this device multiplies, and how many products a model asks for."""

import time
from typing import Any

import numpy as np
import torch

from rmbench.engine.linear import speed_up_linear

__all__ = ["layer_weights", "matrix_rate"]


def layer_weights(model: Any) -> int:
    """Return the number of weights that every token meets: all but the input embeddings.

    Scoring a token takes 2 operations per such weight (Kaplan et al. 2020, arXiv:2001.08361,
    section 2.1); those of attention itself come on top and are left out.
    """
    embeddings = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in embeddings)


def matrix_rate(model: Any, *, device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Return operations per second of matrix products of a model's shape on a device.

    1,024 rows through a linear layer from hidden to inner width, computed as the engine computes
    it: the median of repeats over about ``seconds``, after a warm-up.

    Args:
        model: for its shape; it may be without weights.
        device: where to measure.
        dtype: of the products.
        seconds: how long to measure.
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    left = torch.randn((1024, config.hidden_size), dtype=dtype, device=device)
    layer = torch.nn.Linear(config.hidden_size, inner, bias=False, dtype=dtype, device=device)
    speed_up_linear(layer)
    rates: list[float] = []
    deadline = time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < deadline or len(rates) < 4:
            start = time.perf_counter()
            layer(left)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            rates.append(2 * left.numel() * inner / (time.perf_counter() - start))
    return float(np.median(rates[1:]))
