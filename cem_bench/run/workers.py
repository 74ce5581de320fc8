"""Several processes of this machine on one sweep: identical workers that share its threads, or one per GPU.

A worker is the sweep's own command line in a process of its own. What it may use is set in its environment before it
imports anything, since torch reads the number of threads and the visible GPUs once, when it is imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

NUMBER = "CEM_BENCH_WORKER"
QUIET = {"TQDM_DISABLE": "1"}  # no bars beside the leader's, which is of the whole sweep
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ENDING_S = 60.0  # that a worker has to write what waits, after a signal


def is_worker() -> bool:
    """Say whether this process is a worker of a sweep, whose leader reports."""
    return NUMBER in os.environ


def threads_in_all(environment: Mapping[str, str]) -> int:
    """Return the threads to divide: OMP_NUM_THREADS where it is set, else the cores this process may use."""
    given = environment.get("OMP_NUM_THREADS", "").partition(",")[0]
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus_of(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them; torch is not asked."""
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def environments(workers: int, device: str, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what each worker's environment is to have beside this process's own.

    Args:
        workers: number of them.
        device: option of the sweep: cpu, cuda.
        environment: of this process.

    Raises:
        ValueError: if there are fewer GPUs than workers, or all workers would use one.
    """
    each = str(max(1, threads_in_all(environment) // workers))
    shared = [{NUMBER: str(number), **QUIET, **dict.fromkeys(THREADS, each)} for number in range(workers)]
    if not device.startswith("cuda"):
        return shared
    gpus = gpus_of(environment)
    if device != "cuda":
        raise ValueError(f"device={device} with workers={workers}: each worker sees one GPU, write device=cuda.")
    if len(gpus) < workers:
        raise ValueError(
            f"workers={workers} with device=cuda: got {len(gpus)} GPUs ({', '.join(gpus) or 'none'}), expected one per "
            f"worker: write workers={max(1, len(gpus))}, or name them in {VISIBLE}."
        )
    return [own | {VISIBLE: gpu} for own, gpu in zip(shared, gpus, strict=False)]


def run_workers(arguments: Sequence[str], added: Sequence[Mapping[str, str]]) -> list[int]:
    """Run a sweep's command line in workers until all have ended; a signal to this process ends them too.

    Args:
        arguments: without the program's name.
        added: to the environment of each.

    Returns:
        Their exit codes; a negative one is the signal that killed it.
    """
    command = [sys.executable, "-m", "cem_bench", *arguments]
    processes = [subprocess.Popen(command, env=os.environ | dict(own)) for own in added]
    try:
        return [process.wait() for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
