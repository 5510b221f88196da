"""The record of a result: what it holds, and the name of its file."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from recorded import THIRD, a_result, analyses, files, published

from rmbench.accuracy.aggregate import Accuracy
from rmbench.errors import ResultError
from rmbench.result.names import file_stem
from rmbench.result.record import Result, subset_of
from rmbench.result.store import read_result, write_result


def test_keys_stand_in_one_order_whatever_a_result_has() -> None:
    keys = list(published(partial=2).to_dict())
    assert keys[:6] == ["schema", "source", "citation", "partial", "suite", "model"]
    assert keys[6:12] == ["settings", "usual", "signature", "averages", "sections", "subsets"]
    assert list(a_result(analyses=analyses()).to_dict())[10] == "analyses"
    assert keys[12:] == ["audit", "environment", "timing", "date"]


def test_headline_and_find_name_the_suites_numbers() -> None:
    half = Accuracy(accuracy=0.5)
    result = a_result(sections={"S": half})
    assert result.headline == THIRD
    assert result.find("S") == half
    assert result.find("pooled") == THIRD
    assert result.find("other") is None


def test_a_data_frame_has_a_row_for_every_accuracy() -> None:
    result = Result(
        source="measured",
        suite={"name": "s", "version": 1, "headline": "pooled"},
        model={"id": "m"},
        averages={"pooled": Accuracy(accuracy=0.5, low=0.2, high=0.8, n=4, wins=1, ties=2)},
        sections={"A": Accuracy(accuracy=0.25)},
    )
    frame = result.to_frame()
    assert frame["name"].tolist() == ["pooled", "A"]
    assert frame["level"].tolist() == ["average", "section"]
    assert frame.set_index("name").loc["pooled", ["accuracy", "n", "wins"]].tolist() == [0.5, 4, 1]
    assert frame["n"].isna().tolist() == [False, True]


def test_an_id_belongs_to_the_longest_subset_it_begins_with() -> None:
    names = ["math", "math/algebra", "mat"]
    assert subset_of("math/1", names) == "math"
    assert subset_of("math/algebra/1", names) == "math/algebra"
    with pytest.raises(ResultError) as error:
        subset_of("maths/1", names)
    assert str(error.value) == 'rewards of "maths/1": the record has no subset it belongs to'


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "stem"),
    [
        ({"model": "SultanR/SmolTulu-1.7b-RM"}, "SultanR--SmolTulu-1.7b-RM"),
        ({"model": "tiny"}, "tiny"),
        ({"partial": 20}, "org--name.partial-20"),
        ({"settings": {"template": "none"}}, "org--name+tmpl-none"),
        (
            {"settings": {"template": "my.jinja", "template_sha256": "0123456789abcdef"}},
            "org--name+tmpl-my.jinja-0123456",
        ),
        (
            {"settings": {"on_overflow": "drop", "max_length": 2048}},
            "org--name+on_overflow-drop+max_length-2048",
        ),
        (
            {
                "settings": {"on_overflow": "error", "max_length": 2048},
                "usual": {"on_overflow": "error", "max_length": 2048},
            },
            "org--name",
        ),
        ({"settings": {"seed": 1, "votes": 8}, "usual": {"seed": 1}}, "org--name+votes-8"),
        ({"settings": {"prompt": "a\nb"}}, "org--name+prompt-7e18f73"),
    ],
)
def test_a_stem_tells_model_and_kind_of_run(changes: dict[str, Any], stem: str) -> None:
    assert file_stem(a_result(**changes)) == stem


WICKED = [
    "../../x",
    "a/../../b",
    "/etc/passwd",
    "..",
    ".",
    "",
    ".hidden",
    "a\0b",
    "a\nb",
    "x" * 300,
    "CON",
    "con.txt",
    "nul.tar.gz",
    "COM1",
    "lpt9.x",
    "aux .x",
    "a\\b",
    "C:\\x",
    "модель/ünï",
    "a b",
    "a:b",
    "trailing.",
    "x.published",
    "x.partial-3",
    "folder-\udcff",
    "\x1b[31m",
]
ids = st.one_of(
    st.sampled_from(WICKED),
    st.text(max_size=20),
    st.text(alphabet="ab/-._+ ~", max_size=8),
)
RESERVED = {"con", "prn", "aux", "nul"} | {f"{p}{i}" for p in ("com", "lpt") for i in range(10)}


@given(ids)
def test_no_id_makes_a_path_that_leaves_the_folder(model: str) -> None:
    stem = file_stem(a_result(model))
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", stem)
    assert not stem.startswith(".")
    assert not stem.endswith(".")
    assert len(stem) <= 110
    # Windows opens a device for a reserved name, whatever stands after its first dot.
    assert stem.split(".")[0].lower() not in RESERVED


@given(ids, ids)
@example("a/b", "a--b")
@example("a-/b", "a/-b")
@example("a b", "a_b")
@example("a+b", "a_b")
@example("a", "a.")
@example("x" * 300, "x" * 301)
def test_two_ids_never_share_a_name(first: str, second: str) -> None:
    stems = [file_stem(a_result(model)) for model in (first, second)]
    assert (stems[0] == stems[1]) == (first == second)


@given(ids, st.sampled_from(["partial", "published", "template", "drop"]))
@example("x.published", "published")
@example("x.partial-3", "partial")
@example("x+tmpl-none", "template")
def test_two_kinds_of_run_never_share_a_name(model: str, kind: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "partial": {"partial": 3},
        "published": {"source": "published"},
        "template": {"settings": {"template": "none"}},
        "drop": {"settings": {"on_overflow": "drop", "max_length": 8}},
    }
    marked = file_stem(a_result("x", **changes[kind]))
    assert file_stem(a_result(model)) != marked


@pytest.mark.parametrize("model", WICKED)
def test_a_wicked_id_is_written_inside_the_folder_and_reads_back(
    model: str, tmp_path: Path
) -> None:
    path = write_result(a_result(model or "-"), tmp_path / "out")
    assert path.parent == tmp_path / "out" / "small"
    assert len(files(tmp_path)) == 2
    # Half a surrogate pair becomes the text of its escape.
    assert read_result(path).model["id"] == (model or "-").replace("\udcff", r"\udcff")


def test_a_suite_name_never_leaves_the_folder(tmp_path: Path) -> None:
    suite = {"name": "../../evil", "version": 1, "headline": "pooled"}
    path = write_result(a_result(suite=suite), tmp_path / "out")
    assert path.resolve().is_relative_to(tmp_path / "out")
    assert len(path.relative_to(tmp_path / "out").parts) == 2
