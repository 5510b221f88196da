"""An existing Ray cluster: reached, looked at, and waited for.

Ray places, retries and restarts. What can never be placed, Ray would wait for; what is not there,
it would look for; both are refused here. What dies with a worker or a node is tried again by Ray;
what a user can fix is not.
"""

import contextlib
import logging
import os
import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from rmbench.answers.jobs import Needs
from rmbench.answers.ray_node import Inbox, Question, Refusal, versions
from rmbench.errors import ScorerError

__all__ = ["POLL_S", "TRIES", "Cluster", "StoppedError", "accepted", "connect", "told"]

TRIES: Final = 5
POLL_S: Final = 0.5
"""How often it is looked whether answers came, or the run was stopped."""
REACH_S: Final = 5.0


class StoppedError(Exception):
    """The run was stopped while answers were awaited."""


def connect(address: str) -> "Cluster":
    """Return the cluster at an address.

    Args:
        address: ``auto`` for the one that this machine belongs to, or HOST:PORT.

    Raises:
        ScorerError: ray is not installed, there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ScorerError(
            "--ray: ray is not installed; install it with pip install 'rmbench[ray]'"
        ) from None
    _refuse_unreachable(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ray's own future
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            finding = str(error).splitlines()[0]
            raise ScorerError(
                f"--ray {address}: {finding}; start a cluster with ray start --head, or give the"
                " address of one"
            ) from None
    return Cluster(address)


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nobody listens: ray would try for minutes, and then end the program.

    Raises:
        ScorerError: it is no address, or nobody listens there.
    """
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        raise ScorerError(f"--ray {address}: no address; give auto, or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except OSError as error:
        raise ScorerError(
            f"--ray {address}: cannot be reached: {error}; is the cluster up? `ray status` tells"
            " its address"
        ) from None


class Cluster:
    """An existing Ray cluster; for use from several threads."""

    def __init__(self, address: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.address = address
        self.stopped = threading.Event()
        self._questions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._nodes = [node for node in ray.nodes() if node["Alive"]]
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        self.inbox = ray.remote(Inbox).options(**options).remote()

    def refuse_other_versions(self) -> None:
        """Refuse nodes with other versions of what can move an answer.

        Raises:
            ScorerError: a node has some, or cannot run rmbench.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe = ray.remote(versions)
        asked = []
        for node in self._nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(probe.options(num_cpus=0, scheduling_strategy=there).remote())
        try:
            found = ray.get(asked)
        except ray.exceptions.RayError as error:
            raise ScorerError(
                f"--ray {self.address}: a node cannot run rmbench: {_first_line(error)}; install it"
                " on every node"
            ) from None
        mine = versions()
        for theirs in found:
            for package, version in mine.items():
                if package != "host" and theirs.get(package) != version:
                    raise ScorerError(
                        f"--ray {self.address}: {theirs['host']} has {package}"
                        f" {theirs.get(package, 'not at all')}, and here it is {version};"
                        " install the same on every node"
                    )

    def close(self) -> None:
        """Let go of the cluster; it stays up."""
        import ray

        ray.shutdown()

    def needs_of(self, needs: Needs, *, takes_gpu: bool, place: str) -> dict[str, float]:
        """Return what a model takes of a node, as Ray is told, once a node has it.

        Args:
            needs: what was asked for.
            takes_gpu: whether the model can use one.
            place: what the model is called in a message.

        Raises:
            ScorerError: no node has it all: Ray would wait for one for ever.
        """
        resources = [node["Resources"] for node in self._nodes]
        gpus, cpus = needs.gpus, 1.0 if needs.cpus is None else needs.cpus
        if gpus is None:
            gpus = float(takes_gpu and any(item.get("GPU", 0) >= 1 for item in resources))
        if not any(item.get("CPU", 0) >= cpus and item.get("GPU", 0) >= gpus for item in resources):
            most = ", ".join(sorted({_described(item) for item in resources}))
            raise ScorerError(
                f"{place}: needs {cpus:g} CPUs and {gpus:g} GPUs of one node, and the"
                f" cluster's nodes have {most}; ask for less with --ray-cpus and --ray-gpus, or add"
                " a node"
            )
        return {"num_cpus": cpus, "num_gpus": gpus}

    def replicas(self, resources: Mapping[str, float]) -> int:
        """Return how many models of these needs the nodes can hold at once, at least 1."""
        counts = []
        for node in self._nodes:
            has = {
                "num_cpus": node["Resources"].get("CPU", 0),
                "num_gpus": node["Resources"].get("GPU", 0),
            }
            counts.append(
                min((int(has[n] // need) for n, need in resources.items() if need), default=1)
            )
        return max(sum(counts), 1)

    def put(self, questions: Iterable[Question]) -> Any:
        """Return a handle of a suite's questions, which all models share."""
        import ray

        name = getattr(questions, "name", None)
        with self._lock:
            if name is None or name not in self._questions:
                handle = ray.put(list(questions))
                if name is None:
                    return handle
                self._questions[name] = handle
            return self._questions[name]

    def wait(self, handle: Any, place: str, meanwhile: Callable[[], None] | None = None) -> Any:
        """Return what a task gives, once it is there.

        Args:
            handle: of the task.
            place: what is asked, for a message.
            meanwhile: called about twice a second.

        Raises:
            ScorerError: the task refuses, or Ray gives up.
            StoppedError: the run was stopped; the task is cancelled.
        """
        import ray

        while not ray.wait([handle], timeout=POLL_S)[0]:
            if self.stopped.is_set():
                ray.cancel(handle, force=True)
                raise StoppedError
            if meanwhile is not None:
                meanwhile()
        with told(place):
            return accepted(ray.get(handle))


def _described(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"


def accepted(found: Any) -> Any:
    """Return what a node found.

    Raises:
        ScorerError: it refuses; the message names the node.
    """
    if isinstance(found, Refusal):
        raise ScorerError(f"{found.message} (on {found.node})")
    return found


@contextlib.contextmanager
def told(place: str) -> Iterator[None]:
    """Turn what Ray gives up on into one line; a bug on a node keeps its traceback.

    Raises:
        ScorerError: a worker or node died too often, or could not read a file.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if not isinstance(error.cause, OSError):
            raise
        raise ScorerError(f"{place}: {error.cause}; answers so far are kept: run again") from None
    except ray.exceptions.RayError as error:
        raise ScorerError(
            f"{place}: the cluster gave up after {TRIES + 1} tries: {_first_line(error)}; answers"
            " so far are kept: run again"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
