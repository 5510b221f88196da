"""What a run would cost: the figures are those of the issue tracker's independent count."""

import json
import os
from pathlib import Path

import models
import pytest
import torch
import transformers
from click.testing import CliRunner
from families import ROWS, pair_encoder, policies

from rmbench.answers.questions import Conversations
from rmbench.checkpoint.options import ModelOptions
from rmbench.cli import main
from rmbench.engine.rate import layer_weights, matrix_rate
from rmbench.scorers import plan as planning
from rmbench.scorers.plan import plan_scoring
from rmbench.scorers.registry import load_kind
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation, Message
from rmbench.suite.feed import open_feed

PAIR = [
    Conversation((Message("user", "abcdefgh"),), "ijkl"),
    Conversation((Message("user", "abcdefgh"),), "ijmn"),
]


@pytest.fixture
def smollm2() -> Path:
    """The folder of SmolLM2's tokenizer and shape that RMBENCH_TEST_MODEL names."""
    folder = os.environ.get("RMBENCH_TEST_MODEL")
    if not folder:
        pytest.skip("RMBENCH_TEST_MODEL is not set: `make parity` builds it in build/parity")
    return Path(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(tmp_path_factory.mktemp("planned"), models.classifier("llama"))


def test_a_pair_shares_all_up_to_where_its_sides_part(folder: Path) -> None:
    plan = plan_scoring(str(folder), ModelOptions(device="cpu"), PAIR, estimate=False)
    # [user]abcdefgh</s>[assistant]ijkl</s>: 6 + 8 + 1 + 11 + 4 + 1 letters and marks on each side,
    # of which the last three differ.
    assert (plan.conversations, plan.distinct, plan.tokens) == (2, 2, 62)
    assert (plan.shared, plan.rows) == (31 + 3, 1)
    assert plan.unsorted == 62
    assert plan.seconds is None


def test_equal_conversations_are_counted_once(folder: Path) -> None:
    plan = plan_scoring(str(folder), ModelOptions(device="cpu"), PAIR * 5, estimate=False)
    assert (plan.conversations, plan.distinct, plan.shared) == (10, 2, 34)


def test_what_is_over_the_limit_is_counted(folder: Path) -> None:
    options = ModelOptions(device="cpu", max_length=30)
    assert plan_scoring(str(folder), options, PAIR, estimate=False).overflowed == 2


def test_an_estimate_is_positive_and_grows_with_the_tokens(folder: Path) -> None:
    options = ModelOptions(device="cpu")
    seconds = plan_scoring(str(folder), options, PAIR, estimate=True).seconds
    assert seconds is not None and seconds > 0


# A loop over batches of 8, each conversation alone, and what the two suites may cost at most: an
# independent count gave 2,917,311 and 1,656,968, 2,482,576 and 1,157,945.
@pytest.mark.parametrize(
    ("suite", "file", "counts", "most"),
    [
        ("rewardbench", "rewardbench_v1", (2_917_311, 1_656_968), 1_270_000),
        ("ultrafeedback", "ultrafeedback_binarized_sample", (2_482_576, 1_157_945), 920_000),
    ],
)
def test_real_suites_cost_what_was_counted_and_far_less_with_shared_prefixes(
    smollm2: Path, test_data: Path, suite: str, file: str, counts: tuple[int, int], most: int
) -> None:
    feed = open_feed(load_suite(suite), data=str(test_data / f"{file}.jsonl.gz"))
    options = ModelOptions(device="cpu")
    plan = plan_scoring(str(smollm2), options, Conversations(feed), estimate=False)
    assert (plan.unsorted, plan.tokens) == counts
    assert plan.shared <= most


def test_a_small_models_estimate_is_tried_and_not_taken_from_its_products(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With so fast a device the products would take no time; the trial runs on the real one.
    monkeypatch.setattr(planning, "matrix_rate", lambda *_, **__: 1e30)
    seconds = plan_scoring(str(folder), ModelOptions(device="cpu"), PAIR, estimate=True).seconds
    assert seconds is not None and seconds > 1e-5


def test_what_is_too_slow_to_be_tried_is_taken_from_its_products(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "matrix_rate", lambda *_, **__: 1e3)
    plan = plan_scoring(str(folder), ModelOptions(device="cpu"), PAIR, estimate=True)
    # 2 operations for each weight and computed token, at 60 % of the rate.
    products = 2 * layer_weights(models.classifier("llama")) * plan.shared / (0.6 * 1e3)
    assert plan.seconds is not None
    assert products <= plan.seconds < products + 60


def test_a_model_that_cannot_be_tried_is_taken_from_its_products(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError

    monkeypatch.setattr(planning, "_try", fail)
    seconds = plan_scoring(str(folder), ModelOptions(device="cpu"), PAIR, estimate=True).seconds
    assert seconds is not None and seconds > 0


def test_the_matrix_rate_is_that_of_a_processor() -> None:
    model = models.classifier("llama")
    rate = matrix_rate(model, device=torch.device("cpu"), dtype=torch.float32, seconds=0.05)
    assert 1e7 < rate < 1e16


def test_the_weights_a_token_meets_are_all_but_the_embeddings() -> None:
    model = models.classifier("llama")
    # Two layers: q and o 32x32, k and v 32x16, three of the MLP 32x64, two norms of 32; a norm of
    # 32 at the end, and the head.
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32
    assert layer_weights(model) == 2 * layer + 32 + 32


def test_the_command_loads_no_weights_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "elsewhere")
    try:
        output = tmp_path / "out"
        arguments = [
            "run",
            "--plan",
            "--model",
            str(folder),
            "--model",
            "length",
            "--suite",
            "mini",
        ]
        outcome = CliRunner().invoke(main, [*arguments, "--output", str(output), "--format", "csv"])
    finally:
        (folder / "elsewhere").rename(folder / "model.safetensors")
    assert outcome.exit_code == 0, outcome.output
    header, first, second = outcome.stdout.splitlines()
    assert header == "suite,model,asked,tokens,RewardBench's loop,sorted,shared,rows"
    assert first.startswith(f"mini,{folder},480,")
    assert second == "mini,length,480,,,,,"
    assert not output.exists()


def test_a_policy_and_its_reference_cost_twice_what_one_of_them_does(tmp_path: Path) -> None:
    policies("reference")(tmp_path / "policy")
    kind = load_kind("implicit")
    assert kind.plan is not None
    plans = {}
    for reference in ("none:sum", str(tmp_path / "reference")):
        options = kind.options(reference=reference, device="cpu")
        plans[reference] = kind.plan(str(tmp_path / "policy"), options, PAIR, False)
    one, both = plans.values()
    assert one is not None
    assert both is not None
    assert one.shared < one.tokens
    assert (both.tokens, both.shared, both.rows) == (2 * one.tokens, 2 * one.shared, 2 * one.rows)
    assert both.conversations == one.conversations == len(PAIR)


def test_a_pair_encoder_is_planned_for_each_order_alone(tmp_path: Path) -> None:
    pair_encoder(tmp_path)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    command = ["run", str(rows), "--model", f"pairwise:{tmp_path}", "--plan", "--format", "json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["rows"]
    words = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = [
        3 + sum(len(words(text)["input_ids"]) for text in item.values()) for item in ROWS
    ]  # and three marks
    assert [row["asked"], row["tokens"], row["shared"]] == [4, 2 * sum(tokens), 2 * sum(tokens)]
