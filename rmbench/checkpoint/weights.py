"""The weights of a model, loaded whole or refused: on a device, in a dtype, giving one reward."""

import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final, NamedTuple

import torch

from rmbench.checkpoint.adapter import Adapter, head_rows, merge
from rmbench.checkpoint.explain import foreign
from rmbench.checkpoint.findings import OK, REFUSED, WARNING, Check
from rmbench.checkpoint.head import Headed
from rmbench.checkpoint.headed import load_headed, refuse_without_head
from rmbench.checkpoint.hub import fetch_header, fetch_weights
from rmbench.checkpoint.loading import (
    build_skeleton,
    check_loading,
    check_size,
    choose_class,
    from_pretrained,
    has_classifier,
)
from rmbench.checkpoint.network_findings import check_head, check_vocabulary
from rmbench.checkpoint.opening import Checkpoint, limit_length, position_limit
from rmbench.checkpoint.options import QUANTISED
from rmbench.checkpoint.outputs import with_one_reward
from rmbench.checkpoint.quantise import quantise
from rmbench.checkpoint.stored import Stored, Tensor, read_stored
from rmbench.checkpoint.streaming import is_to_stream, load_streamed
from rmbench.checkpoint.text_findings import PROBE, encode_one
from rmbench.errors import ScorerError

__all__ = [
    "Loaded",
    "choose_device",
    "choose_dtype",
    "load_network",
    "load_weights",
    "name_precision",
]

OLD: Final = int(metadata.version("transformers").split(".")[0]) < 5
"""Release 4 reads weights under its own names for them alone."""


class Loaded(NamedTuple):
    """A model on its device, in eval mode, and what was found out about it."""

    network: Any
    dtype: str
    max_length: int | None
    checks: list[Check]


def load_weights(checkpoint: Checkpoint) -> Loaded:
    """Load the weights of a checkpoint.

    Returns:
        The model, and the most tokens of a conversation now that its positions are known.

    Raises:
        ScorerError: weights are missing, unused, of another shape, or pickle that is not trusted.
    """
    options, name = checkpoint.options, checkpoint.name
    if checkpoint.commit is not None:
        refuse_headless(checkpoint, fetch_header(name, checkpoint.commit))
        fetch_weights(name, checkpoint.commit, pickle=options.trust_pickle)
    adapter = checkpoint.adapter
    if adapter is not None and checkpoint.base_commit is not None:
        fetch_weights(adapter.base, checkpoint.base_commit, pickle=options.trust_pickle)
    stored = read_stored(checkpoint.folder, pickle=options.trust_pickle)
    network, dtype = load_network(checkpoint, stored)
    max_length = limit_length(position_limit(checkpoint.config, network), options, name)
    checks = [check_labels(checkpoint, network), check_head(network)]
    if any(check.name == "template" for check in checkpoint.checks):  # only where it is refused
        return Loaded(network, dtype, max_length, checks)
    ids = encode_one(PROBE, checkpoint.template, checkpoint.tokenizer)
    checks.append(check_vocabulary(network, checkpoint.tokenizer, ids))
    if checks[-1].status != REFUSED:
        network, returned = with_one_reward(
            network, ids, options, reader=checkpoint.reader, place=checkpoint.place
        )
        checks.append(returned)
    return Loaded(network, dtype, max_length, checks)


def load_network(checkpoint: Checkpoint, stored: Stored) -> tuple[Any, str]:
    """Return the model on its device, in eval mode, and the name of its dtype.

    Its own class where the configuration names one that transformers or the model's code has; else
    the backbone, with the head that is found in the weights or stated by a reader.

    Raises:
        ScorerError: it cannot be loaded whole.
    """
    options, config = checkpoint.options, checkpoint.config
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    if not getattr(config, "auto_map", None):
        skeleton = build_skeleton(checkpoint)
        check_size(checkpoint, stored, skeleton)
        if checkpoint.adapter is None and is_headed(checkpoint, stored, skeleton):
            network = load_headed(checkpoint, stored, dtype=dtype)
            return _placed(network, checkpoint, device), name_precision(options.dtype, device)
        take_labels(checkpoint, _all_rows(checkpoint, stored), skeleton)
        if is_to_stream(checkpoint, stored, skeleton, dtype=dtype, device=device):
            return load_streamed(checkpoint, stored, dtype=dtype, device=device), dtype
    extra = {"key_mapping": {f"^{re.escape(stored.wrapper)}": ""}} if stored.wrapper else {}
    network, loading = from_pretrained(checkpoint, choose_class(config), dtype=dtype, **extra)
    if checkpoint.adapter is None:
        check_loading(loading, checkpoint.place)
    else:
        network = _adapted(network, loading, checkpoint, checkpoint.adapter)
    return _placed(network, checkpoint, device), name_precision(options.dtype, device)


def refuse_headless(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a language model without a head before gigabytes of it are fetched.

    Args:
        checkpoint: a model of the Hub.
        tensors: what its weights are; empty where that is not known yet.

    Raises:
        ScorerError: nothing among the weights can be its head.
    """
    config, reader = checkpoint.config, checkpoint.reader
    if not tensors or getattr(config, "auto_map", None) or reader.path or checkpoint.adapter:
        return
    stored = Stored(tensors)
    if is_headed(checkpoint, stored, build_skeleton(checkpoint)):
        refuse_without_head(checkpoint, stored)


def _all_rows(checkpoint: Checkpoint, stored: Stored) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of all weights, those that an adapter brings instead of the base's."""
    wrapper = stored.wrapper
    shapes = {name.removeprefix(wrapper): tensor.shape for name, tensor in stored.tensors.items()}
    return shapes if checkpoint.adapter is None else shapes | head_rows(checkpoint.adapter)


def _adapted(
    network: Any, loading: Mapping[str, Any], checkpoint: Checkpoint, adapter: Adapter
) -> Any:
    """Return a base model with its adapter merged in; the head may be the adapter's alone."""
    if getattr(checkpoint.config, "quantization_config", None) is not None:
        raise ScorerError(
            f"{checkpoint.place}: its base {adapter.base} is quantised, and an adapter cannot be"
            " merged into it exactly; give the unquantised base"
        )
    brought = head_rows(adapter)
    kept = {
        kind: {item for item in loading[kind] if _name_of(item) not in brought}
        for kind in ("missing_keys", "mismatched_keys")
    }
    check_loading(dict(loading) | kept, checkpoint.place)
    return merge(network, adapter, checkpoint.place)


def _name_of(item: Any) -> str:
    return str(item if isinstance(item, str) else item[0])


def _placed(network: Any, checkpoint: Checkpoint, device: torch.device) -> Any:
    if checkpoint.options.device_map is None:
        with foreign(checkpoint.place, "model"):
            network = network.to(device)
    if checkpoint.options.dtype in QUANTISED:
        quantise(network.eval(), checkpoint.options.dtype, checkpoint.place)
    return network.eval()


def is_headed(checkpoint: Checkpoint, stored: Stored, skeleton: Any) -> bool:
    """Whether a model is a backbone with a head of its own, not a classifier of transformers'.

    It is one if a reader says so, if transformers has no classifier of this type, or if the
    configuration names another class and the weights are not those of the classifier.
    """
    if checkpoint.reader.path is not None or not has_classifier(checkpoint.config):
        return True
    named = checkpoint.config.architectures or []
    is_named = type(skeleton).__name__ in named
    if OLD and stored.tensors and not _has_prefix(stored, skeleton):
        if stored.wrapper and is_named:
            raise ScorerError(
                f"{checkpoint.place}: its weights are named from within a wrapper of training"
                f" ({stored.wrapper}), which transformers 4 cannot read; use transformers 5, or"
                " save it again from the model itself"
            )
        return not is_named
    if not stored.tensors or is_named:
        return False
    names = {name.removeprefix(stored.wrapper) for name in stored.tensors}
    return not names.issuperset(_head_names(skeleton))


def _has_prefix(stored: Stored, skeleton: Any) -> bool:
    """Whether weights are named as the classifier names its backbone's."""
    return any(name.startswith(f"{skeleton.base_model_prefix}.") for name in stored.tensors)


def _head_names(skeleton: Any) -> list[str]:
    inside = f"{skeleton.base_model_prefix}."
    return [name for name, _ in skeleton.named_parameters() if not name.startswith(inside)]


def states_labels(stated: Mapping[str, Any]) -> bool:
    """Whether config.json says how many outputs there are; transformers' default is two."""
    return any(stated.get(name) is not None for name in ("id2label", "num_labels"))


def take_labels(
    checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]], skeleton: Any
) -> None:
    """Give a configuration that states no labels as many as the stored head has rows."""
    config = checkpoint.config
    if states_labels(checkpoint.stated) and checkpoint.adapter is None:
        return
    inside = f"{skeleton.base_model_prefix}."
    for name, parameter in skeleton.named_parameters():
        is_head = parameter.ndim == 2 and len(parameter) == config.num_labels
        if is_head and not name.startswith(inside) and name in shapes:
            config.num_labels = shapes[name][0]


def check_labels(checkpoint: Checkpoint, network: Any) -> Check:
    """Warn of a configuration that does not say how many outputs there are: the head does."""
    rows = checkpoint.config.num_labels
    if isinstance(network, Headed):
        seen = f"those of the head beside the backbone: {network.described}"
        return Check(name="labels", status=OK, seen=seen)
    if states_labels(checkpoint.stated) or getattr(checkpoint.config, "auto_map", None):
        return Check(name="labels", status=OK, seen=str(rows))
    return Check(
        name="labels",
        status=WARNING,
        seen=f"config.json does not say how many outputs there are; the head has {rows}",
        remedy=f"nothing to do: the head counts; num_labels {rows} in config.json says so",
    )


def choose_dtype(choice: str, device: torch.device) -> str:
    """Return the dtype that ``auto`` means on a device, or the one that was chosen.

    Of a cascade it is the fast one; of quantised weights the one of their products. NVIDIA's GPUs
    before compute capability 8 multiply float16 fast, and bfloat16 only in emulation.
    """
    if choice not in ("auto", "cascade", *QUANTISED):
        return choice
    if device.type != "cuda":
        return "bfloat16" if choice == "cascade" else "float32"
    is_old = torch.version.hip is None and torch.cuda.get_device_capability(device) < (8, 0)
    return "float16" if is_old else "bfloat16"


def name_precision(choice: str, device: torch.device) -> str:
    """Return what results call the precision: that of the weights, where they are quantised."""
    return choice if choice in QUANTISED else choose_dtype(choice, device)


def choose_device(choice: str) -> torch.device:
    """Return the device that was chosen, or for ``auto`` CUDA, then MPS, then the CPU.

    Raises:
        ScorerError: it cannot be used here.
    """
    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(choice)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ScorerError(
            f'device "{choice}" cannot be used: torch {torch.__version__} finds'
            f" {torch.cuda.device_count()} CUDA devices here; give auto or cpu, or what there is of"
            " cuda, cuda:1, mps"
        ) from None
    return device
