"""Keep freed memory in the process.

glibc returns a large freed block to the system, and the next one of that size is paged in again. Training allocates
and frees the same large blocks in every step.
"""

import ctypes
import platform

# mallopt's parameters, malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Make this process's allocator keep freed memory for reuse.

    Returns:
        Whether the allocator accepted it; False where it is not glibc's.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No block gets its own mmap; the heap is not trimmed below this many free bytes; and all threads share it,
    # because per-thread heaps hold 64 MB at most.
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_ARENA_MAX, 1))
