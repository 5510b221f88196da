"""A reward model is trained with TRL, benchmarked as it learns, and stopped when it gets worse.

    pip install 'rmbench[trl]'
    python examples/stop_on_regression.py

`tiny` goes on learning from one half of the comparisons of `mini` and is scored on a fixed sample
of the other half, before the first step and every ten. But chosen and rejected are exchanged, as
they are when a column is read the wrong way round. The callback sees the model lose what it had,
beyond chance, and ends the training.
"""

import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

import rmbench
from rmbench.callbacks import Benchmark
from rmbench.compare.gate import Limits
from rmbench.suite.feed import open_feed

TINY = Path(rmbench.__file__).parent / "tiny"
SAMPLE, EVERY, BATCH, STEPS = 120, 10, 8, 200


def main() -> None:
    """Train until the model is worse, and tell what was seen."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(TINY, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = RewardTrainer(
            model=model,
            args=arguments(folder),
            train_dataset=Dataset.from_list(rows()),
            processing_class=AutoTokenizer.from_pretrained(TINY),
        )
        # On a model this small an evaluation takes longer than the steps between: no limit here.
        benchmark = Benchmark(
            trainer,
            suite="mini",
            quick=SAMPLE,
            every=EVERY,
            max_share=None,
            stop=Limits(alpha=0.01),
        )
        trainer.add_callback(benchmark)
        trainer.train()
    for result in benchmark.results:
        pooled = result.averages["pooled"]
        print(f"{result.model['id']}: {100 * pooled.accuracy:.2f} %")
    print(f"stopped at step {trainer.state.global_step} of {STEPS}")


def arguments(folder: str) -> RewardConfig:
    """Return the settings of the training; ``report_to="wandb"`` would log there."""
    return RewardConfig(
        output_dir=folder,
        run_name="spoiled",
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=2e-4,
        lr_scheduler_type="constant",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
    )


def rows() -> list[dict[str, object]]:
    """Return the pairs that are not in the sample, with their sides exchanged."""
    sampled = rmbench.evaluate("mini", "length", quick=SAMPLE)
    known = {item.id for item in sampled.rewards}
    return [spoiled(pair) for pair in open_feed(rmbench.load_suite("mini")) if pair.id not in known]


def spoiled(pair: rmbench.Comparison) -> dict[str, object]:
    """Return a comparison as TRL reads one, the wrong way round."""
    prompt = [{"role": turn.role, "content": turn.content} for turn in pair.prompt]
    worse, better = (
        [{"role": "assistant", "content": side[0]}] for side in (pair.chosen, pair.rejected)
    )
    return {"prompt": prompt, "chosen": better, "rejected": worse}


if __name__ == "__main__":
    main()
