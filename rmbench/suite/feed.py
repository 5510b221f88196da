"""A suite's comparisons: all are read and checked before anything is scored."""

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rmbench.errors import DataError, SuiteError, did_you_mean
from rmbench.suite.catalogue import load_suite
from rmbench.suite.columns import Read, has_empty_text, read_comparisons
from rmbench.suite.comparison import Comparison, fingerprint
from rmbench.suite.definition import Suite
from rmbench.suite.probes import Probe, rewritten
from rmbench.suite.rows import Rows, open_rows

__all__ = ["Contents", "Feed", "Part", "open_feed", "open_rewritten", "part_of"]

SampleKind = Literal["quick"]


class Part(NamedTuple):
    """A part of a suite: how many comparisons, and which.

    ``sample`` is ``quick`` for a stratified sample (``accuracy.quick``), None for comparisons that
    are spread evenly over the suite.
    """

    size: int
    sample: SampleKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a suite holds, text aside: one entry per comparison, in the suite's order.

    Attributes:
        ids: unique, each beginning with its subset and ``/``.
        subsets: the subset of each comparison.
        sides: number of chosen and of rejected responses of each comparison.
        differences: chosen minus rejected length of each, see ``Comparison.length_difference``;
            None where the texts are not at hand.
        sha256: of the canonical comparisons of the whole suite, in hexadecimal; None likewise.
        faulty: of solutions that are judged by their steps, the numbers of the wrong ones, from 0;
            None where there is no such comparison.
        clusters: a number in [0, 2^53) for each comparison; those of one sample (one prompt, or
            what the suite says) share it, in every suite that samples prompts.
        audit: comparisons counted as ``identical_responses``, ``duplicates``, ``empty``, and, where
            the suite names the columns of scores, ``equal_scores``: None if no row has them. Rows
            that the suite leaves out are counted as ``left_out``, by why.
    """

    ids: list[str]
    subsets: list[str]
    sides: list[tuple[int, int]]
    differences: "array[int] | None"
    sha256: str | None
    audit: Mapping[str, Any]
    clusters: "array[int]"
    faulty: list[tuple[int, ...]] | None = None

    @property
    def num_clusters(self) -> int:
        """How many samples the comparisons are of."""
        return len(set(self.clusters))

    def only(self, indices: list[int]) -> "Contents":
        """Return the entries at ``indices``; ``sha256`` stays the whole suite's."""
        lengths = self.differences
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            subsets=[self.subsets[i] for i in indices],
            sides=[self.sides[i] for i in indices],
            differences=None if lengths is None else array("i", [lengths[i] for i in indices]),
            clusters=array("q", [self.clusters[i] for i in indices]),
            faulty=None if self.faulty is None else [self.faulty[i] for i in indices],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A suite's checked comparisons; iterating reads them again, so that none stays in memory.

    ``indices`` is None for the whole suite, else the rows of a partial run, ascending; ``sample``
    says how they were chosen, see ``Part``. Those that are ``held`` are not read again. ``probe``
    says how all were rewritten.
    """

    suite: Suite
    rows: Rows
    contents: Contents
    indices: list[int] | None = None
    sample: SampleKind | None = None
    held: tuple[Comparison, ...] | None = None
    probe: Probe | None = None

    @property
    def num_conversations(self) -> int:
        """How many rewards a scorer owes."""
        return sum(chosen + rejected for chosen, rejected in self.contents.sides)

    def __iter__(self) -> Iterator[Comparison]:
        """Yield the comparisons in the suite's order.

        Raises:
            DataError: the data changed since it was checked; known once all of it is read.
        """
        if self.held is not None:
            yield from self.held
            return
        digest = hashlib.sha256()
        wanted = None if self.indices is None else set(self.indices)
        for number, read in enumerate(_read(self.suite, self.rows, probe=self.probe)):
            digest.update(read.line)
            if wanted is None or number in wanted:
                yield read.comparison
        if digest.hexdigest() != self.contents.sha256:
            raise DataError(f"{self.rows.origin}: the data changed while it was read; run again")

    def only(self, indices: list[int], sample: SampleKind | None = None) -> "Feed":
        """Return a part of a whole suite.

        Args:
            indices: the numbers of its comparisons, ascending.
            sample: how they were chosen.
        """
        reads = _read(self.suite, self.rows, probe=self.probe)
        audit = _count(self.suite, reads, set(indices))
        contents = replace(self.contents.only(indices), audit=audit)
        return replace(self, contents=contents, indices=indices, sample=sample)

    def probed(self, probe: Probe) -> "Feed":
        """Return the same comparisons rewritten, as a suite of another name.

        What the suite says of its data is not true of what is made of it, and is left out.

        Raises:
            SuiteError: a comparison has no two sides.
        """
        suite = _renamed(self.suite, probe.suite_name, probe.label)
        contents = _scan(suite, self.rows, probe)
        feed = replace(self, suite=suite, contents=contents, indices=None, held=None, probe=probe)
        return feed if self.indices is None else feed.only(self.indices, self.sample)

    def hold(self) -> "Feed":
        """Return the same with its comparisons in memory: for a small part, asked often."""
        return replace(self, held=tuple(self))


def open_feed(suite: Suite, *, data: str | None = None, limit: int | None = None) -> Feed:
    """Return a suite's comparisons, all of them read and checked once.

    Args:
        suite: what to read and what must hold.
        data: a local file or folder to read instead of the suite's source.
        limit: only so many comparisons, spread evenly over the suite; None means all.

    Raises:
        DataError: a row is wrong; the message names file and row.
        SuiteError: the data is not what the suite says, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise SuiteError(f'suite "{suite.name}": limit = {limit}; it must be 1 or more')
    rows = open_rows(suite, data=data)
    contents = _scan(suite, rows)
    suite = part_of(suite, contents.subsets).resolved(contents.subsets)
    _check_contents(suite, contents, rows.origin)
    feed, total = Feed(suite=suite, rows=rows, contents=contents), len(contents.ids)
    if limit is None or limit >= total:
        return feed
    return feed.only([i * total // limit for i in range(limit)])


def part_of(suite: Suite, subsets: Collection[str]) -> Suite:
    """Return the suite, or the one of its parts whose comparisons these are.

    Args:
        suite: what was asked for.
        subsets: of every comparison that was found.
    """
    parts = () if len(subsets) == suite.source.comparisons else suite.source.parts
    for part in map(load_suite, parts):
        if part.source.comparisons == len(subsets) and all(map(part.is_named, set(subsets))):
            return part
    return suite


def open_rewritten(feed: Feed, data: str) -> Feed:
    """Return rewrites by others of a suite's comparisons, which have the same ids.

    Args:
        feed: the suite.
        data: a local file or folder of rows in the suite's own columns.

    Raises:
        DataError: a row is wrong, or is of no comparison of the suite.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", Path(data).name.lower().partition(".")[0]).strip("-")
    suite = _renamed(feed.suite, f"probe-{stem or 'data'}", Path(data).name)
    rows = open_rows(suite, data=data)
    contents = _scan(suite, rows)
    known = set(feed.contents.ids)
    for identity in contents.ids:
        if identity not in known:
            raise DataError(
                f'{data}: "{identity}" is no comparison of {feed.suite.name}; rewrites need the ids'
                f" of what they rewrite, such as {feed.contents.ids[0]}"
            )
    if not contents.ids:
        raise DataError(f"{data}: no comparisons; give rows in the columns of {feed.suite.name}")
    count = len(contents.ids)
    part = None if count == len(feed.contents.ids) else list(range(count))
    return Feed(suite=suite, rows=rows, contents=contents, indices=part)


def _renamed(suite: Suite, ending: str, label: str) -> Suite:
    """Return a suite under a name of its own, without what is pinned of its rows."""
    source = suite.source.model_copy(update={"comparisons": None, "sha256": None, "empty": "keep"})
    name = f"{suite.name[: 63 - len(ending)]}.{ending}"[:64]
    title = f"{suite.title}, rewritten: {label}"
    return suite.model_copy(update={"name": name, "title": title, "source": source})


def _read(
    suite: Suite,
    rows: Rows,
    left_out: "Counter[str] | None" = None,
    *,
    probe: Probe | None = None,
) -> Iterator[Read]:
    """Yield the comparisons of a suite, rewritten where a probe asks for it."""
    for read in read_comparisons(suite, rows, left_out):
        if probe is None:
            yield read
            continue
        comparison = rewritten(read.comparison, probe)
        yield read._replace(comparison=comparison, line=comparison.canonical())


def _count(suite: Suite, reads: Iterable[Read], wanted: set[int]) -> dict[str, Any]:
    """Return the audit of a part of a suite."""
    tally = _Tally()
    seen: set[bytes] = set()
    for number, read in enumerate(reads):
        if number in wanted:
            tally.add(read)
            seen.add(fingerprint(read.line))
    return tally.audit(suite, duplicates=len(wanted) - len(seen))


@dataclass(slots=True)
class _Tally:
    """What could mislead about the data, counted comparison by comparison."""

    identical: int = 0
    empty: int = 0
    scored: int = 0
    even: int = 0

    def add(self, read: Read) -> None:
        self.identical += not set(read.comparison.chosen).isdisjoint(read.comparison.rejected)
        self.empty += has_empty_text(read.comparison)
        self.scored += read.is_even is not None
        self.even += bool(read.is_even)

    def audit(self, suite: Suite, *, duplicates: int) -> dict[str, Any]:
        counts: dict[str, Any] = {"identical_responses": self.identical}
        counts |= {"duplicates": duplicates, "empty": self.empty}
        if any(shape.scores for shape in suite.columns):
            counts["equal_scores"] = self.even if self.scored else None
        return counts


@dataclass(slots=True)
class _Prints:
    """What tells comparisons, and samples of them, apart: 16 bytes for each."""

    texts: bytearray = field(default_factory=bytearray)
    samples: bytearray = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, read: Read) -> None:
        self.digest.update(read.line)
        self.texts += fingerprint(read.line)
        self.samples += read.cluster

    def duplicates(self) -> int:
        """Return how many comparisons equal an earlier one."""
        prints = np.frombuffer(self.texts, dtype="V16")
        return len(prints) - len(np.unique(prints))

    def clusters(self) -> "array[int]":
        """Return a number for each comparison, equal within a sample.

        53 bits of each digest: JSON's numbers hold no more, and two of a million rarely meet.
        """
        numbers = np.frombuffer(self.samples, dtype=">u8")[::2] >> np.uint64(11)
        return array("q", numbers.astype(np.int64).tobytes())


def _scan(suite: Suite, rows: Rows, probe: Probe | None = None) -> Contents:
    tally, prints = _Tally(), _Prints()
    ids: dict[str, None] = {}  # a dict is an ordered set
    left_out: Counter[str] = Counter()
    faulty: list[tuple[int, ...]] = []
    subsets, sides, differences = [], [], array("i")
    # A million comparisons share a few names and shapes: each is kept once.
    names: dict[str, str] = {}
    shapes: dict[tuple[int, int], tuple[int, int]] = {}
    for read in _read(suite, rows, left_out, probe=probe):
        comparison = read.comparison
        if comparison.id in ids:
            raise DataError(_duplicate(suite, rows, comparison.id))
        ids[comparison.id] = None
        subsets.append(names.setdefault(comparison.subset, comparison.subset))
        shape = (len(comparison.chosen), len(comparison.rejected))
        sides.append(shapes.setdefault(shape, shape))
        differences.append(comparison.length_difference())
        if comparison.steps:
            faulty.append(comparison.faulty)
        prints.add(read)
        tally.add(read)
    left = {"left_out": dict(left_out)} if left_out else {}
    return Contents(
        ids=list(ids),
        subsets=subsets,
        sides=sides,
        differences=differences,
        sha256=prints.digest.hexdigest(),
        audit=tally.audit(suite, duplicates=prints.duplicates()) | left,
        clusters=prints.clusters(),
        faulty=faulty or None,
    )


def _duplicate(suite: Suite, rows: Rows, identity: str) -> str:
    place, found = "", 0
    for row in rows:
        alone = replace(rows, read=partial(iter, [row]))
        for read in read_comparisons(suite, alone):
            found += read.comparison.id == identity
        if found > 1:
            place = row.place
            break
    return f'{place}: id "{identity}" is in an earlier row too; ids must be unique'


# --- the suite against its data ------------------------------------------------------------------


def _check_contents(suite: Suite, contents: Contents, origin: str) -> None:
    source = suite.source
    place = f'suite "{suite.name}" on {origin}'
    found = len(contents.ids)
    if not found:
        raise SuiteError(f"{place}: no comparisons; check the file and the split")
    if source.comparisons is not None and found != source.comparisons:
        raise SuiteError(
            f"{place}: {found} comparisons where [source] says {source.comparisons};"
            " the data has changed, or it is another split or revision"
        )
    if source.sha256 is not None and contents.sha256 != source.sha256:
        raise SuiteError(
            f"{place}: sha256 {contents.sha256} where [source] says {source.sha256};"
            " the texts or their order differ from the suite's, so numbers would not be comparable;"
            " take the data set as it is published"
        )
    _check_subsets(suite, set(contents.subsets), place)
    _check_ids(contents, place)


def _check_subsets(suite: Suite, present: set[str], place: str) -> None:
    """Refuse sections without rows: no silent reweighting."""
    for section in suite.sections:
        for subset in section.subsets:
            if subset not in present:
                raise SuiteError(
                    f'{place}: [sections] {section.name} names "{subset}", which no row has;'
                    f" {did_you_mean(subset, present)}"
                )


def _check_ids(contents: Contents, place: str) -> None:
    """Refuse subsets that nest so that an id could belong to two of them."""
    names = set(contents.subsets)
    for identity, subset in zip(contents.ids, contents.subsets, strict=True):
        rest = identity.removeprefix(f"{subset}/")
        heads = [f"{subset}/{rest[: match.start()]}" for match in re.finditer("/", rest)]
        if not names.isdisjoint(heads):
            raise SuiteError(f'{place}: id "{identity}" fits two subsets; rename one of them')
