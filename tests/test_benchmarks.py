"""The bundled benchmarks give the numbers of their authors' own code, and published ones."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rmbench.accuracy.aggregate import Summary, average_weights, section_weights, weighted_mean
from rmbench.answers.judgements import Judgement, Judgements
from rmbench.result.measured import recompute
from rmbench.suite.catalogue import load_suite

MODELS = ("strong", "weak", "coarse", "flat", "exact", "judge")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def expected(test_data: Path, suite: str) -> dict[str, dict[str, Any]]:
    """Return the numbers to test a suite against, by model."""
    rows = lines(test_data / "suites_expected.jsonl.gz")
    return {row["model"]: row["numbers"] for row in rows if row["suite"] == suite}


def numbers(summary: Summary) -> dict[str, float]:
    found = {**summary.subsets, **summary.sections, **summary.averages}
    return {name: item.accuracy for name, item in found.items()}


def test_rewardbench_2_is_what_its_authors_code_says_of_six_models(test_data: Path) -> None:
    rows = list(lines(test_data / "golden_rewardbench2_scores.jsonl.gz"))
    wanted = expected(test_data, "golden_rewardbench2_scores")
    assert set(wanted) == set(MODELS)
    suite = load_suite("rewardbench-2")
    for model, parts in wanted.items():
        judgements = []
        for row in rows:
            scores, right = row["scores"][model], row["num_correct"]
            name = f"{row['subset']}/{row['id']}"
            judgements.append(Judgement(name, tuple(scores[:right]), tuple(scores[right:])))
        found = recompute(suite, [row["subset"] for row in rows], judgements)
        assert {name: numbers(found)[name] for name in parts} == pytest.approx(parts, abs=1e-12)
        for item in found.averages.values():
            assert item.low is not None and item.high is not None
            assert item.low <= item.accuracy <= item.high


def test_rm_bench_is_what_its_authors_code_says_of_three_models(test_data: Path) -> None:
    rows = list(lines(test_data / "golden_styles_3x3_scores.jsonl.gz"))
    suite = load_suite("rm-bench")
    names = {"chat": "Chat", "math": "Math", "code": "Code", "safety": "Safety"}
    names |= {"hard_acc": "hard", "normal_acc": "normal", "easy_acc": "easy"}
    names |= {"total_avg_acc": "overall"}
    for model, parts in expected(test_data, "golden_styles_3x3_scores").items():
        judgements = [
            Judgement(row["id"], *(tuple(side) for side in row["scores"][model])) for row in rows
        ]
        subsets = [row["domain"] for row in rows]
        found = numbers(recompute(suite, subsets, judgements))
        assert {key: found[name] for key, name in names.items()} == pytest.approx(parts, abs=1e-12)


def test_rmb_of_two_models_is_the_published_mean_of_four(test_data: Path) -> None:
    # Three scenarios are not among the copies; their counts follow from the published fractions.
    counts = Counter(
        {
            "Pairwise_set/Harmlessness/S11": 977,
            "Pairwise_set/Helpfulness/Brainstorming/Idea Development": 849,
            "Pairwise_set/Helpfulness/Generation/Creative Writing": 762,
        }
    )
    for name, part in (("rmb_pairwise", "Pairwise_set"), ("rmb_bon", "BoN_set")):
        rows = lines(test_data / f"{name}.jsonl.gz")
        counts.update(f"{part}/{row['subset']}" for row in rows)
    suite = load_suite("rmb")
    sections, whole = section_weights(suite, counts), average_weights(suite, counts)["mean"]
    assert {name: int(sum(parts.values())) for name, parts in sections.items()} == {
        "Pairwise_set/Helpfulness": 10067,
        "Pairwise_set/Harmlessness": 7064,
        "BoN_set/Helpfulness": 2109,
        "BoN_set/Harmlessness": 1677,
    }
    for published in expected(test_data, "rmb").values():
        known = {}
        for part in published["parts"].values():
            known |= part["subsets"]
        means = published["averages"]
        for name, parts in sections.items():
            kind, which = name.split("/")
            label = f"{'BoN' if kind == 'BoN_set' else 'Pairwise'} {which}"
            assert weighted_mean(known, parts) == pytest.approx(means[label], abs=1e-12)
        mean = means["Accuracy Averaged from Four Sections"]
        assert weighted_mean(known, whole) == pytest.approx(mean, abs=1e-12)


def test_rewardbench_of_two_models_is_as_published(test_data: Path) -> None:
    suite = load_suite("rewardbench")
    found = expected(test_data, "rewardbench")
    known = {model: item for model, item in found.items() if "subsets" in item}
    assert len(known) == 2
    rows = lines(test_data / "rewardbench_v1.jsonl.gz")
    counts = Counter(row["subset"] for row in rows)
    sections = section_weights(suite, counts)
    pooled = average_weights(suite, counts)["pooled"]
    shown = set()
    for item in known.values():
        for name, parts in sections.items():
            value = item.get("sections", item).get(name)
            if value is not None:
                assert weighted_mean(item["subsets"], parts) == pytest.approx(value, abs=1e-12)
        shown.add(f"{weighted_mean(item['subsets'], pooled):.5f}")
    assert shown == {"0.92462", "0.92931"}


@pytest.mark.parametrize(
    ("suite", "key"), [("rewardmath", "strict_wins"), ("rewardmath-mrr", "reciprocal_rank_sum")]
)
def test_rewardmath_is_what_its_authors_code_says(suite: str, key: str, test_data: Path) -> None:
    rows = list(lines(test_data / "rm_scores_rewardmath.jsonl.gz"))
    for model, item in expected(test_data, "rm_scores_rewardmath").items():
        scores = [(row["scores"] | row["judge_scores"])[model] for row in rows]
        judgements = [
            Judgement(row["id"], tuple(given[:1]), tuple(given[1:]))
            for row, given in zip(rows, scores, strict=True)
        ]
        found = recompute(load_suite(suite), ["rewardmath"] * len(rows), judgements)
        (average,) = found.averages.values()
        assert average.accuracy * item["n"] == pytest.approx(item[key], abs=1e-6)


@pytest.mark.parametrize(("suite", "key"), [("rewardmath", "strict_wins")])
@pytest.mark.parametrize(
    ("reduce", "name"), [("min", "min"), ("product", "prod"), ("last", "last")]
)
def test_rewardmath_by_steps_is_what_its_authors_code_says(
    suite: str, key: str, reduce: str, name: str, test_data: Path
) -> None:
    rows = list(lines(test_data / "prm_step_scores_rewardmath.jsonl.gz"))
    for wanted in lines(test_data / "suites_expected.jsonl.gz"):
        is_one = wanted["suite"] == "prm_step_scores_rewardmath"
        if not is_one or wanted["numbers"]["aggregation"] != name:
            continue
        judgements = Judgements.of(
            [
                Judgement(row["id"], tuple(steps[:1]), tuple(steps[1:]))
                for row in rows
                for steps in [[tuple(item) for item in row["step_scores"][wanted["model"]]]]
            ],
            reduce=reduce,
        )
        found = recompute(load_suite(suite), ["rewardmath"] * len(rows), judgements)
        (average,) = found.averages.values()
        assert average.wins == wanted["numbers"][key], wanted["model"]
