"""May two results be compared, by which suite, and what was set differently?"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from rmbench.accuracy.aggregate import Accuracy, summarize
from rmbench.accuracy.credit import judge
from rmbench.answers.judgements import Judgements
from rmbench.errors import ResultError, SuiteError
from rmbench.result.definition import definition_of
from rmbench.result.record import Result, SuiteFacts, subset_of
from rmbench.suite.catalogue import load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.feed import open_feed
from rmbench.wording import counted

__all__ = [
    "changed_settings",
    "check_comparable",
    "check_rewards",
    "suite_among",
    "suite_of",
    "title_of",
    "unpaired_note",
    "with_clusters",
    "with_means",
]

# Versions that can move a reward without any setting having changed.
PACKAGES: Final = ("rmbench", "transformers", "torch")


def suite_of(result: Result, suite: Suite | None = None) -> Suite:
    """Return the suite of a result, once name and version are the ones it was measured with.

    Args:
        result: names the suite.
        suite: one given as a file; None for the one that the record has.

    Raises:
        ResultError: the suite at hand is another one, or another version of it.
        SuiteError: no suite of this name is bundled and none was given.
    """
    name = str(result.suite["name"])
    if suite is None:
        suite = definition_of(result)
    if suite is None:
        try:
            suite = load_suite(name)
        except SuiteError as error:
            raise SuiteError(f"{error}; give your own with --suite FILE") from None
    if suite.name != name:
        raise ResultError(f'{result.model["id"]}: a result on {name}, not on "{suite.name}"')
    version = result.suite.get("version")
    if version != suite.version:
        raise ResultError(
            f"{result.model['id']} on {name}: measured with version {version} of the suite, and"
            f" this is version {suite.version}; run it again"
        )
    return suite


def suite_among(result: Result, own: Suite | None) -> Suite:
    """Return the suite of one of several results, of which ``own`` need not be every one's.

    Raises:
        ResultError, SuiteError: as ``suite_of`` raises them.
    """
    is_own = own is not None and own.name == result.suite["name"]
    return suite_of(result, own if is_own else None)


def with_means(result: Result, suite: Suite) -> Result:
    """Return a published result with the averages that follow from its sections.

    Cards often print sections and the pooled average only. A measured result comes back as it is.
    """
    if result.source != "published":
        return result
    averages = dict(result.averages)
    for average in suite.averages:
        parts = [result.sections.get(name) for name in average.sections]
        known = [part.accuracy for part in parts if part is not None]
        if known and len(known) == len(parts) and average.name not in averages:
            averages[average.name] = Accuracy(accuracy=fmean(known))
    return result.model_copy(update={"averages": averages})


def with_clusters(
    results: Sequence[Result], suite: Suite, *, data: str | None = None
) -> list[Result]:
    """Return results with the clusters of their comparisons, where only the rows know them.

    Records of earlier releases do not say which comparisons share a prompt. Where the suite's rows
    are at hand, they do.

    Args:
        results: on the suite.
        suite: says where its rows are.
        data: a local file or folder to read instead; None for what lies beside the suite's file.

    Raises:
        RmbenchError: ``data`` cannot be read, or is not the suite's.
    """
    if not any(map(_lacks_clusters, results)) or (data is None and not suite.is_at_hand):
        return list(results)
    contents = open_feed(suite, data=data).contents
    known = dict(zip(contents.ids, contents.clusters, strict=True))
    found = []
    for result in results:
        if _lacks_clusters(result) and result.suite.get("sha256") == contents.sha256:
            columns = Judgements.of(result.rewards)
            facts: SuiteFacts = {**result.suite, "clusters": contents.num_clusters}
            update: dict[str, Any] = {"suite": facts}
            if contents.num_clusters < len(contents.ids):
                update["rewards"] = columns.in_clusters([known[name] for name in columns.ids])
            result = result.model_copy(update=update)
        found.append(result)
    return found


def _lacks_clusters(result: Result) -> bool:
    if not result.rewards or result.suite.get("clusters") is not None:
        return False
    return Judgements.of(result.rewards).clusters is None


def title_of(result: Result) -> str:
    """Return a result's model, and that its numbers are published ones where they are."""
    return f"{result.model['id']}{' (published)' if result.source == 'published' else ''}"


def check_comparable(old: Result, new: Result) -> list[str]:
    """Refuse results of different data; return what could not be checked, a line each.

    Raises:
        ResultError: other suites, versions or texts, or one is only part of a run.
    """
    both = f"{title_of(old)} and {title_of(new)} are not comparable"
    for key, remedy in (
        ("name", "compare results of one suite"),
        ("version", "run the older one again"),
    ):
        values = [dict(item.suite)[key] for item in (old, new)]
        if values[0] != values[1]:
            raise ResultError(f"{both}: suite {key} {values[0]} and {values[1]}; {remedy}")
    if old.part != new.part:
        parts = [
            "all comparisons" if item.partial is None else _told_part(item) for item in (old, new)
        ]
        raise ResultError(f"{both}: scored {parts[0]} and {parts[1]}; run both whole")
    before, after = (item.suite.get("sha256") for item in (old, new))
    if before is None or after is None:
        return ["it is not recorded which texts were scored, so that they cannot be compared"]
    if before != after:
        raise ResultError(
            f"{both}: the texts differ (sha256 {str(before)[:7]} and {str(after)[:7]}); run both on"
            " the same data"
        )
    return []


def _told_part(result: Result) -> str:
    how = "a quick sample of " if result.sample else ""
    return how + counted(result.partial or 0, "comparisons")


def check_rewards(result: Result, suite: Suite) -> None:
    """Refuse rewards that do not give the counts of their record, where it has counts.

    Raises:
        ResultError: record and rewards are of different runs, or one of them was edited.
    """
    if any(item.n is None for item in result.subsets.values()):
        return
    names = list(result.subsets)
    subsets = [subset_of(item.id, names) for item in result.rewards]
    found = summarize(suite, subsets, judge(suite, result.rewards), partial=True).subsets
    for name, recorded in result.subsets.items():
        given = found.get(name)
        counts = None if given is None else (given.n, given.wins, given.ties)
        if counts != (recorded.n, recorded.wins, recorded.ties):
            told = "nothing" if given is None else f"{given.wins} of {given.n} won"
            raise ResultError(
                f"{title_of(result)} on {suite.name}: its rewards give {told} in {name}, its record"
                f" says {recorded.wins} of {recorded.n}; the two files are of different runs: put"
                " back the right one, or run it again"
            )


def changed_settings(old: Result, new: Result) -> tuple[tuple[str, str, str], ...]:
    """Return the settings and versions that differ; of published results none is known."""
    if "published" in (old.source, new.source):
        return ()
    rows = _differing(old.settings, new.settings, sorted({*old.settings, *new.settings}))
    return (*rows, *_differing(old.environment, new.environment, PACKAGES))


def _differing(
    old: Mapping[str, Any], new: Mapping[str, Any], keys: Iterable[str]
) -> list[tuple[str, str, str]]:
    return [
        (key, _shown(old.get(key)), _shown(new.get(key)))
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def unpaired_note(old: Result, new: Result) -> str:
    """Return the line on a test that has to do without the comparisons of a result."""
    lacking = [item for item in (old, new) if not item.rewards]
    lost = [item for item in lacking if item.source == "measured"]
    names = " and ".join(map(title_of, lacking))
    remedy = "; put the .jsonl back beside its record, or run it again" if lost else ""
    return f"{names}: no rewards, so the test is unpaired, which is much weaker{remedy}"
