"""The machine and the software that a timing depends on, without the names of users, hosts or folders."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("stmbench", "torch", "torchvision", "timm", "numpy")


def machine_facts(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, memory in GiB, system, and the GPU that `device` names.

    Independent of CUDA_VISIBLE_DEVICES and of the device's number: the same device is the same machine.
    """
    return {**_host_facts(), **(_gpu_facts(device) if device.startswith("cuda") else {"gpus": []})}


@functools.cache
def _host_facts() -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "logical_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def may_have_gpu() -> bool:
    """Whether this machine may have a GPU that torch could use; torch, which takes seconds to import, is not asked."""
    drivers = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    return sys.platform not in ("linux", "darwin") or any(Path(place).exists() for place in drivers)


def _gpu_facts(name: str) -> dict[str, Any]:
    """The device in use with its size, which distinguishes a slice of a GPU from a whole one."""
    import torch

    device = torch.device(name)
    if not torch.cuda.is_available():
        return {"gpus": []}
    gpu = torch.cuda.get_device_properties(device)
    size = {"gpu_memory_gib": round(gpu.total_memory / 2**30), "gpu_processors": gpu.multi_processor_count}
    return {"gpus": [gpu.name], **size}


def machine_id(facts: Mapping[str, Any]) -> str:
    """Twelve hex digits that identify the machine: a timing on another machine is a different measurement."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def software_facts() -> dict[str, Any]:
    """Versions of the software, and the commit of a checkout and whether it has uncommitted changes.

    As they were when this process first asked, which is nearer to the code that it imported than what is there now.
    """
    return dict(_software_facts())


@functools.cache
def _software_facts() -> dict[str, Any]:
    import torch

    versions = {name: version_of(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        **versions,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "driver": gpu_driver(),
        **git_state(),
    }


def version_of(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model(cpuinfo: str | None = None) -> str:
    """The processor's name, from /proc/cpuinfo if it exists."""
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
    """The version of the NVIDIA driver; None without one."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return None
    return next((word for word in words if word.count(".") >= 1 and word[0].isdigit()), None)


def git_state(folder: Path | None = None) -> dict[str, Any]:
    """`commit` and `dirty` of the checkout that contains this package; both None without one."""
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
