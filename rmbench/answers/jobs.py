"""A sweep: models with their options, on suites, as one list of jobs that a file states.

    suites = ["mini", "judgebench"]

    [options]                    # for every model that knows them
    dtype = "float32"

    [data]                       # where a suite's rows are, if not at its source
    judgebench = "rows.jsonl"

    [[models]]
    model = "runs/step500"
    name = "step 500"            # what it is called in its results

    [[models]]
    model = "judge:org/name"
    suites = ["judgebench"]      # this model's own
    options = { url = "http://127.0.0.1:8000/v1" }
    gpus = 8                     # with --ray: what it takes of a node, and how suites are cut
    cpus = 16
    shard = 2000

Every answer is kept as it comes, so that a sweep which is run again does only what is missing.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from rmbench.errors import SuiteError
from rmbench.suite.toml import TomlTable, read_model, read_toml

__all__ = ["Job", "Needs", "Sweep", "read_sweep"]


class Needs(NamedTuple):
    """What one model takes of a cluster's node, and how its suites are cut.

    Attributes:
        cpus: processors; None for 1.
        gpus: accelerators; None for one where the model can use it and the cluster has any.
        shard: prompts of a shard; None for suites that are not cut.
    """

    cpus: float | None = None
    gpus: float | None = None
    shard: int | None = None

    def over(self, other: "Needs") -> "Needs":
        """Return these needs, and those of another where these say nothing."""
        stated = {name: value for name, value in self._asdict().items() if value is not None}
        return other._replace(**stated)


class SweptModel(TomlTable):
    """One model of a sweep, as ``[[models]]`` states it."""

    model: str
    name: str | None = None
    suites: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    cpus: Annotated[float, Field(ge=0)] | None = None
    gpus: Annotated[float, Field(ge=0)] | None = None
    shard: Annotated[int, Field(ge=1)] | None = None

    @property
    def needs(self) -> Needs:
        """What it takes of a cluster's node."""
        return Needs(self.cpus, self.gpus, self.shard)


class Sweep(TomlTable):
    """A sweep as its file states it."""

    models: list[SweptModel] = Field(min_length=1)
    suites: list[str] = Field(min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)

    @property
    def jobs(self) -> "list[Job]":
        """Return one job for each model, in the order of the file."""
        return [
            Job(
                item.model,
                item.name,
                self.options,
                item.options,
                item.suites or self.suites,
                item.needs,
            )
            for item in self.models
        ]


class Job(NamedTuple):
    """One model on its suites.

    Attributes:
        model: as ``--model`` takes it.
        name: what it is called in its results; None for its own.
        shared: options that count where the model's kind knows them.
        options: options that it must know.
        suites: names or paths.
        needs: what it takes of a cluster's node.
    """

    model: str
    name: str | None
    shared: dict[str, Any]
    options: dict[str, Any]
    suites: list[str]
    needs: Needs


def read_sweep(path: Path) -> Sweep:
    """Return the sweep that a file states.

    Raises:
        SuiteError: the file cannot be read, or says something wrong; the message says where.
    """
    try:
        content = read_toml(path)
    except OSError as error:
        raise SuiteError(
            f"{path}: cannot be read: {error.strerror or error}; give the file of a sweep"
        ) from None
    return read_model(Sweep, content, str(path))
