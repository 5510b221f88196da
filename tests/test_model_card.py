"""The model-index of a card: huggingface_hub reads it, and a merge touches nothing else."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard, metadata_load
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import changed
from scored import TOY, published, toy_margins, toy_result

from rmbench.api import evaluate
from rmbench.cli import main
from rmbench.errors import ResultError
from rmbench.result.store import read_published, write_result
from rmbench.scorers.registry import load_scorer
from rmbench.show.model_card import merge_card, model_index, to_yaml
from rmbench.suite.catalogue import load_suite

RESULT = toy_result(toy_margins(1), model="org/my-rm")
INDEX = model_index([RESULT], {"toy": TOY})

CARD = """\
---
# a comment that must stay
license:   apache-2.0   # odd spaces too
tags: [ reward-model,'x' ]
model-index:
- name: my-rm
  results:
  - task:
      type: text-classification
    dataset:
      type: glue
      name: GLUE
    metrics:
    - type: accuracy
      value: 0.91

# a comment after it
language:
- en
---
# My model

---
model-index: in the body, no front matter
"""


def card(tmp_path: Path, text: str = CARD) -> Path:
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())
    return path


# --- what is written -----------------------------------------------------------------------------


def test_huggingface_hub_reads_every_number_back(tmp_path: Path) -> None:
    path = card(tmp_path, f"---\n{to_yaml(INDEX)}---\n")
    results = ModelCard.load(path).data.eval_results
    assert results is not None
    found = {item.metric_name: item for item in results}
    for name, item in {**RESULT.sections, **RESULT.averages}.items():
        assert item.low is not None and item.high is not None
        assert found[name].metric_value == pytest.approx(100 * item.accuracy, abs=0.005)
        assert found[name].metric_args == {
            "low": round(100 * item.low, 2),
            "high": round(100 * item.high, 2),
            "n": item.n,
            "signature": "toy:1|org/my-rm",
        }
        assert found[name].task_type == "preference_evaluation"
        assert found[name].dataset_type == "toy"
        assert found[name].dataset_name == "Toy"


def test_a_card_says_which_rows_of_the_hub_were_scored() -> None:
    suite = load_suite("rewardbench")
    result = next(r for r in read_published() if r.suite["name"] == "rewardbench")
    result = changed(result, suite={**result.suite, "revision": "abc123"})
    (entry,) = model_index([result], {"rewardbench": suite})
    assert entry["results"][0]["dataset"] == {
        "name": "RewardBench",
        "type": "allenai/reward-bench",
        "split": "filtered",
        "revision": "abc123",
    }


def test_several_suites_are_several_entries_of_one_model() -> None:
    other = TOY.model_copy(
        update={
            "name": "other",
            "title": "Other",
            "source": TOY.source.model_copy(update={"path": "o.jsonl"}),
        }
    )
    second = changed(RESULT, suite={**RESULT.suite, "name": "other"})
    (entry,) = model_index([RESULT, second], {"toy": TOY, "other": other})
    assert entry["name"] == "my-rm"
    assert [item["dataset"]["name"] for item in entry["results"]] == ["Toy", "Other"]


def test_what_cannot_stand_on_a_card_is_refused() -> None:
    suites = {"toy": TOY}
    with pytest.raises(ResultError, match="a card is of one model, not of old, org/my-rm"):
        model_index([RESULT, toy_result(toy_margins(1), model="old")], suites)
    with pytest.raises(ResultError, match="org/my-rm on toy: given twice"):
        model_index([RESULT, RESULT], suites)
    with pytest.raises(ResultError, match="org/my-rm on toy: a partial run"):
        model_index([changed(RESULT, partial=3)], suites)


# --- merging -------------------------------------------------------------------------------------


def test_a_merge_keeps_every_other_byte(tmp_path: Path) -> None:
    path = card(tmp_path)
    assert merge_card(path, INDEX)
    text = path.read_text()
    head, tail = CARD.split("model-index:\n- name", 1)[0], CARD[CARD.index("\n# a comment after") :]
    assert text.startswith(head)
    assert text.endswith(tail)
    content = metadata_load(path)
    assert content is not None
    results = content["model-index"][0]["results"]
    assert [item["dataset"]["type"] for item in results] == ["glue", "toy"]
    assert results[0]["metrics"] == [{"type": "accuracy", "value": 0.91}]


def test_merging_twice_changes_nothing_and_a_new_number_replaces_the_old(tmp_path: Path) -> None:
    path = card(tmp_path)
    merge_card(path, INDEX)
    first = path.read_bytes()
    assert not merge_card(path, INDEX)
    assert path.read_bytes() == first
    better = toy_result(toy_margins(1, shift=1.0), model="org/my-rm")
    assert merge_card(path, model_index([better], {"toy": TOY}))
    results = metadata_load(path)["model-index"][0]["results"]  # type: ignore[index]
    assert len(results) == 2
    values = {item["name"]: item["value"] for item in results[1]["metrics"]}
    assert values["X"] == pytest.approx(100 * better.sections["X"].accuracy, abs=0.005)
    assert len(results[1]["metrics"]) == 4


def test_a_metric_of_someone_else_on_the_same_data_stays(tmp_path: Path) -> None:
    path = card(tmp_path, f"---\n{to_yaml(INDEX)}---\n")
    text = path.read_text().replace(
        "    metrics:\n", "    metrics:\n    - type: f1\n      value: 3\n"
    )
    path.write_text(text)
    worse = toy_result(toy_margins(2), model="org/my-rm")
    merge_card(path, model_index([worse], {"toy": TOY}))
    metrics = metadata_load(path)["model-index"][0]["results"][0]["metrics"]  # type: ignore[index]
    assert [item["type"] for item in metrics] == ["f1"] + ["accuracy"] * 4


@pytest.mark.parametrize(
    "text",
    [
        "---\nlicense: mit\n---\nbody",
        "---\r\nlicense: mit\r\n---\r\nbody\r\n",
        "---\n---\nbody",
        "\ufeff---\nlicense: mit\n---\nbody",
        "---\nlicense: mit\n---",
    ],
)
def test_a_card_without_results_gets_them_at_the_end_of_its_front_matter(
    tmp_path: Path, text: str
) -> None:
    path = card(tmp_path, text)
    merge_card(path, INDEX)
    after = path.read_bytes().decode()
    newline = "\r\n" if "\r\n" in text else "\n"
    added = to_yaml(INDEX).replace("\n", newline)
    assert after.replace(added, "") == text
    assert after.count(added) == 1


@pytest.mark.parametrize("text", ["", "# Only a body\n", "\ufeff# Body\r\nwith ends\r\n"])
def test_a_card_without_front_matter_gets_one(tmp_path: Path, text: str) -> None:
    path = card(tmp_path, text)
    merge_card(path, INDEX)
    after = path.read_bytes().decode()
    assert after.endswith(text.lstrip("\ufeff"))
    # The Hub's reader of release 0.36 takes no byte order mark.
    path.write_bytes(after.removeprefix("\ufeff").encode())
    content = metadata_load(path)
    assert content is not None
    assert list(content) == ["model-index"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\na: [\n---\n", "the front matter is not YAML"),
        ("---\njust text\n---\n", "the front matter holds no keys"),
        ("---\nmodel-index: 3\n---\n", "must be a list with one model"),
        ("---\nmodel-index:\n- name: a\n- name: b\n---\n", "must be a list with one model"),
        ("---\nmodel-index:\n- results: [{metrics: 3}]\n---\n", "must be a list with one model"),
        ("---\n{license: mit}\n---\n", "cannot replace model-index without touching the rest"),
        ("---\na: &x 1\nmodel-index: [\n]\nb: 2\n---\n", "cannot replace model-index"),
        ("---\nmodel-index: &x []\nb: *x\n---\n", "cannot replace model-index"),
    ],
)
def test_a_card_that_cannot_be_merged_is_left_as_it_is(
    tmp_path: Path, text: str, message: str
) -> None:
    path = card(tmp_path, text)
    with pytest.raises(ResultError, match=message):
        merge_card(path, INDEX)
    assert path.read_bytes() == text.encode()


keys = st.sampled_from(["license", "tags", "language", "base_model", "x y", "datasets"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(keys, values), st.booleans(), st.text(st.characters(codec="utf-8")))
def test_whatever_else_a_card_says_is_kept(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], index: bool, body: str
) -> None:
    path = tmp_path_factory.mktemp("card") / "README.md"
    old = {"model-index": [{"name": "n", "results": []}]} if index else {}
    matter = yaml.safe_dump({**old, **content}, allow_unicode=True, sort_keys=False)
    path.write_bytes(f"---\n{matter if old or content else ''}---\n{body}".encode())
    merge_card(path, INDEX)
    text = path.read_bytes().decode()
    assert text.endswith(f"---\n{body}")
    after = yaml.safe_load(text[4 : len(text) - len(body) - 4])
    before = yaml.safe_load(matter)
    # What the file said, since PyYAML does not read every text as it wrote it.
    assert after.pop("model-index") and before.pop("model-index", []) is not None
    assert after == before


# --- the command ---------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["card", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_card_prints_or_merges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_result(evaluate("mini", load_scorer("length")), Path("results"))
    code, text, _ = run("mini/length")
    assert code == 0
    assert yaml.safe_load(text)["model-index"][0]["name"] == "length"
    path = card(tmp_path)
    assert run("mini/length", "--into", "README.md") == (0, "", "README.md: updated\n")
    assert run("mini/length", "--into", "README.md") == (0, "", "README.md: up to date\n")
    assert "type: mini" in path.read_text()


def test_a_published_result_has_no_interval_to_give() -> None:
    (entry,) = model_index([published({"X": 0.5})], {"toy": TOY})
    assert entry["results"][0]["metrics"] == [{"type": "accuracy", "value": 50.0, "name": "X"}]


ODD_CARDS = {
    "a date that is none": "date: 2024-02-30\n",
    "a number that is none": "a: 0x_\n",
    "a time that is none": "a: 2024-01-01 25:61:00\n",
    "nothing behind a colon": "a: [\n",
    "a tag that is not known": "a: !!python/object:os.system {}\n",
    "keys that are lists": "? [a]\n: b\n",
    "a ring": "a: &a [*a]\n",
    "levels without end": "a: " + "[" * 5000 + "\n",
}


@pytest.mark.parametrize("matter", ODD_CARDS.values(), ids=ODD_CARDS)
def test_whatever_yaml_does_with_a_card_is_one_line(matter: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"---\n{matter}---\nText\n")
    before = path.read_bytes()
    with pytest.raises(ResultError, match=r"front matter .*; (fix it|write out)"):
        merge_card(path, [{"name": "m", "results": []}])
    assert path.read_bytes() == before


def test_aliases_that_stand_for_far_more_than_they_say_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 13))
    path.write_text(f"---\nl0: &l0 [x]\n{levels}---\n")
    with pytest.raises(ResultError, match="aliases in the front matter stand for more than"):
        merge_card(path, [{"name": "m", "results": []}])


def test_a_few_aliases_are_read_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\nbase: &b [x, y]\ntags: *b\n---\nText\n")
    assert merge_card(path, [{"name": "m", "results": []}])
    assert path.read_text().startswith("---\nbase: &b [x, y]\ntags: *b\nmodel-index:\n")
