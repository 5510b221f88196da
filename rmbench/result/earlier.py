"""Records of schema 1, which rmbench 0.1 wrote, as records of today."""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["from_schema_1"]

# The only settings that stood in names then, and what a plain run had.
_USUAL: Final = {
    "template": "tokenizer",
    "system_prompt": None,
    "bos": "model",
    "eos": "model",
    "pooling": "model",
    "on_overflow": "error",
    "seed": 0,
}
_GROUPS: Final = ("averages", "sections", "subsets")
_HALF_DIGIT: Final = 5e-7


def from_schema_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 in the form of schema 2; what is wrong with it stays wrong.

    Accuracies were kept with six digits. Where comparisons were only won or lost, the share that
    they were rounded from is known from the counts, so that nothing is rounded twice.
    """
    new = dict(record)
    for group in _GROUPS:
        if isinstance(new.get(group), dict):
            new[group] = {name: _accuracy(item) for name, item in new[group].items()}
    if isinstance(new.get("analyses"), dict):
        new["analyses"] = _analyses(new["analyses"])
    settings = new.get("settings")
    if isinstance(settings, dict) and "usual" not in new:
        usual = settings | {name: _USUAL[name] for name in _USUAL if name in settings}
        if settings.get("template", "tokenizer") != "tokenizer":
            usual.pop("template_sha256", None)
        if settings.get("on_overflow", "error") != "error":
            usual.pop("max_length", None)
        new["usual"] = usual
    return new


def _accuracy(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    accuracy, wins, n = item.get("accuracy"), item.get("wins"), item.get("n")
    if type(wins) is not int or type(n) is not int or n < 1 or type(accuracy) is not float:
        return item
    exact = wins / n
    return item | {"accuracy": exact} if abs(exact - accuracy) <= _HALF_DIGIT else item


def _analyses(analyses: Mapping[str, Any]) -> dict[str, Any]:
    """Return analyses whose bins hold their accuracy apart from their ends.

    A slope over all subsets and a calibration error that grows as data shrink are left out: what
    has taken their place cannot be computed from them.
    """
    analyses = {**analyses, "calibration": None}
    length = analyses.get("length")
    if not isinstance(length, dict) or not isinstance(length.get("bins"), list):
        return dict(analyses)
    length = {key: value for key, value in length.items() if key != "fit"} | {"odds": None}
    names = {"from": "low", "to": "high", "middle": "middle"}
    bins = [
        {names[key]: value for key, value in part.items() if key in names}
        | {"accuracy": {key: value for key, value in part.items() if key not in names}}
        if isinstance(part, dict)
        else part
        for part in length["bins"]
    ]
    return {**analyses, "length": {**length, "bins": bins}}
