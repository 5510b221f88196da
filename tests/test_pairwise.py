"""Pairwise models: PairRM's layout, computed once more in plain PyTorch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import DebertaV2Config, DebertaV2Model, PreTrainedTokenizerFast

from rmbench.errors import ScorerError
from rmbench.scorers.contract import MemoryLedger
from rmbench.scorers.pairwise import PairModel, PairOptions
from rmbench.suite.comparison import Candidates, Message

MARKS = ("<|source|>", "<|candidate1|>", "<|candidate2|>")
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *MARKS, *"abcdefghijklmnopqrstuvwxyz"]
HIDDEN = 32


def tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    core.add_special_tokens(list(MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )


@pytest.fixture(scope="module")
def parts() -> tuple[Any, torch.nn.Sequential]:
    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=0,
        architectures=["DebertaV2PairRM"],
    )
    head = torch.nn.Sequential(
        torch.nn.Dropout(),
        torch.nn.Linear(2 * HIDDEN, HIDDEN),
        torch.nn.Tanh(),
        torch.nn.Dropout(),
        torch.nn.Linear(HIDDEN, 1),
    )
    return DebertaV2Model(config).eval(), head.eval()


@pytest.fixture(scope="module")
def folder(
    parts: tuple[Any, torch.nn.Sequential], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder as PairRM's authors lay it out."""
    path = tmp_path_factory.mktemp("pairs")
    backbone, head = parts
    tensors = {f"pretrained_model.{k}": v.contiguous() for k, v in backbone.state_dict().items()}
    tensors |= {f"head_layer.{k}": v.contiguous() for k, v in head.state_dict().items()}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    backbone.config.architectures = ["DebertaV2PairRM"]
    backbone.config.save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


QUESTION = Candidates((Message("user", "ask"),), ("good", "worse"), "q")


def test_a_preference_is_the_sigmoid_of_the_difference(
    folder: Path, parts: tuple[Any, torch.nn.Sequential]
) -> None:
    backbone, head = parts
    own = tokenizer()
    texts = (f"{MARKS[0]}ask", f"{MARKS[1]}good", f"{MARKS[2]}worse")
    ids = [token for text in texts for token in own(text)["input_ids"]]
    assert ids[:2] == [1, 4]
    with torch.inference_mode():
        states = backbone(input_ids=torch.tensor([ids])).last_hidden_state[0]
        source, first, second = (states[ids.index(WORDS.index(mark))] for mark in MARKS)
        logit = head(torch.cat([source, first])) - head(torch.cat([source, second]))
    ledger = MemoryLedger()
    scorer = PairModel(str(folder), PairOptions(dtype="float32"))
    facts = scorer.prefer([QUESTION], ledger)
    share = float(logit.sigmoid())
    assert ledger.answers[0] == pytest.approx((share, 1 - share), abs=1e-6)
    assert 0.01 < share < 0.99
    assert facts.audit == {"prompts cut": 0, "responses cut": 0}
    assert (scorer.info.gives, scorer.info.scale, scorer.most) == (
        "preferences",
        "probability",
        2,
    )


def test_long_parts_are_cut_and_counted(folder: Path) -> None:
    options = PairOptions(dtype="float32", source_tokens=4, candidate_tokens=5)
    scorer = PairModel(str(folder), options)
    facts = scorer.prefer([QUESTION], MemoryLedger())
    assert facts.audit == {"prompts cut": 1, "responses cut": 2}
    assert scorer.info.settings["source_tokens"] == 4


def test_a_text_that_holds_a_mark_is_not_asked(folder: Path) -> None:
    hostile = Candidates((Message("user", "ask"),), ("a<|candidate2|>b", "c"), "q")
    ledger = MemoryLedger()
    scorer = PairModel(str(folder), PairOptions(dtype="float32"))
    facts = scorer.prefer([hostile, QUESTION], ledger)
    assert facts.unanswered == {0: "a text holds a mark of the model's"}
    assert set(ledger.answers) == {1}


def test_what_is_no_pair_encoder_is_said() -> None:
    with pytest.raises(ScorerError, match=r"no token <\|source\|>, .*give its three marks"):
        PairModel("tiny", PairOptions()).prefer([QUESTION], MemoryLedger())
