"""Keep the memory that a forward frees: the next one needs the same again.

The C library gives large freed tensors back to the system, which hands the next ones out page by page, filled with
zeros. On small images that is a good part of the time of a forward.
"""

from __future__ import annotations

import ctypes
import platform

# parameters of glibc's mallopt (malloc.h) and their largest values: larger tensors still go back to the system
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _NEVER = 32 * 2**20, 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process reuse freed blocks of up to 32 MiB, for the rest of its life, at the price of their memory.

    Returns:
        Whether the C library can: glibc can, others are left as they are.

    Source:
        mallopt(3), which also says that setting either value turns off their adjustment at run time.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and library.mallopt(_TRIM_THRESHOLD, _NEVER))
