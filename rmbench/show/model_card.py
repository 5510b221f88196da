"""Results in the ``model-index`` of a Hub model card, merged into a card without other changes."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy
from rmbench.errors import ResultError, enclosed
from rmbench.files import read_text, write_text
from rmbench.result.record import Result
from rmbench.suite.definition import Suite
from rmbench.suite.formats import format_of
from rmbench.wording import printable

__all__ = ["merge_card", "model_index", "to_yaml"]

MAX_CHARACTERS: Final = 2_000_000
"""Of front matter; the longest on the Hub have half as many."""
MAX_VALUES: Final = 200_000
TASK: Final = "preference_evaluation"
KEY: Final = "model-index"
_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
# The key and the lines that belong to it: indented, blank, or items of a list.
_BLOCK = re.compile(rf"^(['\"]?){KEY}\1[ \t]*:.*\n(?:(?:[ \t-].*|)\n)*", re.MULTILINE)


def model_index(results: Sequence[Result], suites: Mapping[str, Suite]) -> list[dict[str, Any]]:
    """Return results as a ``model-index``, with huggingface_hub's own types.

    Each suite is one entry; each section and average is a metric, in percent with two decimals,
    whose ``args`` hold the 95 % interval, the number of comparisons and the signature.

    Args:
        results: of one model, whole runs, at most one per suite.
        suites: by name.

    Raises:
        ResultError: results of several models or of one suite twice, or a partial one.
    """
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    _check(results)
    rows = [
        EvalResult(
            task_type=TASK,
            task_name="Preference evaluation",
            dataset_type=_data_set(suites[result.suite["name"]]),
            dataset_name=suites[result.suite["name"]].title,
            dataset_config=suites[result.suite["name"]].source.name,
            dataset_split=suites[result.suite["name"]].source.split,
            dataset_revision=result.suite.get("revision"),
            metric_type="accuracy",
            metric_name=name,
            metric_value=round(100.0 * item.accuracy, 2),
            metric_args=_arguments(item, result),
        )
        for result in results
        for name, item in (*result.sections.items(), *result.averages.items())
    ]
    name = str(results[0].model["id"]).rsplit("/", 1)[-1]
    return eval_results_to_model_index(name, rows)


def _data_set(suite: Suite) -> str:
    """Return the Hub's name of a suite's data set; of local rows the suite's own name."""
    path = suite.source.path
    return path if format_of(Path(path)) is None and "/" in path else suite.name


def _check(results: Sequence[Result]) -> None:
    models = sorted({str(result.model["id"]) for result in results})
    if len(models) > 1:
        raise ResultError(f"a card is of one model, not of {', '.join(models)}; give one's results")
    names = [str(result.suite["name"]) for result in results]
    for result in results:
        name = str(result.suite["name"])
        if result.partial is not None:
            raise ResultError(f"{models[0]} on {name}: a partial run; a card needs a whole one")
        if names.count(name) > 1:
            raise ResultError(f"{models[0]} on {name}: given twice; give one result per suite")


def _arguments(item: Accuracy, result: Result) -> dict[str, Any] | None:
    if item.low is None or item.high is None:
        return None
    low, high = round(100.0 * item.low, 2), round(100.0 * item.high, 2)
    return {"low": low, "high": high, "n": item.n, "signature": result.signature}


def to_yaml(index: Sequence[Mapping[str, Any]]) -> str:
    """Return a ``model-index`` as YAML, as it stands in a card's front matter."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Writes text of others so that no terminal and no log obeys it."""

    def write_text(dumper: Any, text: str) -> Any:
        style = None if printable(text) == text else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, write_text)
    content = {KEY: [dict(entry) for entry in index]}
    plain: str = yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    if all(printable(line) == line for line in plain.splitlines()):
        return plain
    # YAML's own escapes, within the quotes that such a text stands in.
    escaped: str = yaml.dump(content, Dumper=Dumper, sort_keys=False, width=10**9)
    return escaped.replace("##[", r"#\x23[").replace("##vso[", r"#\x23vso[")


# --- merging -------------------------------------------------------------------------------------


def merge_card(path: Path, index: Sequence[Mapping[str, Any]]) -> bool:
    """Put results into a model card; what else stands in it stays as it is, to the byte.

    Results of the same task, data set, configuration and split are replaced metric by metric;
    others are kept. A card without front matter gets one.

    Args:
        path: the card, an existing file.
        index: one model's, as ``model_index`` returns it.

    Returns:
        Whether the file changed.

    Raises:
        ResultError: the card cannot be read or written, its front matter is not YAML, or its
            ``model-index`` is written in a way that cannot be replaced.
    """
    old = read_text(path)
    front = _FRONT.match(old)
    if front is None:
        newline = "\r\n" if "\r\n" in old else "\n"
        block = to_yaml(index).replace("\n", newline)
        mark, body = ("\ufeff", old[1:]) if old.startswith("\ufeff") else ("", old)
        write_text(path, f"{mark}---{newline}{block}---{newline}{body}")
        return True
    before = _load(front[1], path)
    merged = _merge(_existing(before, path), index)
    if before.get(KEY) == merged:
        return False
    matter = _splice(front[1], to_yaml(merged))
    stuck = ResultError(
        f"{path}: cannot replace {KEY} without touching the rest; write it as a plain block"
    )
    try:
        is_kept = _load(matter, path) == before | {KEY: merged}
    except ResultError:
        raise stuck from None
    if not is_kept:
        raise stuck
    write_text(path, old[: front.start(1)] + matter + old[front.end(1) :])
    return True


def _load(matter: str, path: Path) -> dict[str, Any]:
    """Return front matter as huggingface_hub reads it.

    Raises:
        ResultError: it is no YAML, or stands for more than a card holds.
    """
    import yaml

    def refusal(error: BaseException) -> ResultError:
        finding = " ".join(str(error).split()) or type(error).__name__
        return ResultError(f"{path}: the front matter is not YAML: {finding}; fix it")

    if len(matter) > MAX_CHARACTERS:
        raise ResultError(
            f"{path}: front matter of more than {MAX_CHARACTERS:,} characters; is it a model card?"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with enclosed(refusal):
        if _weigh(yaml.compose(matter, Loader=loader), {}) > MAX_VALUES:
            raise ResultError(
                f"{path}: aliases in the front matter stand for more than {MAX_VALUES:,} values;"
                " write out what they stand for"
            )
        content = yaml.load(matter, Loader=loader)
    if not isinstance(content, dict | None):
        raise ResultError(f"{path}: the front matter holds no keys; fix it")
    return content or {}


def _weigh(node: Any, known: dict[int, float]) -> float:
    """Return how many values a node of YAML stands for, each alias counted; infinity for a ring."""
    if node is None or isinstance(node.value, str):
        return 1.0
    if id(node) not in known:
        known[id(node)] = math.inf  # found again on the way down: it holds itself
        inner = [part for item in node.value for part in (item if type(item) is tuple else (item,))]
        known[id(node)] = 1.0 + sum(_weigh(part, known) for part in inner)
    return known[id(node)]


def _existing(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the one model's entry that a card has; an empty one if it has none."""
    index = content.get(KEY) or []
    entries = index if isinstance(index, list) else [None]
    if len(entries) > 1 or not all(_is_sound(entry) for entry in entries):
        raise ResultError(f"{path}: {KEY} must be a list with one model and its results; fix it")
    return next((dict(entry) for entry in entries if entry is not None), {})


def _is_sound(entry: Any) -> bool:
    """Tell whether an entry has the shape that merging needs."""
    results = (entry.get("results") or []) if isinstance(entry, dict) else None
    if not isinstance(results, list):
        return False
    return all(
        isinstance(result, dict)
        and isinstance(result.get("dataset"), dict)
        and isinstance(result.get("task"), dict)
        and isinstance(result.get("metrics"), list)
        and all(isinstance(metric, dict) for metric in result["metrics"])
        for result in results
    )


def _merge(entry: Mapping[str, Any], index: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    new = index[0]
    results = [dict(result) for result in entry.get("results") or []]
    for added in new["results"]:
        twin = next((i for i, old in enumerate(results) if _about(old) == _about(added)), None)
        if twin is None:
            results.append(dict(added))
        else:
            metrics = _merge_metrics(results[twin]["metrics"], added["metrics"])
            results[twin] = results[twin] | added | {"metrics": metrics}
    return [{"name": new["name"], **entry, "results": results}]


def _about(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a result is about; a newer revision of the data replaces an older one."""
    data = result["dataset"]
    return (result["task"].get("type"), data.get("type"), data.get("config"), data.get("split"))


def _merge_metrics(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Any]:
    replaced = {_metric(item): dict(item) for item in new}
    kept = [replaced.pop(_metric(item), item) for item in old]
    return [*kept, *replaced.values()]


def _metric(item: Mapping[str, Any]) -> tuple[Any, Any]:
    return (item.get("type"), item.get("name"))


def _splice(matter: str, block: str) -> str:
    """Return front matter with its ``model-index`` replaced, or added at its end."""
    newline = "\r\n" if "\r\n" in matter else "\n"
    block = block.replace("\n", newline)
    found = _BLOCK.search(matter)
    if found is None:
        return matter + block
    # Blank lines after the block belong to what follows.
    old = found[0]
    tail = old[len(old.rstrip()) :]
    blank = tail.split("\n", 1)[1] if "\n" in tail else ""
    return matter[: found.start()] + block + blank + matter[found.end() :]
