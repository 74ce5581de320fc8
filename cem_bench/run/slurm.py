"""A plain script for SLURM: an array of identical workers on one sweep, for those who use no launcher."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=cem_bench
#SBATCH --array=1-{tasks}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
{gpu}#SBATCH --time={minutes}
#SBATCH --signal=B:USR1@{notice}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=cem_bench-%A_%a.log

# Identical workers: each measures the cells that no other holds, so any number of them, added or lost at any time,
# gives the same draws. A worker that nears its time limit writes what it has and is queued again, where it goes on.
export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"
{command} &
worker=$!
queue_again() {{
    kill -TERM "$worker"
    wait "$worker"
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
    exit 0
}}
trap queue_again USR1
wait "$worker"
"""
NOTICE_S = 120  # before the time limit: a unit of work and its writing take seconds


def script(overrides: Sequence[str], *, tasks: int, cpus: int, gpus: int, minutes: int) -> str:
    """Return the script.

    Args:
        overrides: of the sweep.
        tasks: number of workers.
        cpus: cores per worker.
        gpus: per worker, 0 or 1.
        minutes: time limit of a worker.

    Raises:
        ValueError: if the overrides would start workers or jobs of their own.
    """
    own = [text for text in overrides if text.startswith(("workers=", "hydra/launcher="))]
    if own:
        raise ValueError(f"{' '.join(own)}: SLURM starts the workers here; leave it out, and give --tasks.")
    if gpus and "device=cuda" not in overrides:
        raise ValueError("--gpus 1: the workers would leave the GPU idle; add device=cuda.")
    sweep = any(text.startswith("+experiment=") for text in overrides) or {"-m", "--multirun"} & {*overrides}
    if not sweep:
        raise ValueError("got no sweep: give +experiment=NAME, or --multirun and lists of values, as seed=0,1,2.")
    command = shlex.join([sys.executable, "-m", "cem_bench", *overrides])
    gpu = f"#SBATCH --gpus-per-task={gpus}\n" if gpus else ""
    return SCRIPT.format(tasks=tasks, cpus=cpus, gpu=gpu, minutes=minutes, notice=NOTICE_S, command=command)
