"""An experiment as its report sees it: its file, its stored cells, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from cem_bench.report import ablations, lam_agreement
from cem_bench.report.earlier import rows_lacking, whole_decay, whole_joint, whole_pairs, with_earlier
from cem_bench.report.joint_tables import joint_table
from cem_bench.report.tables import cells_table, paired_table, summary_table
from cem_bench.store.cells import StoredCell, read_cells
from cem_bench.store.draws import read_rows
from cem_bench.store.joint_runs import joint_folders
from cem_bench.store.manifest import read_identity, run_key
from cem_bench.store.outcomes import OutcomeFacts, facts_of
from cem_bench.store.roots import root_over, run_root

CONF = next(at for at in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf") if at.is_dir())
PAIRED = (
    "psnr_roi_db",
    "positive_mass_db",
    "negative_mass_db",
    "far_mass_db",
    "harm_share",
    "far_share",
    "joint_db",
    "joint_far_db",
    "r90_px",
)


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a report is made of.

    Attributes:
        name: of the experiment.
        settings: its file in `conf/experiment`.
        plan: what the last sweep could not run, by key and value.
        cells: what is stored.
        earlier: rows of cells that are not, from the table of an earlier report.
        table: one row per cell.
        summary: one row per model.
        decay: size of effects by distance, one row per model and ring.
        paired: differences of the pairs the file names.
        paired_decay: differences of their decay curves.
        joint: effects of sets of blocks replaced at once, one row per model and set; empty where none were drawn.
        lam: agreement of LAM with the effects, one row per cell; empty where LAM is not asked for.
        root_sha256: of all draws that are stored, joint draws included.
    """

    name: str
    settings: Mapping[str, Any]
    plan: Mapping[str, Any]
    cells: Sequence[StoredCell]
    earlier: pd.DataFrame
    table: pd.DataFrame
    summary: pd.DataFrame
    decay: pd.DataFrame
    paired: pd.DataFrame
    paired_decay: pd.DataFrame
    joint: pd.DataFrame
    lam: pd.DataFrame
    root_sha256: str

    @property
    def options(self) -> Mapping[str, Any]:
        """The file's `report` part."""
        return self.settings.get("report") or {}

    @property
    def outcome(self) -> OutcomeFacts:
        """The outcome whose effects the report shows."""
        return facts_of(self.cells[0].entry["outcome"])

    @property
    def hypotheses(self) -> list[str]:
        """Names of the claims that were stated on this experiment."""
        return [claim["id"] for claim in read_conf("claims")["claims"] if claim["experiment"] == self.name]


OWN_FILE = "experiment.yaml"  # the file of an experiment that lies in a user's own folder


def read_conf(name: str) -> Any:
    """Return the content of a file in `conf`, by its name there without the ending."""
    return OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))


def read_settings(name: str, output: Path) -> Mapping[str, Any]:
    """Return what the file of an experiment says: one's own, which its sweep left beside the page, or one of ours.

    Args:
        name: of the experiment.
        output: folder of the results.

    Raises:
        FileNotFoundError: if there is no such experiment.
    """
    folder, own = CONF / "experiment", output / name / OWN_FILE
    if own.is_file():
        content: Any = OmegaConf.to_container(OmegaConf.load(own))
        return content
    if not (folder / f"{name}.yaml").is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise FileNotFoundError(f"There is no experiment {name!r}; one of {known}.")
    return read_conf(f"experiment/{name}")


def read_plan(name: str, output: Path) -> Mapping[str, Any]:
    """Return what the last sweep of an experiment could not run; empty where none was noted."""
    path = output / name / "plan.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def check_outcome(cells: Sequence[StoredCell]) -> None:
    """Refuse cells whose effects share no axis.

    Raises:
        ValueError: if their outcomes have different units or directions.
    """
    outcomes = sorted({str(cell.entry["outcome"]) for cell in cells})
    if len({(facts_of(name).unit, facts_of(name).higher_is_better) for name in outcomes}) > 1:
        raise ValueError(
            f"Cells of one experiment have the outcomes {', '.join(outcomes)}, whose effects share no axis: give "
            "each an experiment of its own, as experiment=NAME_ssim outcome=ssim."
        )


def read_experiment(name: str, output: Path) -> Experiment:
    """Read the cells of an experiment and make its tables.

    Args:
        name: of the experiment.
        output: folder of the results.

    Raises:
        FileNotFoundError: if there is no such experiment or no stored cell of it.
        ValueError: if its file names no sweep, or its cells' outcomes share no axis.
    """
    settings = read_settings(name, output)
    if "sweeper" not in settings.get("hydra", {}):
        raise ValueError(
            f"Experiment {name} is a single cell; expected a sweep. Its page is written by the run: "
            f"python -m cem_bench +experiment={name} output={output}"
        )
    listed = str(settings["hydra"]["sweeper"]["params"].get("model", "")).split(",")
    options = settings.get("report") or {}
    rank = {model: at for at, model in enumerate(listed)}

    def place(cell: StoredCell) -> tuple[Any, ...]:
        return rank.get(cell.model, len(listed)), ablations.by_value(ablations.setting_of(cell.variant))

    measured = sorted(read_cells(output, name), key=place)
    check_outcome(measured)
    cells = ablations.seen(measured, options.get("draws") or ())
    folder, pairs = output / name, options.get("pairs") or ()
    # an ablation compares maps of one machine's draws with each other: it needs them all
    earlier = pd.DataFrame() if ablations.varied(options) else rows_lacking(folder / "cells.csv", cells)
    table = cells_table(cells, earlier, listed)
    return Experiment(
        name=name,
        settings=settings,
        plan=read_plan(name, output),
        cells=cells,
        earlier=earlier,
        table=table,
        summary=summary_table(table),
        decay=whole_decay(folder / "decay.csv", cells, earlier),
        paired=paired_table(table, pairs, [name for name in PAIRED if name in table]),
        paired_decay=whole_pairs(folder / "decay_paired.csv", cells, earlier, pairs),
        joint=whole_joint(folder / "joint.csv", joint_table(cells)),
        lam=_agreement(cells, folder / "lam.csv") if options.get("lam_steps") else pd.DataFrame(),
        root_sha256=_root(measured),
    )


def _root(cells: Sequence[StoredCell]) -> str:
    """Return the root of the draws of all cells that are stored, and of the joint draws beside them."""
    outcomes: dict[str, set[str]] = {}
    for cell in cells:
        outcomes.setdefault(cell.entry["key"], set()).add(cell.entry["outcome"])
    runs = {cell.entry["key"]: run_root(cell.draws, outcomes[cell.entry["key"]]) for cell in cells}
    beside = joint_folders(cells[0].folder.parent) if cells else {}
    for key, named in outcomes.items():
        for folder in beside.get(key[:16], ()):
            runs[run_key(read_identity(folder))] = run_root(read_rows(folder), named)
    return root_over(runs)


def _agreement(cells: Sequence[StoredCell], earlier: Path) -> pd.DataFrame:
    return with_earlier(lam_agreement.agreement_table(cells), earlier, ["model", "scene"])
