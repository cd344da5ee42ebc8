"""Facts about the machine and the software that a timing depends on. Never names of users, hosts or folders."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("stmbench", "torch", "torchvision", "timm", "numpy")


def machine_facts(device: str = "cpu") -> dict[str, Any]:
    """What the machine is: processor, cores, memory in GiB, system, and the GPU that `device` is, whatever others see.

    Neither CUDA_VISIBLE_DEVICES nor a device's number is in it: the same device is the same machine.
    """
    return {
        "cpu": cpu_model(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "logical_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        **_gpu_facts(torch.device(device)),
    }


def _gpu_facts(device: torch.device) -> dict[str, Any]:
    """The device in use and how large it is, which tells a slice of a GPU from the whole of it."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return {"gpus": []}
    found = torch.cuda.get_device_properties(device)
    size = {"gpu_memory_gib": round(found.total_memory / 2**30), "gpu_processors": found.multi_processor_count}
    return {"gpus": [found.name], **size}


def machine_id(facts: Mapping[str, Any]) -> str:
    """Twelve hex digits that stand for the machine's facts: timings of another machine are another measurement."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def software_facts() -> dict[str, Any]:
    """Versions of what runs, and the commit of a checkout with whether it was changed since."""
    versions = {name: version_of(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        **versions,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "driver": gpu_driver(),
        **git_state(),
    }


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model(cpuinfo: str | None = None) -> str:
    """The processor's name, from /proc/cpuinfo where there is one."""
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            cpuinfo = ""
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gpu_driver() -> str | None:
    """The NVIDIA driver's version; None without one."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return None
    return next((word for word in words if word.count(".") >= 1 and word[0].isdigit()), None)


def git_state(folder: Path | None = None) -> dict[str, Any]:
    """`commit` and `dirty` of the checkout that this package is run from; both None outside of one."""
    root = folder or Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": dirty}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
