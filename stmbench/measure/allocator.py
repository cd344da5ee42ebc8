"""Memory that a process keeps between passes, as the caching allocator of a GPU does.

glibc gives large blocks back to the kernel as soon as they are freed, so that every forward pass pays for fresh pages
again: on two cores that was a fifth of the time of a micro model at batch 16 and a third at batch 32, it came and went
with the batch size, and it says nothing about a mixer.
"""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>


def keep_freed_memory() -> str:
    """Tell the C library to keep what is freed, from now to the process's end; returns what was done, in words."""
    if platform.libc_ver()[0] != "glibc":
        return "the system's"
    library = ctypes.CDLL(None)
    # -1 as a size is the largest there is: never trim
    done = library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1)
    return "glibc's, keeping what is freed" if done else "glibc's"
