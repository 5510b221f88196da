"""One row → its comparisons, by the shapes of row that a suite's ``[columns]`` names."""

import hashlib
import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rmbench.errors import DataError, did_you_mean
from rmbench.suite.comparison import Comparison, prompt_digest
from rmbench.suite.definition import Columns, Suite
from rmbench.suite.doubts import check_preference
from rmbench.suite.fields import has_field, label_of, number_of, value_of
from rmbench.suite.forms import (
    is_skipped,
    place_of,
    read_steps,
)
from rmbench.suite.messages import is_said
from rmbench.suite.rows import Row, Rows
from rmbench.suite.sides import check_prompt, own_prompt, sides

__all__ = ["Read", "has_empty_text", "read_comparisons"]


class Read(NamedTuple):
    """A comparison as it was read from a row.

    ``line`` is its canonical form. ``is_even`` says whether the annotators gave both sides the same
    score; None where the row has no two scores. ``cluster`` is 16 bytes that comparisons of one
    sample share.
    """

    comparison: Comparison
    line: bytes
    is_even: bool | None
    cluster: bytes


def has_empty_text(comparison: Comparison) -> bool:
    """Return whether a message or a response says nothing: spaces alone count as nothing."""
    is_full = all(map(str.strip, comparison.responses)) and all(map(is_said, comparison.prompt))
    return not is_full


def read_comparisons(
    suite: Suite, rows: Rows, left_out: "Counter[str] | None" = None
) -> Iterator[Read]:
    """Yield each row's comparisons, their canonical form, and what the row's scores say.

    Args:
        suite: what a row holds, and which rows do not count.
        rows: to read.
        left_out: counts the rows that the suite leaves out: ``skipped``, ``even``, ``one_sided``.

    Raises:
        DataError: a row is wrong, or belongs to no section of a suite that has sections.
    """
    reader = _Reader(suite, Counter() if left_out is None else left_out)
    for row in rows:
        yield from reader.read(row)


@dataclass(slots=True)
class _Reader:
    """What is kept from one row to the next.

    The shape is chosen again for each file, whose rows have one mapping of where they are.
    """

    suite: Suite
    left_out: "Counter[str]"
    shape: Columns | None = None
    where: Mapping[str, str] | None = None
    counts: "Counter[str]" = field(default_factory=Counter)

    def read(self, row: Row) -> Iterator[Read]:
        if self.shape is None or row.where is not self.where:
            self.shape, self.where = _find_shape(self.suite, row), row.where
        shape = self.shape
        if shape.skip and is_skipped(shape, row):
            self.left_out["skipped"] += 1
            return
        subset = _subset(self.suite, shape, row)
        _check_section(self.suite, subset, row)
        self.counts[subset] += 1
        found = 0
        for comparison in _comparisons(shape, row, subset):
            found += 1
            _check_comparison(self.suite, comparison, row)
            try:
                line = comparison.canonical()
            except UnicodeEncodeError:
                finding = "text with half a surrogate pair; fix the text"
                raise DataError(f"{row.place}: {finding}") from None
            cluster = self._cluster(shape, row, subset, line)
            yield Read(comparison, line, _is_even(shape, row), cluster)
        if not found and shape.pairs is None:
            self.left_out["even" if shape.preferred is not None else "one_sided"] += 1

    def _cluster(self, shape: Columns, row: Row, subset: str, line: bytes) -> bytes:
        if subset in shape.parallel:
            # Rows of parallel subsets are one sample where their numbers are the same.
            words = ["parallel", str(self.counts[subset])]
        elif shape.cluster:
            words = [label_of(row, name) for name in shape.cluster]
        else:
            return prompt_digest(line)
        return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).digest()


def _check_section(suite: Suite, subset: str, row: Row) -> None:
    if not suite.is_named(subset):
        raise DataError(
            f'{row.place}: subset "{subset}" is in no section of the suite "{suite.name}";'
            f" {did_you_mean(subset, suite.named)}"
        )


def _find_shape(suite: Suite, row: Row) -> Columns:
    """Return the first ``[columns]`` whose columns the first row has."""
    for shape in suite.columns:
        if all(has_field(row, name) for name in shape.needed):
            if shape.chosen is not None and shape.rejected is not None:
                check_preference(shape.chosen, shape.rejected, row.fields, row.place)
            return shape
    missing = [name for name in suite.columns[0].needed if not has_field(row, name)]
    # Where a file is no table at all, a "column" can be a page of text.
    names = [textwrap.shorten(str(name), 40, placeholder=" …") for name in row.fields][:20]
    raise DataError(
        f'{row.place}: no column "{missing[0]}"; it has {", ".join(names)};'
        " rename the columns, write a suite file with other [columns] (`rmbench suites new`), or"
        " give the file the suffix of its format"
    )


def _subset(suite: Suite, shape: Columns, row: Row) -> str:
    for name in shape.needed:
        if value_of(row, name) is None and name not in shape.skip:
            finding = "is null" if name in row.fields else "is missing"
            raise DataError(f'{row.place}: column "{name}" {finding}; every row needs it')
    section = () if shape.section is None else (shape.section,)
    if shape.subset is not None:
        names = (*section, *shape.subset)
        return "/".join(
            label_of(row, name) if isinstance(name, str) else place_of(row, name.origin)
            for name in names
        )
    rest = row.part or suite.source.split or suite.name
    return "/".join([*(label_of(row, name) for name in section), rest])


def _comparisons(shape: Columns, row: Row, subset: str) -> Iterator[Comparison]:
    """Yield the comparisons of a row, in the order of its pairs."""
    identity = _identity(shape, row, subset)
    if shape.steps is not None:
        yield _of_steps(shape, row, subset, identity)
        return
    for number, (prompt, chosen, rejected) in enumerate(sides(shape, row)):
        turns = (*chosen.turns, *rejected.turns)
        yield Comparison(
            id=identity if shape.pairs is None else f"{identity}/{number}",
            subset=subset,
            prompt=prompt,
            chosen=chosen.texts,
            rejected=rejected.texts,
            turns=turns if any(turns) else (),
        )


def _of_steps(shape: Columns, row: Row, subset: str, identity: str) -> Comparison:
    prompt = own_prompt(shape, row)
    check_prompt(row, prompt)
    steps, faulty = read_steps(shape, row)
    return Comparison(
        id=identity,
        subset=subset,
        prompt=prompt,
        chosen=("\n\n".join(steps),),
        rejected=(),
        steps=steps,
        faulty=faulty,
    )


def _identity(shape: Columns, row: Row, subset: str) -> str:
    """Return the id, which always begins with the subset, so that a record needs no other key."""
    identity = "/".join(label_of(row, name) for name in shape.id) or str(row.number)
    prefix = f"{subset}/"
    return identity if identity.startswith(prefix) else prefix + identity


def _is_even(shape: Columns, row: Row) -> bool | None:
    """Return whether both sides have the same score; None where a row has not two of them."""
    if shape.scores is None:
        return None
    chosen, rejected = (number_of(row, name) for name in shape.scores)
    return None if chosen is None or rejected is None else chosen == rejected


def _check_comparison(suite: Suite, comparison: Comparison, row: Row) -> None:
    if suite.source.empty == "error" and has_empty_text(comparison):
        raise DataError(
            f'{row.place}: empty text in prompt or response; remove the row, or set empty = "keep"'
            " in [source]"
        )
    finding = suite.credit.of(comparison.subset).misfit(
        len(comparison.chosen), len(comparison.rejected)
    )
    if finding:
        raise DataError(
            f"{row.place}: {len(comparison.chosen)} chosen and {len(comparison.rejected)} rejected"
            f" responses; {finding}"
        )
