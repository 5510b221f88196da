"""A model whose layers stay on disk, for one that does not fit: each is read when it is needed.

Everything but the layers is loaded as usual: embeddings, the last norm, the head. A layer's weights
are read straight from the safetensors files into one of two buffers, while the layer before it
computes from the other.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import nn

from rmbench.checkpoint.config_findings import wants_eager
from rmbench.checkpoint.explain import foreign
from rmbench.checkpoint.loading import check_loading, choose_class
from rmbench.checkpoint.machine import free_memory
from rmbench.checkpoint.opening import Checkpoint
from rmbench.checkpoint.stored import Stored, Tensor
from rmbench.engine.layers import STATES_SHARE, find_layers, stream
from rmbench.errors import ScorerError
from rmbench.wording import size_text

__all__ = ["is_to_stream", "load_streamed"]

TYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""What safetensors calls the types that a layer may be stored in."""
FITS: Final = 0.9
"""A model fits where its weights take up no more than this share of what is free."""
ALIGNED: Final = 64
_log = logging.getLogger("rmbench")


class _Place(NamedTuple):
    """Where a tensor of a layer is stored, and where it goes."""

    tensor: Tensor
    home: Path
    start: int  # within the buffer

    @property
    def size(self) -> int:
        """Bytes of it in the file."""
        return self.tensor.stop - self.tensor.start


def is_to_stream(
    checkpoint: Checkpoint, stored: Stored, skeleton: Any, *, dtype: str, device: torch.device
) -> bool:
    """Whether a model's layers are to stay on disk: asked for, or since they do not fit.

    Raises:
        ScorerError: they were asked to, and this model's cannot.
    """
    choice = checkpoint.options.layers
    if choice == "together":
        return False
    needed = stored.size * getattr(torch, dtype).itemsize
    free = _free(device)
    if choice == "auto" and (free is None or needed <= FITS * free):
        return False
    obstacle = _obstacle(checkpoint, stored, skeleton)
    if obstacle is None:
        if choice == "auto" and free is not None:
            _log.warning(
                "%s: %s of weights do not fit into the %s that are free: computed layer by layer,"
                " read from disk each time",
                checkpoint.name,
                size_text(needed),
                size_text(free),
            )
        return True
    if choice == "auto":  # loading may still succeed, or say what is missing
        return False
    raise ScorerError(
        f"{checkpoint.place}: --layers streamed cannot be used: {obstacle}; leave it out"
    )


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory() if device.type == "cpu" else None


def _obstacle(checkpoint: Checkpoint, stored: Stored, skeleton: Any) -> str | None:
    """Return why a model's layers cannot stay on disk; None where they can."""
    options = checkpoint.options
    if checkpoint.adapter is not None:
        return "an adapter is merged into weights that are all in memory"
    if options.device_map is not None or options.workers > 1:
        return "--device-map and --workers are for weights in memory"
    if getattr(checkpoint.config, "quantization_config", None) is not None:
        return "its weights are quantised"
    layers = find_layers(skeleton)
    if not stored.tensors or layers is None:
        return "its weights are not safetensors" if layers else "it has no list of layers"
    names = {name for name, _ in skeleton.named_parameters()}
    if any(tensor.dtype not in TYPES for tensor in stored.tensors.values()):
        return "its weights are stored in a type of their own"
    if not names <= {name.removeprefix(stored.wrapper) for name in stored.tensors}:
        return "its weights are stored under other names than the model's own"
    has_buffers = any(True for layer in layers for _ in layer.buffers())
    return "its layers have more than weights" if has_buffers else None


def load_streamed(
    checkpoint: Checkpoint, stored: Stored, *, dtype: str, device: torch.device
) -> Any:
    """Return a model in eval mode on a device, its layers without weights but when they are used.

    Raises:
        ScorerError: weights are missing, unused, or of another shape.
    """
    model = _without_weights(checkpoint, dtype)
    _check_weights(checkpoint, stored, model)
    layers = find_layers(model)
    assert layers is not None, "looked for before"
    own = next(name for name, module in model.named_modules() if module is layers)
    inside = f"{own}."
    kind = getattr(torch, dtype)
    rest = [name for name, _ in model.named_parameters() if not name.startswith(inside)]
    for name in rest:
        _put(model, name, _Reader([{name: name}], stored, kind, device).read(0)[name])
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)
    parts = [
        {name: f"{inside}{i}.{name}" for name, _ in layer.named_parameters()}
        for i, layer in enumerate(layers)
    ]
    free = _free(device) or 0
    reader = _Reader(parts, stored, kind, device)
    return stream(model.eval(), reader.read, state_bytes=int(STATES_SHARE * free))


def _without_weights(checkpoint: Checkpoint, dtype: str) -> Any:
    """Return a model whose parameters take no memory; buffers, which are not stored, do."""
    options, config = checkpoint.options, checkpoint.config
    attention = options.attention or ("eager" if wants_eager(config) else None)
    chosen = {} if attention is None else {"attn_implementation": attention}
    with foreign(checkpoint.place, "model"), _parameters_on_meta():
        return choose_class(config).from_config(config, dtype=getattr(torch, dtype), **chosen)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    own = nn.Module.register_parameter

    def register(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        own(module, name, param)
        if param is not None:
            empty = nn.Parameter(param.to("meta"), requires_grad=False)
            module._parameters[name] = empty

    everywhere: Any = nn.Module  # modules of all classes register their parameters by it
    everywhere.register_parameter = register
    try:
        yield
    finally:
        everywhere.register_parameter = own


def _check_weights(checkpoint: Checkpoint, stored: Stored, model: Any) -> None:
    """Refuse what loading by transformers would have refused."""
    shapes = {name.removeprefix(stored.wrapper): t.shape for name, t in stored.tensors.items()}
    own = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    ignored = [re.compile(x) for x in model._keys_to_ignore_on_load_unexpected or ()]
    loading = {
        "missing_keys": own.keys() - shapes.keys(),
        "unexpected_keys": [
            name
            for name in shapes.keys() - own.keys()
            if not any(pattern.search(name) for pattern in ignored)
        ],
        "mismatched_keys": [
            (name, shapes[name], own[name])
            for name in own.keys() & shapes.keys()
            if own[name] != shapes[name]
        ],
    }
    check_loading(loading, checkpoint.place)


def _put(model: Any, name: str, tensor: torch.Tensor) -> None:
    owner, _, last = name.rpartition(".")
    parameter = nn.Parameter(tensor.clone(), requires_grad=False)
    model.get_submodule(owner)._parameters[last] = parameter


class _Reader:
    """Reads the tensors of one part of a model after the other, into two buffers in turn.

    Args:
        parts: for each part the model's names of its tensors by the names they are asked for.
        stored: where the tensors are.
        dtype: what they become.
        device: where they go.
    """

    def __init__(
        self,
        parts: Sequence[Mapping[str, str]],
        stored: Stored,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._dtype, self._device = dtype, device
        self._parts = [_laid_out(part, stored) for part in parts]
        size = max(_end(part) for part in self._parts)
        pinned = device.type == "cuda"
        self._buffers = [
            torch.empty(size, dtype=torch.uint8, pin_memory=pinned)
            for _ in range(min(2, len(parts)))
        ]

    def read(self, number: int) -> dict[str, torch.Tensor]:
        """Return the tensors of a part; those of the part before the last are gone then."""
        buffer = self._buffers[number % len(self._buffers)]
        part = self._parts[number]
        _fill(buffer, list(part.values()))
        found = {}
        for name, place in part.items():
            raw = buffer[place.start : place.start + place.size]
            tensor = raw.view(TYPES[place.tensor.dtype]).view(place.tensor.shape)
            found[name] = tensor.to(self._device).to(self._dtype)
        return found


def _laid_out(part: Mapping[str, str], stored: Stored) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    start = 0
    for name, whole in part.items():
        key = f"{stored.wrapper}{whole}"
        found[name] = _Place(stored.tensors[key], stored.homes[key], start)
        start += -(-found[name].size // ALIGNED) * ALIGNED
    return found


def _end(part: Mapping[str, _Place]) -> int:
    return max((place.start + place.size for place in part.values()), default=0)


def _fill(buffer: torch.Tensor, places: Sequence[_Place]) -> None:
    """Read tensors from their files into their places in a buffer."""
    numbers: Any = buffer.numpy()
    view = memoryview(numbers)
    for home in {place.home for place in places}:
        with home.open("rb", buffering=0) as stream:
            for place in places:
                if place.home == home:
                    _read_at(stream, view[place.start :][: place.size], place)


def _read_at(stream: FileIO, target: memoryview, place: _Place) -> None:
    stream.seek(place.tensor.start)
    done = 0
    while done < place.size:
        count = stream.readinto(target[done:])
        if not count:
            raise ScorerError(
                f"{place.home.parent}: {place.home.name} became shorter while it was read; copy or"
                " download it again"
            )
        done += count
