"""Suites that are run and shown together: a group file names them, and which number of each."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from rmbench.errors import SuiteError
from rmbench.suite.catalogue import bundled_folder, load_suite
from rmbench.suite.definition import Suite
from rmbench.suite.toml import KINDS, TomlTable, read_model, read_toml

__all__ = ["Group", "Member", "expand_groups", "find_group", "list_groups", "suites_of"]


class Member(TomlTable):
    """One number of a group: a section or average of a suite, and its weight in the mean."""

    suite: str
    number: str
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


class Group(TomlTable):
    """Several suites and the mean of one number of each, or of several.

    Attributes:
        name: what it is called.
        title: what it is, in a few words.
        group: the head of a column → its number, in the order of the columns. In a file,
            ``suite = "average"`` stands for the average of the suite that heads the column.
    """

    name: str
    title: str
    group: dict[str, Member] = Field(min_length=1)

    @field_validator("group", mode="before")
    @classmethod
    def _read_short(cls, group: Any) -> Any:
        if not isinstance(group, dict):
            return group
        for head, member in group.items():
            if not isinstance(member, str | dict):
                kind = KINDS.get(type(member), type(member).__name__)
                raise ValueError(f"{head} is {kind}; it must be a text or a table")
            if not member:
                raise ValueError(f"{head} names no average; name the one that counts")
        return {
            head: {"suite": head, "number": member} if isinstance(member, str) else member
            for head, member in group.items()
        }

    @property
    def suites(self) -> list[str]:
        """The suites, each once."""
        return list(dict.fromkeys(member.suite for member in self.group.values()))

    @property
    def meaning(self) -> str:
        """What the mean is of."""
        weights = {member.weight for member in self.group.values()}
        if len(weights) == 1:
            return f"of all {len(self.group)}"
        shares = ", ".join(f"{head} {item.weight:g}" for head, item in self.group.items())
        return f"weighted: {shares}"


def list_groups() -> list[str]:
    """Return the names of the bundled groups, sorted."""
    return sorted(path.stem for path in (bundled_folder("suites") / "groups").glob("*.toml"))


def find_group(name: str) -> Group | None:
    """Return a bundled group by name, or the one of a ``.toml`` file; None for anything else.

    Raises:
        SuiteError: the file breaks a rule; the message names file and key.
    """
    if name in list_groups():
        path = bundled_folder("suites") / "groups" / f"{name}.toml"
    elif name.endswith(".toml") and Path(name).is_file():
        path = Path(name)
    else:
        return None
    try:
        content = read_toml(path)
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}; check its rights") from None
    return read_model(Group, content, str(path)) if "group" in content else None


def expand_groups(names: list[str]) -> list[str]:
    """Return suites with every group replaced by its own, each once."""
    found: list[str] = []
    for name in names:
        group = find_group(name)
        found += [name] if group is None else group.suites
    return list(dict.fromkeys(found))


def suites_of(group: Group) -> list[Suite]:
    """Return a group's suites, each once.

    Raises:
        SuiteError: there is no such suite, or it has no such number.
    """
    suites = {name: load_suite(name) for name in group.suites}
    for head, member in group.group.items():
        suite = suites[member.suite]
        known = [average.name for average in suite.averages]
        known += [section.name for section in suite.sections]
        if member.number not in known:
            raise SuiteError(
                f'group "{group.name}": [group]: {head} = "{member.number}" is no average of'
                f" {member.suite}; it has {', '.join(known)}"
            )
    return list(suites.values())
