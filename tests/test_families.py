"""Every family of reward models: its command on a tiny folder, against a plain computation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, MOST, Family, measure, row

PAGE = Path(__file__).parent.parent / "docs" / "models.md"


def built() -> Iterator[Any]:
    """Yield the families with a folder; of each way but heads all after the first are slow."""
    seen = set()
    for family in FAMILIES:
        is_quick = family.way not in seen or family.way == "head"
        seen.add(family.way)
        if family.build is not None:
            marks = () if is_quick else pytest.mark.slow
            yield pytest.param(family, id=family.name[:40], marks=marks)


@pytest.mark.parametrize("family", list(built()))
def test_its_command_gives_the_plain_computation(family: Family, tmp_path: Path) -> None:
    if family.way == "adapter":
        pytest.importorskip("peft")
    assert measure(family, tmp_path) <= MOST


def test_the_whole_list_of_rewardbench_is_counted() -> None:
    assert sum(family.listed for family in FAMILIES) == 122


def test_the_table_names_every_family() -> None:
    table = PAGE.read_text(encoding="utf-8")
    assert [family.name for family in FAMILIES if row(family) not in table] == []
