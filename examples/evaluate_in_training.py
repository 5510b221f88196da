"""A training loop that evaluates the model in memory every few steps, and compares each time.

    python examples/evaluate_in_training.py

Nothing is saved and no weight is copied: `rmbench.evaluate` takes the model as it is, and leaves
training modes, random states and gradients as they were. Each result has its step's name, so that
`rmbench.write_result` keeps them apart. Here `tiny` learns twelve made-up preferences by heart.
"""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import rmbench

FOLDER = Path(rmbench.__file__).parent / "tiny"
STEPS, EVERY = 4, 2
PAIRS = [(f"What is {n} plus {n}?", f"{2 * n}.", f"{2 * n + 1}.") for n in range(12)]


def main() -> None:
    """Train, evaluate and compare."""
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    before = None
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            name = f"run7/step{step}"
            result = rmbench.evaluate("mini", model=model, tokenizer=tokenizer, name=name, limit=40)
            told = f"{name}: {100 * result.averages['pooled'].accuracy:.2f} %"
            if before is not None:
                pooled = rmbench.compare_results(before, result).level("average")[0]
                told += f", {round(100 * (pooled.new - pooled.old), 2) + 0:+.2f} since then"
            print(told)
            before = result
        optimizer.zero_grad()
        loss(model, tokenizer, *PAIRS[step % len(PAIRS)]).backward()
        optimizer.step()


def loss(model: torch.nn.Module, tokenizer: object, *texts: str) -> torch.Tensor:
    """Return the Bradley-Terry loss of one pair."""
    prompt, *responses = texts
    rewards = []
    for response in responses:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        rewards.append(model(input_ids=ids["input_ids"]).logits[0, 0])
    return -torch.nn.functional.logsigmoid(rewards[0] - rewards[1])


if __name__ == "__main__":
    main()
