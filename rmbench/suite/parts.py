"""The parts of a source: its data sets, configurations, folders and splits, in their order."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from rmbench.suite.definition import Source

__all__ = ["SourcePart", "axes_of", "parts_of"]


class SourcePart(NamedTuple):
    """One part of a source.

    ``name`` names a subset where nothing else does: of several data sets, configurations, folders
    and splits those that this part is of; None where there is only one part. ``where`` says the
    same by kind, and names what there is only one of, too.
    """

    name: str | None
    where: Mapping[str, str]


def axes_of(source: Source) -> dict[str, tuple[str, ...]]:
    """Return what a source has several of, by kind: folders below a local copy, apart from splits.

    A Hub data set is named by what follows its owner.
    """
    paths = tuple(path.rpartition("/")[2] for path in source.paths)
    axes = {"path": paths, "config": source.configs, "folder": source.data_dirs}
    return {kind: names for kind, names in axes.items() if names}


def parts_of(source: Source) -> list[tuple[SourcePart, str]]:
    """Return every part of a source, with the path of its data set."""
    axes = {**axes_of(source), **({"split": source.splits} if source.splits else {})}
    single = {"config": source.name, "split": source.split}
    paths = dict(zip(axes.get("path", ()), source.paths, strict=True))
    found = []
    for names in product(*axes.values()):
        chosen = dict(zip(axes, names, strict=True))
        where = {kind: name for kind, name in single.items() if name is not None} | chosen
        path = paths.get(chosen.get("path", ""), source.path)
        found.append((SourcePart("/".join(names) or None, where), path))
    return found
