"""Freed memory is used again: a forward's tensors are not handed out page by page each time."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from cem_bench.heap import keep_freed_memory

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
    given, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("given back", "kept")
    )
    assert kept < given / 10
