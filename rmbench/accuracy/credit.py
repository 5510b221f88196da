"""Judgements → credit per comparison, by the suite's rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from rmbench.accuracy.groups import GROUP_RULES, Whole
from rmbench.answers.judgements import Block, Judgement, Judgements
from rmbench.errors import ScorerError
from rmbench.suite.averages import STEPWISE
from rmbench.suite.definition import Credit, Suite

__all__ = [
    "RULES",
    "CreditRule",
    "Outcome",
    "Outcomes",
    "answers_for",
    "check_answers",
    "credit",
    "judge",
]

Credits = npt.NDArray[np.float64]
Ties = npt.NDArray[np.bool_]


class Outcome(NamedTuple):
    """What one comparison earned.

    ``credit`` is in [0, 1]; ``tied`` when a rejected response got the same reward as the best
    chosen one, and none a higher.
    """

    credit: float
    tied: bool


class Outcomes(Sequence[Outcome | None]):
    """What each comparison earned, in columns; an entry is None for a dropped comparison.

    Attributes:
        credit: in [0, 1], shape (n,), float64; NaN for a dropped comparison.
        tied: shape (n,), bool.
        cells: of the rule ``styles``, the credit of some of its cells by themselves; NaN for a
            comparison under another rule.
        wholes: comparisons that are judged together; their credits are what each was by itself.
    """

    def __init__(
        self,
        credit: Credits,
        tied: Ties,
        *,
        cells: Mapping[str, Credits] | None = None,
        wholes: Sequence[Whole] = (),
    ) -> None:
        """Keep the columns."""
        self.credit, self.tied = credit, tied
        self.cells, self.wholes = dict(cells or {}), tuple(wholes)

    @classmethod
    def of(cls, entries: "Sequence[Outcome | None]") -> "Outcomes":
        """Return entries in columns; those that stand in columns already come back as they are."""
        if isinstance(entries, cls):
            return entries
        earned = [np.nan if entry is None else entry.credit for entry in entries]
        tied = [entry is not None and entry.tied for entry in entries]
        return cls(np.array(earned, dtype=np.float64), np.array(tied, dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.credit)

    @overload
    def __getitem__(self, index: int) -> Outcome | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[Outcome | None]: ...
    def __getitem__(self, index: int | slice) -> Outcome | list[Outcome | None] | None:
        if isinstance(index, slice):
            return list(self)[index]
        return _outcome(float(self.credit[index]), bool(self.tied[index]))

    def __iter__(self) -> Iterator[Outcome | None]:
        pairs = zip(self.credit.tolist(), self.tied.tolist(), strict=True)
        return (_outcome(earned, tied) for earned, tied in pairs)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def dropped(self) -> npt.NDArray[np.bool_]:
        """Which comparisons count nowhere, shape (n,)."""
        return np.isnan(self.credit)

    def values(self, subsets: npt.NDArray[np.int64], cells: str | None = None) -> Credits:
        """Return numbers, one per comparison, of which each subset's number is the mean.

        They are the credits, but for comparisons that are judged together.

        Args:
            subsets: a whole number for each comparison, equal within a subset.
            cells: of the rule ``styles``, the cells that count; None for all of them.
        """
        if cells is not None:
            return self.cells.get(cells, np.full(len(self), np.nan))
        found = self.credit
        for whole in self.wholes:
            found = found.copy() if found is self.credit else found
            own = subsets[whole.indices]
            for subset in np.unique(own):
                mask = own == subset
                found[whole.indices[mask]] = whole.values(mask)
        return found

    @property
    def won(self) -> Ties:
        """Which comparisons were won outright, shape (n,)."""
        return np.asarray((self.credit == 1.0) & ~self.tied, dtype=np.bool_)

    @property
    def lost(self) -> Ties:
        """Which comparisons were decided and not won outright, shape (n,)."""
        return np.asarray(~self.dropped & ~self.tied & (self.credit != 1.0), dtype=np.bool_)


def _outcome(earned: float, tied: bool) -> Outcome | None:
    return None if earned != earned else Outcome(earned, tied)


class CreditRule(NamedTuple):
    """A rule of credit.

    Attributes:
        earn: takes comparisons of one shape, each with all its answers, and the suite's rule;
            returns credit and ties, both of shape (n,).
        needs: ``margins`` for a rule that any scorer can be judged by, ``rewards`` for one that
            needs a number for each response by itself.
    """

    earn: Callable[[Block, Credit], tuple[Credits, Ties]]
    needs: Literal["margins", "rewards"]


def judge(suite: Suite, judgements: Sequence[Judgement]) -> Outcomes:
    """Return what each comparison earns by the suite's rule; None for a dropped one.

    Raises:
        ScorerError: the rule needs rewards, and the scorer gave preferences.
    """
    columns = Judgements.of(judgements)
    cells: dict[str, Credits] = {}
    together: dict[int, tuple[Credit, list[Block]]] = {}
    earned, tied = np.full(len(columns), np.nan), np.zeros(len(columns), dtype=np.bool_)
    for block in columns.blocks():
        whole = _answered(block, suite.credit)
        for rule, part in _by_rule(whole, suite.credit, columns.ids):
            if rule.rule in GROUP_RULES:
                together.setdefault(id(rule), (rule, []))[1].append(_scored(part))
                continue
            earned[part.indices], tied[part.indices] = credit(part, rule)
            if rule.rule == "styles":
                _keep_cells(cells, part, len(columns))
        if columns.preferences is not None:  # no answer: the comparison is lost
            rest = np.setdiff1d(block.indices, whole.indices)
            earned[rest] = 0.0
            if suite.credit.rule == "styles":
                _lose_cells(cells, rest, len(columns))
    wholes = [_together(rule, parts, columns) for rule, parts in together.values()]
    for found in wholes:
        earned[found.indices], tied[found.indices] = found.hits, found.ties
    return Outcomes(earned, tied, cells=cells, wholes=wholes)


def _answered(block: Block, rule: Credit) -> Block:
    """Return the comparisons with an answer; where the suite says so, silence is a tie."""
    if block.chosen is None and rule.unanswered == "even":
        return replace(block, margins=np.nan_to_num(block.margins, nan=0.0))
    return block.only(block.is_answered)


def _scored(block: Block) -> Block:
    """Return the comparisons whose chosen responses have rewards; the others have no margins."""
    if block.chosen is None:
        return block
    kept = np.asarray(~np.isnan(block.chosen).any(axis=1), dtype=np.bool_)
    return block.only(kept)


def _together(rule: Credit, parts: Sequence[Block], columns: Judgements) -> Whole:
    if any(part.chosen is None for part in parts):
        raise _needs_rewards(rule.rule)
    indices = np.sort(np.concatenate([part.indices for part in parts]))
    return GROUP_RULES[rule.rule](columns, indices, rule)


def answers_for(suite: Suite) -> str:
    """Return what a scorer may give so that every rule of a suite can use it, in words."""
    if suite.credit.rules & STEPWISE:
        return "steps"
    needs = {RULES[rule].needs if rule in RULES else "rewards" for rule in suite.credit.rules}
    is_of_many = suite.credit.rules & {"best-of"} and suite.credit.several
    return "rewards, steps" if "rewards" in needs or is_of_many else "rewards, steps, preferences"


def check_answers(suite: Suite, gives: str) -> None:
    """Refuse, before anything is asked, a scorer whose answers a rule of the suite cannot use.

    Raises:
        ScorerError: the rule needs rewards, or rewards of steps.
    """
    for rule in sorted(suite.credit.rules):
        if rule in STEPWISE and gives != "steps":
            raise ScorerError(
                f'the rule "{rule}" of {suite.name} needs a reward for each step, and this scorer'
                f" gives {gives}; take a process reward model"
            )
        needs = RULES[rule].needs if rule in RULES else "rewards"
        if needs == "rewards" and gives == "preferences":
            raise _needs_rewards(rule)


def _lose_cells(cells: dict[str, Credits], lost: npt.NDArray[np.intp], count: int) -> None:
    """Put down no cell won for comparisons without an answer."""
    for name in ("above", "diagonal", "below"):
        cells.setdefault(name, np.full(count, np.nan))[lost] = 0.0


def _keep_cells(cells: dict[str, Credits], block: Block, count: int) -> None:
    """Put down the shares of won cells above, on and below the diagonal of styles."""
    won = block.margins > 0.0
    styles = np.arange(won.shape[1])
    masks = {
        "above": styles[:, None] < styles,
        "diagonal": styles[:, None] == styles,
        "below": styles[:, None] > styles,
    }
    for name, mask in masks.items():
        found = cells.setdefault(name, np.full(count, np.nan))
        found[block.indices] = won[:, mask].mean(axis=1)


def _by_rule(block: Block, rule: Credit, ids: Sequence[str]) -> Iterator[tuple[Credit, Block]]:
    """Yield the comparisons of a block by the rule of their subset, with which their ids begin."""
    if not rule.subsets:
        yield rule, block
        return
    owns = [rule.of(ids[i].rpartition("/")[0]) for i in block.indices.tolist()]
    for own in dict.fromkeys(map(id, owns)):
        mask = np.array([id(item) == own for item in owns], dtype=np.bool_)
        yield next(item for item in owns if id(item) == own), block.only(mask)


def credit(block: Block, rule: Credit) -> tuple[Credits, Ties]:
    """Return what comparisons of one shape earn.

    Args:
        block: comparisons, each with all its answers.
        rule: the suite's.

            * ``pair``: 1 where the first chosen response is preferred to the first rejected one,
              ``tie`` where neither is, else 0
              (RewardBench v1, with tie 0: rewardbench/rewardbench.py).
            * ``best-of``: the chosen share of the responses with the highest reward, so k equal
              ones that include the one chosen response earn 1/k
              (RewardBench 2: reroll_and_score_dataset in rewardbench/utils.py); with tie ``lose``
              1 for a chosen response above all rejected ones, else 0 (RMB's best of n).
            * ``all-of``: 1 where every chosen response is preferred to every rejected one.
            * ``all-pairs``: the share of pairs of a chosen and a rejected response in which the
              chosen one is preferred.
            * ``rank``: 1 / the rank of the best chosen response, where rejected ones with the same
              reward come first (RewardMATH's mean reciprocal rank: src/evaluation/eval.py).
            * ``styles``: all-pairs of as many styles of each side (RM-Bench: scripts/utils.py).

    Raises:
        ScorerError: the rule needs rewards, and the scorer gave preferences.
    """
    found = RULES[rule.rule]
    if found.needs == "rewards" and block.chosen is None:
        raise _needs_rewards(rule.rule)
    return found.earn(block, rule)


def _needs_rewards(rule: str) -> ScorerError:
    return ScorerError(
        f'the rule "{rule}" needs a reward for each response, and this scorer gives preferences;'
        " take a scorer that gives rewards, or a suite of pairs"
    )


def _pair(block: Block, rule: Credit) -> tuple[Credits, Ties]:
    margins, tie = block.margins[:, 0, 0], rule.credit_of_tie
    tied = margins == 0.0
    return np.where(tied, tie, (margins > 0.0).astype(np.float64)), tied


def _best_of(block: Block, rule: Credit) -> tuple[Credits, Ties]:
    earned, tied = _shared(block)
    return (np.where(tied, 0.0, earned) if rule.tie == "lose" else earned), tied


def _shared(block: Block) -> tuple[Credits, Ties]:
    if block.chosen is None or block.rejected is None:
        return _best_of_preferred(block)
    best = np.maximum(block.chosen.max(axis=1), block.rejected.max(axis=1))[:, None]
    top = (block.chosen == best).sum(axis=1)
    rivals = (block.rejected == best).sum(axis=1)
    return top / (top + rivals), (top > 0) & (rivals > 0)


def _best_of_preferred(block: Block) -> tuple[Credits, Ties]:
    """Return the credit where only the margins of one chosen response are known."""
    if block.margins.shape[1] > 1:
        raise _needs_rewards("best-of, with several chosen responses,")
    margins = block.margins[:, 0]
    least, rivals = margins.min(axis=1), (margins == 0.0).sum(axis=1)
    return np.where(least < 0.0, 0.0, 1.0 / (1.0 + rivals)), least == 0.0


def _all_of(block: Block, _: Credit) -> tuple[Credits, Ties]:
    least = block.margins.min(axis=(1, 2))
    return (least > 0.0).astype(np.float64), least == 0.0


def _all_pairs(block: Block, _: Credit) -> tuple[Credits, Ties]:
    # The sum of whole numbers is exact, so that a share of 1 is 1.
    won = (block.margins > 0.0).sum(axis=(1, 2))
    tied = (block.margins == 0.0).any(axis=(1, 2))
    return won / (block.margins.shape[1] * block.margins.shape[2]), tied


def _rank(block: Block, _: Credit) -> tuple[Credits, Ties]:
    if block.chosen is None or block.rejected is None:
        raise _needs_rewards("rank")
    best = block.chosen.max(axis=1)[:, None]
    ahead = (block.rejected >= best).sum(axis=1)
    return 1.0 / (1.0 + ahead), (block.rejected == best).any(axis=1)


RULES: Final[dict[str, CreditRule]] = {
    "pair": CreditRule(_pair, "margins"),
    "best-of": CreditRule(_best_of, "margins"),
    "all-of": CreditRule(_all_of, "margins"),
    "all-pairs": CreditRule(_all_pairs, "margins"),
    "rank": CreditRule(_rank, "rewards"),
    "styles": CreditRule(_all_pairs, "margins"),
}
