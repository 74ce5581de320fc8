"""Print how far a sweep is, whether an experiment's numbers hold, and a sweep's script for SLURM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cem_bench.run.build import register, wanted, why_no_scene
from cem_bench.run.compose import split
from cem_bench.run.networks import why_no_model
from cem_bench.run.overrides import check_overrides
from cem_bench.run.progress import status
from cem_bench.run.references import reference_of, registered
from cem_bench.run.slurm import script
from cem_bench.run.sweep import plan
from cem_bench.run.verify import verify


def print_status(output: Path, experiment: str, overrides: Sequence[str] = ()) -> None:
    """Print how far an experiment is.

    Args:
        output: folder of the results.
        experiment: its name.
        overrides: that the sweep was given.

    Raises:
        FileNotFoundError: if it is no sweep.
    """
    register()
    sweep = plan([f"+experiment={experiment}", *registered(overrides)], {"model": why_no_model, "scene": why_no_scene})
    if sweep is None:
        raise FileNotFoundError(f"{experiment} is no sweep: `python -m cem_bench --help` lists experiments.")
    fixed = dict(text.lstrip("+").split("=", 1) for text in sweep.fixed if not text.startswith("+experiment="))
    progress = status(output, experiment, [fixed | _spelled(cell) for cell in wanted(sweep)])
    print(f"{experiment}: {progress.planned} cells that this machine can run, {progress.done} done")
    for line in progress.running:
        print(f"  running  {line}")
    for failure in progress.failed:
        print(f"  failed   {failure.error}\n           {failure.command}")
    if progress.eta_s is not None and progress.done < progress.planned:
        print(f"  about {progress.eta_s / 60:.1f} min are left for {max(1, len(progress.running))} worker(s)")


def _spelled(cell: dict[str, str]) -> dict[str, str]:
    """Return a cell's choices with a network's reference as its entry spells it."""
    return {key: reference_of(value) if key == "model" else value for key, value in cell.items()}


def print_verified(folder: Path, sample: int, sample_seed: int) -> bool:
    """Check an experiment and print what holds and what does not.

    Args:
        folder: of the experiment, in the folder of results.
        sample: number of draws to make again.
        sample_seed: chooses them.

    Returns:
        Whether all holds.
    """
    verified = verify(folder.resolve().parent, folder.resolve().name, sample, sample_seed)
    print(f"{verified.walk.runs} runs, {verified.walk.draws} draws, root {verified.walk.root_sha256}")
    print(f"{verified.table_rows} rows of the table compared with the draws, {verified.named} files name the root")
    print(f"{verified.remade} draws made again, largest difference {verified.max_abs_db:.1e} dB (allowed 1e-3)")
    for line in verified.not_remade:
        print(f"not made again: {line}")
    for line in verified.faults:
        print(f"DOES NOT HOLD: {line}")
    print("all of this holds" if not verified.faults else f"{len(verified.faults)} faults")
    return not verified.faults


def print_script(arguments: Sequence[str], *, tasks: int, cpus: int, gpus: int, minutes: int) -> None:
    """Print the script that measures a sweep on SLURM.

    Args:
        arguments: the sweep's command line.
        tasks: number of workers.
        cpus: cores per worker.
        gpus: per worker, 0 or 1.
        minutes: time limit of a worker.

    Raises:
        ValueError: if the command line cannot be read, or is no sweep.
    """
    text = script(arguments, tasks=tasks, cpus=cpus, gpus=gpus, minutes=minutes)
    register()
    problem = check_overrides(split(arguments)[1])
    if problem:
        raise ValueError(problem)
    print(text, end="")
