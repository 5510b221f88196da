"""Material → the words and numbers of the page, each as it is shown."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from rmbench.accuracy.aggregate import Accuracy
from rmbench.accuracy.analysis import ending
from rmbench.result.record import Result
from rmbench.show.audit import AUDIT_WORDS, audit_notes
from rmbench.show.report.accuracy_figure import ANCHOR_MARKERS, BarRow, accuracy_bars
from rmbench.show.report.analyses import calibration_part, has_calibration, length_part
from rmbench.show.report.curve_figures import MARKERS
from rmbench.show.report.margin_figure import RidgeRow, margin_ridges
from rmbench.show.report.material import Material, Scores
from rmbench.show.report.pair import contrast_part
from rmbench.show.report.svg import FigureLabel
from rmbench.show.report.words import cell, number, plain, slice_title
from rmbench.show.table import interval_text
from rmbench.wording import counted, percent, printable

__all__ = ["model_names", "part"]

WIDE, NARROW, HALF = 960, 360, 400
ENDINGS: Final = ("won", "lost", "tied", "dropped")
_MORE_WORDS: Final = {
    "batching": "way of batching",
    "difference": "largest difference from the lone forward",
    "longest": "longest conversation, tokens",
    "refused_batching": "ways of batching refused",
}


def part(material: Material) -> dict[str, Any]:
    """Return what the template shows of one suite; every value is a text, or made of texts."""
    suite = material.suite
    names = model_names(material.scores)
    headline = _headline(material)
    contrast = contrast_part(material, names, headline, _slices(material))
    return {
        "key": f"suite-{suite.name}",
        "title": suite.title,
        "about": _about(material),
        "reference": suite.reference if (suite.reference or "").startswith("https://") else None,
        "contents": _contents(material),
        "headline": headline or "no average",
        "headline_words": "the averages, the sections and their subsets",
        "meaning": _meaning(material, headline),
        "models": [
            _model(material, position, name=names[position], headline=headline)
            for position in range(len(names))
        ],
        "anchors": [
            {"name": anchor.model["id"], "citation": anchor.citation, "marker": marker}
            for anchor, marker in zip(material.anchors, ANCHOR_MARKERS, strict=False)
        ],
        "warnings": _warnings(material, names),
        "ties": any(o is not None and o.tied for item in material.scores for o in item.outcomes),
        "bars": _bars(material),
        "numbers": _numbers(material),
        "margins": _margins(material),
        "length": length_part(material, names),
        "calibration": calibration_part(material, names),
        "contrast": contrast,
        "without": _without(material),
        "explorer": _explorer(material),
    }


def model_names(scores: Sequence[Scores]) -> list[str]:
    """Return what each result is called, told apart where two are of one model."""
    names = [printable(item.model) for item in scores]
    for detail in ("revision", "dtype", "template"):
        counts = Counter(names)
        names = [
            f"{name} {_detail(item.result, detail)}".strip() if counts[name] > 1 else name
            for name, item in zip(names, scores, strict=True)
        ]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def _detail(result: Result, name: str) -> str:
    if name == "revision":
        return str(result.model.get("revision") or "").removeprefix("sha256:")[:7]
    return str(result.settings.get(name, ""))


def _about(material: Material) -> str:
    n, result = len(material.ids), material.scores[0].result
    subsets = counted(len(result.subsets), "subsets")
    sizes = f"{counted(n, 'comparisons')} in {subsets}, version {material.suite.version}."
    if result.partial is not None:
        how = "a quick sample" if result.sample else "spread over the suite"
        sizes = f"A partial run: only {counted(n, 'comparisons')}, {how}."
    return sizes


def _contents(material: Material) -> list[tuple[str, str]]:
    flips = [("flips", "Changes")] if len(material.scores) == 2 else []
    calibration = [("calibration", "Calibration")] if has_calibration(material) else []
    return [
        ("sections", "Sections"),
        *flips,
        ("margins", "Margins"),
        ("length", "Length"),
        *calibration,
        ("comparisons", "Comparisons"),
        ("audit", "Audit"),
    ]


def _headline(material: Material) -> str | None:
    """Return the average to show first: the suite's, or one that a partial run has."""
    averages = material.scores[0].result.averages
    return (
        material.suite.headline
        if material.suite.headline in averages
        else next(iter(averages), None)
    )


def _meaning(material: Material, headline: str | None) -> str:
    meanings = {average.name: average.meaning for average in material.suite.averages}
    return meanings.get(headline or "", "this part of the suite fills none")


def _without(material: Material) -> str:
    name = material.suite.name
    return (
        "The texts were not at hand when this page was made; make it again with"
        f" --data {name}=PATH for a local copy, or --data {name} for the suite's own source."
    )


def _warnings(material: Material, names: Sequence[str]) -> Iterator[str]:
    for name, item in zip(names, material.scores, strict=True):
        for note in audit_notes(item.result, material.suite):
            yield f"{name}, {note}" if len(names) > 1 else note.capitalize()


# --- accuracies ----------------------------------------------------------------------------------


def _model(material: Material, position: int, *, name: str, headline: str | None) -> dict[str, Any]:
    scores = material.scores[position]
    result = scores.result
    others = {key: item for key, item in result.averages.items() if key != headline}
    endings = Counter(ending(outcome) for outcome in scores.outcomes)
    shown = [
        (key, f"{percent(item.accuracy)} % ({interval_text(item)})") for key, item in others.items()
    ]
    counts = [f"{endings[key]:,} {key}" for key in ENDINGS if endings[key]]
    shown.append(("outcomes", ", ".join(counts)))
    return {
        "name": name,
        "marker": MARKERS[position],
        "headline": cell(result.averages.get(headline or "")),
        "averages": shown,
        "ridges": _ridges(material, position, name),
        "signature": result.signature or "",
        "record": [("date", result.date), *_audit(result)],
        "details": _details(result),
    }


def _slices(material: Material) -> list[tuple[str, str]]:
    """Return level and name of every row: averages, then each section with its subsets."""
    result = material.scores[0].result
    first = _headline(material)
    averages = sorted(result.averages, key=lambda name: name != first)
    rows = [("average", name) for name in averages]
    placed: set[str] = set()
    for section in material.suite.sections:
        inside = [name for name in section.subsets if name in result.subsets]
        rows += [("section", section.name)] if section.name in result.sections else []
        rows += [("subset", name) for name in inside]
        placed.update(inside)
    return rows + [("subset", name) for name in result.subsets if name not in placed]


def _find(result: Result, level: str, name: str) -> Accuracy | None:
    groups: Mapping[str, Mapping[str, Accuracy]] = {
        "average": result.averages,
        "section": result.sections,
        "subset": result.subsets,
    }
    return groups[level].get(name)


def _bars(material: Material) -> dict[str, str]:
    # A section of one subset is that subset.
    alone = {s.subsets[0] for s in material.suite.sections if len(s.subsets) == 1}
    rows = [
        BarRow(
            slice_title(level, name),
            level,
            [item for item in found if item is not None],
            [_share(_find(anchor, level, name)) for anchor in material.anchors],
        )
        for level, name in _slices(material)
        if name not in alone
        and (found := [_find(scores.result, level, name) for scores in material.scores])
    ]
    title = f"Accuracies on {material.suite.title}"
    told = "Horizontal bars with 95 % intervals; the table below has the numbers."
    key = f"bars-{material.suite.name}"
    return {
        "wide": accuracy_bars(rows, FigureLabel(f"{key}-wide", title, told), width=WIDE),
        "narrow": accuracy_bars(rows, FigureLabel(f"{key}-narrow", title, told), width=NARROW),
    }


def _share(item: Accuracy | None) -> float | None:
    return None if item is None else item.accuracy


def _numbers(material: Material) -> list[dict[str, Any]]:
    numbers = {name: i for i, name in enumerate(_subset_names(material))}
    rows = []
    for level, name in _slices(material):
        items = [_find(scores.result, level, name) for scores in material.scores]
        anchors = [_find(anchor, level, name) for anchor in material.anchors]
        rows.append(
            {
                "level": level,
                "name": slice_title(level, name),
                "n": f"{items[0].n:,}" if items[0] is not None and items[0].n else "",
                "cells": [cell(item) for item in items],
                "anchors": [percent(item.accuracy) if item else "" for item in anchors],
                "show": f'{{"subset": "{numbers[name]}"}}' if level == "subset" else None,
            }
        )
    return rows


# --- margins -------------------------------------------------------------------------------------


def _subset_names(material: Material) -> list[str]:
    return list(dict.fromkeys(material.subsets))


def _by_subset(material: Material, position: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in _ordered_subsets(material)}
    pairs = zip(material.subsets, material.scores[position].margins, strict=True)
    for subset, value in pairs:
        if value is not None:
            found[subset].append(value)
    return {name: values for name, values in found.items() if values}


def _ordered_subsets(material: Material) -> list[str]:
    return [name for level, name in _slices(material) if level == "subset"]


def _ridges(material: Material, position: int, name: str) -> dict[str, str]:
    rows = [
        RidgeRow(subset, np.array(values))
        for subset, values in _by_subset(material, position).items()
    ]
    title = f"Margins of {name} on {material.suite.title}"
    told = "One histogram per subset; the table below has the quantiles."
    key = f"ridges-{material.suite.name}-{position}"
    narrow = HALF if len(material.scores) > 1 else NARROW
    drawn = {
        "narrow": margin_ridges(
            rows, FigureLabel(f"{key}-narrow", title, told), width=narrow, series=position
        )
    }
    if len(material.scores) == 1:
        drawn["wide"] = margin_ridges(
            rows, FigureLabel(f"{key}-wide", title, told), width=WIDE, series=position
        )
    return drawn


def _margins(material: Material) -> list[dict[str, Any]]:
    columns = [_by_subset(material, position) for position in range(len(material.scores))]
    return [
        {"name": name, "cells": [_quantiles(column.get(name)) for column in columns]}
        for name in _ordered_subsets(material)
    ]


def _quantiles(values: Sequence[float] | None) -> dict[str, str]:
    if not values:
        return {"value": "none", "interval": ""}
    low, middle, high = (number(float(q)) for q in np.quantile(values, [0.1, 0.5, 0.9]))
    return {"value": middle, "interval": f"{low} to {high}"}


# --- the list ------------------------------------------------------------------------------------


def _explorer(material: Material) -> dict[str, Any]:
    names = _subset_names(material)
    numbers = {name: i for i, name in enumerate(names)}
    texts = "Open a row for its texts." if material.comparisons else _without(material)
    return {
        "about": texts,
        "dropped": any(outcome is None for item in material.scores for outcome in item.outcomes),
        "groups": _groups(material, numbers),
        "data": {
            "ids": list(material.ids),
            "subset": [numbers[name] for name in material.subsets],
            "models": model_names(material.scores),
            "results": [_rewards(item) for item in material.scores],
            "without": _without(material),
            "length": material.differences,
        },
        "data_has_length": material.differences is not None,
        "texts": material.comparisons,
    }


def _groups(material: Material, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [{"name": "", "subsets": []}]
    sections = {name: s.name for s in material.suite.sections for name in s.subsets}
    for name in _ordered_subsets(material):
        section = sections.get(name, "")
        if groups[-1]["name"] != section:
            groups.append({"name": section, "subsets": []})
        groups[-1]["subsets"].append((numbers[name], name))
    return [group for group in groups if group["subsets"]]


def _rewards(scores: Scores) -> dict[str, Any]:
    values = [value for value in scores.margins if value is not None]
    spread = math.sqrt(math.fsum(value * value for value in values) / max(len(values), 1))
    return {
        "endings": "".join(ending(outcome)[0] for outcome in scores.outcomes),
        "chosen": [item.chosen for item in scores.result.rewards],
        "rejected": [item.rejected for item in scores.result.rewards],
        "scale": spread or 1.0,
    }


# --- the record ----------------------------------------------------------------------------------


def _audit(result: Result) -> Iterator[tuple[str, str]]:
    """Yield what the audit found."""
    for key, value in result.audit.items():
        if value:
            yield (_MORE_WORDS | AUDIT_WORDS).get(key, key.replace("_", " ")), plain(value)


def _details(result: Result) -> list[tuple[str, str]]:
    found = [
        (f"{group} {key}".replace("_", " "), plain(value))
        for group in ("model", "suite", "settings", "environment", "timing")
        for key, value in getattr(result, group).items()
    ]
    return [(name, value) for name, value in found if value]
