"""The gate: is a model worse than its baseline, no worse, or can the data not tell?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rmbench.answers.judgements import Judgements
from rmbench.compare.contrast import Contrast, stacked_steps
from rmbench.compare.family import holm, max_t
from rmbench.compare.verdict import Verdict
from rmbench.errors import ResultError

__all__ = ["Finding", "Gate", "GateOutcome", "Limits", "check"]

GateOutcome = Literal["worse", "not worse", "cannot tell", "not comparable"]
POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What fails the gate.

    Attributes:
        alpha: the chance, in (0, 1), that an unchanged model fails; over all sections and averages
            of a suite together.
        max_drop: points of accuracy that no section or average may lose, whatever the chance;
            None for no such limit.
        margin: points of accuracy that a section or average may lose; the gate then passes only
            where each is shown to have lost less. None asks for no such proof.
        across_precisions: whether results of different precisions may be compared.
    """

    alpha: float = 0.01
    max_drop: float | None = None
    margin: float | None = None
    across_precisions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the gate says of one section or average.

    Attributes:
        verdict: the comparison with the baseline.
        outcome: ``worse`` fails; ``not worse`` passes: without a margin since no drop was found,
            with one since the drop is shown to be smaller; ``cannot tell`` where that is not shown.
        p_value: one-sided, of a drop at least as large by chance, adjusted for all sections and
            averages; None when it cannot be tested.
        lowest: the lower one-sided limit of the difference at 1 - alpha; None likewise.
        detectable: the smallest drop, in [0, 1], that this test finds with a chance of 80 %;
            None when there are too few comparisons to find any.
        can_fail: whether so many comparisons changed that losing all of them would fail.
        reason: why it fails, or cannot tell; empty when it passes.
    """

    verdict: Verdict
    outcome: GateOutcome
    p_value: float | None
    lowest: float | None
    detectable: float | None
    can_fail: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A result held against its baseline.

    Attributes:
        contrast: the comparison with the baseline.
        limits: what fails.
        findings: sections and averages, in the suite's order.
        new_ties: comparisons that were won and are now tied, which lose their credit; None when
            not paired.
    """

    contrast: Contrast
    limits: Limits
    findings: tuple[Finding, ...]
    new_ties: int | None = None

    @property
    def outcome(self) -> GateOutcome:
        """``worse`` if any row is, else ``cannot tell`` if any is, else ``not worse``."""
        found = {finding.outcome for finding in self.findings}
        if "worse" in found:
            return "worse"
        return "cannot tell" if "cannot tell" in found else "not worse"

    @property
    def passed(self) -> bool:
        """Whether no section and no average got worse, and all is shown that was asked for."""
        return self.outcome == "not worse"


def check(contrast: Contrast, limits: Limits) -> Gate:
    """Hold a result against its baseline.

    A section or average is worse when it dropped and the one-sided p value, adjusted over all
    sections and averages (by the maximum of the tests where both results have their rewards, else
    by Holm's method), is at most ``limits.alpha``; or when it dropped by more than
    ``limits.max_drop`` points. The chance that an unchanged model fails by the first rule is at
    most alpha, since rerunning it exchanges old and new credits.

    With ``limits.margin`` a drop that is shown to be smaller than the margin passes, even where it
    is beyond chance, and what is not shown cannot tell. It is shown where the lower one-sided
    limit of the difference at 1 - alpha lies above minus the margin. As all of them must be shown,
    each is tested at alpha.

    Args:
        contrast: the baseline as ``old``, the result as ``new``.
        limits: alpha, the largest drop allowed, the margin.

    Raises:
        ResultError: no section or average can be tested, or the results are of different precisions
            and that was not asked for.
        ValueError: alpha is not in (0, 1), or a number of points is negative.

    Source: T. Tango (1998), Statistics in Medicine 17:891-908, for the limit; R. L. Berger (1982),
    Technometrics 24:295-300, for testing each at alpha.
    """
    _check_limits(limits)
    if not limits.across_precisions:
        _check_precision(contrast)
    verdicts = contrast.level("section", "average")
    tested = [item for item in verdicts if item.difference is not None]
    if not tested:
        raise ResultError(
            f"{contrast.new.model['id']} on {contrast.suite.name}: no section or average of it can"
            " be compared with the baseline; give a baseline that has some"
        )
    chances = dict(zip(map(id, tested), _chances(tested, limits.alpha), strict=True))
    findings = [
        _finding(item, chances.get(id(item)), limits, tests=len(tested)) for item in verdicts
    ]
    return Gate(
        contrast=contrast,
        limits=limits,
        findings=tuple(findings),
        new_ties=_new_ties(contrast) if contrast.paired else None,
    )


def _check_limits(limits: Limits) -> None:
    if not 0.0 < limits.alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, got {limits.alpha}")
    for name in ("max_drop", "margin"):
        points = getattr(limits, name)
        if points is not None and not points >= 0.0:
            raise ValueError(f"{name} must be 0 or more points, got {points}")


def _check_precision(contrast: Contrast) -> None:
    before, after = (item.settings.get("dtype") for item in (contrast.old, contrast.new))
    if before is not None and after is not None and before != after:
        raise ResultError(
            f"{contrast.new.model['id']} on {contrast.suite.name}: the baseline was scored in"
            f" {before} and this in {after}; rounding makes ties, which lose their credit, so that"
            f" an unchanged model can fail: run it with --dtype {before}, or give"
            " --across-precisions"
        )


def _chances(tested: Sequence[Verdict], alpha: float) -> list[tuple[float, bool]]:
    """Return each adjusted p value of a drop, and whether the smallest one possible fails."""
    drops = [item.difference.p_drop for item in tested if item.difference is not None]
    steps = stacked_steps(tested)
    if steps is None:
        return [(p, True) for p in holm(drops)]
    found = max_t(steps, drops, alpha=alpha, drops=True)
    fails = [smallest <= alpha for smallest in found.reachable]
    return list(zip(found.adjusted, fails, strict=True))


def _finding(
    verdict: Verdict, chance: tuple[float, bool] | None, limits: Limits, *, tests: int
) -> Finding:
    if verdict.difference is None or chance is None:
        return Finding(
            verdict=verdict,
            outcome="not comparable",
            p_value=None,
            lowest=None,
            detectable=None,
            can_fail=False,
            reason="",
        )
    p_value, can_fail = chance
    lowest = verdict.difference.table.limits(1.0 - 2.0 * min(limits.alpha, 0.499999)).low
    outcome, reason = _judge(verdict.difference.estimate, p_value, lowest, limits)
    return Finding(
        verdict=verdict,
        outcome=outcome,
        p_value=p_value,
        lowest=lowest,
        detectable=verdict.detectable(limits.alpha / tests, power=POWER),
        can_fail=can_fail or limits.max_drop is not None,
        reason=reason,
    )


def _judge(
    estimate: float, p_value: float, lowest: float, limits: Limits
) -> tuple[GateOutcome, str]:
    points = -100.0 * estimate
    # A drop that is the limit but for rounding is within it.
    if limits.max_drop is not None and points > limits.max_drop + 1e-9:
        return "worse", f"worse by {points:.2f} points, more than the {limits.max_drop:g} allowed"
    is_shown = limits.margin is not None and 100.0 * lowest > -limits.margin
    if is_shown:
        return "not worse", ""
    if points > 0.0 and p_value <= limits.alpha:
        return "worse", f"worse by {points:.2f} points, beyond chance"
    if limits.margin is not None:
        down = max(-100.0 * lowest, 0.0)
        return "cannot tell", f"may be worse by {down:.2f} points, more than {limits.margin:g}"
    return "not worse", ""


def _new_ties(contrast: Contrast) -> int:
    """Return how many comparisons the baseline won and the result ties."""
    before = Judgements.of(contrast.old.rewards)
    margins = dict(zip(before.ids, before.best_margins().tolist(), strict=True))
    after = Judgements.of(contrast.new.rewards)
    pairs = zip(after.ids, after.best_margins().tolist(), strict=True)
    return sum(margin == 0.0 and margins[name] > 0.0 for name, margin in pairs)
