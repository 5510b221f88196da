"""``rmbench run --probe``: suites scored again after rewrites that change no meaning."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from rmbench.compare.probed import Probed
    from rmbench.result.record import Result
    from rmbench.suite.feed import Feed

__all__ = ["PROBE", "Rewrite", "plain_feeds", "print_probes", "rewrites_of"]

PROBE = click.option(
    "--probe",
    "probes",
    multiple=True,
    metavar="NAME[:SIDE]",
    help="Score again after a rewrite that changes no meaning, and compare; repeatable. NAME: all,"
    " spaces, line-ends, blank-lines, newline, markdown-off, markdown-on, quotes, prompt-prefix,"
    " same-sides, or data:PATH for rewrites of others; SIDE: chosen or rejected, for one side"
    " alone.",
)
_DATA = "data:"


class Rewrite(NamedTuple):
    """A suite as it is, and rewritten."""

    label: str
    plain: "Feed"
    feed: "Feed"


def rewrites_of(feeds: Sequence["Feed"], probes: Sequence[str], *, is_apart: bool) -> list[Rewrite]:
    """Return every suite rewritten in every way.

    Args:
        feeds: the suites.
        probes: as they are written.
        is_apart: whether neither a gate nor a cluster is asked for beside them.

    Raises:
        RmbenchError: there is no such rewrite, or a suite cannot be rewritten.
    """
    from rmbench.suite.feed import open_rewritten
    from rmbench.suite.probes import PROBES, find_probe

    if probes and not is_apart:
        raise click.UsageError(
            "--probe compares by itself, on this machine; leave --check and --ray out"
        )
    names = list(dict.fromkeys(n for name in probes for n in (PROBES if name == "all" else [name])))
    found = []
    for feed in feeds:
        for name in names:
            if name.startswith(_DATA):
                other = open_rewritten(feed, name.removeprefix(_DATA))
                found.append(Rewrite(other.rows.origin, _part_of(feed, other), other))
            else:
                found.append(Rewrite(find_probe(name).label, feed, feed.probed(find_probe(name))))
    suites = [item.feed.suite.name for item in found]
    if len(set(suites)) < len(suites):
        raise click.UsageError("two rewrites have one name; rename a file of --probe data:PATH")
    return found


def _part_of(feed: "Feed", other: "Feed") -> "Feed":
    """Return the comparisons of a suite that were rewritten."""
    rewritten = set(other.contents.ids)
    kept = [number for number, name in enumerate(feed.contents.ids) if name in rewritten]
    return feed if len(kept) == len(feed.contents.ids) else feed.only(kept)


def plain_feeds(feeds: Sequence["Feed"], rewrites: Sequence[Rewrite]) -> list["Feed"]:
    """Return all that is to be scored: suites, parts of them that were rewritten, and rewrites."""
    found = list(feeds)
    for item in rewrites:
        if not any(item.plain is feed for feed in found):
            found.append(item.plain)
    return [*found, *(item.feed for item in rewrites)]


def print_probes(results: Sequence["Result"], rewrites: Sequence[Rewrite], fmt: str) -> None:
    """Print a table for each model and suite, or everything as JSON."""
    from rmbench.compare.probed import adjusted
    from rmbench.show.formats import format_table, to_json
    from rmbench.show.probed import probe_table, probed_record

    groups: list[tuple[Feed, list[Probed]]] = []
    for model in dict.fromkeys(result.model["id"] for result in results):
        own = [result for result in results if result.model["id"] == model]
        for suite in dict.fromkeys(item.plain.suite.name for item in rewrites):
            chosen = [item for item in rewrites if item.plain.suite.name == suite]
            groups.append((chosen[0].plain, adjusted([_probed(item, own) for item in chosen])))
    if fmt == "json":
        click.echo(to_json([probed_record(item) for _, items in groups for item in items]))
        return
    for feed, items in groups:
        click.echo(format_table(probe_table(items, feed.suite), fmt) + "\n")


def _probed(item: Rewrite, results: Sequence["Result"]) -> "Probed":
    from rmbench.compare.probed import probed

    count = None if item.plain.indices is None else len(item.plain.indices)
    before = next(
        result
        for result in results
        if (result.suite["name"], result.partial) == (item.plain.suite.name, count)
    )
    after = next(result for result in results if result.suite["name"] == item.feed.suite.name)
    return probed(item.label, (before, after), item.plain.suite, _changed(item))


def _changed(item: Rewrite) -> set[str]:
    """Return the ids of the comparisons that a rewrite changed."""
    if [*item.plain.contents.ids] != [*item.feed.contents.ids]:
        old = {one.id: one for one in item.plain}
        return {other.id for other in item.feed if other != old[other.id]}
    return {one.id for one, other in zip(item.plain, item.feed, strict=True) if one != other}
