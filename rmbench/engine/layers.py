"""Layer by layer: for models that do not fit, all rows go through one layer, then through the next.

The model's forward runs once for each of its layers, for every piece of work: all layers but one
hand on what they are given, and that one takes the states that were kept of the layer before it.
What a model does around its layers (positions, masks, scales of embeddings) is so done by its own
code. Only the layer at work and the next one, which is being read meanwhile, are in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import torch
from torch import nn

__all__ = ["Streamed", "find_layers", "leave", "stream"]

_T = TypeVar("_T")
Weights = Mapping[str, torch.Tensor]
"""Of one layer, by the names of its parameters and buffers."""

STATES_SHARE: Final = 0.25
"""Of the memory that is free when a model is opened, for states between two layers."""
LEAST_TOKENS: Final = 4_096
"""So many tokens go through all layers together at least: each time, all weights are read."""


class Streamed:
    """The layers of a model, of which two at most are in memory.

    Args:
        model: its layers have no weights (they are on ``meta``), all its other parts have.
        read: returns the weights of a layer, in the model's dtype on its device; called in a thread
            of its own, for one layer at a time.
        state_bytes: room for states between two layers.

    Attributes:
        number: how many layers there are.
        active: the layer at work; -1 where none is, ``number`` behind the last.
    """

    def __init__(self, model: Any, read: Callable[[int], Weights], *, state_bytes: int) -> None:
        layers = find_layers(model)
        assert layers is not None, "only models with a list of layers come here"
        self.number, self.active = len(layers), -1
        self._read = read
        self._state_bytes = state_bytes
        self._states: dict[tuple[int, int], torch.Tensor] = {}
        self._work = self._turn = 0
        self._is_tuple = False
        self._slots = [_Slot(layer, i, self) for i, layer in enumerate(layers)]
        for i, slot in enumerate(self._slots):
            layers[i] = slot
        self.on_layer: Callable[[nn.Module], None] = leave
        self.off_layer: Callable[[], None] = _nothing

    def most_tokens(self, width: int, dtype: torch.dtype) -> int:
        """Return how many tokens may go through all layers together, by the width of a state."""
        return max(LEAST_TOKENS, self._state_bytes // (width * dtype.itemsize))

    @property
    def is_between(self) -> bool:
        """Whether what the model gives just now does not count: not all layers are done."""
        return 0 <= self.active < self.number

    def run(self, work: Sequence[Callable[[], _T]]) -> list[_T]:
        """Return what several pieces of work give, all of them layer by layer.

        Args:
            work: each calls the model's forward, as often and in the same order whenever it is
                called; what it returns counts only behind the last layer.
        """
        results: list[_T] = []
        self._states = {}
        with ThreadPoolExecutor(1, thread_name_prefix="weights") as pool:
            coming = pool.submit(self._read, 0)
            try:
                for number in range(self.number):
                    weights = coming.result()
                    if number + 1 < self.number:
                        coming = pool.submit(self._read, number + 1)
                    self._pass(number, weights, work)
                    del weights
                self.active = self.number
                results = [self._do(i, piece) for i, piece in enumerate(work)]
            finally:
                self.active, self._states = -1, {}
        return results

    def _pass(self, number: int, weights: Weights, work: Sequence[Callable[[], Any]]) -> None:
        """Do all work up to one layer."""
        layer = self._slots[number].layer
        self.active = number
        with _filled(layer, weights):
            self.on_layer(layer)
            try:
                for i, piece in enumerate(work):
                    self._do(i, piece)
                device = next(layer.parameters()).device
                if device.type == "cuda":  # its weights are given back: nothing may be under way
                    torch.cuda.synchronize(device)
            finally:
                self.off_layer()

    def _do(self, number: int, piece: Callable[[], _T]) -> _T:
        self._work, self._turn = number, 0
        return piece()

    def through(self, number: int, layer: nn.Module, given: Any, rest: tuple[Any, Any]) -> Any:
        """Return what a layer hands on: its output, states kept of it, or what it was given."""
        if self.active == -1:
            raise RuntimeError("the weights of a layer are not in memory")
        if self.active == self.number and number == self.number - 1:
            return self._shaped(self._take())
        if number != self.active:
            return self._shaped(given)
        states = given if number == 0 else self._take(stays=True)
        output = layer(states, *rest[0], **rest[1])
        self._is_tuple = isinstance(output, tuple)
        self._states[(self._work, self._turn)] = output[0] if self._is_tuple else output
        self._turn += 1
        return output

    def _take(self, *, stays: bool = False) -> torch.Tensor:
        states = self._states.pop((self._work, self._turn))
        self._turn += 0 if stays else 1
        return states

    def _shaped(self, states: torch.Tensor) -> Any:
        return (states,) if self._is_tuple else states


class _Slot(nn.Module):
    """Stands in the place of a layer."""

    def __init__(self, layer: nn.Module, number: int, streamed: Streamed) -> None:
        super().__init__()
        self.layer = layer
        self.__dict__["_number"], self.__dict__["_streamed"] = number, streamed

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:  # what a model asks its layers, such as their kind of attention
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what comes out of the layer, or stands for it."""
        streamed: Streamed = self.__dict__["_streamed"]
        return streamed.through(self.__dict__["_number"], self.layer, hidden_states, (args, kwargs))


def leave(_: nn.Module) -> None:
    """Do nothing with a layer that has come."""


def _nothing() -> None:
    """Do nothing."""


@contextmanager
def _filled(layer: nn.Module, weights: Weights) -> Iterator[None]:
    """Give a layer its weights, and take them away again."""
    before: list[tuple[dict[str, Any], str, Any]] = []
    for path, tensor in weights.items():
        owner, _, name = path.rpartition(".")
        module = layer.get_submodule(owner)
        place: dict[str, Any] = (
            module._parameters if name in module._parameters else module._buffers
        )
        before.append((place, name, place[name]))
        is_parameter = place is module._parameters
        place[name] = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
    try:
        yield
    finally:
        for place, name, empty in before:
            place[name] = empty


def find_layers(model: Any) -> nn.ModuleList | None:
    """Return the one list of layers of a decoder's backbone; None where there is no such list."""
    backbone = getattr(model, getattr(model, "base_model_prefix", "") or "-", None)
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    if not isinstance(backbone, nn.Module):
        return None
    found = [
        child
        for child in backbone.children()
        if isinstance(child, nn.ModuleList) and len(child) == count
    ]
    return found[0] if len(found) == 1 else None


def stream(model: Any, read: Callable[[int], Weights], *, state_bytes: int) -> Any:
    """Return a model whose layers are read when their turn comes; arguments as of ``Streamed``.

    A forward that is called by itself goes through all layers by itself.
    """
    model.streamed = streamed = Streamed(model, read, state_bytes=state_bytes)
    backbone = getattr(model, model.base_model_prefix)
    own = backbone.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if streamed.active != -1:
            return own(*args, **kwargs)
        return streamed.run([lambda: own(*args, **kwargs)])[0]

    backbone.forward = forward
    return model
