"""The benchmark in a training loop: Trainers train on as if nothing had been."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import rmbench
from rmbench import callbacks
from rmbench.callbacks import Benchmark
from rmbench.compare.gate import Limits
from rmbench.errors import ScorerError, SuiteError

TINY = Path(rmbench.__file__).parent / "tiny"
PLAIN: dict[str, Any] = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "logging_steps": 2,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "use_cpu": True,
}


class Pairs(Trainer):
    """The Bradley-Terry loss of a batch whose first half is chosen and whose second is rejected."""

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        rewards = model(input_ids=inputs["input_ids"]).logits[:, 0]
        half = len(rewards) // 2
        return -torch.nn.functional.logsigmoid(rewards[:half] - rewards[half:]).mean()


def plain(folder: Path, **changes: Any) -> Trainer:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(TINY, dtype=torch.float32)
    rows = [{"input_ids": [5 + n, 7, 9 + n % 3]} for n in range(16)]
    return Pairs(
        model=model,
        args=TrainingArguments(output_dir=str(folder), run_name="run7", **PLAIN | changes),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(TINY),
    )


def weights(trainer: Trainer) -> Iterator[torch.Tensor]:
    assert trainer.model is not None
    return (value.detach() for value in trainer.model.parameters())


class Modes(TrainerCallback):
    """Keeps which modules train at each step, and whether a gradient is there."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, ...]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.append(tuple(module.training for module in kwargs["model"].modules()))


@pytest.mark.slow
def test_a_trainer_ends_in_the_same_weights_and_logs_what_it_logged(tmp_path: Path) -> None:
    without, trainer, modes = plain(tmp_path), plain(tmp_path), (Modes(), Modes())
    without.add_callback(modes[0])
    without.train()
    benchmark = Benchmark(
        trainer, suite="mini", quick=20, every=2, max_share=None, output=tmp_path / "results"
    )
    trainer.add_callback(benchmark)
    trainer.add_callback(modes[1])
    trainer.train()
    assert all(map(torch.equal, weights(without), weights(trainer)))
    assert modes[0].seen == modes[1].seen and len(modes[0].seen) == 4
    own = [line for line in trainer.state.log_history if "eval_mini/pooled" in line]
    assert [line["step"] for line in own] == [0, 2, 4]
    losses = [
        [line["loss"] for line in item.state.log_history if "loss" in line]
        for item in (without, trainer)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 2
    for line, result in zip(own, benchmark.results, strict=True):
        assert result.part == "quick:20"
        for name in ("Chat", "Chat Hard", "Safety", "Reasoning", "pooled", "sections"):
            assert line[f"eval_mini/{name}"] == result.find(name).accuracy  # type: ignore[union-attr]
            assert line[f"eval_mini/{name}/low"] <= line[f"eval_mini/{name}"]
    change = own[1]["eval_mini/pooled"] - own[0]["eval_mini/pooled"]
    assert own[1]["eval_mini/pooled/change"] == pytest.approx(change)
    assert "eval_mini/pooled/change" not in own[0]
    written = sorted(path.name for path in (tmp_path / "results" / "mini").glob("*.json"))
    assert written == [f"run7--step{step}.quick-20.json" for step in (0, 2, 4)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_a_reward_trainer_of_trl_keeps_its_weights_and_its_own_means(tmp_path: Path) -> None:
    from trl import RewardConfig, RewardTrainer

    def turns(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    rows = [
        {
            "prompt": turns("user", f"What is {n} plus {n}?"),
            "chosen": turns("assistant", f"{2 * n}."),
            "rejected": turns("assistant", f"{2 * n + 1}."),
        }
        for n in range(12)
    ]

    def made() -> Any:
        torch.manual_seed(0)
        return RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(TINY, dtype=torch.float32),
            args=RewardConfig(output_dir=str(tmp_path), bf16=False, **PLAIN),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(TINY),
        )

    without, trainer = made(), made()
    trainer.add_callback(Benchmark(trainer, suite="mini", quick=20, every=2, max_share=None))
    without.train()
    trainer.train()
    assert all(map(torch.equal, weights(without), weights(trainer)))
    means = [
        [(line["step"], line["accuracy"], line["margin"]) for line in item if "margin" in line]
        for item in (without.state.log_history, trainer.state.log_history)
    ]
    assert means[0] == means[1] and [step for step, *_ in means[0]] == [2, 4]


@pytest.mark.slow
def test_a_model_that_gets_worse_stops_the_training(tmp_path: Path) -> None:
    trainer = plain(tmp_path, max_steps=12)  # on noise, and at a rate at which much is lost
    benchmark = Benchmark(
        trainer, suite="mini", quick=40, every=1, max_share=None, stop=Limits(max_drop=0.0)
    )
    trainer.add_callback(benchmark)
    trainer.train()
    assert benchmark.worse is not None
    assert trainer.state.global_step == len(benchmark.results) - 1 < 12
    best = max(item.averages["sections"].accuracy for item in benchmark.results[:-1])
    assert benchmark.worse.old.averages["sections"].accuracy == best
    assert benchmark.worse.new is benchmark.results[-1]


def test_an_evaluation_that_would_cost_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    clock = callbacks._Clock(0.05)
    clock.start()
    now[0] += 2.0
    clock.spend(2.0)  # before the first step
    for seconds, is_allowed in ((79.0, False), (1.0, True)):  # 4 s are 5 % of 80 s
        now[0] += seconds
        assert clock.allows(10) is is_allowed
    now[0] += 2.0
    clock.spend(2.0)
    assert clock.share == pytest.approx(0.05)
    assert not clock.allows(20) and clock.passed_over == [10, 20]
    assert callbacks._Clock(None).allows(1)


def test_what_a_trainer_lacks_is_said_before_it_trains(tmp_path: Path) -> None:
    trainer = plain(tmp_path)
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        Benchmark(trainer, every=0)
    with pytest.raises(ValueError, match="max_share must be above 0"):
        Benchmark(trainer, max_share=0.0)
    trainer.add_callback(Benchmark(trainer, suite="mimi"))
    with pytest.raises(SuiteError, match="mimi"):
        trainer.train()
    trainer.processing_class = None
    with pytest.raises(ScorerError, match="no tokenizer; give it one"):
        Benchmark(trainer)
    trainer.processing_class, trainer.is_fsdp_enabled = object(), True
    with pytest.raises(ScorerError, match="run rmbench on saved checkpoints"):
        Benchmark(trainer)
