"""A board of the sections and subsets that somebody cares for."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from recorded import changed
from scored import TOY, published, toy_margins, toy_result

from rmbench.cli import main
from rmbench.compare.contrast import compare
from rmbench.compare.domain import DOMAIN, domain_results, domain_suite, subsets_of
from rmbench.compare.ranks import places
from rmbench.errors import ResultError
from rmbench.result.record import Result
from rmbench.result.store import write_result
from rmbench.suite.definition import Suite

# Wins all of subset a, and a half of the rest; the other is the other way round.
GOOD_AT_A = toy_result([1.0] * 40 + [1.0, -1.0] * 57 + [1.0], model="good at a")
GOOD_ELSEWHERE = toy_result([1.0, -1.0] * 20 + [1.0] * 115, model="good elsewhere")
BOTH = [GOOD_AT_A, GOOD_ELSEWHERE]


def of_parts(*parts: str, results: list[Result] = BOTH) -> tuple[Suite, list[Result]]:
    domain = domain_suite(TOY, parts, subsets_of(results, TOY))
    assert domain is not None
    return domain, domain_results(results, {"toy": domain}, parts)


def test_the_best_of_a_part_is_told_by_its_own_comparisons() -> None:
    domain, found = of_parts("a")
    assert [item.sections["a"].accuracy for item in found] == [1.0, 0.5]
    assert found[0].sections["a"].n == 40 and not found[0].averages
    assert [item.text for item in places(found, domain, domain.headline) if item] == ["1", "2"]
    # Over the whole suite it is the other one.
    whole = places(BOTH, TOY, "pooled")
    assert [item.text for item in whole if item] == ["2", "1"]


def test_several_parts_count_the_same_and_a_section_keeps_its_number() -> None:
    domain, found = of_parts("a", "Y")
    for before, after in zip(BOTH, found, strict=True):
        assert after.sections["Y"] == before.sections["Y"]  # weights within a section stay
        mean = (before.subsets["a"].accuracy + before.sections["Y"].accuracy) / 2
        assert after.averages[DOMAIN].accuracy == pytest.approx(mean)
        assert after.averages[DOMAIN].n == 40 + 90
    # The board's test is that of compare on the same part.
    row = compare(found[0], found[1], domain).level("average")[0]
    assert row.n == 130 and row.difference is not None


def test_names_with_a_star_are_all_subsets_that_begin_so() -> None:
    domain, found = of_parts("*", results=BOTH)
    assert domain.sections[0].subsets == ("a", "b", "c", "d")
    assert found[0].sections["*"].accuracy == BOTH[0].averages["pooled"].accuracy


def test_published_numbers_stand_where_they_say_enough() -> None:
    card = published({"X": 0.9, "Y": 0.8})
    _, found = of_parts("Y", results=[*BOTH, card])
    assert found[2].sections["Y"].accuracy == 0.8
    _, found = of_parts("a", "Y", results=[*BOTH, card])
    assert DOMAIN not in found[2].averages  # it says nothing of subset a
    # Subsets without counts have no mean of their own unless they are one.
    known = changed(card, subsets={"a": card.sections["X"]})
    _, found = of_parts("a", "Y", results=[*BOTH, known])
    assert found[2].averages[DOMAIN].accuracy == pytest.approx(0.85)


def test_a_part_that_nothing_has_is_refused() -> None:
    assert domain_suite(TOY, ["a", "zzz"], ["a", "b"]) is None
    with pytest.raises(ResultError, match=r'--for "xx": .*known: X, Y, a'):
        domain_results(BOTH, {}, ["xx"])


def test_the_command_ranks_by_the_parts(tmp_path: Path) -> None:
    for item in (*BOTH, toy_result(toy_margins(1), model="third")):
        write_result(changed(item, suite=item.suite | {"definition": TOY_FILE}), tmp_path)
    command = ["leaderboard", str(tmp_path)]
    shown = CliRunner().invoke(main, [*command, "--for", "a, X"])
    assert shown.exit_code == 0, shown.output
    assert "Toy: a, X" in shown.stdout and "ranked by mean of these" in shown.stdout
    assert shown.stdout.index("good at a") < shown.stdout.index("good elsewhere")
    wrong = CliRunner().invoke(main, [*command, "--for", "q"])
    assert wrong.exit_code == 2 and '--for "q"' in wrong.stderr


TOY_FILE = TOY.model_dump(mode="json", exclude_defaults=True)
