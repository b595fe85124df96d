"""What is freed comes back without being paged in anew."""

import platform
import subprocess
import sys

import pytest

# Page faults of making and freeing 64 MB, again and again, in the main thread or in another.
PROGRAM = """
import resource, sys, threading, torch
from deepfusion.malloc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "keep" in sys.argv:
    assert keep_freed_memory()
def run():
    print(*(faults() for _ in range(16)))

if "thread" in sys.argv:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
else:
    run()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_a_freed_block_is_kept():
    def counted(*arguments):
        ran = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
        return [int(count) for count in ran.stdout.split()]

    for arguments in (("keep",), ("keep", "thread")):
        first, *later = counted(*arguments)
        assert first > 100
        assert max(later[-8:]) < first / 100  # before, the heap may have to grow again: what is small lies in the gaps
    assert min(counted()) > first / 2  # as it is without
