from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# in a process of its own: the setting lasts
FAULTS = """
import resource, sys
import torch
from stmbench.measure.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    print(keep_freed_memory(), file=sys.stderr)
torch.set_num_threads(1)
for _ in range(20):  # until the heap has grown to its shape
    torch.empty(2**24).fill_(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(2**24).fill_(1.0)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives pages back at once")
def test_memory_that_is_kept_is_not_paid_for_again() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", FAULTS, mode]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 100 < faults("leave")
