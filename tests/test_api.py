"""The public names: all there, sorted, documented, and each at home where it says."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rmbench


def test_all_is_sorted_and_names_nothing_twice() -> None:
    assert rmbench.__all__ == sorted(set(rmbench.__all__))


def test_all_is_complete() -> None:
    homes = [name for names in rmbench._HOMES.values() for name in names]
    assert sorted(homes) == rmbench.__all__
    assert dir(rmbench) == rmbench.__all__


@pytest.mark.parametrize("name", rmbench.__all__)
def test_a_public_name_is_documented_and_public_at_home(name: str) -> None:
    item = getattr(rmbench, name)
    assert inspect.getdoc(item)
    home = sys.modules[item.__module__]
    assert name in home.__all__
    assert item.__module__ == rmbench._HOME[name]


def test_a_star_import_gives_every_name() -> None:
    program = "from rmbench import *\nimport rmbench\nassert set(rmbench.__all__) <= set(globals())"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rmbench' has no attribute 'evalute'"):
        _ = rmbench.evalute  # type: ignore[attr-defined]


def test_all_errors_are_of_one_tree() -> None:
    errors = [name for name in rmbench.__all__ if name.endswith("Error")]
    assert len(errors) == 5
    assert all(issubclass(getattr(rmbench, name), rmbench.RmbenchError) for name in errors)


def test_the_three_lines_of_the_docstring_run() -> None:
    result = rmbench.evaluate("mini", rmbench.load_scorer("length"))
    headline = result.headline
    assert headline is not None
    # mini is no length contest: half the longer responses are right, in each of 240 comparisons.
    assert (headline.n, headline.accuracy) == (240, 0.5)


def test_a_function_is_evaluated_under_a_name_and_results_are_named_as_on_the_command_line(
    tmp_path: Path,
) -> None:
    words = rmbench.evaluate("mini", lambda asked: float(len(asked.response.split())), name="w")
    assert words.model["id"] == "w"
    path = rmbench.write_result(words, str(tmp_path))
    assert rmbench.read_result(str(path)).averages == words.averages
    assert all(
        item.difference is None or item.difference.estimate == 0
        for item in rmbench.compare_results(str(path), path).verdicts
    )
    with pytest.raises(TypeError, match="name='org/name'"):
        rmbench.evaluate("mini", lambda asked: 1.0)
