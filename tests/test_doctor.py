"""`rmbench doctor`, formatting and pooling: what is seen in a model, and what is said about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.api import evaluate
from rmbench.checkpoint.encode import encode, load_template, render, with_format
from rmbench.checkpoint.findings import WARNING
from rmbench.checkpoint.options import ModelOptions
from rmbench.cli import main
from rmbench.doctor import check_batching, examine
from rmbench.engine.pooling import with_pooling
from rmbench.engine.scoring import Engine
from rmbench.errors import ScorerError
from rmbench.result.names import file_stem
from rmbench.scorers.again import group, recheck, recheck_exactly
from rmbench.scorers.classifier import load_classifier
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.comparison import Conversation, Key, Message
from rmbench.suite.feed import open_feed

HELLO = Conversation((Message("user", "Hello"),), "Hi.", "a/1, chosen")
DATED = '{{ strftime_now("%d %b %Y") }}: {{ messages[0].content }}|{{ messages[-1].content }}</s>'


def text_of(text: str, **options: Any) -> str:
    words = models.tokenizer(template=text)
    template = with_format(
        load_template("tokenizer", words, "rm"), words, ModelOptions(**options), model="rm"
    )
    return render(HELLO, template, words)


def ids_of(text: str, *, max_length: int | None = None, **options: Any) -> list[int]:
    words = models.tokenizer(template=text)
    template = with_format(
        load_template("tokenizer", words, "rm"), words, ModelOptions(**options), model="rm"
    )
    encoded = encode(
        [HELLO],
        tokenizer=words,
        template=template,
        max_length=max_length,
        on_overflow="truncate-left",
    )
    assert encoded.sequences[0] is not None
    return encoded.sequences[0].tolist()


def doctor(folder: Path | str, *options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", str(folder), *options])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = models.classifier("llama", max_position_embeddings=2048)
    return models.save(tmp_path_factory.mktemp("doctor") / "good", model)


# --- formatting ----------------------------------------------------------------------------------


def test_a_system_prompt_comes_first_where_the_data_has_none() -> None:
    assert text_of(models.CHAT, system_prompt="Be brief.").startswith("[system]Be brief.</s>[user]")


def test_the_datas_own_system_message_stays() -> None:
    words = models.tokenizer()
    options = ModelOptions(system_prompt="Be brief.")
    template = with_format(load_template("tokenizer", words, "rm"), words, options, model="rm")
    own = Conversation((Message("system", "Be long."), Message("user", "Hello")), "Hi.")
    assert "Be brief." not in render(own, template, words)


def test_a_system_prompt_without_a_template_is_refused() -> None:
    words = models.tokenizer()
    template = load_template("none", words, "rm")
    with pytest.raises(ScorerError, match="--template none has no place for a system prompt"):
        with_format(template, words, ModelOptions(system_prompt="Be brief."), model="rm")


@pytest.mark.parametrize("written", [0, 1, 3])
@pytest.mark.parametrize(("choice", "expected"), [("model", None), ("never", 0), ("always", 1)])
def test_bos_and_eos_are_as_often_there_as_asked(
    written: int, choice: str, expected: int | None
) -> None:
    text = (
        "<s>" * written + "{{ messages[0].content }}{{ messages[-1].content }}" + "</s>" * written
    )
    ids = ids_of(text, bos=choice, eos=choice)
    count = written if expected is None else expected
    assert ids[: count + 1].count(models.BOS) == count == ids.count(models.BOS)
    assert ids[len(ids) - count :] == [models.EOS] * count
    assert ids.count(models.EOS) == count


def test_marks_inside_the_text_stay_where_they_are() -> None:
    ids = ids_of("{{ messages[0].content }}</s>{{ messages[-1].content }}", eos="never")
    assert ids.count(models.EOS) == 1


def test_truncation_from_the_left_keeps_the_bos_that_was_asked_for() -> None:
    ids = ids_of("{{ messages[0].content }}{{ messages[-1].content }}", bos="always", max_length=3)
    assert ids == [models.BOS, *ids_of("{{ messages[0].content }}{{ messages[-1].content }}")[-2:]]


@pytest.mark.parametrize("mark", ["bos", "eos"])
def test_a_mark_that_the_tokenizer_does_not_have_is_refused(mark: str) -> None:
    words = models.tokenizer()
    setattr(words, f"{mark}_token", None)
    with pytest.raises(ScorerError, match=f"--{mark} always, but the tokenizer has no {mark}"):
        with_format(
            load_template("tokenizer", words, "rm"),
            words,
            ModelOptions(**{mark: "always"}),
            model="rm",
        )


def test_todays_date_in_a_template_is_always_the_same_day() -> None:
    assert text_of(DATED) == "26 Jul 2024: Hello|Hi.</s>"


def test_formatting_sets_signature_and_file_apart(good: Path, tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        return evaluate("mini", load_scorer(str(good), ModelOptions(**options)), limit=8)

    ways: list[dict[str, Any]] = [
        {},
        {"bos": "always"},
        {"bos": "never"},
        {"eos": "always"},
        {"eos": "never"},
        {"pooling": "last"},
        {"pooling": "first-eos"},
        {"system_prompt": "Be brief."},
        {"system_prompt": ""},
        {"template": str(jinja(tmp_path, models.CHAT + "x"))},
    ]
    results = [run(**way) for way in ways]
    assert len({file_stem(result) for result in results}) == len(ways)
    assert len({result.signature for result in results}) == len(ways)
    assert "|bos:always|" in str(results[1].signature)
    assert results[1].settings["bos"] == "always"


def jinja(folder: Path, text: str) -> Path:
    path = folder / "own.jinja"
    path.write_text(text)
    return path


# --- pooling -------------------------------------------------------------------------------------


def old_transformers_place(ids: list[int], pad: int) -> int:
    """Transformers until early 2025: ``eq(input_ids, pad).int().argmax(-1) - 1``, as an index."""
    found = torch.eq(torch.tensor(ids), pad).int().argmax(-1).item() - 1
    return int(found) % len(ids)


def open_instruct_place(ids: list[int], pad: int) -> int:
    """open-instruct: the number of the first pad, or the length if there is none, less one."""
    first = next((i for i, token in enumerate(ids) if token == pad), len(ids))
    return (first - 1) % len(ids)


def reward_at(model: Any, ids: list[int], place: int) -> float:
    with torch.inference_mode():
        hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state
        return float(model.score(hidden)[0, place, 0])


LLAMA = models.classifier("llama", pad_token_id=models.EOS)


@given(
    ids=st.lists(
        st.lists(st.sampled_from([models.EOS, 5, 6, 7]), min_size=1, max_size=12),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None)
def test_first_eos_is_what_old_transformers_and_open_instruct_read(ids: list[list[int]]) -> None:
    pooled = with_pooling(LLAMA, "first-eos", eos=models.EOS, name="rm")
    rewards = Engine(pooled).score([np.array(one, dtype=np.int32) for one in ids]).rewards
    for one, reward in zip(ids, rewards, strict=True):
        place = old_transformers_place(one, models.EOS)
        assert place == open_instruct_place(one, models.EOS)
        assert reward == pytest.approx(reward_at(LLAMA, one, place), abs=1e-4)


@given(ids=st.lists(st.sampled_from([models.EOS, 5, 6, 7]), min_size=1, max_size=12))
@settings(deadline=None)
def test_last_is_the_last_token_whatever_it_is(ids: list[int]) -> None:
    pooled = with_pooling(LLAMA, "last", eos=models.EOS, name="rm")
    reward = Engine(pooled).score([np.array(ids, dtype=np.int32)]).rewards[0]
    assert reward == pytest.approx(reward_at(LLAMA, ids, len(ids) - 1), abs=1e-4)


def test_the_rules_differ_where_pad_is_eos() -> None:
    ids = np.array([5, models.EOS, 6, models.EOS], dtype=np.int32)
    rewards = {
        rule: Engine(with_pooling(LLAMA, rule, eos=models.EOS, name="rm")).score([ids]).rewards[0]
        for rule in ("model", "last", "first-eos")
    }
    # Releases since 2025 pass over the trailing eos.
    expected = {"model": 2, "last": 3, "first-eos": 0}
    for rule, place in expected.items():
        assert rewards[rule] == pytest.approx(reward_at(LLAMA, ids.tolist(), place), abs=1e-4)
    assert len({round(float(reward), 3) for reward in rewards.values()}) == 3


@pytest.mark.parametrize("rule", ["last", "first-eos"])
def test_a_model_that_reads_no_single_token_keeps_its_own_pooling(rule: str) -> None:
    with pytest.raises(ScorerError, match=f"--pooling {rule} needs a decoder"):
        with_pooling(models.classifier("bert"), rule, eos=models.EOS, name="rm")


def test_first_eos_needs_an_eos() -> None:
    with pytest.raises(ScorerError, match="the tokenizer has no eos token; give last or model"):
        with_pooling(LLAMA, "first-eos", eos=None, name="rm")


# --- the audit -----------------------------------------------------------------------------------


def keys_of_pairs(count: int) -> list[Key | None]:
    return [Key(f"a/{i}", side, 0) for i in range(count) for side in ("chosen", "rejected")]


def test_the_recheck_counts_the_comparisons_that_the_lone_forward_decides_otherwise() -> None:
    keys = keys_of_pairs(2)
    rewards = [1.0, 0.5, 3.0, 1.0]
    truth = [0.4, 0.5, 3.0, 1.0]  # the first comparison is lost, not won
    found = recheck(
        group(keys, rewards), rewards, lambda numbers: [truth[i] for i in numbers], tolerance=1e-4
    )
    assert found.is_fault
    assert found.difference == pytest.approx(0.6)
    # The margins of both are among the smallest.
    assert found.close == {"comparisons": 2, "difference": pytest.approx(0.6), "flipped": 1}
    assert found.spread == {"comparisons": 0, "difference": 0.0, "flipped": 0}


@pytest.mark.parametrize(("tolerance", "is_fault"), [(0.001, False), (0.0001, True)])
def test_a_turned_comparison_is_a_fault_beyond_the_tolerance(
    tolerance: float, is_fault: bool
) -> None:
    keys = keys_of_pairs(1)
    rewards, truth = [1.0, 1.0005], [1.0005, 1.0]
    found = recheck(
        group(keys, rewards),
        rewards,
        lambda numbers: [truth[i] for i in numbers],
        tolerance=tolerance,
    )
    assert (found.close["flipped"], found.is_fault) == (1, is_fault)


class Fading:
    """Lets an engine's fast ways be right on its proof and wrong behind it."""

    def __init__(self, engine: Any, ways: set[str]) -> None:
        self.start, self.ways, self.calls = engine.ways.start, ways, 0

    def __call__(self, way: str, unit: Any, asks: Any) -> Any:
        found = self.start(way, unit, asks)
        self.calls += way in self.ways
        if way in self.ways and self.calls > 1:
            for _, values in found._parts:
                values.mul_(-1)
        return found


def test_rewards_that_the_lone_forward_contradicts_are_all_scored_anew(good: Path) -> None:
    expected = evaluate("mini", load_scorer(str(good)), limit=40)
    scorer = load_classifier(str(good), ModelOptions(batch_tokens=128))
    engine = scorer.engine
    engine.ways.start = Fading(engine, {"packed"})  # type: ignore[method-assign]
    found = evaluate("mini", scorer, limit=40)
    assert found.audit["batching"] == "hidden"
    assert found.audit["contradicted"]["packed"] > 0.1
    assert not found.audit["rechecked"]["flipped"]
    assert found.averages["pooled"].accuracy == expected.averages["pooled"].accuracy


def test_the_doctor_judges_flips_as_a_run_does(good: Path) -> None:
    scorer = load_classifier(str(good), ModelOptions(batch_tokens=128))
    scorer.engine.ways.start = Fading(scorer.engine, {"packed"})  # type: ignore[method-assign]
    check = check_batching(scorer, list(open_feed(load_suite("mini"), limit=8)))
    assert check.status == WARNING
    assert "0 of 8 comparisons flip; the lone forward contradicts packed" in check.seen


def test_only_ties_and_near_ties_are_scored_exactly() -> None:
    keys = keys_of_pairs(3)
    # In bfloat16 neighbours between 1 and 2 are 1/128 apart.
    rewards = [1.0, 1.0, 1.0, 1.0 + 1 / 256, 1.0, 1.5]
    asked: list[int] = []

    def exact(numbers: Any) -> list[float]:
        asked.extend(numbers)
        return [1.1, 1.0, 1.0, 1.2]

    found = recheck_exactly(group(keys, rewards), rewards, exact, dtype="bfloat16")
    assert asked == [0, 1, 2, 3]
    # The tie is won exactly, the near-tie is lost either way.
    assert (found["comparisons"], found["flipped"]) == (2, 1)


def test_audit_exact_scores_a_bfloat16_models_ties_in_float32(tmp_path: Path) -> None:
    model = models.classifier("llama", max_position_embeddings=2048)
    model.score.weight.data.zero_()  # every comparison is a tie, in any precision
    folder = models.save(tmp_path / "ties", model)
    scorer = load_scorer(str(folder), ModelOptions(dtype="bfloat16", audit="exact"))
    audit = evaluate("mini", scorer, limit=6).audit
    assert audit["ties"] == 6
    assert audit["exact"] == {"comparisons": 6, "difference": 0.0, "flipped": 0}


def test_the_audit_of_every_run_has_its_recheck(good: Path) -> None:
    audit = evaluate("mini", load_scorer(str(good)), limit=12).audit
    assert audit["rechecked"]["comparisons"] == 8
    assert audit["rechecked"]["difference"] < 1e-5
    assert audit["rechecked"]["flipped"] == 0


# --- doctor --------------------------------------------------------------------------------------


def test_a_good_model_passes_and_its_first_conversation_is_shown(good: Path) -> None:
    result = doctor(good)
    assert result.exit_code == 0, result.stdout
    assert not [line for line in result.stdout.splitlines() if line.startswith("refused")]
    assert "\nsafe to score\n" in result.stdout
    assert "[user]How long should I boil an egg" in result.stdout
    assert "</s>" in result.stdout


def test_the_output_is_a_list_with_one_status_for_each_check(good: Path) -> None:
    checks = doctor(good).stdout.split("\n\n")[0].splitlines()
    statuses = [line.split()[0] for line in checks if not line.startswith(" ")]
    assert len(statuses) >= 15
    assert set(statuses) <= {"ok", "warning", "refused"}


def test_where_the_reward_is_read_is_shown_with_pad_and_eos_the_same(tmp_path: Path) -> None:
    words = models.tokenizer()
    words.pad_token = "</s>"
    shape = {"pad_token_id": models.EOS, "max_position_embeddings": 2048}
    folder = models.save(tmp_path / "rm", models.classifier("llama", **shape), words)
    output = doctor(folder).stdout
    assert "warning  reward read at" in output
    assert "pad == eos, so the model passes over the 1 behind it" in output
    assert "--pooling last or first-eos" in output
    result = evaluate("mini", load_scorer(str(folder)), limit=4)
    assert "pad == eos, so the model passes over" in result.audit["warnings"]["reward read at"]


def test_overflow_of_a_suite_is_refused_until_it_is_said_what_to_do(tmp_path: Path) -> None:
    folder = models.save(tmp_path / "rm", models.classifier("llama"))  # 128 positions
    result = doctor(folder)
    assert result.exit_code == 2
    assert "conversations over it" in result.stdout
    assert "pass --on-overflow truncate-left or drop" in result.stdout
    assert "\nnot safe to score: 1 refused, 0 warnings\n" in result.stdout
    assert doctor(folder, "--on-overflow", "drop").exit_code == 0


def test_a_rule_has_nothing_to_check() -> None:
    result = doctor("length")
    assert result.exit_code == 2
    assert "a rule, not a model" in result.stderr


@pytest.mark.parametrize(
    ("template", "finding"),
    [
        (
            "{% if not messages[2] %}{{ raise_exception('no system turn') }}{% endif %}",
            "a trial conversation: the tokenizer's chat template fails: no system turn",
        ),
        (
            "{% for message in messages %}\n{{ message.content }",
            "a trial conversation: the tokenizer's chat template fails: unexpected '}' (line 2)",
        ),
        ("{# nothing #}", "it writes nothing"),
    ],
)
def test_a_template_that_fails_is_said_once_with_what_to_do(
    template: str, finding: str, tmp_path: Path
) -> None:
    model = models.classifier("llama", max_position_embeddings=2048)
    result = doctor(models.save(tmp_path / "rm", model, models.tokenizer(template=template)))
    assert result.exit_code == 2
    assert f"  {finding}\n" in result.stdout
    assert "give another with --template FILE" in result.stdout
    assert "not safe to score: 1 refused" in result.stdout


def sentiment(folder: Path) -> None:
    models.save(folder, models.classifier("bert", num_labels=2))


def language_model(folder: Path) -> None:
    model = models.build(transformers.LlamaForCausalLM, models.config("llama", num_labels=2))
    models.save(folder, model)


def embedding_model(folder: Path) -> None:
    model = models.build(transformers.BertModel, models.config("bert", num_labels=2))
    models.save(folder, model)
    (folder / "modules.json").write_text("[]")


def empty(folder: Path) -> None:
    folder.mkdir()


def without_tokenizer(folder: Path) -> None:
    models.classifier("llama").save_pretrained(folder)


def adapter(folder: Path) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (folder / "adapter_model.safetensors").write_bytes(b"")


def half_a_configuration(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": ')
    (folder / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "finding", "remedy"),
    [
        (language_model, "LlamaForCausalLM, not a sequence classifier", "give a reward model"),
        (sentiment, "2 logits (", "--model-output INDEX"),
        (empty, "no config.json", "give the folder of one model"),
        (without_tokenizer, "tokenizer", "tokenizer.json"),
        (adapter, "does not say what the adapter's base model is", "base_model_name_or_path"),
        (half_a_configuration, "its config.json is not JSON (", "copy or download it again"),
        (embedding_model, "BertModel, not a sequence classifier", "give a reward model"),
    ],
)
def test_a_folder_that_is_no_reward_model_is_refused_with_what_to_do_next(
    make: Callable[[Path], None], finding: str, remedy: str, tmp_path: Path
) -> None:
    folder = tmp_path / "thing"
    make(folder)
    result = doctor(folder)
    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = result.stdout.splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("refused"))
    assert finding in lines[number]
    assert remedy in lines[number + 1]


def test_a_pad_token_beyond_the_vocabulary_is_one_line(good: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(good, tmp_path / "rm"))
    file = folder / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"pad_token_id": config["vocab_size"]}))
    result = doctor(folder)
    assert result.exit_code == 2
    size = config["vocab_size"]
    assert f"config.json has pad_token_id {size} and a vocab_size of {size}" in result.stdout


def test_a_model_whose_rewards_are_no_numbers_is_refused_before_it_is_tried(
    tmp_path: Path,
) -> None:
    model = models.classifier("llama", max_position_embeddings=2048)
    model.score.weight.data[0, 0] = float("nan")
    result = doctor(models.save(tmp_path / "rm", model))
    assert result.exit_code == 2
    assert "the reward nan, which is no number, for a short" in result.stdout
    assert "its weights are damaged; copy them again" in result.stdout


@pytest.mark.parametrize("kept", [0, 40, 5000])
def test_nothing_is_said_of_weights_that_cannot_be_read(kept: int, tmp_path: Path) -> None:
    folder = models.save(tmp_path / "rm", models.classifier("llama"))
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:kept])
    if not kept:
        weights.unlink()
    result = doctor(folder)
    assert result.exit_code == 2
    assert "refused  loading" in result.stdout
    assert "ok       weights" not in result.stdout
    assert "unknown" not in result.stdout


def test_a_configuration_that_names_a_language_model_is_scored_with_a_warning(
    tmp_path: Path,
) -> None:
    model = models.classifier("llama", max_position_embeddings=2048)
    folder = models.save(tmp_path / "rm", model)
    file = folder / "config.json"
    written = json.loads(file.read_text()) | {"architectures": ["LlamaForCausalLM"]}
    file.write_text(json.dumps(written))
    result = doctor(folder)
    assert result.exit_code == 0, result.stdout
    assert "config.json names LlamaForCausalLM, which is no sequence classifier" in result.stdout
    assert "\nsafe to score: 1 warning\n" in result.stdout


def test_run_refuses_on_the_same_grounds_as_doctor(tmp_path: Path) -> None:
    words = models.tokenizer(template="<s><s>" + models.CHAT)
    folder = models.save(
        tmp_path / "rm", models.classifier("llama", max_position_embeddings=2048), words
    )
    report = examine(str(folder), ModelOptions(), [open_feed(load_suite("mini"))])
    refused = [check for check in report if check.status == "refused"]
    with pytest.raises(ScorerError) as error:
        load_classifier(str(folder), ModelOptions())
    assert [f"{refused[0].name}: {refused[0].seen}; {refused[0].remedy}"] == [
        str(error.value).removeprefix("rm: ")
    ]
    assert doctor(folder).exit_code == 2


def test_terminal_escapes_of_a_suite_are_not_printed(good: Path, tmp_path: Path) -> None:
    row = {"id": "1", "subset": "a", "prompt": "\x1b[2Jhi", "chosen": "\x07b", "rejected": "c"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[source]\npath = "rows.jsonl"\n[columns]\nid = ["id"]\nsubset = "subset"\n'
        'prompt = "prompt"\nchosen = "chosen"\nrejected = "rejected"\n'
    )
    result = doctor(good, "--suite", str(tmp_path / "own.toml"))
    assert result.exit_code == 0, result.stdout
    assert "\x1b" not in result.stdout
    assert "\\x1b[2Jhi" in result.stdout


def test_what_was_found_is_printed_in_every_format(good: Path) -> None:
    found = json.loads(doctor(good, "--format", "json").stdout)
    checks = {row["check"]: row["status"] for row in found["rows"]}
    assert checks["batch invariance"] == "ok"
    assert found["notes"][0].startswith("safe to score")
