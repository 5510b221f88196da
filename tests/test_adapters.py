"""LoRA adapters as peft saves them: merged into their base, or refused, alike on every machine."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import asked
import models
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from rmbench.cache import Cache
from rmbench.checkpoint.identity import find_identity
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Conversation, Message

peft = pytest.importorskip("peft")
CONVERSATIONS = [
    Conversation((Message("user", "What is two and two?"),), f"It is {number}.")
    for number in range(4)
]
ALPHA, RANK = 8, 4


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A language model without a reward head, as adapters are trained on."""
    model = models.build(transformers.LlamaForCausalLM, models.config("llama", num_labels=2))
    return models.save(tmp_path / "base", model)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """A trained adapter with its head, and no tokenizer of its own."""
    torch.manual_seed(3)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    settings = peft.LoraConfig(
        task_type="SEQ_CLS", r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"]
    )
    with warnings.catch_warnings(action="ignore"):  # of peft's, about transformers
        wrapped = peft.get_peft_model(model, settings)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            parameter.data.normal_(std=0.3)
    with warnings.catch_warnings(action="ignore"):
        wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def merged(base: Path, adapter: Path) -> Any:
    """Return the model that adapter and base mean, put together by hand."""
    lora = load_file(adapter / "adapter_model.safetensors")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    state = model.state_dict()
    for name in [name for name in lora if name.endswith("lora_A.weight")]:
        product = lora[name.replace("lora_A", "lora_B")] @ lora[name]
        place = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight")
        state[place] += ALPHA / RANK * product
    state["score.weight"].copy_(lora["base_model.model.score.weight"])
    return model.eval()


def score(folder: Path, **options: Any) -> list[float]:
    scored = asked.score(load_scorer(str(folder), ModelOptions(**options)), CONVERSATIONS)
    assert scored.audit["batching"] == "packed"
    return [float(x) for x in scored.rewards if x is not None]


def refusal(folder: Path) -> str:
    with pytest.raises(ScorerError) as error:
        score(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def truth(model: Any, words_from: Path) -> list[float]:
    words = transformers.AutoTokenizer.from_pretrained(words_from)
    return [
        models.lone_reward(model, words.apply_chat_template(item.messages, return_dict=False))
        for item in CONVERSATIONS
    ]


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_an_adapter_is_merged_into_its_base_with_its_own_head(base: Path, adapter: Path) -> None:
    found = score(adapter)
    np.testing.assert_allclose(found, truth(merged(base, adapter), base), rtol=0, atol=1e-5)
    assert len(set(found)) == len(CONVERSATIONS)


def test_the_identity_follows_the_adapter_and_its_base(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    with Cache(tmp_path / "cache") as cache:

        def identify() -> str | None:
            return find_identity(str(adapter), ModelOptions(), cache.file_digest)

        first = identify()
        info = load_scorer(str(adapter), ModelOptions()).info
        assert (info.revision, info.id) == (first, "adapter")
        for folder, file in ((base, "model"), (adapter, "adapter_model")):
            path = folder / f"{file}.safetensors"
            weights = {name: x * 1.5 for name, x in load_file(path).items()}
            save_file(weights, path, metadata={"format": "pt"})
            assert identify() != first
            first = identify()


def test_a_base_beside_the_adapter_is_found_by_its_name(base: Path, adapter: Path) -> None:
    expected = score(adapter)
    shutil.move(base, adapter / "base")
    edit(adapter / "adapter_config.json", base_model_name_or_path="base")
    assert score(adapter) == expected


def test_an_adapter_that_does_not_fit_its_base_is_refused(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    stray = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"
    save_file(weights | {stray: torch.ones(4, 32)}, path, metadata={"format": "pt"})
    assert "do not fit" in refusal(adapter)
    del weights["base_model.model.score.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    assert "lacks score.weight" in refusal(adapter)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"peft_type": "IA3"}, "an adapter of kind IA3"),
        ({"task_type": "CAUSAL_LM"}, "for CAUSAL_LM"),
        ({"base_model_name_or_path": None}, "does not say what the adapter's base model is"),
        ({"base_model_name_or_path": "/no/such/folder"}, "its base model: /no/such/folder"),
    ],
)
def test_an_adapter_that_cannot_be_scored_is_told_why(
    adapter: Path, changes: dict[str, Any], finding: str
) -> None:
    edit(adapter / "adapter_config.json", **changes)
    assert finding in refusal(adapter)


def test_without_peft_an_adapter_is_refused(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert refusal(adapter).endswith("pip install 'rmbench[adapters]', or give the merged model")
