"""Reward models from folders: what is loaded, what is scored, and what is refused and how."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import models
import numpy as np
import pytest
import torch
import transformers
from asked import Scored, score
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from rmbench.api import evaluate
from rmbench.checkpoint.options import ModelOptions
from rmbench.errors import ScorerError
from rmbench.scorers.classifier import Classifier, load_classifier
from rmbench.suite.comparison import Conversation, Message

CONVERSATIONS = [
    Conversation((Message("user", prompt),), response, f"sub/{i}, {side}")
    for i, prompt in enumerate(["What is two and two?", "Name a colour.", "Hello"])
    for side, response in (("chosen", f"Four, red, hi {i}"), ("rejected", "I will not say."))
]
OLD = int(transformers.__version__.split(".")[0]) < 5
"""Release 4 finds the same faults and says less about them."""
RANDOM = "these weights would be random and so would the rewards; use a checkpoint saved with its"
TRUST = "read that code, then pass --trust-remote-code"

Change = Callable[[Path], None]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama reward model with tokenizer and template, as the Hub has them."""
    return models.save(tmp_path_factory.mktemp("models") / "good", models.classifier("llama"))


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    """A copy of the good model to damage."""
    return Path(shutil.copytree(good, tmp_path / "rm"))


def load(folder: Path | str, **options: Any) -> Classifier:
    return load_classifier(str(folder), ModelOptions(**options))


def refusal(folder: Path | str, **options: Any) -> str:
    """Return the one line with which a model is refused."""
    with pytest.raises(ScorerError) as error:
        load_classifier(str(folder), ModelOptions(**options))
    message = str(error.value)
    assert "\n" not in message
    return message


def rewards(scorer: Classifier) -> list[float]:
    return [float(x) for x in score(scorer, CONVERSATIONS).rewards if x is not None]


def assert_equal_rewards(one: Classifier, other: Classifier, *, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(rewards(one), rewards(other), rtol=0, atol=atol)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def as_pickle(folder: Path, content: Any = None) -> None:
    """Replace the weights by a pickle of themselves, or of something else."""
    path = folder / "model.safetensors"
    torch.save(load_file(path) if content is None else content, folder / "pytorch_model.bin")
    path.unlink()


# --- What is loaded ---------------------------------------------------------------------------


def test_a_folder_becomes_a_scorer_that_says_what_it_is(good: Path) -> None:
    info = load(good).info
    assert (info.id, info.kind) == ("good", "classifier")
    assert info.revision is not None
    assert info.revision.startswith("sha256:")
    # Embeddings, two layers (attention 4 x 32 x 32 less half of k and v, three products with 64,
    # two norms), the last norm, the head.
    layer = 32 * 32 * 3 + 3 * 32 * 64 + 2 * 32
    assert info.parameters == models.VOCABULARY * 32 + 2 * layer + 32 + 32
    expected = {
        "dtype": "float32",
        "attention": "sdpa",
        "template": "tokenizer",
        "max_length": models.POSITIONS,
        "on_overflow": "error",
    }
    assert {name: info.settings[name] for name in expected} == expected


def test_rewards_are_those_of_the_lone_forward(good: Path) -> None:
    scored = score(load(good), CONVERSATIONS)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(good).eval()
    words = transformers.AutoTokenizer.from_pretrained(good)
    for conversation, reward in zip(CONVERSATIONS, scored.rewards, strict=True):
        ids = words.apply_chat_template(conversation.messages, return_dict=False)
        assert reward == pytest.approx(models.lone_reward(model, ids), abs=1e-5)


def test_rewards_differ_between_conversations(good: Path) -> None:
    assert len(set(score(load(good), CONVERSATIONS).rewards)) == len(CONVERSATIONS)


def test_the_digest_follows_the_content_of_the_folder(good: Path, copy: Path) -> None:
    before = load(good).info.revision
    assert load(copy).info.revision == before
    (copy / "README.md").write_text("A card changes no reward.")
    assert load(copy).info.revision == before
    edit_weights(copy, lambda weights: weights["score.weight"].mul_(2))
    assert load(copy).info.revision != before


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_smaller_dtype_is_used_and_recorded(good: Path, dtype: str) -> None:
    scorer = load(good, dtype=dtype)
    assert scorer.info.settings["dtype"] == dtype
    assert scorer.engine.model.dtype == getattr(torch, dtype)
    assert_equal_rewards(scorer, load(good), atol=0.1)


def test_attention_is_used_and_recorded(good: Path) -> None:
    assert load(good, attention="eager").info.settings["attention"] == "eager"


def test_what_happened_is_in_audit_and_timing(good: Path) -> None:
    scored = score(load(good), [*CONVERSATIONS, *CONVERSATIONS])
    assert scored.audit["overflowed"] == 0
    assert scored.audit["longest"] == max(
        len(f"[user]{c.prompt[0].content}!{'[assistant]'}{c.response}!") for c in CONVERSATIONS
    )
    assert scored.audit["batching"] != "alone"
    assert 0.0 <= scored.audit["difference"] < 1e-5
    assert scored.timing["tokens"] > 0
    # Equal conversations are one input.
    assert scored.inputs is not None
    assert list(scored.inputs[:6]) == list(scored.inputs[6:])
    assert len(set(scored.inputs)) == len(CONVERSATIONS)


# --- Refused: not a reward model --------------------------------------------------------------


@pytest.mark.parametrize("labels", [1, 2])
def test_a_language_model_is_refused(tmp_path: Path, labels: int) -> None:
    model = models.build(transformers.LlamaForCausalLM, models.config("llama", num_labels=labels))
    folder = models.save(tmp_path / "lm", model)
    assert refusal(folder) == (
        f"{folder}: its architecture is LlamaForCausalLM, not a sequence classifier, and its"
        " weights hold no reward head; give a reward model, or a file for --reader that names rows"
        " of lm_head"
    )


def test_two_logits_are_refused_until_it_is_said_which(tmp_path: Path) -> None:
    folder = models.save(tmp_path / "two", models.classifier("llama", num_labels=2))
    assert refusal(folder) == (
        "two: returns: 2 logits (LABEL_0, LABEL_1) where a reward is one, and which of them is the"
        " reward is not known; say which with --model-output INDEX, or add them up with"
        " name=weight,..."
    )


def test_a_sentence_embedding_model_is_refused(tmp_path: Path) -> None:
    model = models.build(transformers.BertModel, models.config("bert", num_labels=2))
    folder = models.save(tmp_path / "embedder", model)
    assert refusal(folder) == (
        f"{folder}: its architecture is BertModel, not a sequence classifier, and its weights hold"
        " no reward head; give a reward model, or a file for --reader that names rows of lm_head"
    )


# --- Refused: weights that are not all there --------------------------------------------------


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda w: w.pop("score.weight"), "lacks score.weight"),
        (
            lambda w: w.update({"v_head.weight": w.pop("score.weight")}),
            "lacks score.weight (it has v_head.weight, which this model has no use for)",
        ),
        (
            lambda w: w.update({"score.weight": torch.zeros(2, 32)}),
            "has score.weight in another shape than config.json implies"
            if OLD
            else "has score.weight in shape (2, 32) where config.json implies (1, 32)",
        ),
        (
            lambda w: w.pop("model.layers.1.mlp.up_proj.weight"),
            "lacks model.layers.1.mlp.up_proj.weight",
        ),
        (
            lambda w: (
                [w.pop(f"model.layers.1.mlp.{x}_proj.weight") for x in ("up", "down", "gate")]
                and w.pop("score.weight")
            ),
            "lacks model.layers.1.mlp.down_proj.weight, model.layers.1.mlp.gate_proj.weight,"
            " model.layers.1.mlp.up_proj.weight and 1 more",
        ),
    ],
    ids=["no head", "another head", "another shape", "no layer", "many"],
)
def test_weights_that_would_be_random_are_refused(copy: Path, change: Any, finding: str) -> None:
    edit_weights(copy, change)
    assert refusal(copy) == f"{copy}: the checkpoint {finding}; {RANDOM} reward head"


@pytest.mark.parametrize("content", [b"", b"\xff" * 500, b"version 1 of something\n"])
def test_a_damaged_safetensors_file_is_refused(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    message = refusal(copy)
    assert message.startswith(f"{copy}: model.safetensors is damaged or cut off (")
    assert message.endswith("); copy or download it again")


def test_a_safetensors_file_that_is_cut_off_is_refused(copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5_000])
    assert "damaged or cut off" in refusal(copy)


@pytest.mark.parametrize("trust_pickle", [False, True])
def test_a_folder_without_weights_is_refused(copy: Path, trust_pickle: bool) -> None:
    (copy / "model.safetensors").unlink()
    assert refusal(copy, trust_pickle=trust_pickle) == (
        f"{copy}: no weights; a model has them in model.safetensors (or several such files)"
    )


def test_pickle_weights_are_refused_unless_trusted(good: Path, copy: Path) -> None:
    as_pickle(copy)
    assert refusal(copy) == (
        f"{copy}: no safetensors weights; pickle weights can run code: convert them, or pass"
        " --trust-pickle if you trust their author"
    )
    assert_equal_rewards(load(copy, trust_pickle=True), load(good))


class Evil:
    """A pickle that makes a folder where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def test_a_trusted_pickle_that_holds_code_is_refused_and_runs_nothing(copy: Path) -> None:
    mark = copy / "mark"
    as_pickle(copy, {"score.weight": Evil(mark)})
    assert refusal(copy, trust_pickle=True) == (
        f"{copy}: its pickle file holds more than weights, which could run code, so torch refuses"
        " it; convert the weights to safetensors"
    )
    assert not mark.exists()


# --- Refused: code from the repository --------------------------------------------------------

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForSequenceClassification

Path({mark!r}).touch()

class MyConfig(LlamaConfig):
    model_type = "mine"

class MyModel(LlamaForSequenceClassification):
    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = -output.logits
        return output
"""


def add_code(folder: Path, model_type: str, **auto_map: str) -> Path:
    """Give a model code of its own, which leaves a mark when it is loaded."""
    mark = folder / "mark"
    (folder / "mine.py").write_text(CODE.format(mark=str(mark)))
    edit_config(folder, model_type=model_type, auto_map=auto_map, architectures=["MyModel"])
    return mark


def test_a_model_of_an_own_type_is_refused_and_none_of_its_code_runs(copy: Path) -> None:
    mark = add_code(
        copy,
        "mine",
        AutoConfig="mine.MyConfig",
        AutoModelForSequenceClassification="mine.MyModel",
    )
    assert refusal(copy) == (
        f"{copy}: the model (mine.MyConfig) needs code from the model's repository; {TRUST}"
    )
    assert not mark.exists()


def test_an_own_class_of_a_known_type_is_refused_and_not_replaced_silently(copy: Path) -> None:
    mark = add_code(copy, "llama", AutoModelForSequenceClassification="mine.MyModel")
    assert refusal(copy) == (
        f"{copy}: the model (mine.MyModel) needs code from the model's repository; {TRUST}"
    )
    assert not mark.exists()


def test_trusted_code_gives_its_own_rewards(
    good: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(
        transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    mark = add_code(copy, "llama", AutoModelForSequenceClassification="mine.MyModel")
    own = rewards(load(copy, trust_remote_code=True))
    assert mark.exists()
    np.testing.assert_allclose(own, np.negative(rewards(load(good))), rtol=0, atol=1e-5)


# --- Refused: folders and files ---------------------------------------------------------------


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path}: no config.json; give the folder of one model, as save_pretrained writes it"
    )


def test_a_revision_of_a_local_folder_is_refused(good: Path) -> None:
    assert refusal(good, revision="abc") == (
        f"{good}: --revision abc is for models of the Hub; a local folder has no revisions, so"
        " leave it out"
    )


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("[]", "config.json is no JSON object"),
        ("{}", "model_type"),
        ('{"model_type": "llama", "hidden_size": "many"}', "config.json has hidden_size 'many'"),
        ('{"model_type": "llama", "num_attention_heads": 0}', "has num_attention_heads 0"),
        ('{"model_type": "llama", "num_hidden_layers": 10000000}', "has num_hidden_layers 1000000"),
        ('{"model_type": "llama", "vocab_size": -7}', "config.json has vocab_size -7"),
        ('{"model_type": "llama", "rope_theta": " "}', "config.json has rope_theta ' '"),
        ('{"rope_parameters": {"rope_theta": null}, "rope_scaling": {"rope_theta": []}}', "[]"),
        ('{"text_config": {"num_key_value_heads": 0}}', "has num_key_value_heads 0"),
        ('{"architectures": [1]}', "has architectures [1]"),
    ],
)
def test_a_broken_config_is_refused(copy: Path, content: str, finding: str) -> None:
    (copy / "config.json").write_text(content)
    message = refusal(copy)
    assert message.startswith(f"{copy}: ")
    assert message.endswith("fix config.json, or copy it from the original model")
    assert finding in message


def test_a_config_that_is_not_json_is_told_what_to_do(copy: Path) -> None:
    (copy / "config.json").write_text("{broken")
    message = refusal(copy)
    assert message.startswith(f"{copy}: its config.json is not JSON (")
    assert message.endswith("; copy or download it again")


def test_an_unknown_model_type_is_refused(copy: Path) -> None:
    edit_config(copy, model_type="nosuch")
    assert refusal(copy) == (
        f"{copy}: its model_type is unknown to transformers {transformers.__version__};"
        " upgrade transformers, or name the decoder that it is built over as backbone in a file for"
        " --reader"
    )


@pytest.mark.parametrize("template", ["tokenizer", "none"])
def test_a_folder_without_tokenizer_is_refused(copy: Path, template: str) -> None:
    for pattern in ("tokenizer*", "special_tokens*", "chat_template*"):
        for path in copy.glob(pattern):
            path.unlink()
    assert refusal(copy, template=template) == (
        f"{copy}: no tokenizer that can be read; put the one that the model was trained with"
        " (tokenizer.json, tokenizer_config.json) beside its weights"
    )


def test_a_broken_tokenizer_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{broken")
    message = refusal(copy)
    if OLD:
        assert message.startswith(f"{copy}: no tokenizer that can be read; put the one that")
    else:
        assert message.startswith(f"{copy}: the tokenizer cannot be loaded: JSONDecodeError: ")
        assert message.endswith("or copy them from the original model")


def test_a_tokenizer_without_chat_template_is_refused_unless_told_none(tmp_path: Path) -> None:
    words = models.tokenizer(template=None)
    folder = models.save(tmp_path / "plain", models.classifier("llama"), words)
    assert refusal(folder) == (
        "plain: no chat template in the tokenizer; give the one it was trained with as"
        " --template FILE.jinja, or --template none for plain prompt + response"
    )
    scorer = load(folder, template="none")
    assert None not in score(scorer, CONVERSATIONS).rewards
    assert scorer.info.settings["template"] == "none"


def test_a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_refused(
    tmp_path: Path,
) -> None:
    folder = models.save(tmp_path / "narrow", models.classifier("llama", vocab_size=60))
    with pytest.raises(ScorerError, match="narrow: ") as error:
        score(load(folder), CONVERSATIONS)
    assert "embeddings" in str(error.value)
    assert "tokenizer" in str(error.value)


def test_a_hub_id_that_is_not_cached_is_one_line_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmbench.cli import main

    # What HF_HUB_OFFLINE=1 and HF_HOME set, had they been there when Python started.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    command = ["run", "--model", "org/none", "--suite", "mini", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == (
        "rmbench: org/none: not in the cache, and the Hub (https://huggingface.co) cannot be"
        " reached; run once with a network to cache it, or give a local folder\n"
    )


# --- Refused: options -------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda:77", "gpu", "meta"])
def test_a_device_that_is_not_there_is_refused(good: Path, device: str) -> None:
    assert refusal(good, device=device) == (
        f'device "{device}" cannot be used: torch {torch.__version__} finds'
        f" {torch.cuda.device_count()} CUDA devices here; give auto or cpu,"
        " or what there is of cuda, cuda:1, mps"
    )


def test_an_attention_that_is_not_there_is_refused(good: Path) -> None:
    message = refusal(good, attention="nosuch")
    assert message.startswith(f"{good}: --attention nosuch cannot be used: ")
    assert message.endswith("; give sdpa or eager, or leave it out")


def test_a_length_beyond_the_models_is_refused(good: Path) -> None:
    assert refusal(good, max_length=129) == (
        "good: --max-length 129 is beyond the model's own 128 tokens; give less, or leave it out"
    )
    assert load(good, max_length=128).info.settings["max_length"] == 128


def test_roberta_has_fewer_positions_than_its_config_says(tmp_path: Path) -> None:
    # It counts positions from behind its pad token's id, here 0, as fairseq did.
    folder = models.save(tmp_path / "roberta", models.classifier("roberta"))
    scorer = load(folder)
    assert scorer.info.settings["max_length"] == 127
    texts = [Conversation((Message("user", ""),), "a" * (127 - 19), "sub/1, chosen")]
    scored = score(scorer, texts)
    assert scored.audit["longest"] == 127
    assert refusal(folder, max_length=128) == (
        "roberta: --max-length 128 is beyond the model's own 127 tokens; give less, or leave it out"
    )


def test_a_template_that_refuses_is_one_line(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "strict.jinja"
    path.write_text("{{ raise_exception('no assistants here') }}")
    message = refusal(good, template=str(path))
    assert "the template strict.jinja fails: no assistants here" in message
    assert message.endswith("; fix it, or give another with --template FILE")


# --- Overflow ---------------------------------------------------------------------------------


def same_ends() -> list[Conversation]:
    """Return two comparisons; in the first one the two sides end alike."""
    texts = ["good" + "x" * 50, "bad" + "x" * 50, "y" * 60, "z"]
    return [
        Conversation((Message("user", "hi"),), text, f"sub/{i // 2}, side")
        for i, text in enumerate(texts)
    ]


def score_short(good: Path, on_overflow: str) -> Scored:
    return score(load(good, template="none", max_length=40, on_overflow=on_overflow), same_ends())


def test_overflow_is_an_error_by_default(good: Path) -> None:
    with pytest.raises(ScorerError) as error:
        score_short(good, "error")
    assert str(error.value) == (
        "3 of 4 conversations have more than 40 tokens, sub/1, side has 62;"
        " pass --on-overflow truncate-left or drop"
    )


def test_truncated_sides_that_became_equal_are_one_input(good: Path) -> None:
    scored = score_short(good, "truncate-left")
    assert scored.inputs is not None
    assert scored.inputs[0] == scored.inputs[1]
    assert len(set(scored.inputs)) == 3
    assert scored.rewards[0] == scored.rewards[1]
    assert scored.audit["overflowed"] == 3


def test_dropped_conversations_have_no_reward_and_equal_nothing(good: Path) -> None:
    scored = score_short(good, "drop")
    assert [reward is None for reward in scored.rewards] == [True, True, True, False]
    assert scored.inputs is not None
    assert len(set(scored.inputs)) == 4


def test_when_every_conversation_is_dropped_there_are_no_rewards(good: Path) -> None:
    scorer = load(good, template="none", max_length=2, on_overflow="drop")
    assert score(scorer, same_ends()[:2]).rewards == [None, None]


SUITE = """
name = "short"
title = "Short"
version = 1
license = "Apache-2.0"
reference = "https://example.org"

[source]
path = "short.jsonl"

[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"

[credit]
rule = "pair"
tie = 0.0

[averages]
pooled = "comparisons"
headline = "pooled"
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    """The comparisons of ``same_ends`` and one short one as a suite file."""
    texts = [r.response for r in same_ends()] + ["a", "b"]
    rows = [
        {
            "id": str(i),
            "subset": "sub",
            "prompt": "hi",
            "chosen": texts[2 * i],
            "rejected": texts[2 * i + 1],
        }
        for i in range(3)
    ]
    (tmp_path / "short.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "short.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.mark.parametrize(
    ("on_overflow", "identical", "dropped", "left"),
    [("truncate-left", 1, 0, 3), ("drop", 0, 2, 1)],
)
def test_the_audit_counts_what_overflow_did_to_comparisons(
    good: Path, suite: str, on_overflow: str, identical: int, dropped: int, left: int
) -> None:
    scorer = load(good, template="none", max_length=40, on_overflow=on_overflow)
    result = evaluate(suite, scorer)
    assert result.audit["overflowed"] == 3
    assert result.audit["identical_inputs"] == identical
    assert result.audit["dropped"] == dropped
    assert result.averages["pooled"].n == left


# --- tiny -------------------------------------------------------------------------------------

TINY = Path(__file__).parent.parent / "rmbench" / "tiny"
needs_tiny = pytest.mark.skipif(not TINY.is_dir(), reason="rmbench/tiny is not there yet")


@needs_tiny
def test_tiny_is_small() -> None:
    assert sum(path.stat().st_size for path in TINY.rglob("*")) <= 4_000_000


@needs_tiny
def test_tiny_gives_the_rewards_of_its_lone_forward() -> None:
    scorer = load("tiny")
    assert scorer.info.id == "tiny"
    several = (Message("user", "Hi!"), Message("assistant", "Hello."), Message("user", "Sing."))
    texts = [
        *CONVERSATIONS,
        Conversation(several, "La, la, la."),
        Conversation((Message("system", "Be brief."), Message("user", "Why?")), "Because. " * 40),
        Conversation((Message("user", "Empty?"),), ""),
    ]
    scored = score(scorer, texts)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        TINY, dtype=torch.float32
    ).eval()
    words = transformers.AutoTokenizer.from_pretrained(TINY)
    for conversation, reward in zip(texts, scored.rewards, strict=True):
        ids = words.apply_chat_template(conversation.messages, return_dict=False)
        assert reward == pytest.approx(models.lone_reward(model, ids), abs=1e-5)


@needs_tiny
def test_a_folder_named_tiny_does_not_stand_in_for_the_built_in(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(good, tmp_path / "tiny")
    assert load("tiny").info.revision != load("./tiny").info.revision
    assert load("./tiny").info.revision == load(good).info.revision
