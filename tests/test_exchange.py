"""Results in the forms of others, and what a pull request with results brings."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from rmbench.cli import main
from rmbench.result.find import find_result, read_with_rewards
from rmbench.result.record import Result
from rmbench.result.verify import verify

ROOT = Path(__file__).parent.parent
MINI = str(ROOT / "results" / "mini" / "tiny.json")
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NUMBER_OR_NULL = {"type": ["number", "null"]}
# What the schema 0.3.0 of every_eval_ever asks of the fields that rmbench writes.
SCORE: dict[str, Any] = {
    "type": "object",
    "required": ["evaluation_name", "source_data", "metric_config", "score_details"],
    "properties": {
        "evaluation_result_id": {"type": "string"},
        "source_data": {
            "required": ["dataset_name", "source_type"],
            "properties": {
                "source_type": {"enum": ["hf_dataset", "other"]},
                "samples_number": {"type": "integer"},
                "additional_details": TEXTS,
            },
        },
        "metric_config": {
            "required": ["lower_is_better", "min_score", "max_score"],
            "properties": {
                "score_type": {"const": "continuous"},
                "lower_is_better": {"const": False},
                "min_score": NUMBER_OR_NULL,
                "max_score": NUMBER_OR_NULL,
            },
        },
        "score_details": {
            "required": ["score"],
            "properties": {
                "score": {"type": "number"},
                "details": TEXTS,
                "uncertainty": {
                    "properties": {
                        "num_samples": {"type": "integer"},
                        "confidence_interval": {
                            "required": ["lower", "upper"],
                            "properties": {
                                "confidence_level": {"type": "number", "minimum": 0, "maximum": 1}
                            },
                        },
                    }
                },
            },
        },
    },
}
RECORD: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata"),
        *("model_info", "eval_library", "evaluation_results"),
    ],
    "properties": {
        "schema_version": {"const": "0.3.0"},
        "evaluation_id": {"type": "string"},
        "evaluation_timestamp": {"type": "string"},
        "retrieved_timestamp": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
        "source_metadata": {
            "required": ["source_type", "source_organization_name", "evaluator_relationship"],
            "properties": {
                "source_type": {"enum": ["documentation", "evaluation_run"]},
                "evaluator_relationship": {
                    "enum": ["first_party", "third_party", "collaborative", "other"]
                },
            },
        },
        "model_info": {"required": ["name", "id"], "properties": {"additional_details": TEXTS}},
        "eval_library": {
            "required": ["name", "version"],
            "properties": {"version": {"type": "string"}, "additional_details": TEXTS},
        },
        "evaluation_results": {"type": "array", "minItems": 1, "items": SCORE},
    },
}


def ran(*arguments: str) -> Any:
    return CliRunner().invoke(main, [str(word) for word in arguments])


def exported(name: str, *arguments: str) -> Any:
    done = ran("export", name, "--as", "every-eval-ever", "--organization", "A lab", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("place", ["mini/tiny.json", "rewardbench/tiny.json", "mini/length.json"])
def test_a_record_of_every_eval_ever_fits_its_schema(place: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    record = exported(str(ROOT / "results" / place))
    jsonschema.validate(record, RECORD)


def test_every_number_and_interval_of_a_result_is_in_it() -> None:
    result = read_with_rewards(Path(MINI))
    scores = {item["evaluation_result_id"]: item for item in exported(MINI)["evaluation_results"]}
    groups = {"average": result.averages, "section": result.sections, "subset": result.subsets}
    assert len(scores) == sum(map(len, groups.values()))
    for level, items in groups.items():
        for name, item in items.items():
            found = scores[f"mini:{level}:{name}"]["score_details"]
            assert found["score"] == item.accuracy
            assert found["uncertainty"]["num_samples"] == item.n
            assert found["uncertainty"]["confidence_interval"]["lower"] == item.low
            assert found["details"] == {"wins": str(item.wins), "ties": str(item.ties)}


def test_a_published_number_is_documentation_and_keeps_its_source() -> None:
    record = exported(str(next((ROOT / "results" / "rewardbench").glob("*.published.json"))))
    assert record["source_metadata"]["source_type"] == "documentation"
    assert record["source_metadata"]["source_name"] != "rmbench"


def test_the_same_result_is_the_same_file_where_the_form_wants_it(tmp_path: Path) -> None:
    words = ("export", MINI, "--as", "every-eval-ever", "--organization", "A lab", "-o", tmp_path)
    first, second = ran(*map(str, words)), ran(*map(str, words))
    assert first.stdout == second.stdout
    (path,) = tmp_path.rglob("*.json")
    assert path.relative_to(tmp_path).parts[:4] == ("data", "mini", "unknown", "tiny")


def test_who_measured_has_to_be_said() -> None:
    done = ran("export", MINI, "--as", "every-eval-ever")
    assert done.exit_code == 2
    assert "--organization" in done.output


def test_the_hubs_own_parser_reads_eval_results(tmp_path: Path) -> None:
    name = str(ROOT / "results" / "rewardbench" / "tiny.json")
    done = ran("export", name, "--as", "eval-results", "--url", "https://x.org", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    path = tmp_path / ".eval_results" / "rewardbench.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    result = find_result(name)
    values = {entry["dataset"]["task_id"]: entry["value"] for entry in entries}
    assert values == {
        key: round(100 * item.accuracy, 2)
        for key, item in {**result.averages, **result.sections}.items()
    }
    hub = pytest.importorskip("huggingface_hub")
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub has no .eval_results yet")
    parsed = hub.parse_eval_result_entries(entries)
    assert {item.dataset_id for item in parsed} == {"allenai/reward-bench"}
    assert {item.source_url for item in parsed} == {"https://x.org"}


def test_rows_that_are_not_on_the_hub_have_no_eval_results() -> None:
    done = ran("export", MINI, "--as", "eval-results")
    assert done.exit_code == 2
    assert "tiny on mini" in done.output and "no data set of the Hub" in done.output


# --- submissions ---------------------------------------------------------------------------------


def test_a_submission_holds_record_rewards_card_and_words(tmp_path: Path) -> None:
    done = ran("submit", MINI, "-o", tmp_path)
    assert done.exit_code == 0, done.output
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert files == {
        "results/mini/tiny.json",
        "results/mini/tiny.jsonl",
        "model-index.yaml",
        "PULL_REQUEST.md",
    }
    assert find_result(str(tmp_path / "results" / "mini" / "tiny.json")) == find_result(MINI)
    words = (tmp_path / "PULL_REQUEST.md").read_text(encoding="utf-8")
    assert "54.58" in words and "mini:1-1fb88db" in words


def changed(**update: Any) -> Result:
    return read_with_rewards(Path(MINI)).model_copy(update=update)


SOUND = read_with_rewards(Path(MINI))
POOLED = SOUND.averages["pooled"]


@pytest.mark.parametrize(
    ("update", "finding"),
    [
        ({"partial": 20}, "a partial run"),
        ({"rewards": ()}, "no rewards"),
        ({"source": "published"}, "no rewards"),
        ({"model": SOUND.model | {"kind": "recorded"}}, "imported scores"),
        ({"model": SOUND.model | {"kind": "ensemble"}}, "an ensemble"),
        ({"suite": SOUND.suite | {"name": "my-own"}}, "not a bundled suite"),
        ({"suite": SOUND.suite | {"version": 9}}, "version 9 of the suite, which is at 1"),
        (
            {
                "averages": {
                    **SOUND.averages,
                    "pooled": POOLED.__class__(
                        **{
                            **{
                                name: getattr(POOLED, name)
                                for name in ("low", "high", "n", "wins", "ties")
                            },
                            "accuracy": 0.99,
                        }
                    ),
                }
            },
            "averages: pooled is not what the rewards give",
        ),
    ],
)
def test_what_would_not_pass_is_refused(update: dict[str, Any], finding: str) -> None:
    from rmbench.errors import ResultError

    with pytest.raises(ResultError, match=finding):
        verify(changed(**update))


def test_rows_of_ones_own_are_not_the_suites() -> None:
    from rmbench.errors import ResultError

    name = ROOT / "results" / "rewardbench" / "length.json"
    result = read_with_rewards(name)
    other = result.model_copy(update={"suite": result.suite | {"sha256": "0" * 64}})
    with pytest.raises(ResultError, match="not on the suite's own rows"):
        verify(other)


def test_nothing_is_written_when_one_does_not_pass(tmp_path: Path) -> None:
    done = ran("submit", MINI, str(ROOT / "results" / "mini" / "length.json"), "-o", tmp_path / "s")
    assert done.exit_code == 2
    assert not (tmp_path / "s").exists()


def test_the_workflow_in_the_docs_fits_the_schema_and_checks_with_submit(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    steps = workflow["jobs"]["check"]["steps"]
    assert "rmbench submit" in steps[-1]["run"]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
