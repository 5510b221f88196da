"""Faster linear layers: the same products, in whatever way the engine or the model computes."""

from typing import Any

import models
import numpy as np
import pytest
import torch
from torch import nn

from rmbench.engine import linear
from rmbench.engine.linear import SMALLEST, speed_up_linear
from rmbench.engine.scoring import Engine

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="a PyTorch without oneDNN"
)
WIDE = {"hidden_size": 512, "intermediate_size": 1024}


def layers(*, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(512, 256, bias=bias), nn.Linear(256, 512, bias=bias)).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(512,), (1, 512), (3, 7, 512), (0, 512)])
def test_a_product_is_that_of_float64(bias: bool, shape: tuple[int, ...]) -> None:
    network = layers(bias=bias)
    given = torch.randn(shape)
    with torch.inference_mode():
        exact = layers(bias=bias).double()(given.double())
        assert speed_up_linear(network) == 2
        found = network(given)
    assert found.dtype == torch.float32
    # 512 summands of about 1 / sqrt(512) each: an error of a few units of 2**-24 a product.
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-6)


def test_small_layers_other_types_and_subclasses_are_left_alone() -> None:
    class Special(nn.Linear):
        pass

    small = nn.Linear(SMALLEST // 512 - 1, 512)
    for layer in (small, nn.Linear(512, 512).bfloat16(), Special(512, 512)):
        assert speed_up_linear(nn.Sequential(layer)) == 0
        assert "forward" not in vars(layer)


def test_a_layer_whose_forward_was_exchanged_keeps_it() -> None:
    network = layers()
    network[0].forward = lambda given: given[..., :256]
    assert speed_up_linear(network) == 1
    assert torch.equal(network[0](torch.ones(512)), torch.ones(256))


def test_layers_are_changed_once() -> None:
    network = layers()
    assert speed_up_linear(network) == 2
    assert speed_up_linear(network) == 0


def test_a_network_that_does_not_fit_into_memory_twice_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two layers of 131,072 weights are 1 MiB.
    monkeypatch.setattr(linear, "_memory", lambda: 8 * 2**20 - 1)
    assert speed_up_linear(layers(bias=False)) == 0
    monkeypatch.setattr(linear, "_memory", lambda: 8 * 2**20)
    assert speed_up_linear(layers(bias=False)) == 2


def test_an_engine_is_as_near_to_float64_as_the_untouched_model() -> None:
    sequences = [np.arange(3, 3 + length, dtype=np.int32) for length in (2, 9, 30, 31)]

    def rewards(model: Any) -> Any:
        return np.array([models.lone_reward(model, ids) for ids in sequences])

    exact = rewards(models.classifier("llama", **WIDE).double())
    untouched = np.abs(rewards(models.classifier("llama", **WIDE)) - exact).max()
    model = models.classifier("llama", **WIDE)
    scoring = Engine(model).score(sequences)
    assert "forward" in vars(model.model.layers[0].mlp.up_proj)
    assert scoring.way == "packed"
    # Both sum in float32, each in its own order: errors of one size, not of one value.
    assert np.abs(scoring.rewards - exact).max() < 4 * untouched
