"""Memory that is freed stays with the process.

glibc gives a large block back to the system when it is freed; the next one of that size is then paged in again. A
training makes and frees the same large blocks in every step.
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
    # No block is mapped by itself; the heap is not shortened while less than this, in bytes, is free at its end; and
    # threads share it: heaps of their own are of 64 MB at most.
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_ARENA_MAX, 1))
