"""What stands behind the accuracies, for the page: length and calibration."""

from collections.abc import Sequence
from typing import Any, Final

from rmbench.accuracy.analysis import (
    LengthBias,
    OddsRatio,
    confidence_of,
    length_bias,
    margin_calibration,
)
from rmbench.answers.judgements import Judgements
from rmbench.show.audit import odds_text
from rmbench.show.report.curve_figures import MARKERS, calibration_plot, length_plot
from rmbench.show.report.material import Material, Scores
from rmbench.show.report.svg import FigureLabel
from rmbench.show.report.words import cell

__all__ = ["calibration_part", "has_calibration", "length_part"]

WIDTH: Final = 400


def length_part(material: Material, names: Sequence[str]) -> dict[str, Any] | None:
    """Return accuracy by which response is longer; None where some result's lengths are unknown."""
    found = [_bias(material, scores) for scores in material.scores]
    biases = [bias for bias in found if bias is not None]
    if len(biases) < len(found):
        return None
    label = FigureLabel(
        f"length-{material.suite.name}",
        "Accuracy against difference in length",
        "Accuracy in groups by how many characters the chosen response is longer than the"
        " rejected one; the table below has the sides of zero.",
    )
    return {
        "figure": length_plot(biases, label, tie=material.suite.credit.credit_of_tie, width=WIDTH),
        "heads": _heads(biases[0]),
        "rows": [
            {"name": name, "cells": [cell(item) for item in (b.longer, b.equal, b.shorter)]}
            for name, b in zip(names, biases, strict=True)
        ],
        "sentences": [
            sentence
            for name, bias in zip(names, biases, strict=True)
            for sentence in _odds(name, bias.odds)
        ],
    }


def _heads(bias: LengthBias) -> list[str]:
    """Return the sides of zero, each with how many comparisons the first result scored there."""
    sides = {"longer": bias.longer, "as long": bias.equal, "shorter": bias.shorter}
    return [f"{name}: {0 if item is None else item.n:,}" for name, item in sides.items()]


def _bias(material: Material, scores: Scores) -> LengthBias | None:
    """Return what the texts say, or the record where they are not at hand."""
    if material.differences is not None:
        columns = Judgements.of(scores.result.rewards)
        return length_bias(
            material.differences,
            scores.outcomes,
            subsets=material.subsets,
            clusters=columns.clusters,
        )
    analyses = scores.result.analyses
    return None if analyses is None else analyses.length


def _odds(name: str, odds: OddsRatio | None) -> list[str]:
    if odds is None:
        return []
    return [
        f"{name}: within subsets, the odds of winning where the chosen response is the longer one"
        f" are {odds_text(odds)} times those where it is the shorter one, with the 95 % interval."
    ]


def has_calibration(material: Material) -> bool:
    """Return whether the answers of any result promise a probability."""
    return any(map(_promises, material.scores))


def _promises(scores: Scores) -> bool:
    analyses = scores.result.analyses
    if analyses is not None:
        return analyses.calibration is not None
    return not scores.result.is_rule  # records of earlier releases have no analyses


def calibration_part(material: Material, names: Sequence[str]) -> dict[str, Any] | None:
    """Return how far sigmoid(margin) is from how often the model is right.

    None where no result's answers promise a probability.
    """
    if not has_calibration(material):
        return None
    known = [
        (name, scores, found, sure)
        for name, scores in zip(names, material.scores, strict=True)
        if _promises(scores)
        for margins in [Judgements.of(scores.result.rewards).best_margins()]
        for found, sure in [(margin_calibration(margins), confidence_of(margins))]
        if found is not None and sure is not None
    ]
    items = [found for _, _, found, _ in known]
    label = FigureLabel(
        f"calibration-{material.suite.name}",
        "Calibration",
        "How often the model is right against how sure it is, and below it how often it is that"
        " sure; the table below has the error.",
    )
    rules = [
        name for name, scores in zip(names, material.scores, strict=True) if scores.result.is_rule
    ]
    return {
        "figure": calibration_plot(items, label, width=WIDTH),
        "rows": [
            {"name": name, "error": f"{found.error:.3f}", "brier": f"{sure.brier:.3f}"}
            for name, _, found, sure in known
        ],
        "legend": [(name, MARKERS[place]) for place, (name, *_) in enumerate(known)],
        "sentences": [_rules_sentence(rules)] if rules else [],
    }


def _rules_sentence(names: Sequence[str]) -> str:
    *rest, last = names
    who = f"{', '.join(rest)} and {last} are rules" if rest else f"{last} is a rule"
    return f"{who}, whose rewards are no log-odds: calibration means nothing there."
