"""`python -m cem_bench`: one cell, or a sweep of them, from the command line to files under `results/`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cem_bench.engine.allocator import keep_freed_memory
from cem_bench.run.build import CONF, build_cell, parts_of, register, why_no_model, why_no_scene
from cem_bench.run.overrides import check_overrides
from cem_bench.run.sweep import Sweep, included, plan, rois_beside

if TYPE_CHECKING:
    from cem_bench.measuring.cell import Cell


def run(config: DictConfig, overrides: list[str]) -> None:
    """Measure one cell and write map, figure, record and page."""
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar, publish, summary_table

    cell = build_cell(config)
    if config.roi == "grid":
        run_matrix(config, cell)
        return
    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        measured = measure(cell, Path(config.output) / "store", progress)
    paths = publish(cell, measured, Path(config.output) / config.experiment, overrides, palette=config.palette)
    summary_table(cell, measured, paths)


def run_matrix(config: DictConfig, cell: Cell) -> None:
    """Measure the effect of every block on every output block and write matrix, decay and record."""
    from cem_bench.measuring.measure import measure_matrix
    from cem_bench.report.matrix_page import matrix_table, publish_matrix
    from cem_bench.run.publish import progress_bar
    from cem_bench.sampling.rules import Uniform

    if not isinstance(cell.rule, Uniform):
        raise ValueError("roi=grid draws the same number for every block: use sampling=uniform sampling.n=8, say.")
    with progress_bar(f"{cell.model.name} on {cell.scene.name}", unit="block") as progress:
        matrix, _, record = measure_matrix(cell, Path(config.output) / "store", cell.rule.n, progress)
    matrix_table(matrix, record, publish_matrix(matrix, record, Path(config.output) / config.experiment))


def run_member(config: DictConfig, overrides: list[str]) -> str:
    """Measure one cell of an experiment for its report and return one line on it."""
    from cem_bench.measuring.entry import enlist
    from cem_bench.measuring.lam import keep_lam
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar

    cell = build_cell(config)
    if reason := cell.model.unseen():
        raise ValueError(f"What {cell.model.name} computes cannot be seen ({reason}): give it model.identity=NAME.")
    title = f"{cell.model.name} on {cell.scene.name}"
    # what mixes the whole image is computed whole: the image's other ROIs cost no forward
    also = rois_beside(CONF / "scene_table.csv", config.scene.name) if cell.model.facts.get("global_statistics") else []
    with progress_bar(title, below=True) as progress:
        measured = measure(cell, Path(config.output) / "store", progress, also=also)
    if config.report.get("lam_steps"):
        keep_lam(cell, measured, steps=config.report["lam_steps"])
    enlist(cell, measured, overrides, Path(config.output), config.experiment)
    summary, session = measured.effect_map.summary(), measured.record["session"]
    span = f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {cell.options.facts.unit}"
    return f"{title}: {measured.record['psnr_roi_db']:.2f} dB, {span}, {session['new_draws']} new draws"


def announce(sweep: Sweep, cells: int) -> None:
    """Say what a sweep will do and what it cannot."""
    for key, reasons in sweep.missing.items():
        for value, reason in reasons.items():
            print(f"cannot run {key}={value}: {reason}")
    print(f"{cells} cells; what is stored is not measured again", flush=True)


def main() -> None:
    """Run the command line: check the overrides, then let Hydra compose and launch."""
    register()
    arguments = sys.argv[1:]
    problem = check_overrides(CONF, arguments)
    if problem:
        sys.exit(f"cem_bench: {problem}")
    parts = included(CONF, arguments)
    if parts:
        sys.exit(run_parts(parts, [argument for argument in arguments if not argument.startswith("+experiment=")]))
    sweep = plan(CONF, arguments, {"model": why_no_model, "scene": why_no_scene})
    tasks, cells = parts_of(sweep) if sweep else [], 1
    if sweep:
        cells = sum(len(part.cells) for part in tasks)
        announce(sweep, cells)
    failures: list[str] = []
    launch([part.arguments for part in tasks] if sweep else [arguments], failures, cells)
    if sweep and sweep.experiment:
        report(sweep, failures, cells)
    if failures:
        sys.exit(1)


def run_parts(names: list[str], others: list[str]) -> int:
    """Run experiments one after the other, each in a process of its own, then judge the claims; 1 if one failed."""
    import subprocess

    from cem_bench.report.claims import write_claims

    output = next((text.partition("=")[2] for text in others if text.startswith("output=")), "results")
    commands = [[sys.executable, "-m", "cem_bench", f"+experiment={name}", *others] for name in names]
    codes = [subprocess.run(command, check=False).returncode for command in commands]
    print(f"claims: {write_claims(Path(output))[-1]}")
    return int(any(codes))


def report(sweep: Sweep, failures: list[str], cells: int) -> None:
    """Keep what the sweep could not run, and write tables, figures and page of its experiment."""
    from cem_bench.report import write_report
    from cem_bench.store.draws import write_atomically

    given = {key: value for key, _, value in (text.partition("=") for text in sweep.fixed)}
    output, palette = Path(given.get("output", "results")), given.get("palette", "paper")
    said = {"cells": cells, "missing": sweep.missing, "left_out": sweep.left_out, "failed": failures}
    write_atomically(output / sweep.experiment / "plan.json", (json.dumps(said, indent=1) + "\n").encode())
    try:
        paths = write_report(sweep.experiment, output, palette=palette)
    except FileNotFoundError as error:
        print(f"cem_bench: no report: {error}", file=sys.stderr)
        return
    print(f"{len(paths)} files: {paths[-1]} is the page")
    print(f"Draws lie in {output / 'store'}, on this machine; `python -m cem_bench.report keep` writes them for git.")


def launch(runs: Sequence[list[str]], failures: list[str], cells: int) -> None:
    """Let Hydra compose and run every cell; a cell that fails is listed and does not stop the others.

    Args:
        runs: command lines, one after the other.
        failures: gets a line for every cell that fails.
        cells: how many there are.
    """
    from tqdm import tqdm

    whole = tqdm(total=cells, desc="all cells", unit="cell", dynamic_ncols=True, disable=cells == 1, smoothing=0.05)

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def job(config: DictConfig) -> None:
        keep_freed_memory()  # here, since a launcher may run jobs in processes of their own
        overrides = list(HydraConfig.get().overrides.task)
        OmegaConf.resolve(config)
        try:
            if config.question:
                tqdm.write(run_member(config, overrides))
            else:
                run(config, overrides)
        except (ValueError, TypeError, OSError, RuntimeError, OmegaConfBaseException) as error:
            failures.append(f"{','.join(overrides)}: {error}")
            print(f"cem_bench: {error}", file=sys.stderr)
        whole.update()

    for run_arguments in runs:
        sys.argv[1:] = run_arguments
        job()
    whole.close()


if __name__ == "__main__":
    main()
