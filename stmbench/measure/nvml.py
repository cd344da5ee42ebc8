"""NVIDIA's management library (the extra `gpu`): the handle of a CUDA device, and questions that it may refuse."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from typing import Any

import torch

REMEDY = "pip install 'stmbench[gpu]'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nvml:
    """One device. `is_mig`: a slice of a GPU, whose clock and power are those of the whole `physical` device."""

    library: Any
    handle: Any
    physical: Any
    is_mig: bool

    def ask(self, question: str, *arguments: Any, of: Any = None) -> Any:
        """The answer of `nvmlDevice<question>`; None where the library or the driver has none.

        Args:
            of: the handle that is asked about; by default that of the physical device.
        """
        # NVML has its own error classes, and an older library lacks functions: it is not to be had here
        with contextlib.suppress(Exception):
            function = getattr(self.library, f"nvmlDevice{question}")
            return function(self.physical if of is None else of, *arguments)
        return None


def nvml_of(device: str | torch.device, library: Any = None) -> Nvml | None:
    """The handle of a CUDA device; None for other devices, without pynvml, or where the driver refuses.

    Args:
        library: the pynvml module; imported where it is not given.
    """
    where = torch.device(device)
    if where.type != "cuda":
        return None
    if library is None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return None
    with contextlib.suppress(Exception):
        library.nvmlInit()
        # NVML knows nothing of CUDA_VISIBLE_DEVICES: the identifier is what both agree on
        uuid = str(torch.cuda.get_device_properties(where).uuid)
        for prefix in ("GPU", "MIG"):
            with contextlib.suppress(Exception):
                handle = library.nvmlDeviceGetHandleByUUID(f"{prefix}-{uuid}")
                return _found(library, handle)
    return None


def _found(library: Any, handle: Any) -> Nvml:
    alone = Nvml(library=library, handle=handle, physical=handle, is_mig=False)
    if alone.ask("IsMigDeviceHandle"):
        whole = alone.ask("GetDeviceHandleFromMigDeviceHandle")
        return dataclasses.replace(alone, physical=handle if whole is None else whole, is_mig=True)
    mode = alone.ask("GetMigMode")  # (now, after the next reset)
    return dataclasses.replace(alone, is_mig=bool(mode) and mode[0] == 1)
