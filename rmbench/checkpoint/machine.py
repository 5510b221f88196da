"""On what a model would compute: known without torch, which takes seconds to load."""

import os
import platform
from pathlib import Path

__all__ = ["accelerator", "free_memory", "has_fast_bfloat16"]

GPUS = Path("/proc/driver/nvidia/gpus")
PROCESSOR = Path("/proc/cpuinfo")
MEMORY = Path("/proc/meminfo")
PROCESS = Path("/proc/self/status")
GROUP = Path("/sys/fs/cgroup")


def accelerator(device: str) -> str:
    """Return kind and name of what a ``--device`` stands for, such as ``cuda NVIDIA H100``.

    Two GPUs of one name are the same: which of them computes moves no reward.

    Args:
        device: ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``cpu``.
    """
    kind = device.partition(":")[0]
    names = gpu_names()
    if kind == "auto":
        has_mps = (platform.system(), platform.machine()) == ("Darwin", "arm64")
        kind = "cuda" if names else "mps" if has_mps else "cpu"
    if kind != "cuda":
        return f"{kind} {platform.machine()}"
    if len(set(names)) > 1:  # which one it is hangs on the order in which CUDA counts them
        return f"cuda {device} {names} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
    return f"cuda {names[0] if names else ''}"


def has_fast_bfloat16() -> bool:
    """Whether the processor has units for products of bfloat16 matrices (Intel's AMX)."""
    return any("amx_bf16" in line.split() for line in _lines(PROCESSOR))


def free_memory() -> int | None:
    """Return the bytes of memory that this process may still take; None where nothing tells.

    The least of what the machine has, the limits of the process, and those of its control group.
    """
    found = [_of_machine(), *_of_process(), _of_group()]
    known = [number for number in found if number is not None]
    return max(0, min(known)) if known else None


def _of_machine() -> int | None:
    for line in _lines(MEMORY):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _of_process() -> list[int]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    taken = {"VmSize:": 0, "VmData:": 0}
    for line in _lines(PROCESS):
        name = line.split(maxsplit=1)[0] if line else ""
        if name in taken:
            taken[name] = 1024 * int(line.split()[1])
    limits = ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:"))
    found = [(resource.getrlimit(limit)[0], taken[name]) for limit, name in limits]
    return [limit - used for limit, used in found if limit != resource.RLIM_INFINITY]


def _of_group() -> int | None:
    """Return what a control group of version 2 leaves; None for one without a limit."""
    limit, used = (_lines(GROUP / name) for name in ("memory.max", "memory.current"))
    if not limit or not used or not limit[0].isdigit():
        return None
    return int(limit[0]) - int(used[0])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def gpu_names() -> list[str]:
    """Return the names of the GPUs that CUDA may use, in the driver's order."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    names = []
    for file in sorted(GPUS.glob("*/information")):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    if not names and Path("/dev/nvidiactl").exists():
        return ["unknown"]
    return names
