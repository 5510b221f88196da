"""``--quick N``: the same few comparisons each time, chosen so that they tell the most.

A sample has something of every subset, so that no section is missing. How much of each follows
from the weights of the suite's headline: with n comparisons of a subset that has the share w of the
mean, its variance is the sum of w² s² / n. Nothing is known of s before a model is asked, so that
it is taken to be the same everywhere.
"""

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from rmbench.accuracy.aggregate import average_weights
from rmbench.errors import SuiteError
from rmbench.suite.definition import Suite
from rmbench.suite.feed import Contents, Feed, Part, open_feed

__all__ = ["allocate", "open_part", "quick_sample"]

# With one comparison a subset could not tell how far its comparisons differ.
LEAST: Final = 2
ClusterKey = tuple[int, ...]


def open_part(suite: Suite, *, data: str | None = None, part: Part | None = None) -> Feed:
    """Return a suite's comparisons, or a part of them, all of them read and checked once.

    Args:
        suite: what to read and what must hold.
        data: a local file or folder to read instead of the suite's source.
        part: how many comparisons, and which; None for all. A part that is all is no part.

    Raises:
        DataError: a row is wrong; the message names file and row.
        SuiteError: the data is not what the suite says, or the part is too small.
    """
    if part is None or part.sample != "quick":
        return open_feed(suite, data=data, limit=None if part is None else part.size)
    feed = open_feed(suite, data=data)
    if part.size >= len(feed.contents.ids):
        return feed
    return feed.only(quick_sample(feed.suite, feed.contents, part.size), sample="quick")


def quick_sample(suite: Suite, contents: Contents, size: int) -> list[int]:
    """Return the numbers of the comparisons in a suite's sample of this size, ascending.

    Two comparisons of every subset that has two, the others where they narrow the interval of the
    headline most; within a subset by the digest of their ids, of a prompt that the sample lacks
    before others. Comparisons that the rule judges in pairs stay together, so that the sample may
    be one smaller than asked for.

    Args:
        suite: whose averages weigh the subsets.
        contents: of the whole suite.
        size: comparisons; fewer than the suite has.

    Raises:
        SuiteError: the suite has more subsets than that.
    """
    units = _units(suite, contents)
    counts = {name: sum(map(len, found)) for name, found in units.items()}
    smallest = {name: len(found[0]) for name, found in units.items()}
    if size < sum(smallest.values()):
        raise SuiteError(
            f'suite "{suite.name}": a quick sample of {size}, and its'
            f" {len(units):,} subsets must all be in it; give {sum(smallest.values()):,} or more"
        )
    weights = average_weights(suite, counts).get(suite.headline, {})
    numbers = allocate(
        {name: weights.get(name, 0.0) for name in units},
        {name: [len(unit) for unit in found] for name, found in units.items()},
        size,
    )
    chosen = _choose(units, numbers, contents.clusters)
    return sorted(chain.from_iterable(chosen))


def allocate(
    weights: Mapping[str, float], sizes: Mapping[str, Sequence[int]], total: int
) -> dict[str, int]:
    """Return how many units of each stratum make the variance of the weighted mean smallest.

    One is given at a time to the stratum whose w² / n then falls most, which is the best there is
    since w² / n is convex (J. Neyman (1934), J. Royal Statistical Society 97:558-625, in whole
    numbers: T. Wright (2017), Statistics & Probability Letters 129:50-57).

    Args:
        weights: of each stratum in the mean, on any scale.
        sizes: of the units of each stratum, in comparisons.
        total: comparisons to spend; at least one unit of each stratum.
    """
    taken = dict.fromkeys(weights, 0)
    left = total
    for least in range(LEAST):  # all strata first, then twice
        for name, units in sizes.items():
            if taken[name] == least < len(units) and units[least] <= left:
                left -= units[least]
                taken[name] += 1
    heap = [_offer(name, weights, sizes, taken) for name in weights]
    heapq.heapify(heap)
    while heap and left:
        _, _, name = heapq.heappop(heap)
        if taken[name] < len(sizes[name]) and sizes[name][taken[name]] <= left:
            left -= sizes[name][taken[name]]
            taken[name] += 1
            heapq.heappush(heap, _offer(name, weights, sizes, taken))
    return taken


def _offer(
    name: str,
    weights: Mapping[str, float],
    sizes: Mapping[str, Sequence[int]],
    taken: Mapping[str, int],
) -> tuple[float, int, str]:
    """Return what one more unit would take off the variance, for each comparison, negated."""
    n = sum(sizes[name][: taken[name]])
    more = sizes[name][taken[name]] if taken[name] < len(sizes[name]) else 1
    gain = weights[name] ** 2 * (1.0 / n - 1.0 / (n + more)) / more
    return -gain, n, name


def _units(suite: Suite, contents: Contents) -> dict[str, list[ClusterKey]]:
    """Return what can be chosen of each subset: single comparisons, or pairs of rule ``ties``."""
    found: dict[str, dict[str, list[int]]] = {}
    is_paired = {name: suite.credit.of(name).rule == "ties" for name in set(contents.subsets)}
    for number, (identity, subset) in enumerate(zip(contents.ids, contents.subsets, strict=True)):
        key = identity.rpartition(":")[2] if is_paired[subset] else identity
        found.setdefault(subset, {}).setdefault(key, []).append(number)
    return {
        subset: [tuple(unit) for _, unit in sorted(units.items(), key=lambda item: _digest(item))]
        for subset, units in sorted(found.items())
    }


def _digest(unit: tuple[str, list[int]]) -> bytes:
    return hashlib.sha256(unit[0].encode(errors="surrogatepass")).digest()


def _choose(
    units: Mapping[str, Sequence[ClusterKey]], numbers: Mapping[str, int], clusters: Sequence[int]
) -> list[ClusterKey]:
    """Return the units of each subset: those of prompts that are not in the sample yet first."""
    chosen: list[ClusterKey] = []
    seen: set[int] = set()
    for name, found in units.items():
        fresh: list[ClusterKey] = []
        rest: list[ClusterKey] = []
        for unit in found:
            prompts = {clusters[number] for number in unit}
            is_fresh = len(fresh) < numbers[name] and seen.isdisjoint(prompts)
            (fresh if is_fresh else rest).append(unit)
            seen |= prompts if is_fresh else set()
        chosen += [*fresh, *rest][: numbers[name]]
    return chosen
