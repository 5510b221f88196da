"""The gate: did a model get worse than its baseline, beyond chance or beyond a limit?"""

from dataclasses import dataclass
from typing import Final

from rmbench.compare.contrast import Contrast, Verdict
from rmbench.compare.paired import Resampling, detectable_drop, holm
from rmbench.errors import ResultError

__all__ = ["Finding", "Gate", "Limits", "check"]

POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What fails the gate.

    Attributes:
        alpha: the chance, in (0, 1), that an unchanged model fails; over all sections and averages
            of a suite together.
        max_drop: points of accuracy that no section or average may lose, whatever the chance;
            None for no such limit.
    """

    alpha: float = 0.01
    max_drop: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the gate says of one section or average.

    Attributes:
        verdict: the comparison with the baseline.
        p_value: one-sided, of a drop at least as large by chance, after Holm's method over all
            sections and averages; None when it cannot be tested.
        detectable: the smallest drop, in [0, 1], that this test finds with a chance of 80 %;
            None when there are too few comparisons to find any.
        reason: why it fails; empty when it does not.
    """

    verdict: Verdict
    p_value: float | None
    detectable: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A result held against its baseline.

    Attributes:
        contrast: the comparison with the baseline.
        limits: what fails.
        findings: sections and averages, in the suite's order.
    """

    contrast: Contrast
    limits: Limits
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no section and no average got worse."""
        return not any(finding.reason for finding in self.findings)


def check(contrast: Contrast, limits: Limits) -> Gate:
    """Hold a result against its baseline.

    A section or average fails when it dropped and the one-sided p value, adjusted by Holm's method
    over all sections and averages, is at most ``limits.alpha``; or when it dropped by more than
    ``limits.max_drop`` points. The chance that an unchanged model fails by the first rule is at
    most alpha, since rerunning it exchanges old and new credits.

    Args:
        contrast: the baseline as ``old``, the result as ``new``.
        limits: alpha and the largest drop allowed.

    Raises:
        ResultError: no section or average can be tested, or alpha is too small for any to fail.
        ValueError: alpha is not in (0, 1), or the largest drop is negative.
    """
    if not 0.0 < limits.alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, got {limits.alpha}")
    if limits.max_drop is not None and not limits.max_drop >= 0.0:
        raise ValueError(f"max_drop must be 0 or more points, got {limits.max_drop}")
    verdicts = contrast.level("section", "average")
    drops = [item.difference.p_drop for item in verdicts if item.difference is not None]
    if not drops:
        raise ResultError(
            f"{contrast.new.model['id']} on {contrast.suite.name}: no section or average of it can"
            " be compared with the baseline; give a baseline that has some"
        )
    smallest = len(drops) / (Resampling().resamples + 1)
    if contrast.paired and limits.alpha < smallest:
        raise ResultError(
            f"alpha {limits.alpha:g} is less than resampling can tell of {len(drops)} sections and"
            f" averages, so that no drop would fail; give {smallest:.1g} or more"
        )
    adjusted = iter(holm(drops))
    findings = [
        _finding(item, None if item.difference is None else next(adjusted), limits, len(drops))
        for item in verdicts
    ]
    return Gate(contrast=contrast, limits=limits, findings=tuple(findings))


def _finding(verdict: Verdict, p_value: float | None, limits: Limits, tests: int) -> Finding:
    return Finding(
        verdict=verdict,
        p_value=p_value,
        detectable=_detectable(verdict, limits.alpha / tests),
        reason=_reason(verdict, p_value, limits),
    )


def _reason(verdict: Verdict, p_value: float | None, limits: Limits) -> str:
    if verdict.difference is None or p_value is None:
        return ""
    points = -100.0 * verdict.difference.estimate
    if points <= 0.0:
        return ""
    if p_value <= limits.alpha:
        return f"worse by {points:.2f} points, beyond chance"
    # A drop that is the limit but for rounding is within it.
    if limits.max_drop is not None and points > limits.max_drop + 1e-9:
        return f"worse by {points:.2f} points, more than the {limits.max_drop:g} allowed"
    return ""


def _detectable(verdict: Verdict, alpha: float) -> float | None:
    """Return the drop that Holm's first, strictest step would find."""
    if verdict.difference is None:
        return None
    try:
        return detectable_drop(
            verdict.discordance, verdict.counts, weights=verdict.weights, alpha=alpha, power=POWER
        )
    except ValueError:  # so few comparisons that even losing all of them could be chance
        return None
