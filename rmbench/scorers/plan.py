"""What scoring would cost, told without a model's weights: tokens, rows, and seconds."""

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel

from rmbench.checkpoint.encode import encode
from rmbench.checkpoint.loading import build_skeleton
from rmbench.checkpoint.opening import Checkpoint, open_checkpoint
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.weights import choose_device, choose_dtype
from rmbench.engine.budget import choose_batch_tokens, chunks_per_row
from rmbench.engine.packing import pack, plan_batches, window_sizes
from rmbench.engine.rate import layer_weights, matrix_rate
from rmbench.engine.scoring import Engine
from rmbench.errors import ScorerError
from rmbench.suite.comparison import Conversation

__all__ = ["Plan", "plan_alone", "plan_scoring", "plan_spans", "plan_windows", "repeated"]

Ids = npt.NDArray[np.int32]
LOOP_BATCH: Final = 8
# Share of the matrix rate that large models reach on the tokens they compute (docs/performance.md).
EFFICIENCY: Final = 0.6
CALIBRATION_S: Final = 0.2
# Networks of few layers are tried for about so long, by their products, with so many tokens; where
# even the fewest would take longest, the products have to do.
TRIAL_S: Final = 0.5
LONGEST_S: Final = 1.0
MOST_TRIED: Final = 50_000
FEWEST_TRIED: Final = 400
MOST_WEIGHTS: Final = 400_000_000
_FEW_LAYERS: Final = (1, 3)
# How a model of others says that it cannot be cut or does not run without its weights.
_UNTRIED: Final = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Costs of one suite under one model.

    Attributes:
        conversations: all of them; ``distinct`` counts equal inputs once.
        overflowed: conversations over the limit of length, which ``--on-overflow`` decides on.
        tokens: of all conversations, each alone.
        shared: computed where shared prefixes stand once, in ``rows`` rows.
        sorted: computed in batches of like length, padding included.
        unsorted: computed by a loop over batches of 8 in the order of the data, chosen and
            rejected apart, padding included: what RewardBench's script computes.
        parameters: weights of the model.
        seconds: estimate for tokenising and scoring on the device that was asked about; None
            without one.
    """

    conversations: int
    distinct: int
    overflowed: int
    tokens: int
    shared: int
    rows: int
    sorted: int
    unsorted: int
    parameters: int
    seconds: float | None


def plan_scoring(
    model: str, options: ModelOptions, conversations: Iterable[Conversation], *, estimate: bool
) -> Plan:
    """Return what scoring would cost; configuration and tokenizer are read, weights are not.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how the model would be loaded and fed.
        conversations: what would be scored.
        estimate: measure the device, for ``seconds``.

    Raises:
        ScorerError: it is no reward model, or a template is missing.
    """
    checkpoint = open_checkpoint(model, options)
    start = time.perf_counter()
    encoded = encode(
        conversations,
        tokenizer=checkpoint.tokenizer,
        template=checkpoint.template,
        max_length=None,
        on_overflow="error",
    )
    sequences = [ids for ids in encoded.sequences if ids is not None]
    tokenise = time.perf_counter() - start
    windows = list(_fresh(sequences))
    whole = plan_windows(checkpoint, sequences, windows, skeleton=build_skeleton(checkpoint))
    if not estimate:
        return whole
    return replace(whole, seconds=tokenise + _seconds(checkpoint, whole, windows))


def plan_windows(
    checkpoint: Checkpoint,
    sequences: Sequence[Ids],
    windows: Sequence[Sequence[Ids]],
    *,
    skeleton: Any,
) -> Plan:
    """Return what scoring token ids would cost, but for the seconds.

    Args:
        checkpoint: the model.
        sequences: what is asked, in the order of the questions.
        windows: the distinct ones as they are packed.
        skeleton: the model without memory for its weights.
    """
    options, limit = checkpoint.options, checkpoint.max_length
    device = choose_device(options.device)
    budget = options.batch_tokens or _batch_tokens(skeleton, options, device)
    row_tokens = budget * chunks_per_row(device)
    rows = [row for window in windows for row in pack(window, row_tokens=row_tokens)]
    return Plan(
        conversations=len(sequences),
        distinct=sum(map(len, windows)),
        overflowed=sum(ids.size > limit for ids in sequences) if limit else 0,
        tokens=sum(ids.size for ids in sequences),
        shared=sum(row.size for row in rows),
        rows=len(rows),
        sorted=sum(_padded(window, _sorted_batches(window, budget)) for window in windows),
        unsorted=_padded(sequences, _loop_batches(len(sequences))),
        parameters=sum(parameter.numel() for parameter in skeleton.parameters()),
        seconds=None,
    )


def plan_spans(checkpoint: Checkpoint, sequences: Sequence[Ids], *, size: int) -> Plan:
    """Return the same of a model that is read at several places, asked ``size`` at a time."""
    skeleton = build_skeleton(checkpoint, loader=AutoModel)
    windows = []
    for start in range(0, len(sequences), size):
        window = sequences[start : start + size]
        windows.append(list({ids.tobytes(): ids for ids in window}.values()))
    return plan_windows(checkpoint, sequences, windows, skeleton=skeleton)


def plan_alone(checkpoint: Checkpoint, sequences: Sequence[Ids]) -> Plan:
    """Return the same of a model that is asked one question at a time."""
    skeleton = build_skeleton(checkpoint, loader=AutoModel)
    plan = plan_windows(checkpoint, sequences, [[ids] for ids in sequences], skeleton=skeleton)
    return replace(plan, shared=plan.tokens, sorted=plan.tokens, rows=len(sequences))


def repeated(plan: Plan, other: Plan) -> Plan:
    """Return the cost of two models that are asked the same, one after the other."""
    names = ("tokens", "shared", "rows", "sorted", "unsorted", "parameters")
    return replace(plan, **{name: getattr(plan, name) + getattr(other, name) for name in names})


def _seconds(checkpoint: Checkpoint, plan: Plan, windows: Sequence[Sequence[Ids]]) -> float:
    fresh = [ids for window in windows for ids in window]
    device = choose_device(checkpoint.options.device)
    skeleton = build_skeleton(checkpoint)
    return plan.shared * _per_token(checkpoint, skeleton, fresh, device=device)


def _fresh(sequences: Sequence[Ids]) -> Iterator[list[Ids]]:
    """Yield the sequences of each window that the scoring packs, each distinct one once."""
    seen: dict[bytes, int] = {}
    start = 0
    for size in window_sizes():
        window = sequences[start : start + size]
        if not window:
            return
        numbers = [seen.setdefault(ids.tobytes(), start + i) for i, ids in enumerate(window)]
        yield [ids for i, ids in enumerate(window) if numbers[i] == start + i]
        start += size


def _batch_tokens(skeleton: Any, options: ModelOptions, device: torch.device) -> int:
    dtype = getattr(torch, choose_dtype(options.dtype, device))
    weights = sum(parameter.numel() for parameter in skeleton.parameters()) * dtype.itemsize
    return choose_batch_tokens(skeleton.config, device=device, dtype=dtype, reserved=weights)


def _sorted_batches(sequences: Sequence[Ids], budget: int) -> list[list[int]]:
    return plan_batches([ids.size for ids in sequences], budget=budget)


def _padded(sequences: Sequence[Ids], batches: Iterable[Sequence[int]]) -> int:
    return sum(len(batch) * max(sequences[i].size for i in batch) for batch in batches)


def _loop_batches(count: int) -> list[range]:
    """Batches of 8 in the order of the data, of the chosen (even) and the rejected (odd) sides."""
    starts = range(0, count, 2 * LOOP_BATCH)
    return [
        range(start + side, min(start + 2 * LOOP_BATCH, count), 2)
        for side in (0, 1)
        for start in starts
        if start + side < count
    ]


# --- seconds -------------------------------------------------------------------------------------


def _per_token(
    checkpoint: Checkpoint, skeleton: Any, sequences: Sequence[Ids], *, device: torch.device
) -> float:
    """Return the seconds that a computed token takes, from a trial on some of the sequences.

    The engine scores them with networks of the model's shape, of one layer and of three, whose
    difference stands for every further layer. What cannot be tried within a second or two is taken
    from its matrix products, at the share of the device's rate that large models reach.
    """
    dtype = getattr(torch, choose_dtype(checkpoint.options.dtype, device))
    rate = matrix_rate(skeleton, device=device, dtype=dtype, seconds=CALIBRATION_S)
    by_products = 2 * layer_weights(skeleton) / (EFFICIENCY * rate)
    layers = getattr(checkpoint.config.get_text_config(), "num_hidden_layers", None)
    if not isinstance(layers, int) or layers < 1 or not sequences:
        return by_products
    tries = [layers] if layers <= max(_FEW_LAYERS) else list(_FEW_LAYERS)
    tried = by_products * sum(tries) / layers  # seconds that a token takes in all tries
    some = _spread(sequences, min(MOST_TRIED, max(FEWEST_TRIED, int(TRIAL_S / tried))))
    if FEWEST_TRIED * tried > LONGEST_S or not some:
        return by_products
    try:
        networks = [_cut(checkpoint, count, device=device, dtype=dtype) for count in tries]
        times = [_try(network, some, checkpoint.options.batch_tokens) for network in networks]
    except (*_UNTRIED, ScorerError):
        return by_products
    per_layer = 0.0 if len(times) == 1 else (times[1] - times[0]) / (tries[1] - tries[0])
    return times[0] + max(per_layer, 0.0) * (layers - tries[0])


def _spread(sequences: Sequence[Ids], tokens: int) -> list[Ids]:
    """Return about so many tokens' worth of sequences, neighbours together, from all of them."""
    stride = max(1, round(sum(ids.size for ids in sequences) / max(tokens, 1)))
    return [ids for i, ids in enumerate(sequences) if i // 2 % stride == 0]


def _cut(checkpoint: Checkpoint, layers: int, *, device: torch.device, dtype: torch.dtype) -> Any:
    """Return the model with so many layers, and with any weights.

    Raises:
        ValueError: it is too large to be tried.
    """
    config = copy.deepcopy(checkpoint.config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    network = build_skeleton(checkpoint, config).to(dtype)
    if sum(parameter.numel() for parameter in network.parameters()) > MOST_WEIGHTS:
        raise ValueError("too large")
    network.to_empty(device=device)
    with torch.no_grad():
        # What memory happens to hold may be no number, or one that processors are slow with.
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(0.01)
    return network.eval()


def _try(network: Any, sequences: Sequence[Ids], batch_tokens: int | None) -> float:
    """Return the seconds of a computed token, the engine's own check of itself included."""
    engine = Engine(network, batch_tokens=batch_tokens)
    engine.score(sequences[:2])  # the first call of a device sets it up
    scoring = engine.score(sequences)
    return scoring.seconds / scoring.tokens_computed
