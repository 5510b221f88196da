"""A run in parts: questions cut between prompts, and what happened in each part put together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rmbench.scorers.contract import Facts

__all__ = ["Shard", "cut", "join_facts"]

LARGEST: Final = frozenset({"longest", "difference", "tolerance", "state", "limit", "floor"})
"""What the audit names the largest of something; other whole numbers are counts."""
RATES: Final = frozenset({"tokens_per_second", "gflops", "share_of_matrix_rate"})
"""What holds for one part alone: there is no rate of them all."""


class Shard(NamedTuple):
    """Some questions that follow one another; ``start`` is the number of the first."""

    start: int
    questions: list[Any]

    @property
    def span(self) -> tuple[int, int]:
        """The number of the first question, and how many there are."""
        return self.start, len(self.questions)


def cut(questions: Iterable[Any], size: int) -> Iterator[Shard]:
    """Yield conversations or candidates in parts of ``size`` prompts, the last one of fewer.

    No comparison is cut, and what is shared within a prompt stays together.
    """
    held: list[Any] = []
    start = prompts = 0
    for question in questions:
        is_next = not held or question.prompt != held[-1].prompt
        if is_next and prompts == size:
            yield Shard(start, held)
            start, held, prompts = start + len(held), [], 0
        held.append(question)
        prompts += is_next
    if held:
        yield Shard(start, held)


def join_facts(parts: Sequence[tuple[int, Facts]]) -> Facts:
    """Return what happened in all parts, which are given with the number of their first question.

    Counts of the audit are summed, largest values are the largest, findings hold where any part has
    them; what is neither, and differs, stands as a list. Seconds and tokens are summed.
    """
    facts = [part for _, part in parts]
    has_inputs = all(part.inputs is not None for part in facts)
    return Facts(
        audit=_join([part.audit for part in facts], _joined_finding),
        timing=_join([part.timing for part in facts], lambda _, values: sum(values), without=RATES),
        environment=_join([part.environment for part in facts], _joined),
        unanswered={
            start + number: why
            for start, part in parts
            for number, why in sorted(part.unanswered.items())
        },
        is_final=all(part.is_final for part in facts),
        inputs=[x for start, part in parts for x in _from(start, part)] if has_inputs else None,
    )


def _from(start: int, facts: Facts) -> Iterator[int]:
    """Yield numbers of inputs, apart from other parts': no comparison stands in two."""
    return (number if number < 0 else start + number for number in facts.inputs or ())


def _join(
    parts: Sequence[Mapping[str, Any]],
    join: Callable[[str, list[Any]], Any],
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    names = dict.fromkeys(name for part in parts for name in part if name not in without)
    return {name: join(name, [part[name] for part in parts if name in part]) for name in names}


def _joined(_: str, values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else values


def _joined_finding(name: str, values: list[Any]) -> Any:
    if all(isinstance(value, Mapping) for value in values):
        return _join(values, _joined_finding)
    if all(isinstance(value, bool) for value in values):
        return any(values)
    if name in LARGEST and all(isinstance(value, int | float) for value in values):
        return max(values)
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return _joined(name, values)
