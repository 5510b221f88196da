"""Heads found in the weights: each family's layout against a plain product of its last state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asked
import models
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from family_build import BIAS, CHAIN, INNER, INNER_BIAS, SCORE, SECOND, WIDTH, Weights, save
from safetensors.torch import save_file

from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.reader_file import find_reader
from rmbench.cli import main
from rmbench.errors import ScorerError
from rmbench.scorers.registry import load_scorer
from rmbench.suite.comparison import Conversation, Message

CONVERSATIONS = [
    Conversation((Message("user", "What is two and two?"),), answer, f"sub/{i // 2}, {side}")
    for i, (answer, side) in enumerate(
        [("It is 4.", "chosen"), ("Five!", "rejected"), ("four", "chosen"), ("It is", "rejected")]
    )
]


def states(backbone: Any, folder: Path, *, append: tuple[int, ...] = (), place: int = -1) -> Any:
    """Return the states that are read, (conversations, WIDTH), one plain forward for each."""
    words = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for conversation in CONVERSATIONS:
        ids = words.apply_chat_template(conversation.messages, return_dict=False)
        tokens = torch.tensor([[*ids, *append]])
        with torch.inference_mode():
            hidden = backbone(tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
        found.append(hidden[0, place])
    return torch.stack(found)


def score(folder: Path, **options: Any) -> tuple[list[float], Any]:
    scorer = load_scorer(str(folder), ModelOptions(**options))
    scored = asked.score(scorer, CONVERSATIONS)
    return [float(x) for x in scored.rewards if x is not None], scored


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ScorerError) as error:
        score(folder, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, np.asarray(expected).reshape(-1), rtol=0, atol=1e-5)


def test_doctor_says_which_head_was_found(tmp_path: Path) -> None:
    settings = {"architectures": ["AtheneForSequenceClassification"]}
    save(tmp_path, {"v_head.weight": SCORE}, max_position_embeddings=2048, **settings)
    done = CliRunner().invoke(main, ["doctor", str(tmp_path)])
    assert done.exit_code == 0, done.stdout
    assert "v_head (1 x 32)" in done.stdout
    assert "safe to score\n" in done.stdout


def test_a_cost_models_sign_is_turned(tmp_path: Path) -> None:
    backbone = save(
        tmp_path, {"score_head.weight": SCORE}, architectures=["LlamaForScore"], score_type="cost"
    )
    assert_close(score(tmp_path)[0], -states(backbone, tmp_path) @ SCORE.T)


def test_a_head_of_its_own_file_is_found(tmp_path: Path) -> None:
    backbone = save(tmp_path, {}, architectures=["LlamaForCausalLM"], lm_head=True)
    save_file({"v_head.summary.weight": SCORE}, tmp_path / "value_head.safetensors")
    assert_close(score(tmp_path)[0], states(backbone, tmp_path) @ SCORE.T)
    (tmp_path / "value_head.safetensors").rename(tmp_path / "other.safetensors")
    assert "hold no reward head" in refusal(tmp_path)
    (tmp_path / "reader.toml").write_text('file = "other.safetensors"')
    assert_close(score(tmp_path)[0], states(backbone, tmp_path) @ SCORE.T)


def test_a_type_of_model_without_a_classifier_is_scored(tmp_path: Path) -> None:
    shape = models.SHAPE | models.GROUPED | {"num_experts": 4, "num_experts_per_tok": 2}
    config = transformers.OlmoeConfig(**shape)
    assert type(config) not in transformers.AutoModelForSequenceClassification._model_mapping
    backbone = models.build(transformers.AutoModel.from_config, config)
    model = transformers.OlmoeForCausalLM(config)
    model.model.load_state_dict(backbone.state_dict())
    model.score = torch.nn.Linear(WIDTH, 1, bias=False)
    model.score.weight.data = SCORE.clone()
    models.save(tmp_path, model.eval())
    assert_close(score(tmp_path)[0], states(backbone, tmp_path) @ SCORE.T)


def reader(folder: Path, text: str) -> str:
    path = folder / "my.toml"
    path.write_text(text)
    return str(path)


def test_a_chain_needs_its_activation(tmp_path: Path) -> None:
    backbone = save(tmp_path, CHAIN, architectures=["INFORMForSequenceClassification"])
    message = refusal(tmp_path)
    assert "score.0 (32 x 32, bias), score.2 (1 x 32, bias)" in message
    assert "--reader" in message
    inner = states(backbone, tmp_path) @ INNER.T + INNER_BIAS
    for name, function in (("relu", torch.relu), ("tanh", torch.tanh)):
        stated = f'layers = ["score.0", "score.2"]\nactivation = "{name}"'
        rewards, scored = score(tmp_path, reader=reader(tmp_path, stated))
        assert_close(rewards, function(inner) @ SCORE.T + BIAS)
        assert scored.audit["batching"] == "packed"


def test_of_several_heads_the_reader_names_one(tmp_path: Path) -> None:
    head = {"safety.weight": SECOND, "quality.weight": SCORE}
    backbone = save(tmp_path, head, architectures=["TwoHeads"])
    assert "several heads, quality (1 x 32), safety (1 x 32)" in refusal(tmp_path)
    stated = reader(tmp_path, 'layers = ["safety"]\nsign = -1')
    rewards, _ = score(tmp_path, reader=stated)
    assert_close(rewards, -states(backbone, tmp_path) @ SECOND.T)


def test_the_token_that_is_read_may_be_appended_or_stand_before_the_end(tmp_path: Path) -> None:
    backbone = save(tmp_path, {"v_head.weight": SCORE}, architectures=["Athene"])
    stated = reader(tmp_path, 'append = "<s>"')
    expected = states(backbone, tmp_path, append=(models.BOS,)) @ SCORE.T
    assert_close(score(tmp_path, reader=stated)[0], expected)
    rewards, _ = score(tmp_path, reader=stated, max_length=8, on_overflow="truncate-left")
    assert len(set(rewards)) > 1
    stated = reader(tmp_path, "place = -3")
    assert_close(score(tmp_path, reader=stated)[0], states(backbone, tmp_path, place=-3) @ SCORE.T)


def test_outputs_of_a_found_head_are_added_up(tmp_path: Path) -> None:
    rows = torch.cat([SCORE, SECOND])
    backbone = save(tmp_path, {"rewards.weight": rows}, architectures=["Multi"])
    assert "2 logits" in refusal(tmp_path)
    expected = states(backbone, tmp_path) @ (0.5 * SCORE - 2 * SECOND).T
    rewards, scored = score(tmp_path, outputs="0=0.5,1=-2")
    assert_close(rewards, expected)
    assert scored.audit["batching"] == "packed"
    stated = reader(tmp_path, "[rows]\n0 = 0.5\n1 = -2")
    assert_close(score(tmp_path, reader=stated)[0], expected)


@pytest.mark.parametrize("is_tied", [False, True])
def test_rows_of_lm_head_are_a_head(tmp_path: Path, is_tied: bool) -> None:
    config = models.config("llama", num_labels=2, tie_word_embeddings=is_tied)
    model = models.build(transformers.LlamaForCausalLM, config)
    models.save(tmp_path, model)
    logits = states(model.model, tmp_path) @ model.lm_head.weight.T
    stated = reader(tmp_path, 'layers = ["lm_head"]\n[rows]\n0 = 1')
    rewards, scored = score(tmp_path, reader=stated)
    assert_close(rewards, logits[:, 0].detach())
    assert scored.audit["batching"] == "packed"
    stated = reader(tmp_path, 'layers = ["lm_head"]\n[tokens]\ny = 1\nn = -1')
    yes, no = transformers.AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids(["y", "n"])
    assert_close(score(tmp_path, reader=stated)[0], (logits[:, yes] - logits[:, no]).detach())


def test_logits_that_are_capped_behind_the_product_are_refused(tmp_path: Path) -> None:
    config = models.config("gemma2", num_labels=2, final_logit_softcapping=0.05)
    models.save(tmp_path, models.build(transformers.Gemma2ForCausalLM, config))
    stated = reader(tmp_path, 'layers = ["lm_head"]\n[rows]\n5 = 1')
    assert "caps or scales" in refusal(tmp_path, reader=stated)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("layers = 1", "layers"),
        ('activation = "step"', "activation"),
        ("place = 3", "it must be -1 or less"),
        ("sign = 2", "it must be 1 or -1"),
        ('file = "../other.safetensors"', "beside the weights"),
        ("[rows]\nyes = 1", "keys of rows must be numbers"),
        ("[tokens]\nyes = true", "must be a number"),
        ("unknown = 1", "unknown key"),
        ("= 3", "cannot be read as a reader"),
        ('layers = ["nosuch"]', "no linear layer nosuch"),
        ('layers = ["lm_head"]', "state the weight"),
        ('layers = ["lm_head"]\n[tokens]\n"two words" = 1', "tokens of this tokenizer"),
        ('layers = ["lm_head"]\n[rows]\n99999 = 1', "lm_head has 260 rows"),
    ],
)
def test_a_reader_that_cannot_be_is_refused(tmp_path: Path, text: str, finding: str) -> None:
    save(tmp_path, {"v_head.weight": SCORE}, architectures=["Athene"])
    assert finding in refusal(tmp_path, reader=reader(tmp_path, text))


@pytest.mark.parametrize(
    ("head", "finding"),
    [
        ({}, "hold no reward head"),
        ({"gate.weight": torch.ones(2, 2, 2), "v.weight": SCORE}, "more than linear layers"),
        ({"v_head.weight": SCORE, "model.layers.7.mlp.gate_proj.weight": SCORE}, "no use for"),
    ],
)
def test_what_is_no_head_is_told(tmp_path: Path, head: Weights, finding: str) -> None:
    save(tmp_path, head, architectures=["LlamaForReward"])
    assert finding in refusal(tmp_path)


def test_a_head_beside_an_encoder_is_refused(tmp_path: Path) -> None:
    config = models.config("bert", num_labels=2)
    save(tmp_path, {"v_head.weight": SCORE}, kind="bert", prefix="bert.", architectures=["Mine"])
    assert config.model_type == "bert"
    assert "which is no decoder" in refusal(tmp_path)


def test_a_reader_is_part_of_what_is_recorded(tmp_path: Path) -> None:
    save(tmp_path, {"v_head.weight": SCORE}, architectures=["Athene"])
    stated = reader(tmp_path, "sign = -1")
    settings = load_scorer(str(tmp_path), ModelOptions(reader=stated)).info.settings
    assert settings["reader"] == "my.toml"
    assert len(settings["reader_sha256"]) == 64
    assert settings["negate"] is True


# --- the documents -----------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "readers").glob("*.toml")), ids=str)
def test_every_example_of_a_reader_is_read(path: Path) -> None:
    found = find_reader(str(path), path.parent)
    assert found.path == path
    assert found.layers or found.append
