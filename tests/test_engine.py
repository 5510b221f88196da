"""Rewards in batches equal the model's own forward on the lone sequence, or are not batched."""

from __future__ import annotations

from functools import cache
from typing import Any

import models
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import BOS, EOS, PAD
from torch import nn
from transformers import BertForSequenceClassification, LlamaForSequenceClassification, LlamaModel

from rmbench.engine.scoring import Engine, Scoring
from rmbench.errors import ScorerError

Ints = npt.NDArray[np.int32]
PATIENT = settings(deadline=None, max_examples=20)
TOLERANCE = 1e-5

DECODERS = ("llama", "gpt2", "qwen2", "mistral", "gemma2")
ENCODERS = ("bert", "modernbert")
# RoBERTa cannot do without a pad token: it counts positions from its id.
PADS = {"separate": PAD, "eos": EOS, "none": None}
MODELS = [
    *((kind, pad) for kind in (*DECODERS, *ENCODERS) for pad in PADS),
    ("roberta", "separate"),
    ("roberta", "eos"),
]


def ints(*ids: int) -> Ints:
    return np.array(ids, dtype=np.int32)


def random_sequences(count: int, *, longest: int = 40, seed: int = 0) -> list[Ints]:
    """Return sequences of letters, some of which share a prompt of up to half their length."""
    generator = np.random.default_rng(seed)
    prompt = generator.integers(4, models.VOCABULARY, longest // 2)
    sequences = []
    for _ in range(count):
        own = generator.integers(4, models.VOCABULARY, generator.integers(1, longest // 2))
        shared = prompt[: generator.integers(0, prompt.size) * generator.integers(0, 2)]
        sequences.append(np.concatenate([shared, own]).astype(np.int32))
    return sequences


LETTERS = random_sequences(10)
# Where the place that a model reads depends on pad and eos, and where sequences hide in others.
AWKWARD = [
    ints(5),
    ints(EOS),
    ints(PAD),
    ints(PAD, PAD, PAD),
    ints(EOS, EOS),
    ints(7, 8, 9, EOS),
    ints(7, 8, 9, EOS, EOS, EOS),
    ints(7, 8, 9),
    ints(7, 8, EOS, 9),
    ints(7, EOS, EOS, 8, 9, EOS),
    ints(PAD, 7, 8, 9),
    ints(7, PAD, 8, 9, PAD),
    ints(7, 8, 9, EOS, PAD, PAD),
    ints(BOS, 7, 8, 9, EOS),
    ints(BOS, BOS, 7),
]
SEQUENCES = [*LETTERS, *AWKWARD]


@cache
def loaded(kind: str, pad: str = "separate") -> Any:
    return models.classifier(kind, pad_token_id=PADS[pad])


def truth(model: Any, sequences: list[Ints]) -> npt.NDArray[np.float64]:
    return np.array([models.lone_reward(model, ids) for ids in sequences])


def scored(model: Any, sequences: list[Ints], **options: Any) -> Scoring:
    return Engine(model, **options).score(sequences)


def assert_true(model: Any, scoring: Scoring, sequences: list[Ints]) -> None:
    np.testing.assert_allclose(scoring.rewards, truth(model, sequences), rtol=0, atol=TOLERANCE)


# --- No reward depends on how it was computed -------------------------------------------------


@pytest.mark.parametrize(("kind", "pad"), MODELS)
def test_every_reward_is_the_lone_forwards(kind: str, pad: str) -> None:
    model = loaded(kind, pad)
    scoring = scored(model, SEQUENCES)
    assert_true(model, scoring, SEQUENCES)
    # Else equal rewards would prove little.
    assert np.std(scoring.rewards) > 0.1
    assert scoring.rewards.dtype == np.float32
    # An encoder without a pad token cannot say which of its tokens are none.
    if kind in DECODERS or pad != "none":
        assert scoring.way != "alone"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "modernbert"])
@pytest.mark.parametrize("batch_tokens", [1, 7, 64, 1_000_000])
def test_rewards_do_not_depend_on_the_size_of_batches(kind: str, batch_tokens: int) -> None:
    model = loaded(kind, "eos")
    assert_true(model, scored(model, SEQUENCES, batch_tokens=batch_tokens), SEQUENCES)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_rewards_follow_their_sequences_in_any_order(kind: str) -> None:
    model = loaded(kind)
    forward = scored(model, SEQUENCES, batch_tokens=64).rewards
    backward = scored(model, SEQUENCES[::-1], batch_tokens=64).rewards
    np.testing.assert_allclose(backward[::-1], forward, rtol=0, atol=TOLERANCE)


# Six ids make pads, ends, shared prefixes and repeated sequences likely.
sequence_lists = st.lists(
    st.lists(st.sampled_from([PAD, BOS, EOS, 7, 8, 9]), min_size=1, max_size=9).map(
        lambda ids: ints(*ids)
    ),
    min_size=1,
    max_size=9,
)


@PATIENT
@given(sequence_lists, st.integers(1, 60), st.sampled_from(sorted(PADS)))
def test_a_decoders_rewards_are_the_lone_forwards_whatever_the_sequences(
    sequences: list[Ints], batch_tokens: int, pad: str
) -> None:
    model = loaded("llama", pad)
    assert_true(model, scored(model, sequences, batch_tokens=batch_tokens), sequences)


@pytest.mark.slow
@PATIENT
@given(sequence_lists, st.integers(1, 60), st.sampled_from(["separate", "eos"]))
def test_an_encoders_rewards_are_the_lone_forwards_whatever_the_sequences(
    sequences: list[Ints], batch_tokens: int, pad: str
) -> None:
    model = loaded("bert", pad)
    assert_true(model, scored(model, sequences, batch_tokens=batch_tokens), sequences)


def test_scoring_leaves_the_model_as_it_was() -> None:
    model = models.classifier("llama")
    before = truth(model, SEQUENCES)
    attention = model.config._attn_implementation
    scored(model, SEQUENCES)
    np.testing.assert_array_equal(truth(model, SEQUENCES), before)
    assert model.config._attn_implementation == attention


def test_no_sequences_give_no_rewards() -> None:
    scoring = scored(loaded("llama"), [])
    assert scoring.rewards.shape == (0,)
    assert (scoring.tokens, scoring.tokens_computed) == (0, 0)


def test_one_sequence_alone_is_scored() -> None:
    model = loaded("llama")
    assert_true(model, scored(model, [ints(7, 8, 9)]), [ints(7, 8, 9)])


# --- Models whose batches are wrong -----------------------------------------------------------


class SeesNeighbours(LlamaModel):
    """Adds to every hidden state what the whole batch holds, as a batch norm would."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.last_hidden_state += output.last_hidden_state.shape[0:2].numel() - 3.0
        return output


class WithNeighbours(LlamaForSequenceClassification):
    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = SeesNeighbours(config)
        self.post_init()


class CountsTheBatch(LlamaForSequenceClassification):
    """Its backbone is right; its forward adds something for every neighbour."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits + 0.1 * (len(output.logits) - 1)
        return output


class PoolsItsOwnWay(LlamaForSequenceClassification):
    """Computes a logit for every token and leaves it to ``pool`` what to make of them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.between: nn.Module = nn.Identity()

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        states = self.model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        pooled = self.pool(self.score(self.between(states))[..., 0], input_ids)
        return SequenceClassifierOutputWithPast(logits=pooled[:, None])


class TakesTheFirst(PoolsItsOwnWay):
    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits[:, 0]


class SumsThemAll(PoolsItsOwnWay):
    """Looks at three places as if it read the last: log(e^0 + e^1 + e^2) is 2.4."""

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits.logsumexp(dim=1)


class TakesTheMean(PoolsItsOwnWay):
    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits.mean(dim=1)


class TakesTheLargest(PoolsItsOwnWay):
    """With logits that grow, it looks as if it read the last token."""

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits.amax(dim=1)


class TakesTheLastColumn(PoolsItsOwnWay):
    """Reads the last place even where it is padding."""

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits[:, -1]


class TakesTheFirstEnd(PoolsItsOwnWay):
    """Reads the first eos, and the last token where there is none."""

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        ends = ids == EOS
        ends[:, -1] = True
        return logits[torch.arange(len(ids)), ends.int().argmax(dim=1)]


class AddsABias(PoolsItsOwnWay):
    """Reads the last place and adds to what the head says."""

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits[:, -1] + 0.3


class Squashes(PoolsItsOwnWay):
    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.tanh(logits[:, -1])


class NormalizesFirst(PoolsItsOwnWay):
    """Has a layer between backbone and head."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.between = nn.LayerNorm(config.hidden_size)

    def pool(self, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return logits[:, -1]


class IgnoresTheMask(BertForSequenceClassification):
    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        return super().forward(input_ids=input_ids, **kwargs)


WRONG_IN_EVERY_BATCH = [WithNeighbours, SumsThemAll, TakesTheLargest, TakesTheMean]
UNUSUAL = [
    CountsTheBatch,
    TakesTheFirst,
    TakesTheLastColumn,
    TakesTheFirstEnd,
    AddsABias,
    Squashes,
    NormalizesFirst,
]


@pytest.mark.parametrize("kind", [*WRONG_IN_EVERY_BATCH, *UNUSUAL])
@pytest.mark.parametrize("pad", sorted(PADS))
def test_a_model_that_is_wrong_in_batches_still_gets_its_own_rewards(kind: Any, pad: str) -> None:
    model = models.build(kind, models.config("llama", pad_token_id=PADS[pad]))
    assert_true(model, scored(model, SEQUENCES), SEQUENCES)


@pytest.mark.parametrize("kind", WRONG_IN_EVERY_BATCH)
def test_a_model_that_is_wrong_in_every_batch_is_scored_alone_and_says_so(kind: Any) -> None:
    scoring = scored(models.build(kind, models.config("llama")), SEQUENCES)
    assert scoring.way == "alone"
    assert scoring.difference == 0.0
    assert "padded" in scoring.refused
    assert all(difference > TOLERANCE for difference in scoring.refused.values())


def test_an_encoder_that_ignores_the_mask_is_scored_alone_and_says_so() -> None:
    model = models.build(IgnoresTheMask, models.config("bert"))
    scoring = scored(model, SEQUENCES)
    assert scoring.way == "alone"
    assert scoring.refused["padded"] > TOLERANCE
    assert_true(model, scoring, SEQUENCES)


def test_a_bias_behind_the_head_is_not_lost() -> None:
    model = models.build(AddsABias, models.config("llama"))
    scoring = scored(model, SEQUENCES)
    assert_true(model, scoring, SEQUENCES)
    # The head alone would be wrong by 0.3, which is what the sample found.
    assert scoring.refused["hidden"] == pytest.approx(0.3, abs=1e-4)


def test_an_accepted_way_says_how_far_it_was_from_the_lone_forward() -> None:
    scoring = scored(loaded("bert"), SEQUENCES)
    assert 0.0 <= scoring.difference < TOLERANCE


def test_a_reward_of_the_sample_that_is_not_a_number_ends_the_run_at_once() -> None:
    model = models.classifier("llama")
    with torch.no_grad():
        model.score.weight.fill_(float("nan"))
    with pytest.raises(ScorerError, match=r"the reward of a conversation of .* is nan") as error:
        scored(model, LETTERS)
    assert str(error.value).endswith("; are its weights damaged?")


def test_a_reward_that_is_not_a_number_is_not_hidden() -> None:
    model = models.classifier("llama", vocab_size=models.VOCABULARY + 1)
    with torch.no_grad():
        model.get_input_embeddings().weight[models.VOCABULARY] = float("nan")
    # Too long for the sample, which would find it.
    broken = np.append(np.concatenate(LETTERS), models.VOCABULARY).astype(np.int32)
    rewards = scored(model, [*LETTERS, broken]).rewards
    assert np.isfinite(rewards[:-1]).all()
    assert np.isnan(rewards[-1])


def test_memory_that_runs_out_once_does_not_shrink_every_batch() -> None:
    sequences = random_sequences(300, longest=60)
    engine = Engine(models.classifier("llama"), batch_tokens=512)
    sizes, start = [], engine.ways.start

    def short(way: str, unit: Any, asks: Any) -> Any:
        if unit.row.size > 300:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append(unit.row.size)
        return start(way, unit, asks)

    engine.ways.start = short  # type: ignore[method-assign]
    scoring = engine.score(sequences)
    assert_true(engine.model, scoring, sequences)
    # Rows of four chunks: 2,048 tokens at first, then 1,024, 512, and 256, which fit.
    assert (scoring.way, engine.batch_tokens) == ("packed", 64)
    assert np.median(sizes) > 128


# --- What is computed -------------------------------------------------------------------------


class Counter:
    """Counts the tokens that a model's embeddings see."""

    def __init__(self, model: Any, *, fails_above: int | None = None) -> None:
        self.tokens = self.largest = self.failures = 0
        self.fails_above = fails_above
        model.get_input_embeddings().register_forward_pre_hook(self.see)

    def see(self, _: Any, inputs: tuple[torch.Tensor]) -> None:
        size = inputs[0].numel()
        if self.fails_above is not None and size > self.fails_above:
            self.failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.tokens += size
        self.largest = max(self.largest, size)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_equal_sequences_are_computed_once(kind: str) -> None:
    once, often = models.classifier(kind), models.classifier(kind)
    counts = Counter(once), Counter(often)
    single = scored(once, LETTERS)
    repeated = scored(often, [ids for ids in LETTERS for _ in range(5)])
    assert counts[0].tokens == counts[1].tokens
    np.testing.assert_array_equal(repeated.rewards, np.repeat(single.rewards, 5))
    assert repeated.inputs.tolist() == np.repeat(single.inputs, 5).tolist()
    assert len(set(single.inputs.tolist())) == len(LETTERS)
    assert repeated.tokens == single.tokens == sum(ids.size for ids in LETTERS)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_tokens_computed_are_those_that_the_model_saw(kind: str) -> None:
    model = models.classifier(kind)
    counter = Counter(model)
    assert scored(model, LETTERS).tokens_computed == counter.tokens


@pytest.mark.parametrize("kind", ["llama", "mistral", "bert"])
def test_batches_stay_within_their_budget(kind: str) -> None:
    model = models.classifier(kind)
    counter = Counter(model)
    scored(model, random_sequences(40), batch_tokens=100)
    assert counter.largest <= 100


@pytest.mark.parametrize("kind", ["llama", "mistral", "bert"])
def test_smaller_batches_are_tried_when_memory_runs_out(kind: str) -> None:
    model = models.classifier(kind)
    expected = truth(model, SEQUENCES)
    counter = Counter(model, fails_above=60)
    scoring = scored(model, SEQUENCES, batch_tokens=1_000)
    np.testing.assert_allclose(scoring.rewards, expected, rtol=0, atol=TOLERANCE)
    assert counter.failures > 0
    assert scoring.way != "alone"


def test_a_sequence_too_long_for_the_memory_is_named_by_its_tokens() -> None:
    model = models.classifier("llama")
    Counter(model, fails_above=20)
    with pytest.raises(ScorerError) as error:
        scored(model, [ints(*range(4, 9)), ints(*range(4, 25))])
    assert str(error.value) == (
        "a conversation of 21 tokens does not fit into the memory of cpu;"
        " use --dtype bfloat16, --max-length or --device-map auto"
    )


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize("fails_above", [None, 60])
def test_progress_grows_to_the_total(kind: str, fails_above: int | None) -> None:
    model = models.classifier(kind)
    Counter(model, fails_above=fails_above)
    done: list[int] = []
    sequences = random_sequences(200)
    Engine(model, batch_tokens=100, progress=done.append).score(sequences)
    assert done == sorted(done)
    assert done[-1] == sum(len(ids) for ids in sequences)
    assert len(done) > 1


# --- Precision --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "roberta", "modernbert"])
def test_the_head_of_a_half_precision_model_is_kept_in_float32(kind: str, dtype: Any) -> None:
    model = models.classifier(kind, initializer_range=0.05).to(dtype)
    rewards = torch.from_numpy(scored(model, LETTERS).rewards)
    # Rewards of a bfloat16 head would survive this unchanged.
    rounded = rewards.to(dtype).float()
    assert (rounded != rewards).float().mean() > 0.5
    whole = models.classifier(kind, initializer_range=0.05)
    np.testing.assert_allclose(rewards, truth(whole, LETTERS), rtol=0, atol=0.1)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "modernbert"])
def test_half_precision_does_not_stop_batching(kind: str) -> None:
    model = models.classifier(kind, initializer_range=0.05).to(torch.bfloat16)
    scoring = scored(model, SEQUENCES)
    assert scoring.way != "alone"
    assert scoring.refused == {}
    assert np.abs(scoring.rewards - truth(model, SEQUENCES)).max() < 0.06
