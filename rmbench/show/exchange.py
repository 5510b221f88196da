"""Results in the forms of others: every_eval_ever's records, and the Hub's ``.eval_results``.

Sources: the schema 0.3.0 of every_eval_ever, and the Hub's description of evaluation results.
"""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.errors import ResultError
from rmbench.result.names import safe_name
from rmbench.result.record import Result
from rmbench.suite.definition import Suite
from rmbench.wording import percent

__all__ = ["RELATIONSHIPS", "eval_results", "every_eval_ever", "place_of", "to_yaml"]

RELATIONSHIPS: Final = ("first_party", "third_party", "collaborative", "other")
SCHEMA: Final = "0.3.0"
_HUB: Final = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def every_eval_ever(
    result: Result, suite: Suite, *, organization: str, relationship: str = "other"
) -> dict[str, Any]:
    """Return a result as a record of every_eval_ever: each average, section and subset a score.

    Scores are shares in [0, 1] with their 95 % interval. The same result always gives the same
    record.

    Args:
        result: measured or published, with a date where it was measured.
        suite: the one that it is on.
        organization: who measured it.
        relationship: theirs to the model's authors, one of ``RELATIONSHIPS``.
    """
    moment = _moment(result)
    identity = str(result.model["id"])
    measured = {"evaluation_timestamp": result.date} if result.date else {}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{suite.name}/{identity.replace('/', '_')}/{moment}",
        **measured,
        "retrieved_timestamp": moment,
        "source_metadata": {
            "source_name": result.citation or "rmbench",
            "source_type": "evaluation_run" if result.rewards else "documentation",
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
        },
        "eval_library": {
            "name": "rmbench",
            "version": str(result.environment.get("rmbench", "unknown")),
            "additional_details": _texts(signature=result.signature),
        },
        "model_info": {
            "name": identity.rsplit("/", 1)[-1],
            "id": identity,
            "additional_details": _texts(
                **{name: value for name, value in result.model.items() if name != "id"}
            ),
        },
        "evaluation_results": [
            _score(level, name, item, result, suite) for level, name, item in _scores(result)
        ],
    }


def _moment(result: Result) -> str:
    """Return the time of a result in seconds since 1970, as the schema has it: a text."""
    return str(datetime.fromisoformat(result.date).timestamp()) if result.date else "0"


def _texts(**values: Any) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if value is not None}


def _scores(result: Result) -> Iterator[tuple[str, str, Accuracy]]:
    groups = (
        ("average", result.averages),
        ("section", result.sections),
        ("subset", result.subsets),
    )
    for level, items in groups:
        for name, item in items.items():
            yield level, name, item


def _score(level: str, name: str, item: Accuracy, result: Result, suite: Suite) -> dict[str, Any]:
    return {
        "evaluation_result_id": f"{suite.name}:{level}:{name}",
        "evaluation_name": f"{suite.title}: {name}",
        "source_data": _source(item, result, suite),
        "metric_config": {
            "evaluation_description": f"Accuracy of the {level} {name} of {suite.title}",
            "metric_id": f"{suite.name}.{level}.{safe_name(name)}",
            "metric_name": "Accuracy",
            "metric_kind": "accuracy",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            **_bounds(suite),
        },
        "score_details": _details(item),
    }


def _bounds(suite: Suite) -> dict[str, float | None]:
    """Return the least and the largest score; shared ties can earn a little more than 1."""
    rules = {suite.credit.rule} | {credit.rule for credit in suite.credit.subsets.values()}
    is_share = "ties" not in rules
    return {"min_score": 0.0 if is_share else None, "max_score": 1.0 if is_share else None}


def _details(item: Accuracy) -> dict[str, Any]:
    details: dict[str, Any] = {
        "score": item.accuracy,
        "details": _texts(wins=item.wins, ties=item.ties),
        "uncertainty": {"num_samples": item.n},
    }
    if item.low is not None and item.high is not None:
        details["uncertainty"]["confidence_interval"] = {
            "lower": item.low,
            "upper": item.high,
            "confidence_level": 0.95,
            "method": "clustered by prompt: rmbench's docs/statistics.md",
        }
    return details


def _source(item: Accuracy, result: Result, suite: Suite) -> dict[str, Any]:
    facts = _texts(
        sha256=result.suite.get("sha256"),
        version=result.suite["version"],
        revision=result.suite.get("revision"),
    )
    if not _HUB.fullmatch(suite.source.path):
        return {"dataset_name": suite.title, "source_type": "other", "additional_details": facts}
    split = {} if suite.source.split is None else {"hf_split": suite.source.split}
    return {
        "dataset_name": suite.title,
        "source_type": "hf_dataset",
        "hf_repo": suite.source.path,
        **split,
        "samples_number": item.n,
        "additional_details": facts,
    }


def place_of(result: Result, suite: Suite) -> PurePosixPath:
    """Return where every_eval_ever keeps such a record: data/SUITE/DEVELOPER/MODEL/ID.json."""
    developer, _, name = str(result.model["id"]).rpartition("/")
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{result.signature}|{result.date}")
    folders = (suite.name, safe_name(developer or "unknown"), safe_name(name))
    return PurePosixPath("data", *folders, f"{identity}.json")


def eval_results(result: Result, suite: Suite, *, url: str | None = None) -> list[dict[str, Any]]:
    """Return a result as entries of a model repository's ``.eval_results/SUITE.yaml``.

    One entry for each average and section: percent with two decimals, the interval and the
    signature in its notes.

    Args:
        result: a whole run.
        suite: the one that it is on, a data set of the Hub.
        url: where the run can be looked at.

    Raises:
        ResultError: a partial run, or a suite whose rows are not on the Hub.
    """
    name = f"{result.model['id']} on {suite.name}"
    if result.partial is not None:
        raise ResultError(f"{name}: a partial run; a model page needs a whole one")
    if not _HUB.fullmatch(suite.source.path):
        raise ResultError(
            f"{name}: the suite's rows are no data set of the Hub, which .eval_results wants;"
            " `rmbench card` writes a model-index"
        )
    revision = str(result.suite.get("revision") or "")
    dataset = {"id": suite.source.path}
    pinned = {"revision": revision} if _COMMIT.fullmatch(revision) else {}
    dated = {"date": result.date} if result.date else {}
    source = {} if url is None else {"source": {"url": url, "name": "rmbench"}}
    return [
        {
            "dataset": {**dataset, "task_id": task, **pinned},
            "value": round(100.0 * item.accuracy, 2),
            **dated,
            **source,
            "notes": _notes(item, result),
        }
        for task, item in (*result.averages.items(), *result.sections.items())
    ]


def _notes(item: Accuracy, result: Result) -> str:
    parts = [] if result.signature is None else [result.signature]
    if item.low is not None and item.high is not None:
        parts.append(f"95 % interval {percent(item.low)} to {percent(item.high)}, n {item.n}")
    return "; ".join(parts)


def to_yaml(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return entries as YAML in ASCII: what steers a terminal stands as YAML's own escape."""
    import yaml

    text: str = yaml.safe_dump(list(entries), sort_keys=False)
    return text
