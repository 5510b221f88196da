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
from rmbench.run import evaluate_feed
from rmbench.scorers.registry import load_scorer
from rmbench.suite.catalogue import load_suite
from rmbench.suite.feed import open_feed

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
        if suite == "rewardmath":
            assert (average.ties or 0) + item["strict_wins"] == item["wins_or_ties"]


STEPWISE = {"prod": "product", "geometric_mean": "geometric-mean", "mean_logit": "mean-logit"}
STEPWISE |= {"mean_odd": "mean-odds"} | {name: name for name in ("min", "max", "mean", "last")}
# Probabilities closer than 6e-8 to each other, and to 1, are the same reward in a record.
IN_FLOAT32 = ("ReasonEval_7B", "max")


@pytest.mark.parametrize("aggregation", STEPWISE)
def test_rewardmath_by_steps_is_what_its_authors_code_says(
    aggregation: str, test_data: Path
) -> None:
    rows = list(lines(test_data / "prm_step_scores_rewardmath.jsonl.gz"))
    seen = 0
    for wanted in lines(test_data / "suites_expected.jsonl.gz"):
        is_one = wanted["suite"] == "prm_step_scores_rewardmath"
        if not is_one or wanted["numbers"]["aggregation"] != aggregation:
            continue
        seen += 1
        steps = [row["step_scores"][wanted["model"]] for row in rows]
        judgements = Judgements.of(
            [
                Judgement(row["id"], (tuple(right),), tuple(map(tuple, wrong)))
                for row, (right, *wrong) in zip(rows, steps, strict=True)
            ],
            reduce=STEPWISE[aggregation],
        )
        found = {}
        for suite in ("rewardmath", "rewardmath-mrr"):
            summary = recompute(load_suite(suite), ["rewardmath"] * len(rows), judgements)
            (found[suite],) = summary.averages.values()
        numbers = wanted["numbers"]
        ties = numbers["wins_or_ties"] - numbers["strict_wins"]
        if (wanted["model"], aggregation) == IN_FLOAT32:
            wins = found["rewardmath"].wins or 0
            assert wins < numbers["strict_wins"] and (found["rewardmath"].ties or 0) > ties
            continue
        assert found["rewardmath"].wins == numbers["strict_wins"], wanted["model"]
        assert found["rewardmath"].ties == ties, wanted["model"]
        total = found["rewardmath-mrr"].accuracy * numbers["n"]
        assert total == pytest.approx(numbers["reciprocal_rank_sum"], abs=1e-6), wanted["model"]
    assert seen == 4


def credits(total: float, size: int, step: float) -> set[str]:
    """Return the shares that print as one of a card's, to four digits, of credits near a total."""
    return {f"{(total + step * k) / size:.4f}" for k in (-1, 0, 1)}


def test_rewardbench_2_of_three_models_has_the_means_and_counts_that_are_published(
    test_data: Path,
) -> None:
    suite = load_suite("rewardbench-2")
    sizes = {"Factuality": 475, "Precise IF": 160, "Math": 183, "Safety": 450, "Focus": 495}
    whole = average_weights(suite, Counter({**sizes, "Ties": 102}))[suite.headline]
    published = expected(test_data, "rewardbench-2")
    assert len(published) == 3
    for numbers_of in published.values():
        parts = {name: numbers_of[name] for name in (*sizes, "Ties")}
        # Six numbers of four digits make a mean that is exact to less than one of them.
        assert weighted_mean(parts, whole) == pytest.approx(numbers_of["mean"], abs=1e-4)
        for name, (credit, size) in numbers_of["implied_credit"].items():
            assert size == sizes[name]
            given = f"{numbers_of[name]:.4f}"
            assert f"{credit / size:.4f}" == given
            # Half a credit less or more prints another number: ties at the top are shared.
            assert given not in credits(credit, size, 0.5) - {f"{credit / size:.4f}"}


def test_rewardbenchs_score_without_prior_sets_is_the_mean_of_four(test_data: Path) -> None:
    found = expected(test_data, "rewardbench")
    (card,) = [item for item in found.values() if "prior_sets_printed" in item]
    suite = load_suite("rewardbench")
    counts = Counter(row["subset"] for row in lines(test_data / "rewardbench_v1.jsonl.gz"))
    shares = {name: card[name] for name in section_weights(suite, counts)}
    assert weighted_mean(shares, dict.fromkeys(shares, 1.0)) == pytest.approx(
        card["score"], abs=1e-4
    )


def test_rm_benchs_mean_of_domains_is_that_of_difficulties(test_data: Path) -> None:
    # An aggregator that is no witness of the cells still forms its averages as the authors do.
    found = expected(test_data, "rm-bench")
    assert len(found) == 2
    for item in found.values():
        domains = [item[name] for name in ("chat", "math", "code", "safety")]
        levels = [item[name] for name in ("hard_acc", "normal_acc", "easy_acc")]
        assert sum(domains) / 4 == pytest.approx(item["total_avg_acc"], abs=1e-12)
        assert sum(levels) / 3 == pytest.approx(item["total_avg_acc"], abs=1e-12)


WITNESSED = {
    "golden_rewardbench2_scores": 6,  # every part to 1e-12, from scores
    "golden_styles_3x3_scores": 3,  # every cell average and domain, from scores
    "rm_scores_rewardmath": 15,  # wins, ties and reciprocal ranks, from scores
    "prm_step_scores_rewardmath": 32,  # likewise, by eight reductions; of one, rounded, only bounds
    "rewardbench-2": 3,  # published: mean of six, and the credits behind five of them
    "rewardbench": 3,  # published: two by subset, one as the mean of four
    "rmb": 2,  # published: 98 scenarios, four means, and their mean
    "rm-bench": 2,  # published by an aggregator that reads a file twice: averages alone
}


def test_every_line_of_the_expected_numbers_has_its_test(test_data: Path) -> None:
    rows = list(lines(test_data / "suites_expected.jsonl.gz"))
    assert Counter(row["suite"] for row in rows) == WITNESSED
    assert len(rows) == 66


def headline_of(suite: str, data: Path) -> float:
    """Return what the rule ``length`` gets on rows in a suite's own columns."""
    feed = open_feed(load_suite(suite), data=str(data))
    result = evaluate_feed(feed, load_scorer("length"))
    assert result.headline is not None
    return result.headline.accuracy


def test_m_rewardbench_is_the_mean_over_languages_of_four_sections(tmp_path: Path) -> None:
    groups = load_suite("m-rewardbench").parts
    assert groups is not None
    subsets = [name for names in groups.groups.values() for name in names]
    wrong = {("deu_Latn", "math-prm"), ("arb_Arab", "hep-go"), ("arb_Arab", "llmbar-natural")}
    rows = [
        {
            "id": 0,
            "language": language,
            "subset": subset,
            "prompt": f"{language} {subset}",
            "chosen": "a" if (language, subset) in wrong else "longer",
            "rejected": "abc",
        }
        for language in ("arb_Arab", "deu_Latn")
        for subset in subsets
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # math-prm weighs 984 as the six code subsets do, llmbar-natural 100 of 456 hard comparisons.
    german = (1 + 1 + 1 + 0.5) / 4
    arabic = (1 + 356 / 456 + 1 + 1 - 164 / 1968) / 4
    assert headline_of("m-rewardbench", file) == pytest.approx((german + arabic) / 2, abs=1e-12)


def test_ppe_correctness_is_the_mean_of_five_over_sampled_pairs(tmp_path: Path) -> None:
    names = load_suite("ppe-correctness").source.paths
    for number, name in enumerate(names):
        folder = tmp_path / name.rpartition("/")[2]
        folder.mkdir()
        # Right responses are the even ones; the longer of a pair is the later one.
        pairs = [[0, 1]] * number + [[2, 1], [4, 3]]
        row = {"question_id": "q", "prompt": "p", "model_name": "m"}
        row |= {"scores": [i % 2 == 0 for i in range(32)], "sampled_conflict_pairs": pairs}
        row |= {f"response_{i + 1}": "x" * (i + 1) for i in range(32)}
        (folder / "train-00000-of-00001.jsonl").write_text(json.dumps(row) + "\n")
    expected_mean = sum(2 / (2 + number) for number in range(5)) / 5
    assert headline_of("ppe-correctness", tmp_path) == pytest.approx(expected_mean, abs=1e-12)
