"""Rotary embeddings whose frequencies follow the longest position of a forward pass.

``longrope`` has one set of frequencies up to the length a model was trained on and another one
beyond it; ``dynamic`` has others for every length beyond it, and keeps the largest it has met. The
set is picked once for a whole forward pass, so a conversation in one with a longer one gets the
longer one's. Conversations are therefore computed together only with those that, each alone, have
the same frequencies; and what an embedding keeps from one pass to the next is put back before each.
"""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import nn

__all__ = ["Frequencies"]

FOLLOWING: Final = ("dynamic", "longrope", "su")
"""Names that configurations have for such embeddings."""


class Frequencies:
    """The rotary embeddings of one model, as they were when it was loaded.

    Args:
        model: in eval mode, on its device, before its first forward pass.
    """

    def __init__(self, model: Any) -> None:
        self._modules = [module for module in model.modules() if _is_rotary(module)]
        self._kept = [_state(module) for module in self._modules]
        self._known: dict[int, bytes] = {}
        self._names = _names(model.config)
        farthest = 4 * _positions(model.config)
        self._follow = len({self.key(length) for length in (2, farthest)}) > 1
        self.reset()

    @property
    def are_unknown(self) -> bool:
        """Whether the configuration speaks of such an embedding, and none of its kind is found.

        Code of the model's own, say: nothing is known of it, so nothing is computed together.
        """
        return self._names and not self._follow

    def reset(self) -> None:
        """Put back what the embeddings were before any forward pass."""
        if self._follow:
            for module, kept in zip(self._modules, self._kept, strict=True):
                _restore(module, kept)

    def group(self, lengths: Sequence[int]) -> list[tuple[list[int], bool]]:
        """Return which sequences have the same frequencies, each alone.

        Args:
            lengths: tokens of each sequence.

        Returns:
            For each group the numbers of its sequences in their order, and whether its rows may be
            computed in chunks: a chunk may lack the longest position.
        """
        if not self._follow or not lengths:
            return [(list(range(len(lengths))), True)] if lengths else []
        groups: dict[bytes, list[int]] = {}
        for number, length in enumerate(lengths):
            groups.setdefault(self.key(length), []).append(number)
        self.reset()
        return [(numbers, key == self.key(1)) for key, numbers in groups.items()]

    def key(self, length: int) -> bytes:
        """Return what stands for the frequencies that a sequence of this length has alone."""
        length = max(length, 2)  # at position 0 no frequency can be told from another
        if length not in self._known:
            parts = []
            for module, kept in zip(self._modules, self._kept, strict=True):
                _restore(module, kept)
                parts += [_waves(module, name, length) for name in _layer_types(module)]
                _restore(module, kept)
            self._known[length] = b"".join(parts)
        return self._known[length]


def _is_rotary(module: nn.Module) -> bool:
    names = [*module._buffers, *vars(module)]
    if not any(name.endswith("inv_freq") for name in names):
        return False
    return "position_ids" in inspect.signature(module.forward).parameters


def _layer_types(module: Any) -> Iterable[str | None]:
    """Return the kinds of layer that an embedding tells apart; None alone where it does not."""
    kinds = getattr(module, "rope_type", None)
    if "layer_type" in inspect.signature(module.forward).parameters and isinstance(kinds, dict):
        return list(kinds)
    return [None]


def _waves(module: Any, layer_type: str | None, length: int) -> bytes:
    """Return cosines and sines at position 1 when the longest position is ``length`` - 1."""
    device = next((buffer.device for buffer in module.buffers()), torch.device("cpu"))
    like = torch.zeros((1, 1, 1), dtype=torch.float32, device=device)
    positions = torch.tensor([[1, length - 1]], device=device)
    more = {} if layer_type is None else {"layer_type": layer_type}
    try:
        waves = module(like, position_ids=positions, **more)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError):
        return b""  # code of the model's own, which wants to be called otherwise
    tensors = waves if isinstance(waves, tuple) else (waves,)
    return b"".join(
        torch.view_as_real(tensor[0, 0]).cpu().numpy().tobytes()
        if tensor.is_complex()
        else tensor[0, 0].float().cpu().numpy().tobytes()
        for tensor in tensors
    )


def _state(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    attributes = {name: _copy(value) for name, value in vars(module).items() if name[0] != "_"}
    return attributes, {name: _copy(value) for name, value in module._buffers.items()}


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _restore(module: nn.Module, kept: tuple[dict[str, Any], dict[str, Any]]) -> None:
    attributes, buffers = kept
    for name in [name for name in vars(module) if name[0] != "_" and name not in attributes]:
        delattr(module, name)
    vars(module).update({name: _copy(value) for name, value in attributes.items()})
    module._buffers.clear()
    module._buffers.update({name: _copy(value) for name, value in buffers.items()})


def _names(config: Any) -> bool:
    """Return whether a configuration names an embedding that follows the length, anywhere."""
    waiting: list[Any] = [config.to_dict()]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            kind = item.get("rope_type", item.get("type"))
            if (isinstance(kind, str) and kind in FOLLOWING) or item.get("use_dynamic_ntk") is True:
                return True
            waiting += item.values()
    return False


def _positions(config: Any) -> int:
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else 2**17
