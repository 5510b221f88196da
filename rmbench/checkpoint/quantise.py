"""A model's linear layers in 8 or 4 bits, by torchao: only the weights, and never the head.

Products are computed in the dtype that the model would have anyway, so that every token is still
computed by itself: shared prefixes and the proof against the lone forward stay what they are. The
rewards are another model's, and the setting stands in signature and key.
"""

import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import nn

from rmbench.checkpoint.explain import foreign
from rmbench.engine.reading import find_backbone
from rmbench.errors import ScorerError

__all__ = ["quantise"]

GROUP: Final = 32
"""Weights that share one scale in 4 bits."""


def quantise(network: Any, precision: str, place: str) -> None:
    """Put the linear layers of a model's backbone into 8 or 4 bits, in place.

    Args:
        network: in eval mode, on its device; not quantised yet.
        precision: ``int8`` (a scale for each row), ``int4`` (for each group of 32 weights) or
            ``fp8`` (e4m3, for each row).
        place: what messages call the model.

    Raises:
        ScorerError: torchao is missing, the model is quantised already, or it does not say which
            part of it is the backbone.
    """
    if getattr(network.config, "quantization_config", None) is not None:
        raise ScorerError(
            f"{place}: its weights are quantised already; leave --dtype {precision} out"
        )
    backbone = find_backbone(network)
    if backbone is None:
        raise ScorerError(
            f"{place}: {type(network).__name__} does not tell backbone and head apart, and a head"
            f" is not quantised; leave --dtype {precision} out"
        )
    with foreign(place, "model"), warnings.catch_warnings(action="ignore"):
        config, quantize = _torchao(precision, place)
        quantize(backbone, config, filter_fn=_is_plain)


def _is_plain(module: nn.Module, _: str) -> bool:
    return type(module) is nn.Linear and module.weight.dtype in _FLOATS


_FLOATS: Final = (torch.float32, torch.bfloat16, torch.float16)


def _torchao(precision: str, place: str) -> tuple[Any, Any]:
    try:
        from torchao import quantization
        from torchao.quantization import granularity
    except ImportError:
        raise ScorerError(
            f"{place}: --dtype {precision} needs the package torchao; pip install"
            " 'rmbench[quantized]'"
        ) from None
    made: Mapping[str, Any] = {
        "int8": lambda: quantization.Int8WeightOnlyConfig(),
        "int4": lambda: quantization.IntxWeightOnlyConfig(
            weight_dtype=torch.int4,  # type: ignore[attr-defined]
            granularity=granularity.PerGroup(GROUP),
        ),
        "fp8": lambda: quantization.Float8WeightOnlyConfig(),
    }
    return made[precision](), quantization.quantize_
