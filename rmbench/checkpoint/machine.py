"""On what a model would compute: known without torch, which takes seconds to load."""

import os
import platform
from pathlib import Path

__all__ = ["accelerator", "has_fast_bfloat16"]

GPUS = Path("/proc/driver/nvidia/gpus")
PROCESSOR = Path("/proc/cpuinfo")


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
    try:
        return "amx_bf16" in PROCESSOR.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False


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
