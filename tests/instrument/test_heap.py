"""Freed memory is used again: a forward's tensors are not handed out page by page each time."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from cem_bench.engine.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
def forwards(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        several = [torch.zeros(4, 32, 128, 128) for _ in range(6)]
        del several
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
forwards(3)
print(forwards(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory by mallopt")
def test_kept_memory_is_not_asked_for_again():
    """Both processes start with glibc's own first thresholds, which it would else raise by what it happens to see."""
    start = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS]
    given, kept = (
        int(subprocess.run([*command, how], env=start, capture_output=True, text=True, check=True).stdout)
        for how in ("given back", "kept")
    )
    assert given >= 60  # tensors, each of 2,048 pages or at least one large one
    assert kept < given / 10
