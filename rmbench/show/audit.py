"""What the analyses and the audit of a result have to tell, one line each."""

from collections.abc import Mapping
from typing import Any, Final

from rmbench.accuracy.analysis import Confidence, OddsRatio
from rmbench.accuracy.intervals import wilson
from rmbench.result.record import Result
from rmbench.suite.definition import Suite
from rmbench.wording import counted, percent

__all__ = ["AUDIT_WORDS", "analysis_notes", "audit_notes", "odds_text"]


def analysis_notes(result: Result) -> list[str]:
    """Return a line on length and one on calibration, each only where it has something to tell.

    Of a rule they would tell what the rule says of itself.
    """
    found = None if result.is_rule else result.analyses
    notes = []
    if found is not None and found.length is not None and found.length.is_notable:
        longer, shorter, odds = found.length.longer, found.length.shorter, found.length.odds
        assert longer is not None and shorter is not None and odds is not None, "else none is told"
        notes.append(
            f"length: {percent(longer.accuracy)} % right where the chosen response is longer"
            f" (n {longer.n:,}), {percent(shorter.accuracy)} % where it is shorter"
            f" (n {shorter.n:,}); within subsets the odds of winning are {odds_text(odds)} times as"
            " high where it is longer"
        )
    if found is not None and found.calibration is not None and found.calibration.is_notable:
        notes.append(_confidence_note(found.calibration))
    return notes


def _confidence_note(item: Confidence) -> str:
    assert item.confidence is not None and item.right is not None, "else nothing is told"
    low, high = wilson(item.right * (item.n - item.ties), item.n - item.ties)
    word = "overconfident" if item.confidence > high else "underconfident"
    if low <= item.confidence <= high:
        word = "miscalibrated"
    ties = f"; {counted(item.ties, 'ties')} left out" if item.ties else ""
    return (
        f"calibration: {word}: mean confidence {100 * item.confidence:.1f} %, accuracy"
        f" {100 * item.right:.1f} % (calibration error {item.error:.3f}{ties})"
    )


def odds_text(odds: OddsRatio) -> str:
    """Return an odds ratio with its 95 % interval, ``1.43 (1.30 to 1.57)``."""
    middle, low, high = map(_factor, odds)
    return f"{middle} ({low} to {high})"


def _factor(ratio: float) -> str:
    if not 0.001 <= ratio <= 1000.0:
        return "over 1,000" if ratio > 1.0 else "under 0.001"
    return f"{ratio:.3g}"


AUDIT_WORDS: Final = {
    "near_ties": "margins below one step of the precision",
    "overflowed": "conversations over the limit of length",
    "dropped": "comparisons dropped",
    "identical_inputs": "comparisons whose two sides gave the model the same tokens",
    "identical_responses": "comparisons with the same text on both sides",
    "duplicates": "comparisons equal to an earlier one",
    "empty": "comparisons with an empty text",
    "equal_scores": "comparisons whose annotators gave both sides the same score",
}


CURE: Final = dict.fromkeys(("bfloat16", "float16"), " (--dtype cascade decides as float32 does)")


LEFT_OUT: Final = {
    "even": "neither response is preferred",
    "skipped": "the suite says so",
    "one_sided": "no right or no wrong response",
}


def audit_notes(result: Result, suite: Suite) -> list[str]:
    """Return one line for all that the audit has to tell; none when there is nothing."""
    found = []
    if result.audit.get("ties"):
        found.append(f"{counted(result.audit['ties'], 'ties')}{_tie_words(suite)}")
    for key, words in AUDIT_WORDS.items():
        if result.audit.get(key):
            found.append(f"{counted(result.audit[key], words)}{_share(result, key)}")
    for why, count in (result.audit.get("left_out") or {}).items():
        found.append(f"{counted(count, 'rows')} left out: {LEFT_OUT.get(why, why)}")
    found += _way_notes(result.audit)
    found += _cascade_notes(result.audit)
    found += _recheck_notes(result.audit, str(result.settings.get("dtype")))
    found += _order_notes(result.audit)
    if result.audit.get("below_chance"):
        of_model = not result.is_rule
        cost = ": does a low reward mean a good response (a cost model)?" if of_model else ""
        found.append(f"below chance{cost}")
    found += [f"{name}: {seen}" for name, seen in (result.audit.get("warnings") or {}).items()]
    return ["audit: " + "; ".join(found)] if found else []


def _order_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return what the order of responses did, and what judges' replies came to."""
    found, orders = [], audit.get("orders") or {}
    if orders:
        found.append(
            f"both orders right {percent(orders['strict'])} % (a guesser 25), single orders"
            f" {percent(orders['mean'])} % (50)"
        )
    if orders.get("first") is not None:
        limits = f"{percent(orders['first_low'])} to {percent(orders['first_high'])}"
        found.append(f"the first place wins {percent(orders['first'])} % ({limits})")
    if audit.get("one_order"):
        found.append(
            f"{counted(audit['one_order'], 'comparisons')} answered in one order only: no verdict"
        )
    circles = audit.get("circles")
    if circles:
        found.append(
            f"{circles['circles']:,} of {counted(circles['triples'], 'triples')} of candidates are"
            " preferred in a circle"
        )
    replies = audit.get("replies") or {}
    found += [f"{count} replies {why}" for why, count in replies.items() if why != "read"]
    repeats = audit.get("repeats") or {}
    if "spread" in repeats:
        found.append(
            f"{repeats['runs']} identical runs agree on {percent(repeats['agreement'])} % and"
            f" differ by {percent(repeats['spread'])} points: less is noise"
        )
    return found


def _tie_words(suite: Suite) -> str:
    """Return in brackets what a tie earns, where it is the same for every comparison."""
    if len(suite.credit.rules) > 1 or suite.credit.rule not in ("pair", "best-of"):
        return ""
    is_shared = suite.credit.tie == "share"
    earns = "shares the credit" if is_shared else f"earns {suite.credit.credit_of_tie:g}"
    return f" (each {earns})"


def _share(result: Result, key: str) -> str:
    """Return in brackets how much of the data a count is, where that says how far to trust it."""
    count, total = result.audit[key], result.suite.get("comparisons")
    if key != "equal_scores" or not isinstance(count, int) or not isinstance(total, int):
        return ""
    return f" ({100 * count / max(total, 1):.1f} %)"


def _way_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return which ways of batching were not used, and which were and had to be replaced."""
    found = []
    for way, difference in audit.get("refused_batching", {}).items():
        if difference is not None:  # else the model does not allow it, which moves no number
            found.append(f"batching {way} refused: {difference:.2g} from the lone forward")
    for way, difference in (audit.get("contradicted") or {}).items():
        found.append(
            f"all scored again: rewards of {way} were {difference:.2g} from the lone forward"
        )
    return found


def _cascade_notes(audit: Mapping[str, Any]) -> list[str]:
    """Return how many comparisons half precision left open, and how many it had wrong."""
    item = audit.get("cascade") or {}
    if not item:
        return []
    within = "" if item["bound"] is None else f", those within {item['bound']:.2g} of a tie"
    return [
        f"{item['again']:,} of {counted(item['comparisons'], 'comparisons')}"
        f" ({percent(item['share'])} %) scored again in {item['exact']}{within};"
        f" {item['fast']} decided {item['turned']:,} of them differently"
    ]


def _recheck_notes(audit: Mapping[str, Any], dtype: str) -> list[str]:
    found = []
    again = {
        "rechecked": "comparisons scored again alone",
        "exact": "ties and near-ties in float32",
    }
    for key, words in again.items():
        item = audit.get(key) or {}
        if item.get("flipped"):
            cure = "" if key == "exact" else CURE.get(dtype, "")
            seen = f"{item['flipped']} of {item['comparisons']} {words} end differently"
            found.append(seen + cure)
    return found
