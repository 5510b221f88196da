"""An own judge: shown both responses at once, it says how far it prefers each.

    python examples/own_judge.py
    rmbench run --model file:examples/own_judge.py:Judge

A listwise scorer has `prefer` instead of `score`, and says with `most` how many responses it can
see. It is asked in both orders, so that it cannot win by place: this one leans to whatever stands
first, and the record counts how often that decided.
"""

from collections.abc import Iterable

import rmbench

LEAN = 0.05


class Judge:
    """Prefers the response with more different words, and a little whichever it reads first."""

    info = rmbench.ScorerInfo(
        id="example/judge",
        kind="own",
        gives="preferences",
        scale="ordinal",
        settings={"lean": LEAN},
    )
    most = 2

    def prefer(
        self, questions: Iterable[rmbench.Candidates], ledger: rmbench.Ledger
    ) -> rmbench.Facts:
        """Record a share of the preference for each response, in the order shown."""
        for number, question in enumerate(questions):
            first, second = (len(set(text.split())) for text in question.responses)
            share = min(1.0, first / max(first + second, 1) + LEAN)
            ledger.record({number: (share, 1.0 - share)})
        return rmbench.Facts()


if __name__ == "__main__":
    result = rmbench.evaluate("mini", Judge())
    print(result.to_frame().head(6).to_string())
    print("the order decided:", result.audit["orders_disagree"], "of 240 comparisons")
