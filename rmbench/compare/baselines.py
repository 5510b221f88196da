"""What a result is to be compared with: a record, a folder of them, or a revision of git."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmbench.compare.comparable import check_comparable
from rmbench.errors import ResultError
from rmbench.result.find import Found, Listing, find_results
from rmbench.result.git import split_place
from rmbench.result.names import file_stem
from rmbench.result.record import Result

__all__ = ["Baselines", "read_baselines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Results to compare others with, read once: what happens to their files later is no matter.

    Attributes:
        place: where they were found, in the user's words.
        found: with their rewards, and the names of their files.
        passed_over: a line for each file of the place that is no record.
        is_single: whether the place names one result, which is then the baseline of any other.
    """

    place: str
    found: tuple[Found, ...]
    passed_over: tuple[str, ...] = ()
    is_single: bool = False

    def find(self, result: Result) -> Found:
        """Return the baseline of a result: of its suite, its model and, if it can be, its settings.

        Of several runs of one model in one way, the latest counts.

        Raises:
            ResultError: none fits, or several do.
        """
        if self.is_single:
            return self.found[0]
        fitting = _of_model(self.found, result.suite["name"], result.model["id"], self.place)
        twins = [item for item in fitting if file_stem(item.result) == file_stem(result)]
        measured = [item for item in fitting if item.result.source == "measured"]
        best = twins or measured or fitting
        latest = max(item.result.date for item in best)
        best = [item for item in best if item.result.date == latest] if twins else best
        if len(best) > 1:
            names = ", ".join(item.name for item in best)
            raise ResultError(f"{self.place}: {len(best)} results fit: {names}; name one")
        return best[0]

    def check(self, planned: Result) -> None:
        """Refuse a place that has nothing which a planned result can be compared with.

        Raises:
            ResultError: every baseline of it scored other data, or another part of it.
        """
        refused: list[ResultError] = []
        fitting = list(self.found)
        if not self.is_single:
            fitting = _of_model(fitting, planned.suite["name"], planned.model["id"], self.place)
        for item in fitting:
            try:
                check_comparable(item.result, planned)
            except ResultError as error:
                refused.append(error)
            else:
                return
        raise refused[0]


def read_baselines(place: str, wanted: Iterable[tuple[str, str]]) -> Baselines:
    """Read the baselines of results, before hours of scoring.

    Args:
        place: a result, or a folder that is searched for the same suites and models; see
            ``find.find_results``.
        wanted: names of the suite and the model of each result that is to be compared.

    Raises:
        ResultError: there is no such place, a record that it names is broken, or it lacks one of
            those wanted.
    """
    pairs = list(wanted)
    is_single = not _is_folder(place)
    listing = find_results(
        [place],
        rewards=lambda item: is_single or (item.suite["name"], item.model["id"]) in pairs,
    )
    for suite, model in pairs:
        if is_single:
            _check_suite(place, listing.found[0].result, suite)
        else:
            _check_folder(place, listing, suite, model)
    return Baselines(
        place=place,
        found=listing.found,
        passed_over=listing.passed_over,
        is_single=is_single,
    )


def _is_folder(place: str) -> bool:
    path = Path(place)
    if path.exists():
        return path.is_dir()
    in_git = split_place(place)
    return in_git is not None and not in_git[1].endswith((".json", ".jsonl"))


def _check_suite(place: str, result: Result, suite: str) -> None:
    if suite != result.suite["name"]:
        raise ResultError(
            f"{place}: a result on {result.suite['name']}, where one on {suite} is to be compared;"
            " give its own baseline, or a folder of them"
        )


def _check_folder(place: str, listing: Listing, suite: str, model: str) -> None:
    try:
        _of_model(listing.found, suite, model, place)
    except ResultError as error:
        broken = "; ".join(listing.passed_over)
        raise ResultError(f"{error} ({broken})" if broken else str(error)) from None


def _of_model(found: Sequence[Found], suite: str, model: str, place: str) -> list[Found]:
    """Return the results of a model on a suite; refuse none."""
    of_suite = [item for item in found if item.result.suite["name"] == suite]
    fitting = [item for item in of_suite if item.result.model["id"] == model]
    if fitting:
        return fitting
    known = sorted({item.result.model["id"] for item in of_suite})
    if not known:
        raise ResultError(
            f"{place}: no result on {suite}, which is to be compared; measure the baseline on it"
            " first, or leave the suite out"
        )
    raise ResultError(
        f'{place}: no result of "{model}" on {suite}; it has {", ".join(known)}; to compare two'
        " models, give the other's file"
    )
