"""Suites that are run and shown together: a group file names them, and which number of each."""

from pathlib import Path

from pydantic import Field, field_validator

from rmbench.errors import SuiteError
from rmbench.suite.definition import Suite, bundled_folder, load_suite
from rmbench.suite.toml import Table, read_model, read_toml

__all__ = ["Group", "expand_groups", "find_group", "list_groups", "suites_of"]


class Group(Table):
    """Several suites and the plain mean of one number of each.

    Attributes:
        name: what it is called.
        title: what it is, in a few words.
        group: suite → the average of it that counts, in the order of the columns.
    """

    name: str
    title: str
    group: dict[str, str] = Field(min_length=1)

    @field_validator("group")
    @classmethod
    def _check_names(cls, group: dict[str, str]) -> dict[str, str]:
        for suite, average in group.items():
            if not average:
                raise ValueError(f"{suite} names no average; name the one that counts")
        return group


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
        found += [name] if group is None else list(group.group)
    return list(dict.fromkeys(found))


def suites_of(group: Group) -> list[Suite]:
    """Return a group's suites.

    Raises:
        SuiteError: there is no such suite, or it has no such average.
    """
    suites = [load_suite(name) for name in group.group]
    for suite, average in zip(suites, group.group.values(), strict=True):
        known = [item.name for item in suite.averages]
        if average not in known:
            raise SuiteError(
                f'group "{group.name}": [group]: {suite.name} = "{average}" is no average of it;'
                f" it has {', '.join(known)}"
            )
    return suites
