"""Is the model that is scored the one that was saved? Folders that say one thing, hold another."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
import transformers
from asked import score
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, pre_tokenizers

from rmbench.answers.ask import ask
from rmbench.cache import Cache
from rmbench.checkpoint import tokenizer_findings
from rmbench.checkpoint.identity import check_unmoved, digest_folder, model_files, take_stamps
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers import classifier
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation, Message
from rmbench.suite.feed import open_feed

OLD = int(transformers.__version__.split(".")[0]) < 5
CONVERSATIONS = [
    Conversation((Message("user", "What is two and two?"),), f"It is {number}.")
    for number in range(4)
]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save(tmp_path_factory.mktemp("models") / "good", models.classifier("llama"))


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    """A copy of the good model to damage."""
    return Path(shutil.copytree(good, tmp_path / "rm"))


def load(folder: Path, **options: Any) -> Any:
    return load_scorer(str(folder), ModelOptions(**options))


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ScorerError) as error:
        score(load(folder, **options), CONVERSATIONS)
    message = str(error.value)
    assert "\n" not in message
    return message


def rewards(scorer: Any) -> list[float]:
    return [float(x) for x in score(scorer, CONVERSATIONS).rewards]


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file({name: x.clone() for name, x in weights.items()}, path, metadata={"format": "pt"})


# --- weights that nobody uses ------------------------------------------------------------------


def more_layers(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if ".layers.1." in name]:
        weights[name.replace(".layers.1.", ".layers.2.")] = weights[name]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (more_layers, "model.layers.2.input_layernorm.weight"),
        (
            lambda w: w.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),
            "model.layers.0.self_attn.q_proj.bias",
        ),
        (
            lambda w: w.update({"model.layers.1.self_attn.q_norm.weight": torch.ones(8)}),
            "model.layers.1.self_attn.q_norm.weight",
        ),
        (
            lambda w: w.update(
                {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)}
            ),
            "lora_A.weight",
        ),
        (lambda w: w.update({"dense.weight": torch.ones(32, 32)}), "dense.weight"),
        (lambda w: w.update({"score.bias": torch.ones(1)}), "score.bias"),
        (lambda w: w.update({"v_head.weight": torch.ones(1, 32)}), "v_head.weight"),
    ],
    ids=["layers", "biases", "norms", "LoRA", "dense", "bias of the head", "second head"],
)
def test_weights_that_nobody_uses_are_refused(copy: Path, change: Any, found: str) -> None:
    change_weights(copy, change)
    message = refusal(copy)
    assert message.startswith(f"{copy}: the checkpoint has ")
    assert found in message
    assert "has no use for" in message


def test_an_unmerged_adapter_among_the_weights_is_told_to_be_merged(copy: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.lora_B.weight"
    change_weights(copy, lambda weights: weights.update({name: torch.ones(32, 4)}))
    assert refusal(copy).endswith("merge it (merge_and_unload of peft)")


def test_what_was_only_computed_or_belongs_to_a_language_model_may_be_left(
    good: Path, copy: Path
) -> None:
    spare = {
        "lm_head.weight": torch.ones(models.VOCABULARY, 32),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "model.rotary_emb.inv_freq": torch.ones(4),
    }
    change_weights(copy, lambda weights: weights.update(spare))
    assert rewards(load(copy)) == rewards(load(good))


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_from_within_a_wrapper_of_training_are_read(
    good: Path, copy: Path, wrapper: str
) -> None:
    def wrap(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[wrapper + name] = weights.pop(name)

    change_weights(copy, wrap)
    if OLD:
        assert refusal(copy).endswith("save it again from the model itself")
    else:
        assert rewards(load(copy)) == rewards(load(good))


# --- labels, classes, adapters -----------------------------------------------------------------


def state_no_labels(folder: Path) -> None:
    file = folder / "config.json"
    stated = json.loads(file.read_text())
    kept = {k: v for k, v in stated.items() if k not in ("id2label", "label2id", "num_labels")}
    file.write_text(json.dumps(kept))


def test_the_heads_rows_count_where_config_json_states_no_labels(good: Path, copy: Path) -> None:
    state_no_labels(copy)
    scored = score(load(copy), CONVERSATIONS)
    assert list(scored.rewards) == rewards(load(good))
    assert "the head has 1" in scored.audit["warnings"]["labels"]


def test_labels_that_contradict_the_head_are_refused(copy: Path) -> None:
    edit(copy / "config.json", id2label={"0": "good", "1": "bad"}, num_labels=2)
    assert "score.weight" in refusal(copy)


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForCausalLM", "AutoConfig"])
def test_a_class_of_the_models_own_is_never_replaced_in_silence(copy: Path, name: str) -> None:
    edit(copy / "config.json", auto_map={name: "own.Own"})
    message = refusal(copy)
    assert "(own.Own) needs code" in message
    assert message.endswith("pass --trust-remote-code")


def test_a_tokenizer_of_the_models_own_is_never_replaced_in_silence(copy: Path) -> None:
    edit(copy / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "own.Fast"]})
    assert "the tokenizer (own.Fast) needs code" in refusal(copy)


COST = """
from transformers import LlamaModel, LlamaPreTrainedModel
import torch

class Cost(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask)[0]
        last = attention_mask.sum(1) - 1
        return -self.score(hidden[torch.arange(len(last)), last])[:, 0]
"""


def test_the_very_class_that_auto_map_names_is_loaded(
    good: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (copy / "own.py").write_text(COST)
    edit(copy / "config.json", auto_map={"AutoModel": "own.Cost"}, architectures=["Cost"])
    own = load(copy, trust_remote_code=True)
    np.testing.assert_allclose(rewards(own), np.negative(rewards(load(good))), atol=1e-5)
    turned = load(copy, trust_remote_code=True, negate=True)
    np.testing.assert_allclose(rewards(turned), rewards(load(good)), atol=1e-5)
    assert turned.info.settings["negate"] is True


def test_a_token_classifier_is_no_sequence_classifier(tmp_path: Path) -> None:
    model = models.build(
        transformers.AutoModelForTokenClassification.from_config, models.config("llama")
    )
    folder = models.save(tmp_path / "steps", model)
    with pytest.raises(ScorerError, match="LlamaForTokenClassification") as error:
        score(load_scorer(f"classifier:{folder}"), CONVERSATIONS)
    assert "process reward model" in str(error.value)


def test_a_broken_configuration_is_told_whatever_kind_might_claim_it(copy: Path) -> None:
    edit(copy / "config.json", architectures=3)
    assert "config.json has architectures 3" in refusal(copy)


def test_an_adapter_beside_whole_weights_is_refused_on_every_machine(copy: Path) -> None:
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"a": torch.ones(1)}, copy / "adapter_model.safetensors")
    assert refusal(copy).startswith(f"{copy}: adapter_config.json stands beside whole weights")


# --- several outputs ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "bert", "roberta", "gpt2"])
def test_outputs_are_picked_or_added_up(kind: str, tmp_path: Path) -> None:
    model = models.classifier(kind, num_labels=3, id2label={0: "help", 1: "truth", 2: "length"})
    folder = models.save(tmp_path / "rm", model)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    truth = []
    for conversation in CONVERSATIONS:
        ids = words.apply_chat_template(conversation.messages, return_dict=False)
        tokens = torch.tensor([list(ids)])
        with torch.inference_mode():
            truth.append(model(tokens, attention_mask=torch.ones_like(tokens)).logits[0].tolist())
    for asked, weights in (
        ("1", [0, 1, 0]),
        ("length", [0, 0, 1]),
        ("help=0.5, truth = -2", [0.5, -2, 0]),
    ):
        expected = np.array(truth) @ np.array(weights)
        scorer = load(folder, outputs=asked)
        np.testing.assert_allclose(rewards(scorer), expected, atol=1e-5)
        assert scorer.info.settings["outputs"] == asked
    np.testing.assert_allclose(
        rewards(load(folder, outputs="2", negate=True)), -np.array(truth)[:, 2], atol=1e-5
    )


def test_an_added_up_head_is_computed_in_the_fast_way(tmp_path: Path) -> None:
    folder = models.save(tmp_path / "rm", models.classifier("llama", num_labels=2))
    assert score(load(folder, outputs="1"), CONVERSATIONS).audit["batching"] == "packed"


@pytest.mark.parametrize("asked", ["2", "helpful", "0=much", "0=nan", "-1"])
def test_an_output_that_there_is_not_is_refused(asked: str, tmp_path: Path) -> None:
    folder = models.save(tmp_path / "rm", models.classifier("llama", num_labels=2))
    assert f'its outputs have no "{asked}"; give an index' in refusal(folder, outputs=asked)


def test_a_cost_model_that_says_so_has_its_sign_turned(good: Path, copy: Path) -> None:
    edit(copy / "config.json", score_type="cost")
    np.testing.assert_allclose(rewards(load(copy)), np.negative(rewards(load(good))), atol=1e-6)


def test_whether_outputs_come_as_a_tuple_makes_no_difference(good: Path, copy: Path) -> None:
    edit(copy / "config.json", return_dict=False, output_attentions=True)
    assert rewards(load(copy)) == rewards(load(good))


def test_an_encoder_with_an_eos_to_read_is_tried_on_a_conversation(tmp_path: Path) -> None:
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "num_labels": 1}
    shape |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "eos_token_id": 2}
    shape |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": models.VOCABULARY}
    shape |= {"pad_token_id": models.PAD, "bos_token_id": 1, "max_position_embeddings": 128}
    config = transformers.BartConfig(**shape)
    model = models.build(transformers.BartForSequenceClassification, config)
    folder = models.save(tmp_path / "bart", model)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    truth = []
    for conversation in CONVERSATIONS:
        ids = words.apply_chat_template(conversation.messages, return_dict=False)
        truth.append(models.lone_reward(model, [x for x in ids if x != 2] + [2]))
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    (tmp_path / "t.jinja").write_text(template)
    bare = str(tmp_path / "t.jinja")
    assert refusal(folder, template=bare).endswith("pass --eos always")
    np.testing.assert_allclose(rewards(load(folder, template=bare, eos="always")), truth, atol=1e-5)


# --- the tokenizer -----------------------------------------------------------------------------


@pytest.mark.skipif(OLD, reason="transformers 4 takes tokenizer.json as it stands")
def test_a_tokenizer_rebuilt_around_other_rules_is_refused(copy: Path) -> None:
    words = Tokenizer.from_file(str(copy / "tokenizer.json"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    words.save(str(copy / "tokenizer.json"))
    edit(copy / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    message = refusal(copy)
    assert "GPT2Tokenizer" in message
    assert "other token ids than tokenizer.json" in message
    edit(copy / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert len(rewards(load(copy))) == len(CONVERSATIONS)


def test_texts_of_the_run_are_compared_with_the_file_too(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = load_classifier(str(copy), ModelOptions())  # which does not look for changed files
    words = Tokenizer.from_file(str(copy / "tokenizer.json"))
    words.add_tokens(["two and two"])  # no probe has it
    words.save(str(copy / "tokenizer.json"))
    monkeypatch.setattr(tokenizer_findings, "STRIDE", 1)
    with pytest.raises(ScorerError, match=r"other token ids than tokenizer\.json"):
        score(scorer, CONVERSATIONS)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "FromTheFuture", "power": 9}, "upgrade tokenizers and transformers"),
        ({"type": "Split", "pattern": {"Regex": "(a|a)+$"}, "behavior": "Isolated"}, "retry-limit"),
    ],
    ids=["newer", "panic"],
)
def test_a_part_of_the_tokenizer_that_cannot_be_used_is_one_line(
    copy: Path, part: dict[str, Any], told: str
) -> None:
    template = copy / "chat_template.jinja"
    template.write_text("a" * 60 + "!" + models.CHAT)
    edit(copy / "tokenizer.json", pre_tokenizer={"invert": False} | part)
    message = refusal(copy)
    if not OLD or told == "retry-limit":
        assert message.startswith(f"{copy}: ")
        assert told in message


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_told_to_be_pulled(copy: Path, name: str) -> None:
    (copy / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000000\n"
    )
    message = refusal(copy)
    assert message.startswith(f"{copy}: {name} is a Git LFS pointer")
    assert "git lfs pull" in message


def as_shards(folder: Path, home: str = "") -> None:
    """Cut the weights into two files, in a folder below, above or beside the index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / home).mkdir(exist_ok=True)
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[:5]}
    parts |= {"model-00002-of-00002.safetensors": names[5:]}
    for file, inside in parts.items():
        part = {name: weights[name] for name in inside}
        save_file(part, folder / home / file, metadata={"format": "pt"})
    index = {name: f"{home}{file}" for file, inside in parts.items() for name in inside}
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)


def test_shards_without_their_index_are_told_so(copy: Path) -> None:
    as_shards(copy)
    index = copy / "model.safetensors.index.json"
    whole = index.read_text()
    index.unlink()
    assert "their index, model.safetensors.index.json, is missing" in refusal(copy)
    index.write_text("[]")
    assert "no weight_map" in refusal(copy)
    index.write_text(whole)
    (copy / "model-00002-of-00002.safetensors").unlink()
    assert "names model-00002-of-00002.safetensors, which is not there" in refusal(copy)


@pytest.mark.parametrize("home", ["", "parts/", "../elsewhere/"])
def test_the_digest_follows_weights_wherever_their_index_says(
    good: Path, copy: Path, home: str
) -> None:
    as_shards(copy, home)
    assert rewards(load(copy)) == rewards(load(good))
    before = digest_folder(copy)
    part = copy / home / "model-00002-of-00002.safetensors"
    weights = {name: x * 2 for name, x in load_file(part).items()}
    save_file(weights, part, metadata={"format": "pt"})
    assert digest_folder(copy) != before


def test_the_digest_follows_named_templates_and_code(copy: Path) -> None:
    named = copy / "additional_chat_templates" / "default.jinja"
    named.parent.mkdir()
    named.write_text("one")
    before = digest_folder(copy)
    named.write_text("two")
    assert digest_folder(copy) != before
    code = copy / "parts" / "head.py"
    code.parent.mkdir()
    code.write_text("x = 1")
    assert "parts/head.py" not in model_files(copy)
    edit(copy / "config.json", auto_map={"AutoModel": "own.Own"})
    assert "parts/head.py" in model_files(copy)


def turn(folder: Path) -> None:
    """Turn the sign of the head; size and time of the file stay."""
    file = folder / "model.safetensors"
    status = file.stat()
    change_weights(folder, lambda weights: weights["score.weight"].neg_())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def on_mini(folder: Path, cache: Cache) -> Any:
    feed = open_feed(load_suite("mini"), limit=4)
    scorer = load_scorer(str(folder), on_overflow="truncate-left")
    return ask(feed, scorer, cache=cache).judgements.rewards


def test_weights_exchanged_under_their_size_and_time_are_seen(copy: Path, tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        first = on_mini(copy, cache)
        turn(copy)
        second = on_mini(copy, cache)
    np.testing.assert_allclose(second, np.negative(first), atol=1e-6)


@pytest.mark.parametrize("step", ["open_checkpoint", "load_weights"])
def test_a_model_replaced_while_it_is_loaded_is_refused(
    copy: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(classifier, step)

    def replaced(*given: Any) -> Any:
        before = real(*given) if step == "load_weights" else None
        turn(copy)
        return before or real(*given)

    monkeypatch.setattr(classifier, step, replaced)
    with Cache(tmp_path / "cache") as cache:
        with pytest.raises(ScorerError, match="changed"):
            on_mini(copy, cache)
        assert cache.info().answers == 0


def test_a_file_added_or_removed_is_a_change(copy: Path) -> None:
    before = take_stamps(copy)
    check_unmoved(copy, before)
    (copy / "added_tokens.json").write_text("{}")
    with pytest.raises(ScorerError, match=r"added_tokens\.json changed"):
        check_unmoved(copy, before)


def test_missing_weights_are_told_before_what_else_is_wrong(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ScorerError, match="no weights"):
        load_classifier(str(copy), ModelOptions())
