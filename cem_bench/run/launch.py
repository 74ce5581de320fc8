"""From a command line to its cells: check it, say what will run and what cannot, let Hydra launch, report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hydra

from cem_bench.run.build import parts_of, register, why_no_model, why_no_scene
from cem_bench.run.compose import CONF, composed, experiment_file, split
from cem_bench.run.experiment_check import check_experiment
from cem_bench.run.job import job
from cem_bench.run.overrides import check_overrides
from cem_bench.run.sweep import Sweep, included, plan
from cem_bench.store.draws import write_atomically
from cem_bench.store.failures import Failure, failures_since
from cem_bench.store.skipped import skipped_since

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
    flags, overrides, folders = split(arguments)
    if any(flag.split("=")[0] in OTHER_ANSWERS for flag in flags):
        _launch([list(arguments)])
        return 0
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
    return _run_sweep(sweep, output)


def _run_cell(arguments: list[str], overrides: Sequence[str]) -> int:
    start = time.time()
    _launch([arguments])
    return int(bool(failures_since(_output(overrides), start)))


def _run_sweep(sweep: Sweep, output: Path) -> int:
    start, tasks = time.time(), parts_of(sweep)
    cells = sum(len(part.cells) for part in tasks)
    announce(sweep, cells)
    _launch([part.arguments for part in tasks])
    _launch(skipped_since(output, start))  # one by one: each waits for the process that measures the cell
    failures = failures_since(output, start)
    if sweep.experiment:
        report(sweep, failures, cells, output)
    if failures:
        print(f"{len(failures)} of {cells} cells failed; each again by", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.command}\n    {failure.error}", file=sys.stderr)
    return int(bool(failures))


def _leave_own_file(sweep: Sweep, arguments: Sequence[str], output: Path) -> None:
    """Keep the file of an experiment from the user's own folder beside its page, where reports find it again."""
    from cem_bench.report.experiment import OWN_FILE

    _, overrides, folders = split(arguments)
    name = next((text.partition("=")[2] for text in overrides if text.startswith("+experiment=")), "")
    path = experiment_file(name, folders) if name and folders else None
    if path and not path.is_relative_to(CONF):
        write_atomically(output / sweep.experiment / OWN_FILE, path.read_bytes())


def _output(overrides: Sequence[str]) -> Path:
    """Return the folder of the results, which an experiment's file may name too."""
    wanted = ("+experiment=", "output=", "hydra.searchpath=")
    return Path(str(composed([text for text in overrides if text.startswith(wanted)]).output))


def announce(sweep: Sweep, cells: int) -> None:
    """Say what a sweep will do and what it cannot."""
    for key, reasons in sweep.missing.items():
        for value, reason in reasons.items():
            print(f"cannot run {key}={value}: {reason}")
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
    except FileNotFoundError as error:
        print(f"cem_bench: no report: {error}", file=sys.stderr)
        return
    print(f"{len(paths)} files: {paths[-1]} is the page")
    print(f"Draws lie in {output / 'store'}, on this machine; `python -m cem_bench draws keep` writes them for git.")


def _launch(runs: Sequence[list[str]]) -> None:
    """Let Hydra compose and run the cells of command lines, one line after the other."""
    entry = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    given = sys.argv[1:]
    try:
        for arguments in runs:
            sys.argv[1:] = arguments
            entry()
    finally:
        sys.argv[1:] = given
