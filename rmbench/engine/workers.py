"""One process for each device: the parent plans and keeps, all of them compute.

The parent has a model of its own, which proves the way, gives the truth, and computes as well. Each
other process loads the model again, and counts only once it agrees with the parent, bit for bit, on
two sequences of the run. Units go out longest first, to whoever is free; what a unit's values are
does not depend on who computed it. A process that dies is replaced, and its units are done again.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import numpy as np
import torch

from rmbench.engine.failures import ShortOfMemoryError, is_out_of_memory
from rmbench.engine.reading import Ask, Reading
from rmbench.engine.units import Planner, Unit
from rmbench.engine.ways import Values, Ways, plain_attention
from rmbench.errors import ScorerError

__all__ = ["ModelSource", "Workers"]

AHEAD: Final = 2
"""Units that a process has at a time, so that it need not wait for the next."""
DEATHS: Final = 3
"""So often may one process be replaced before the run is given up."""
STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """How a process comes by its model.

    Attributes:
        load: returns the model on a device, in eval mode; found by its name in the new process.
        read: makes the reading of a model.
        devices: of the other processes, one each.
        threads: of each process on a CPU, the parent's too; None for what PyTorch chooses.
    """

    load: Callable[[str], Any]
    read: Callable[[Any], Reading]
    devices: tuple[str, ...]
    threads: int | None = None


@dataclass(slots=True)
class _Process:
    """One process and what it has to do."""

    device: str
    process: Any
    connection: Connection
    units: list[Unit] = field(default_factory=list)
    deaths: int = 0
    counts: bool = False


class Workers:
    """Processes that compute beside the parent, for as long as an engine lives.

    Attributes:
        counted: how many agreed with the parent.
        replaced: how many died and were replaced.
    """

    def __init__(self, job: ModelSource) -> None:
        self.job = job
        self.counted = self.replaced = 0
        self._processes: list[_Process] = []
        self._threads: int | None = None

    def begin(self) -> None:
        """Start the processes; they load while the parent proves the way."""
        if self.job.threads is not None and not self._processes:
            self._threads = torch.get_num_threads()
            torch.set_num_threads(self.job.threads)
        for device in self.job.devices[len(self._processes) :]:
            self._processes.append(_start(self.job, device))

    def close(self) -> None:
        """End the processes."""
        for item in self._processes:
            with suppress(OSError):
                item.connection.send(None)
            item.process.join(STOP_S)
            if item.process.is_alive():
                item.process.kill()
            item.connection.close()
        self._processes = []
        if self._threads is not None:
            torch.set_num_threads(self._threads)

    def check(self, ways: Ways, way: str, planner: Planner, asks: Sequence[Ask]) -> None:
        """Let those processes count that agree with the parent on two sequences, bit for bit."""
        self._expected = (ways, way, planner, list(asks[:2]))
        for item in self._processes:
            self._greet(item)
        self.counted = sum(item.counts for item in self._processes)

    def _greet(self, item: _Process) -> None:
        ways, way, planner, asks = self._expected
        units = planner.plan(way, [ask.ids for ask in asks], range(len(asks)))
        item.counts = True
        for unit in units:
            own = ways.start(way, unit, asks).get()
            try:
                item.connection.send((way, unit, asks))
                kind, found = item.connection.recv()
            except (OSError, EOFError):
                kind, found = "error", "it ended while it loaded"
            if kind != "values":
                raise ScorerError(f"a process on {item.device} cannot compute: {found}")
            equal = (np.array_equal(a, b) for a, b in zip(own, found, strict=True))
            item.counts = item.counts and all(equal)

    def compute(
        self, ways: Ways, way: str, todo: Sequence[Unit], asks: Sequence[Ask]
    ) -> Iterator[tuple[Unit, list[Values]]]:
        """Yield units and their values, in whatever order they are done.

        Raises:
            ShortOfMemoryError: a unit did not fit.
            ScorerError: a process died too often.
        """
        waiting = list(todo)
        others = [item for item in self._processes if item.counts]
        for item in others:
            item.units = []
        try:
            while waiting or any(item.units for item in others):
                for item in others:
                    while waiting and len(item.units) < AHEAD:
                        self._give(item, way, waiting.pop(0), asks)
                if waiting:
                    unit = waiting.pop(0)
                    yield unit, _compute(ways, way, unit, asks)
                yield from self._take(others, way, asks, block=not waiting)
        finally:
            self._drain(others)

    def _give(self, item: _Process, way: str, unit: Unit, asks: Sequence[Ask]) -> None:
        item.units.append(unit)
        part = [asks[i] for i in unit.indices]
        # One that has died is found out when its answer is read.
        with suppress(OSError):
            item.connection.send((way, replace(unit, indices=list(range(len(part)))), part))

    def _take(
        self, others: Sequence[_Process], way: str, asks: Sequence[Ask], *, block: bool
    ) -> Iterator[tuple[Unit, list[Values]]]:
        busy = {item.connection: item for item in others if item.units}
        if not busy:
            return
        for connection in wait(list(busy), None if block else 0):
            assert isinstance(connection, Connection), "only connections are waited for"
            item = busy[connection]
            try:
                kind, found = connection.recv()
            except (OSError, EOFError):
                self._replace(item, way, asks)
                continue
            unit = item.units.pop(0)
            if kind == "memory":
                raise ShortOfMemoryError(unit)
            if kind == "error":
                raise ScorerError(f"a process on {item.device} failed: {found}")
            yield unit, found

    def _replace(self, item: _Process, way: str, asks: Sequence[Ask]) -> None:
        """Restart a process and give it again what the dead one had."""
        item.deaths += 1
        self.replaced += 1
        if item.deaths > DEATHS:
            raise ScorerError(
                f"a process on {item.device} died {item.deaths} times; run again with fewer"
                " --workers, each of which needs memory for the model"
            )
        units, item.units = item.units, []
        fresh = _start(self.job, item.device)
        item.process.join(STOP_S)
        item.connection.close()
        item.process, item.connection = fresh.process, fresh.connection
        self._greet(item)
        for unit in units:
            self._give(item, way, unit, asks)

    def _drain(self, others: Sequence[_Process]) -> None:
        """Wait for what is still being computed after an error, so that no answer is misread."""
        for item in others:
            while item.units:
                item.units.pop(0)
                with suppress(OSError, EOFError):
                    item.connection.recv()


def _compute(ways: Ways, way: str, unit: Unit, asks: Sequence[Ask]) -> list[Values]:
    try:
        return ways.start(way, unit, asks).get()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    raise ShortOfMemoryError(unit)


def _start(job: ModelSource, device: str) -> _Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(job, device, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Process(device=device, process=process, connection=ours)


def _serve(job: ModelSource, device: str, connection: Connection) -> None:
    """Compute what comes until None does; the whole life of a process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    try:
        model = job.load(device)
        ways = Ways(job.read(model), torch.device(model.device))
        ways.exchange()
        with torch.inference_mode(), plain_attention(ways.device):
            while (given := connection.recv()) is not None:
                connection.send(_answer(ways, *given))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return  # the parent has gone
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        with suppress(OSError):
            connection.recv()
            connection.send(("error", first))


def _answer(ways: Ways, way: str, unit: Unit, asks: Sequence[Ask]) -> tuple[str, Any]:
    try:
        return "values", _compute(ways, way, unit, asks)
    except ShortOfMemoryError:
        return "memory", None
