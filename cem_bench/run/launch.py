"""From a command line to its cells: check it, say what will run and what cannot, let Hydra launch, report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cem_bench.run.build import parts_of, register, why_no_scene
from cem_bench.run.compose import CONF, composed, experiment_file, split
from cem_bench.run.data import plain_words
from cem_bench.run.experiment_check import check_experiment
from cem_bench.run.job import job, own_overrides
from cem_bench.run.networks import why_no_model
from cem_bench.run.overrides import check_overrides
from cem_bench.run.progress import Turnout, followed
from cem_bench.run.references import KEY, reference_of, registered, spelled
from cem_bench.run.sweep import Sweep, included, plan
from cem_bench.run.workers import QUIET, environments, is_worker, run_workers
from cem_bench.store.failures import Failure, failures_since, note_failure
from cem_bench.store.files import write_atomically
from cem_bench.store.states import (
    SWEEP,
    State,
    Turn,
    claimed_cell,
    read_state,
    state_name,
    turn_begun,
    write_state,
)

# what concerns the sweep and not its cells
SHARED = ("+experiment=", "workers=", "device=", "hydra.searchpath=")
# for jobs, wherever they run: errors as they are (said in our words here), no bars beside the sweep's own
OF_JOBS = {"HYDRA_FULL_ERROR": "1", **QUIET}
DIED = (
    "the process that measured it ended without a word (killed, or out of memory?); what it stored is kept, and this "
    "command goes on from there"
)
# flags by which Hydra itself answers something else than a measurement
OTHER_ANSWERS = (
    "--hydra-help",
    "--info",
    "-i",
    "--cfg",
    "-c",
    "--package",
    "-p",
    "--resolve",
    "--shell-completion",
    "-sc",
)


def run(arguments: Sequence[str]) -> int:
    """Measure what a command line asks for.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code: 1 if a cell failed or the command line cannot be read.
    """
    register()
    # what an operator of deepinv takes is its own: any key below `physics` may be added
    arguments = [f"++{text}" if text.startswith("physics.") else text for text in arguments]
    try:
        arguments = registered(arguments)
    except ValueError as error:
        print(f"cem_bench: {error}", file=sys.stderr)
        return 1
    flags, overrides, folders = split(arguments)
    if any(flag.split("=")[0] in OTHER_ANSWERS for flag in flags):
        return _answered(list(arguments))
    names = [text.partition("=")[2] for text in overrides if text.startswith("+experiment=")]
    paths = [path for path in (experiment_file(name, folders) for name in names) if path]
    problem = check_overrides(overrides) or next((fault for fault in map(check_experiment, paths) if fault), "")
    if problem:
        print(f"cem_bench: {problem}", file=sys.stderr)
        return 1
    parts = included(arguments)
    if parts:
        return run_parts(parts, [argument for argument in arguments if not argument.startswith("+experiment=")])
    sweep = plan(arguments, {"model": why_no_model, "scene": why_no_scene})
    if not sweep:
        return _run_cell(list(arguments), overrides)
    output = _output(sweep.fixed)
    _leave_own_file(sweep, arguments, output)
    return _run_sweep(sweep, arguments, output)


def _run_cell(arguments: list[str], overrides: Sequence[str]) -> int:
    start = time.time()
    problem = _launch(arguments)
    if problem:
        print(f"cem_bench: {problem}", file=sys.stderr)
    return int(bool(problem or failures_since(_output(overrides), start)))


def _run_sweep(sweep: Sweep, arguments: Sequence[str], output: Path) -> int:
    parts = parts_of(sweep)
    planned = [[*own_overrides(part.fixed), *_texts(cell)] for part in parts for cell in part.cells]
    config = composed([text for text in sweep.fixed if text.startswith(SHARED)])
    with turn_begun() as turn:
        turnout = Turnout(output, planned, turn)
        if is_worker():
            _launch_parts(parts, turn)
            _end(turnout)  # what others measure is left to them
            return 0
        announce(sweep, len(planned))
        with followed(turnout, config.workers):
            if config.workers > 1:
                _divide(arguments, config.workers, config.device)
            else:
                _launch_parts(parts, turn)
            _end(turnout)
        failures = failures_of(output, turnout)
        if sweep.experiment:
            _report_once(sweep, failures, len(planned), output, turn)
    if failures:
        print(f"{len(failures)} of {len(planned)} cells failed; each again by", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.command}\n    {failure.error}", file=sys.stderr)
    return int(bool(failures))


def _texts(cell: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in cell.items()]


def _launch_parts(parts: Sequence[Sweep], turn: Turn) -> None:
    """Let Hydra run every part of a sweep; a launcher that ends early is named, what it leaves is measured later."""
    named = f"+hydra.job.env_set.{SWEEP}='{turn.since:.6f}@{turn.name}'"  # launchers reuse processes of earlier turns
    for part in parts:
        if problem := _launch([named, *part.arguments]):
            print(f"cem_bench: the launcher ended early: {problem}", file=sys.stderr)


def _divide(arguments: Sequence[str], workers: int, device: str) -> None:
    """Let workers measure a sweep; one that dies is named, and what it leaves is measured by the others or here."""
    codes = run_workers(arguments, environments(workers, device, os.environ))
    for number, code in enumerate(codes):
        if code:
            print(f"cem_bench: worker {number} ended with {code}; what it stored is kept", file=sys.stderr)


def _end(turnout: Turnout) -> None:
    """Measure what no worker and no job of a launcher has measured, and name what ends its process every time.

    Each cell gets a process of its own, which waits for whoever measures it: a network that kills its process, as one
    of this sweep may have, does not take the sweep along.
    """
    turnout.read()
    for name, overrides in list(turnout.left.items()):
        begun, command = time.time(), spelled(overrides, _reference(overrides))  # only this process knows its choices
        run_workers(command, [QUIET])
        if turnout.turn.tried(read_state(turnout.output, name)):
            continue
        try:
            note_failure(turnout.output, command, DIED)
            write_state(turnout.output, State(overrides, turnout.turn.name, begun, time.time(), failed=True))
        except OSError as error:
            raise SystemExit(f"cem_bench: the run ends: {error}") from error
    turnout.read()


def _reference(overrides: Sequence[str]) -> str:
    """Return the reference of a cell's network; "" where it was chosen by name."""
    choice = next((text.removeprefix(KEY) for text in overrides if text.startswith(KEY)), "")
    reference = reference_of(choice)
    return "" if reference == choice else reference


def failures_of(output: Path, turnout: Turnout) -> list[Failure]:
    """Return the failures of a sweep's cells in this turn, oldest first."""
    # failures spell a network's reference out, to be pasted; states are named by the choice that stands for it
    stored = failures_since(output, 0.0)
    return [failure for failure in stored if state_name(registered(failure.overrides)) in turnout.failed]


def _report_once(sweep: Sweep, failures: Sequence[Failure], cells: int, output: Path, turn: Turn) -> None:
    """Write the report unless another task of the same array has: it is one more unit of the sweep."""
    unit = ("report", sweep.experiment)
    with claimed_cell(output, unit, wait=True):
        before = read_state(output, state_name(unit))
        if before is not None and before.ended is not None and before.sweep == turn.name:
            return
        begun = time.time()
        report(sweep, failures, cells, output)
        write_state(output, State(unit, turn.name, begun, time.time()))


def _leave_own_file(sweep: Sweep, arguments: Sequence[str], output: Path) -> None:
    """Keep the file of an experiment from the user's own folder beside its page, where reports find it again."""
    _, overrides, folders = split(arguments)
    name = next((text.partition("=")[2] for text in overrides if text.startswith("+experiment=")), "")
    path = experiment_file(name, folders) if name and folders else None
    if path and not path.is_relative_to(CONF):
        from cem_bench.report.experiment import OWN_FILE

        write_atomically(output / sweep.experiment / OWN_FILE, path.read_bytes())


def _output(overrides: Sequence[str]) -> Path:
    """Return the folder of the results, which an experiment's file may name too."""
    wanted = ("+experiment=", "output=", "hydra.searchpath=")
    return Path(str(composed([text for text in overrides if text.startswith(wanted)]).output))


def announce(sweep: Sweep, cells: int) -> None:
    """Say what a sweep will do and what it cannot."""
    for key, reasons in sweep.missing.items():
        for value, reason in reasons.items():
            print(f"cannot run {key}={reference_of(value)}: {reason}")
    print(f"{cells} cells; what is stored is not measured again", flush=True)


def run_parts(names: Sequence[str], others: Sequence[str]) -> int:
    """Run experiments one after the other, each in a process of its own, then judge the claims; 1 if one failed."""
    from cem_bench.report.claims import write_claims

    commands = [[sys.executable, "-m", "cem_bench", f"+experiment={name}", *others] for name in names]
    codes = [subprocess.run(command, check=False).returncode for command in commands]
    print(f"claims: {write_claims(_output(split(others)[1]))[-1]}")
    return int(any(codes))


def report(sweep: Sweep, failures: Sequence[Failure], cells: int, output: Path) -> None:
    """Keep what the sweep could not run, and write tables, figures and page of its experiment."""
    from cem_bench.report import write_report

    palette = next((text.partition("=")[2] for text in sweep.fixed if text.startswith("palette=")), "paper")
    lines = [f"{','.join(failure.overrides)}: {failure.error}" for failure in failures]
    asked = {"cells": cells, "missing": sweep.missing, "left_out": sweep.left_out, "failed": lines}
    write_atomically(output / sweep.experiment / "plan.json", (json.dumps(asked, indent=1) + "\n").encode())
    try:
        paths = write_report(sweep.experiment, output, palette=palette)
    except (FileNotFoundError, ValueError) as error:
        print(f"cem_bench: no report: {error}", file=sys.stderr)
        return
    print(f"{len(paths)} files: {paths[-1]} is the page")
    print(f"Draws lie in {output / 'store'}, on this machine; `python -m cem_bench draws keep` writes them for git.")


def _answered(arguments: list[str]) -> int:
    """Let Hydra answer by itself, as to --cfg; returns the exit code."""
    problem = _launch(arguments)
    if problem:
        print(f"cem_bench: {problem}", file=sys.stderr)
    return int(bool(problem))


def _launch(arguments: list[str]) -> str:
    """Let Hydra compose and run the cells of one command line.

    Returns:
        "" or one line: why Hydra refuses it, or how a launcher ended whose process died.

    Raises:
        SystemExit: if the store cannot be written.
    """
    entry = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    given, before = sys.argv[1:], {name: os.environ.get(name) for name in OF_JOBS}
    os.environ.update(OF_JOBS)
    try:
        sys.argv[1:] = registered(arguments)
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        return plain_words(error)
    except Exception as error:  # noqa: BLE001 - launchers raise errors of their own when a process of theirs dies
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        sys.argv[1:] = given
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})
    return ""
