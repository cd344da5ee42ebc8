"""Access to NVIDIA's management library, NVML (the extra `gpu`): the handle of a CUDA device, and safe queries."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from typing import Any

import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nvml:
    """One device. `is_mig`: it is a slice of a GPU, and clock and power are those of the whole `physical` device."""

    library: Any
    handle: Any
    physical: Any
    is_mig: bool

    def query(self, name: str, *arguments: Any, handle: Any = None) -> Any:
        """The result of `nvmlDevice<name>`; None if the library or the driver does not support it.

        Args:
            handle: the device that is queried, by default the physical one.
        """
        # NVML has its own error classes, and older libraries lack some functions
        with contextlib.suppress(Exception):
            function = getattr(self.library, f"nvmlDevice{name}")
            return function(self.physical if handle is None else handle, *arguments)
        return None


def nvml_device(device: str | torch.device, library: Any = None) -> Nvml | None:
    """The NVML device of a CUDA device; None for other devices, without pynvml, or if the driver refuses.

    Args:
        library: the pynvml module; imported if it is None.
    """
    torch_device = torch.device(device)
    if torch_device.type != "cuda":
        return None
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return None
    with contextlib.suppress(Exception):
        library.nvmlInit()
        # NVML ignores CUDA_VISIBLE_DEVICES, so device numbers differ; the UUID is the same for both
        uuid = str(torch.cuda.get_device_properties(torch_device).uuid)
        for prefix in ("GPU", "MIG"):
            with contextlib.suppress(Exception):
                handle = library.nvmlDeviceGetHandleByUUID(f"{prefix}-{uuid}")
                return _with_physical_device(library, handle)
    return None


def _with_physical_device(library: Any, handle: Any) -> Nvml:
    device = Nvml(library=library, handle=handle, physical=handle, is_mig=False)
    if device.query("IsMigDeviceHandle"):
        whole = device.query("GetDeviceHandleFromMigDeviceHandle")
        return dataclasses.replace(device, physical=handle if whole is None else whole, is_mig=True)
    mode = device.query("GetMigMode")  # (now, after the next reset)
    return dataclasses.replace(device, is_mig=bool(mode) and mode[0] == 1)
