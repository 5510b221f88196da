"""What a model's forward pass returns, made one reward for a conversation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from rmbench.checkpoint.explain import first_line
from rmbench.checkpoint.findings import OK, REFUSED, Check
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.reader_file import Reader
from rmbench.engine.reading import find_heads
from rmbench.errors import ScorerError, enclosed

__all__ = ["Answering", "answer_of", "parse_output", "turns_sign", "with_one_reward"]

# What models call their rewards, one for a conversation, as their code returns them.
_NAMES: Final = ("logits", "end_scores", "rewards", "reward", "scores", "score")
FOLDED: Final = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 6e-2}
"""Largest difference that adding up a head's rows may make, as a share of the outputs' size."""


def answer_of(output: Any) -> torch.Tensor | None:
    """Return the rewards in what a forward pass returned, shape (B,) or (B, K); None if none.

    They are its ``logits``, or go by another usual name, or are the whole of it; in a tuple they
    are the first tensor that has one row for a conversation.
    """
    if isinstance(output, torch.Tensor):
        return output if output.ndim in (1, 2) else None
    fields = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for name in _NAMES:
        found = fields.get(name, getattr(output, name, None))
        if isinstance(found, torch.Tensor) and found.ndim in (1, 2):
            return found
    if isinstance(output, tuple | list):
        tensors = (item for item in output if isinstance(item, torch.Tensor))
        return next((item for item in tensors if item.ndim in (1, 2)), None)
    return None


class Answering(nn.Module):
    """A model whose outputs are added up into one logit, its own forward pass left as it is."""

    base_model_prefix = ""

    def __init__(self, model: Any, weights: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self._weights = tuple(weights)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.model, name)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
        """Return logits of shape (B, 1) for token ids of shape (B, T)."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        answer = answer_of(self.model(input_ids=input_ids, attention_mask=attention_mask))
        if answer is None:
            raise ValueError("no rewards in what the model returned")
        answer = answer.float().reshape(len(input_ids), -1)  # (B, K)
        weights = answer.new_tensor(self._weights)[:, None]  # (K, 1)
        return SequenceClassifierOutput(logits=answer @ weights)


def turns_sign(options: ModelOptions, config: Any, sign: int = 1) -> bool:
    """Whether lower is better: asked for, or stated by a reader or as Beaver's cost models do."""
    return options.negate or sign < 0 or getattr(config, "score_type", None) == "cost"


def parse_output(text: str, names: Sequence[str], place: str) -> list[float]:
    """Return the weight of each output that an option gives: an index, a name, or name=weight,...

    Raises:
        ScorerError: it names an output that there is not, or a weight that is no number.
    """
    weights = [0.0] * len(names)
    for part in text.split(","):
        name, given, value = (item.strip() for item in part.partition("="))
        number = _index(name, names)
        weight = _number(value) if given else 1.0
        if number is None or weight is None:
            known = ", ".join(f"{i} ({name})" for i, name in enumerate(names[:30]))
            raise ScorerError(
                f'{place}: its outputs have no "{part.strip()}"; give an index, a name, or'
                f" name=weight,... of {known}"
            )
        weights[number] += weight
    return weights


def _index(name: str, names: Sequence[str]) -> int | None:
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() and int(name) < len(names) else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def with_one_reward(
    network: Any, ids: Sequence[int], options: ModelOptions, *, reader: Reader, place: str
) -> tuple[Any, Check]:
    """Try a model on one conversation, and return it so that it gives one logit for it.

    Several outputs are added up in the head itself where that is one linear layer, so that its
    rewards are computed as fast as those of a head with one row.

    Args:
        network: in eval mode, on its device.
        ids: a rendered conversation.
        options: which outputs count, and with which sign.
        reader: likewise, where a file states it.
        place: what messages call the model.

    Returns:
        The model, and what was found; a refused check where it fails or gives no such number.

    Raises:
        ScorerError: ``--model-output`` names an output that there is not.
    """
    answer = _try(network, ids, place)
    if isinstance(answer, Check):
        return network, answer
    count = answer.numel()
    names = _names(network.config, count)
    weights = _weights(options, reader, names, place)
    if weights is None:
        return network, _refused_several(network, ids, names)
    if turns_sign(options, network.config, reader.sign):
        weights = [-weight for weight in weights]
    reward = sum(x * w for x, w in zip(answer.flatten().tolist(), weights, strict=True))
    if not math.isfinite(reward):
        return network, _refused_number(network, reward)
    seen = _told(weights, names, network)
    if weights != [1.0] or not _is_plain(network, ids):
        network = _folded(network, weights, ids, reward) or Answering(network, weights).eval()
    return network, Check(name="returns", status=OK, seen=seen)


def _weights(
    options: ModelOptions, reader: Reader, names: Sequence[str], place: str
) -> list[float] | None:
    """Return the weight of each output; None where nothing says which of several counts."""
    if options.outputs is not None:
        return parse_output(options.outputs, names, place)
    if len(names) == 1:
        return [1.0]
    if not reader.rows:
        return None
    if max(reader.rows) >= len(names):
        raise ScorerError(f"{reader.path}: rows names an output beyond the model's {len(names)}")
    return [reader.rows.get(number, 0.0) for number in range(len(names))]


def _told(weights: Sequence[float], names: Sequence[str], network: Any) -> str:
    if len(weights) == 1:
        turned = ", its sign turned: lower is better" if weights[0] < 0 else ""
        return f"one logit for a conversation{turned}"
    used = [f"{weight:g} x {name}" for weight, name in zip(weights, names, strict=True) if weight]
    return f"{len(names)} outputs, of which the reward is {' + '.join(used) or 'none'}"


def _forward(network: Any, ids: Sequence[int]) -> Any:
    tokens = torch.tensor([list(ids)], device=network.device)  # (1, T)
    with torch.inference_mode():
        return network(input_ids=tokens, attention_mask=torch.ones_like(tokens))


def _is_plain(network: Any, ids: Sequence[int]) -> bool:
    logits = getattr(_forward(network, ids), "logits", None)
    return isinstance(logits, torch.Tensor) and tuple(logits.shape) == (1, 1)


def _names(config: Any, count: int) -> list[str]:
    labels = getattr(config, "id2label", None) or {}
    return [str(labels.get(i, labels.get(str(i), i))) for i in range(count)]


def _try(network: Any, ids: Sequence[int], place: str) -> torch.Tensor | Check:
    """Return what a model answers to one conversation, or why it gives no answer."""
    try:
        with enclosed(lambda error: ScorerError(_failure(network, ids, error))):
            output = _forward(network, ids)
    except ScorerError as error:
        seen, _, remedy = str(error).rpartition("; ")
        return Check(name="returns", status=REFUSED, seen=seen, remedy=remedy)
    answer = answer_of(output)
    if answer is None or len(answer) != 1 or answer.numel() == 0:
        method = "get_score" if callable(getattr(network, "get_score", None)) else None
        return Check(
            name="returns",
            status=REFUSED,
            seen=f"{_shape(output)} for one conversation, where a reward model returns one number,"
            " or several",
            remedy=f"its code has {method}: score it as method:{place}"
            if method
            else "take an auto_map that is not its own out of config.json, give another revision"
            " of the model, or install the transformers it was written for",
        )
    return answer


def _failure(network: Any, ids: Sequence[int], error: BaseException) -> str:
    kind = type(network).__name__
    if isinstance(error, torch.OutOfMemoryError):  # no fault of the code's
        return (
            f"{len(ids)} tokens do not fit into the memory of {network.device} beside the weights;"
            " use --dtype bfloat16 or --device-map auto"
        )
    eos = getattr(network.config, "eos_token_id", None)
    wants_eos = getattr(network.config, "is_encoder_decoder", False) and eos not in ids
    if wants_eos or "<eos>" in str(error):
        return f"{kind} reads an eos token that the text does not have; pass --eos always"
    return (
        f"{kind} fails: {first_line(error)}; give another revision of the model, or install the"
        " transformers it was written for"
    )


def _shape(output: Any) -> str:
    logits = getattr(output, "logits", output)
    if isinstance(logits, torch.Tensor):
        return f"logits of shape {tuple(logits.shape)}"
    return type(logits).__name__


def _refused_several(network: Any, ids: Sequence[int], names: Sequence[str]) -> Check:
    if len(names) == len(ids):
        seen = f"{len(names)} numbers for a conversation of as many tokens, one for each"
        remedy = "a model that gives rewards to tokens is a process reward model, not a classifier"
        return Check(name="returns", status=REFUSED, seen=seen, remedy=remedy)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return Check(
        name="returns",
        status=REFUSED,
        seen=f"{len(names)} logits ({shown}) where a reward is one, and which of them is the"
        " reward is not known",
        remedy="say which with --model-output INDEX, or add them up with name=weight,...",
    )


def _refused_number(network: Any, reward: float) -> Check:
    halved = network.dtype != torch.float32
    return Check(
        name="returns",
        status=REFUSED,
        seen=f"the reward {reward}, which is no number, for a short conversation",
        remedy="try --dtype float32" if halved else "its weights are damaged; copy them again",
    )


def _folded(network: Any, weights: Sequence[float], ids: Sequence[int], reward: float) -> Any:
    """Return the model with its head's rows added up; None where that is not the same number."""
    heads = {id(head) for head in find_heads(network)}
    fits = [
        (path, module)
        for path, module in network.named_modules()
        if id(module) in heads and module.out_features == len(weights)
    ]
    if not fits or type(fits[-1][1]) is not nn.Linear:
        return None
    path, head = fits[-1]  # of several layers, the last one gives the outputs
    parent, _, name = path.rpartition(".")
    home = network.get_submodule(parent)
    setattr(home, name, _added_up(head, weights))
    logits = getattr(_forward(network, ids), "logits", None)
    largest = max(abs(reward), 1.0)
    if isinstance(logits, torch.Tensor) and tuple(logits.shape) == (1, 1):
        limit = FOLDED.get(network.dtype, FOLDED[torch.float32]) * largest
        if abs(float(logits) - reward) <= limit:
            return network
    setattr(home, name, head)
    return None


def _added_up(head: nn.Linear, weights: Sequence[float]) -> nn.Linear:
    """Return a head of one row, in float32: the weighted sum of the rows of another."""
    row = nn.Linear(head.in_features, 1, bias=head.bias is not None, device=head.weight.device)
    factors = head.weight.new_tensor([weights], dtype=torch.float32)  # (1, K)
    with torch.no_grad():
        row.weight.copy_(factors @ head.weight.float())
        if head.bias is not None:
            row.bias.copy_(factors[0] @ head.bias.float()[:, None])
    if head.weight.dtype != torch.float32:
        row.register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))
    return row.requires_grad_(False)
