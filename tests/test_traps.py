"""The traps of docs/traps.md, one by one: each built here with exactly its fault."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import models
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from asked import Given
from click.testing import CliRunner
from torch import nn
from transformers import LlamaForSequenceClassification

from rmbench.accuracy.aggregate import section_weights, weighted_mean
from rmbench.api import evaluate
from rmbench.checkpoint.config_findings import check_attention, check_rope
from rmbench.checkpoint.encode import encode, load_template
from rmbench.checkpoint.network_findings import check_head
from rmbench.checkpoint.options import ModelOptions
from rmbench.cli import main
from rmbench.engine.scoring import Engine
from rmbench.errors import DataError, ScorerError
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.contract import ScorerInfo
from rmbench.scorers.registry import load_scorer
from rmbench.show.formats import format_table
from rmbench.show.result import result_table
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation, Message

PAGE = Path(__file__).parent.parent / "docs" / "traps.md"
LONG = {"max_position_embeddings": 2048}
SUITE = """name = "own"
[source]
path = "rows.jsonl"
[columns]
id = ["id"]
subset = "subset"
chosen = "chosen"
rejected = "rejected"
"""
IDS = [
    np.array(ids, dtype=np.int32)
    for ids in ([5, 6, 7], [8, 9], [5, 6, 7, 10, 11, 12, 13], [20, models.EOS], [30] * 9)
]


def own_suite(folder: Path, rows: list[dict[str, Any]], *, prompt: bool = True) -> str:
    """Write rows and a suite file beside them; return the file's path."""
    lines = [{"id": str(i), "subset": "s"} | row for i, row in enumerate(rows)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = SUITE + ('prompt = "prompt"\n' if prompt else "")
    (folder / "own.toml").write_text(text)
    return str(folder / "own.toml")


PAIR = {"prompt": "How many?", "chosen": "Two of them.", "rejected": "No idea."}


def saved(folder: Path, words: Any = None, **changes: Any) -> Path:
    """Write a good Llama reward model, changed as asked, and return its folder."""
    return models.save(folder / "rm", models.classifier("llama", **(LONG | changes)), words)


def doctor(folder: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", str(folder), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout


def run(folder: Path, suite: str = "mini", **options: Any) -> Any:
    return evaluate(suite, load_scorer(str(folder), ModelOptions(**options)), limit=6)


def refusal(folder: Path, **options: Any) -> str:
    """Return the line with which `run` refuses a model, once `doctor` has refused it too."""
    with pytest.raises(ScorerError) as error:
        load_classifier(str(folder), ModelOptions(**options))
    flags = [f"--{key}={value}" for key, value in options.items()]
    code, output = doctor(folder, *flags)
    assert code == 2
    assert "refused" in output
    return str(error.value)


def assert_rewards_of_the_lone_forward(model: Any) -> None:
    rewards = Engine(model).score(IDS).rewards
    expected = [models.lone_reward(model, ids) for ids in IDS]
    np.testing.assert_allclose(rewards, expected, atol=1e-4)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- the page ------------------------------------------------------------------------------------


def test_the_page_names_a_test_for_each_trap() -> None:
    row = re.compile(r"^\| (\d+) \|.*\| (?:impossible|refused|counted) \|.*`(test_\w+)` \|$", re.M)
    rows = row.findall(PAGE.read_text())
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 59
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for number, test in rows:
        assert f"def {test}(" in tests, f"trap {number}"


# --- pooling and padding -------------------------------------------------------------------------


def test_trap_01_pad_equal_to_eos(tmp_path: Path) -> None:
    words = models.tokenizer()
    words.pad_token = "</s>"
    folder = saved(tmp_path, words, pad_token_id=models.EOS)
    assert_rewards_of_the_lone_forward(models.classifier("llama", pad_token_id=models.EOS))
    assert "pad == eos, so the model passes over" in doctor(folder)[1]


class OldPooling(LlamaForSequenceClassification):
    """Reads before the first pad, as transformers did until early 2025."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        states = self.model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        places = torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1
        pooled = self.score(states)[torch.arange(len(input_ids)), places % input_ids.shape[1]]
        return SequenceClassifierOutputWithPast(logits=pooled)


@pytest.mark.parametrize("pad", [models.PAD, models.EOS])
def test_trap_02_pooling_that_left_padding_would_break(pad: int) -> None:
    assert_rewards_of_the_lone_forward(
        models.build(OldPooling, models.config("llama", pad_token_id=pad))
    )


def test_trap_03_absolute_positions() -> None:
    assert_rewards_of_the_lone_forward(models.classifier("gpt2"))


def test_trap_04_no_pad_token_in_the_config(tmp_path: Path) -> None:
    folder = saved(tmp_path, pad_token_id=None)
    assert_rewards_of_the_lone_forward(models.classifier("llama", pad_token_id=None))
    code, output = doctor(folder)
    assert code == 0
    assert "the model has no pad token" in output


class GuessesTheSide(OldPooling):
    """Takes the side of the padding from the first column of the mask."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutputWithPast

        states = self.model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        is_left = bool((attention_mask[:, 0] == 0).any())
        places = torch.full((len(input_ids),), -1) if is_left else attention_mask.sum(1) - 1
        pooled = self.score(states)[torch.arange(len(input_ids)), places]
        return SequenceClassifierOutputWithPast(logits=pooled)


def test_trap_05_a_head_that_guesses_the_side_of_the_padding() -> None:
    assert_rewards_of_the_lone_forward(models.build(GuessesTheSide, models.config("llama")))


class FeelsItsNeighbours(OldPooling):
    """Gives other rewards in a batch than alone, as half precision does."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits + 0.1 * (len(output.logits) - 1)
        return output


def test_trap_06_rewards_that_depend_on_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.build(FeelsItsNeighbours, models.config("llama"))
    assert_rewards_of_the_lone_forward(model)
    folder = saved(tmp_path)
    audit = run(folder).audit
    assert audit["refused_batching"] == {}
    assert 0 < audit["difference"] < 1e-4
    assert audit["rechecked"]["flipped"] == 0
    # Now one whose hidden states depend on how many tokens are computed at once.
    forward = transformers.LlamaModel.forward

    def crowded(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        states = output.last_hidden_state
        output.last_hidden_state = states * (1 + 0.01 * states.shape[0] * states.shape[1])
        return output

    monkeypatch.setattr(transformers.LlamaModel, "forward", crowded)
    result = run(folder, batch_tokens=2000)
    assert result.audit["batching"] == "alone"
    assert min(result.audit["refused_batching"].values()) > 0.1
    table = format_table(result_table(result, load_suite("mini")), "table")
    assert re.search(r"audit: batching \w+ refused: [\d.]+ from the lone forward", table)


def test_trap_06_doctor_scores_alone_in_batches_and_in_reverse(tmp_path: Path) -> None:
    found = re.search(
        r"batch invariance +16 conversations alone, in batches, in reverse: (\S+) apart, 0 of 8",
        doctor(saved(tmp_path))[1],
    )
    assert found is not None
    assert float(found[1]) < 1e-4


def test_trap_07_attention_without_the_models_soft_cap(tmp_path: Path) -> None:
    folder = models.save(tmp_path / "rm", models.classifier("gemma2", **LONG))
    assert load_classifier(str(folder), ModelOptions()).info.settings["attention"] == "eager"
    check = check_attention(models.config("gemma2"), "sdpa")
    assert check.status == "warning"
    assert "may leave out the soft cap of 50" in check.seen


# --- text ----------------------------------------------------------------------------------------


def test_trap_08_bos_twice(tmp_path: Path) -> None:
    words = models.tokenizer(template="<s>" + models.CHAT, adds_bos=True)
    once = run(saved(tmp_path, words))  # the tokenizer would add a second one
    assert once.audit["warnings"] == {}
    twice = models.tokenizer(template="<s><s>" + models.CHAT)
    folder = saved(tmp_path / "twice", twice)
    assert "BOS: 2 times at the beginning; --bos always keeps one" in refusal(folder)
    assert doctor(folder, "--bos", "always")[0] == 0


def test_trap_09_no_eos_after_the_response(tmp_path: Path) -> None:
    words = models.tokenizer(template="{{ messages[0].content }}{{ messages[-1].content }}")
    folder = saved(tmp_path, words)
    assert re.search(r"warning +EOS +none after the response", doctor(folder)[1])
    assert run(folder).audit["warnings"]["EOS"] == "none after the response"
    assert run(folder, eos="always").audit["warnings"] == {}


def test_trap_10_no_chat_template(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, models.tokenizer(template=None)))
    assert "--template FILE.jinja, or --template none" in message


def test_trap_11_words_that_the_template_puts_in(tmp_path: Path) -> None:
    own = '{{ strftime_now("%Y") }} You are a most helpful assistant.'
    folder = saved(tmp_path, models.tokenizer(template=own + models.CHAT))
    code, output = doctor(folder)
    assert code == 0
    assert '"2024 You are a most helpful assistant."' in output
    assert "rmbench always tells it 2024-07-26" in output
    assert run(folder).settings["template_date"] == "2024-07-26"


@pytest.mark.parametrize(
    "template", ["{{ strftime_now('%Y-%m-%d') }}", "{% set f = strftime_now %}{{ f('%F') }}"]
)
def test_trap_11_the_day_of_the_run_is_never_written(template: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, models.tokenizer(template=template + models.CHAT))
    assert "2024-07-26[user]" in doctor(folder)[1]
    assert run(folder).settings["template_date"] == "2024-07-26"


def test_trap_11_words_that_change_from_run_to_run(tmp_path: Path) -> None:
    words = models.tokenizer(template="{{ range(1000) | random }}" + models.CHAT)
    assert "template: it writes another text each time" in refusal(saved(tmp_path, words))


def test_trap_12_special_tokens_within_the_texts_are_kept() -> None:
    words = models.tokenizer()
    words.bos_token = None
    conversation = Conversation((Message("user", "What is <s>?"),), "A <s> is a <s>.")
    encoded = encode(
        [conversation],
        tokenizer=words,
        template=load_template("tokenizer", words, "rm"),
        max_length=None,
        on_overflow="error",
    )
    assert encoded.sequences[0] is not None
    assert words.decode(encoded.sequences[0].tolist()).count("<s>") == 3


def test_trap_13_lists_of_messages_whatever_datasets_calls_them(tmp_path: Path) -> None:
    def turns(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]

    rows = [{"id": "1", "subset": "s", "chosen": turns("longer"), "rejected": turns("short")}]
    suite = own_suite(tmp_path, [PAIR], prompt=False)
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    result = evaluate(suite, load_scorer("length"), data=str(tmp_path / "saved"))
    assert result.rewards[0].chosen == (6.0,)  # characters of "longer", the last message alone


def test_trap_14_sides_with_different_prompts(tmp_path: Path) -> None:
    def turns(question: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": question}, {"role": "assistant", "content": "Yes"}]

    suite = own_suite(
        tmp_path, [{"chosen": turns("Is it?"), "rejected": turns("Was it?")}], prompt=False
    )
    with pytest.raises(DataError, match=r"rows.jsonl, row 1: .*both sides must share it"):
        evaluate(suite, load_scorer("length"))


# --- length --------------------------------------------------------------------------------------


def test_trap_15_truncation_that_makes_both_sides_equal(tmp_path: Path) -> None:
    row = PAIR | {"chosen": "No. " + "x" * 90, "rejected": "Yes. " + "x" * 90}
    suite = own_suite(tmp_path, [row])
    folder = saved(tmp_path)
    with pytest.raises(ScorerError, match="pass --on-overflow truncate-left or drop"):
        run(folder, suite, max_length=40)
    audit = run(folder, suite, max_length=40, on_overflow="truncate-left").audit
    assert (audit["overflowed"], audit["identical_inputs"], audit["ties"]) == (2, 1, 1)


def test_trap_16_a_tokenizers_length_is_not_the_models(tmp_path: Path) -> None:
    words = models.tokenizer()
    words.model_max_length = 16
    result = run(saved(tmp_path, words))
    assert result.settings["max_length"] == 2048
    assert result.audit["longest"] > 16
    assert result.audit["overflowed"] == 0


def test_trap_17_dropped_comparisons_and_batch_means(tmp_path: Path) -> None:
    rows = [PAIR, PAIR | {"chosen": "x" * 200}, PAIR | {"prompt": "Which?"}]
    suite, folder = own_suite(tmp_path, rows), saved(tmp_path)
    results = [
        run(folder, suite, max_length=100, on_overflow="drop", batch_tokens=tokens)
        for tokens in (1, 10_000)
    ]
    for result in results:
        assert (result.audit["overflowed"], result.audit["dropped"]) == (1, 1)
        assert result.averages["pooled"].n == 2
    assert results[0].averages == results[1].averages
    assert "on_overflow:drop" in str(results[0].signature)


# --- loading -------------------------------------------------------------------------------------


def test_trap_18_a_head_that_would_be_random(tmp_path: Path) -> None:
    model = models.build(transformers.LlamaForCausalLM, models.config("llama", **LONG))
    folder = models.save(tmp_path / "rm", model)
    edit(folder / "config.json", architectures=["LlamaForSequenceClassification"])
    assert "score.weight" in (message := refusal(folder))
    assert "would be random" in message


def test_trap_19_two_logits(tmp_path: Path) -> None:
    assert "2 logits" in refusal(saved(tmp_path, num_labels=2))


@pytest.mark.parametrize("head", ["v_head.weight", "value_head.weight", "rm_head.weight"])
def test_trap_20_a_head_of_another_name(head: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights[head] = weights.pop("score.weight")
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"(it has {head}, which this model has no use for)" in refusal(folder)


class EightBits(nn.Module):
    """Stands for bitsandbytes' Linear8bitLt, which holds its weight in int8 and needs a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 32, dtype=torch.int8), requires_grad=False)


def test_trap_21_a_quantised_head(tmp_path: Path) -> None:
    model = models.classifier("llama", **LONG)
    assert check_head(model).status == "ok"
    model.score = EightBits()
    assert check_head(model).status == "refused"
    assert "modules_to_not_convert" in check_head(model).remedy
    folder = saved(tmp_path)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["score.weight"] = (weights["score.weight"] * 100).to(torch.int8)
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "score.weight is I8, and config.json does not say how" in refusal(folder)


def test_trap_22_float16_overflows(tmp_path: Path) -> None:
    model = models.classifier("llama", **LONG)
    model.model.norm.weight.data.mul_(1e6)  # hidden states beyond float16's 65,504
    folder = models.save(tmp_path / "rm", model)
    with pytest.raises(ScorerError, match=r"the reward (nan|inf|-inf), .*try --dtype float32"):
        run(folder, dtype="float16")


def test_trap_22_ties_in_bfloat16_are_counted(tmp_path: Path) -> None:
    model = models.classifier("llama", **LONG)
    model.score.weight.data.zero_()
    audit = run(models.save(tmp_path / "rm", model), dtype="bfloat16").audit
    assert audit["ties"] == 6


def given(rewards: list[Any]) -> Given:
    """Return a scorer that gives the rewards it was told."""
    return Given(ScorerInfo(id="given", kind="own"), rewards, inputs=None)


def test_trap_23_a_cost_model_says_the_opposite(tmp_path: Path) -> None:
    suite = own_suite(tmp_path, [PAIR | {"prompt": f"How many of {i}?"} for i in range(20)])
    result = evaluate(suite, given([0.0, 1.0] * 20))
    assert result.audit["below_chance"] is True
    assert "a cost model" in format_table(result_table(result, load_suite(suite)), "table")
    assert evaluate(suite, given([1.0, 0.0] * 20)).audit["below_chance"] is False


def test_trap_24_code_of_the_repository_and_what_it_may_return(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "own.py").write_text("raise SystemExit('it ran')\n")
    edit(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "own.Own"})
    assert "read that code, then pass --trust-remote-code" in refusal(folder)
    with pytest.raises(ScorerError, match="is nan"):
        evaluate(own_suite(tmp_path, [PAIR]), given([1.0, float("nan")]))


@pytest.mark.parametrize(
    ("returned", "finding"),
    [
        (lambda **_: None, "NoneType for one conversation"),
        (lambda **_: SimpleNamespace(logits=None), "NoneType for one conversation"),
        (lambda **_: SimpleNamespace(logits=torch.zeros(2, 1)), "logits of shape (2, 1) for one"),
        (lambda **_: {}["hidden"], "LlamaForSequenceClassification fails: KeyError: 'hidden'"),
    ],
)
def test_trap_24_a_forward_that_returns_no_logit_or_breaks(
    returned: Any, finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    monkeypatch.setattr(
        LlamaForSequenceClassification, "forward", lambda _, **given: returned(**given)
    )
    message = refusal(folder)
    assert f"returns: {finding}" in message
    assert message.endswith("or install the transformers it was written for")


def test_trap_25_both_generations_of_transformers_give_text_and_ids() -> None:
    words = models.tokenizer()
    template = load_template("tokenizer", words, "rm")
    encoded = encode(
        [Conversation((Message("user", "Hi"),), "Yes")],
        tokenizer=words,
        template=template,
        max_length=None,
        on_overflow="error",
    )
    assert encoded.sequences[0] is not None
    text = "[user]Hi</s>[assistant]Yes</s>"
    assert encoded.sequences[0].tolist() == words(text, add_special_tokens=False)["input_ids"]


def test_trap_26_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    folder = saved(tmp_path, vocab_size=60, pad_token_id=models.PAD)
    code, output = doctor(folder)
    assert code == 2
    assert "use the tokenizer that it was trained with" in output
    with pytest.raises(ScorerError, match="use the tokenizer that it was trained with"):
        run(folder)


def test_trap_27_a_reference_that_does_not_belong(tmp_path: Path) -> None:
    model = models.build(transformers.LlamaForCausalLM, models.config("llama"))
    policy = models.save(tmp_path / "dpo", model)
    words = models.tokenizer()
    words.add_tokens(["<more>"])
    reference = models.save(tmp_path / "reference", model, words)
    scorer = load_scorer(f"implicit:{policy}", reference=str(reference))
    with pytest.raises(ScorerError, match=r"its tokenizer is another than the policy's \(0 of"):
        evaluate("mini", scorer, limit=1)
    assert "not a sequence classifier" in refusal(policy)  # nor is it taken for one by itself


# --- data and statistics -------------------------------------------------------------------------


def test_trap_28_safety_weighs_what_is_there() -> None:
    suite = load_suite("rewardbench")
    safety = next(section for section in suite.sections if section.name == "Safety")
    assert {"xstest-should-refuse", "xstest-should-respond"} <= set(safety.subsets)
    counts = {"refusals-dangerous": 100, "refusals-offensive": 100, "donotanswer": 136}
    counts |= {"xstest-should-refuse": 154, "xstest-should-respond": 250}
    weights = section_weights(suite.model_copy(update={"sections": (safety,)}), counts)["Safety"]
    # Not 250 and 154, as they stood in RewardBench's constants until late in 2024.
    assert (weights["xstest-should-refuse"], weights["xstest-should-respond"]) == (154, 250)
    accuracies = dict.fromkeys(counts, 1.0) | {"xstest-should-respond": 0.0}
    assert weighted_mean(accuracies, weights) == pytest.approx(490 / 740)


def test_trap_29_subsets_that_length_alone_solves(tmp_path: Path) -> None:
    rows = [PAIR | {"chosen": "word " * (i + 2), "rejected": "word"} for i in range(8)]
    suite = own_suite(tmp_path, rows)
    assert evaluate(suite, load_scorer("length")).averages["pooled"].accuracy == 1.0


def test_trap_30_every_average_has_its_name_and_meaning() -> None:
    result = evaluate("mini", load_scorer("length"))
    assert set(result.averages) == {"pooled", "sections"}
    table = format_table(result_table(result, load_suite("mini")), "table")
    assert "pooled: every comparison counts the same" in table
    assert "sections: mean of Chat, Chat Hard, Safety, Reasoning" in table


def test_trap_31_a_missing_reward_never_counts_half(tmp_path: Path) -> None:
    suite = own_suite(tmp_path, [PAIR, PAIR])
    with pytest.raises(ScorerError, match="no answer to 2 of 4 questions"):
        evaluate(suite, given([1.0, 0.0]))
    result = evaluate(suite, given([1.0, 0.0, None, 1.0]))
    assert (result.audit["dropped"], result.averages["pooled"].n) == (1, 1)


def test_trap_32_sides_between_which_there_is_nothing_to_choose(tmp_path: Path) -> None:
    scores = ({"good": 4, "bad": 4.0}, {"good": 5, "bad": 3}, {"good": 2, "bad": None}, {})
    rows = [PAIR | score for score in scores]
    rows[1]["rejected"] = PAIR["chosen"]
    suite = own_suite(tmp_path, rows)
    with Path(suite).open("a") as stream:
        stream.write('scores = ["good", "bad"]\n')
    result = evaluate(suite, load_scorer("length"))
    assert result.audit["identical_responses"] == 1
    assert result.audit["equal_scores"] == 1
    table = format_table(result_table(result, load_suite(suite)), "table")
    assert "1 comparison whose annotators gave both sides the same score (25.0 %)" in table


def test_trap_32_the_share_of_ultrafeedback_whose_sides_are_scored_the_same(
    test_data: Path,
) -> None:
    data = str(test_data / "ultrafeedback_binarized_sample.jsonl.gz")
    result = evaluate("ultrafeedback", load_scorer("length"), data=data)
    # Counted apart from rmbench by who took the sample: 136 of its 1,200 rows.
    assert (result.audit["equal_scores"], result.suite["comparisons"]) == (136, 1200)
    table = format_table(result_table(result, load_suite("ultrafeedback")), "table")
    assert "136 comparisons whose annotators gave both sides the same score (11.3 %)" in table


def test_trap_33_every_accuracy_has_its_interval() -> None:
    result = evaluate("mini", load_scorer("length"))
    for group in (result.averages, result.sections, result.subsets):
        for item in group.values():
            assert item.low is not None
            assert item.high is not None
            assert item.low <= item.accuracy <= item.high
    assert "95 % interval" in format_table(result_table(result, load_suite("mini")), "table")


# --- between versions of transformers ------------------------------------------------------------


def test_trap_34_a_rotary_embedding_that_is_not_computed(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    # One release reads the first line, the other the second.
    edit(folder / "config.json", rope_theta=10000.0, rope_parameters={"rope_theta": 1e6})
    assert "rotary embedding: config.json states" in refusal(folder)
    edit(folder / "config.json", rope_theta=1e6)
    assert load_classifier(str(folder), ModelOptions()).info.kind == "classifier"


def test_trap_34_as_transformers_4_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "4.57.6")

    class Config:
        """As transformers 4 has it: the base beside the other fields."""

        rope_theta = 10000.0
        rope_scaling = None

        def get_text_config(self) -> Config:
            return self

    config = Config()
    stated = {"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"}}
    assert check_rope(config, stated).status == "refused"
    assert check_rope(config, stated | {"rope_theta": 100000.0}).status == "refused"
    config.rope_theta = 100000.0
    assert check_rope(config, stated | {"rope_theta": 100000.0}).status == "ok"
    scaled = {"rope_parameters": {"rope_theta": 100000.0, "rope_type": "yarn"}}
    assert "states yarn" in check_rope(config, scaled).seen


def test_trap_35_a_tokenizer_that_only_transformers_5_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    edit(folder / "tokenizer_config.json", tokenizer_class="TokenizersBackend")
    if not hasattr(transformers, "TokenizersBackend"):
        message = refusal(folder)
    else:
        assert load_classifier(str(folder), ModelOptions()).info.kind == "classifier"

        def fail(*_: Any, **__: Any) -> None:
            raise ValueError("Tokenizer class TokenizersBackend does not exist or is not imported.")

        monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
        message = refusal(folder)
    assert "was saved by transformers 5 (TokenizersBackend)" in message
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in message
