"""Measure the joint effects of an experiment's stored cells: their maps are not drawn again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from cem_bench.inputs.sets import BlockSets
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.run.verify import overrides_of
from cem_bench.store.cells import SHIPPED, StoredCell
from cem_bench.store.entries import matches
from cem_bench.store.joint_runs import joint_rows, sets_of


@dataclass(frozen=True)
class Wanted:
    """Which cells of an experiment are measured, and of what.

    Attributes:
        models: patterns of names, as `RCAN_DN_*`; empty for all.
        scenes: patterns of names, as `shipped_*`; empty for all.
        verdicts: also the blocks with a verdict of help, and those of harm.
    """

    models: Sequence[str] = ()
    scenes: Sequence[str] = ()
    verdicts: bool = False

    def holds(self, entry: dict[str, object]) -> bool:
        """Whether an entry's cell is wanted."""
        return matches(str(entry["model"]), self.models) and matches(str(entry["scene"]), self.scenes)


def measure_joint(output: Path, experiment: str, wanted: Wanted, draws: int) -> tuple[int, list[str]]:
    """Draw the joint effects of an experiment's cells: all surroundings, what lies beyond 16 px, every ring.

    Cells of shipped scenes come first. Draws that are stored already are not made again.

    Args:
        output: folder of the results.
        experiment: its name.
        wanted: which cells and sets.
        draws: per set.

    Returns:
        The number of cells measured, and a line for each that could not be.

    Raises:
        FileNotFoundError: if nothing of the experiment is stored.
    """
    register()
    folder = output / "store" / "experiments" / experiment
    entries = [(path, json.loads(path.read_bytes())) for path in sorted(folder.glob("*.json"))]
    if not entries:
        raise FileNotFoundError(
            f"No stored cell of {experiment} in {output}: `python -m cem_bench draws restore` brings back the draws "
            f"that the repository holds, `python -m cem_bench +experiment={experiment}` measures them."
        )
    entries = [(path, entry) for path, entry in entries if wanted.holds(entry)]
    entries.sort(key=lambda item: not item[1]["scene_source"].startswith(SHIPPED))
    failed = []
    for path, entry in tqdm(entries, desc=f"joint effects of {experiment}", unit="cell"):
        try:
            _measure(path, experiment, StoredCell.of(entry, output / "store"), wanted.verdicts, draws)
        except (ValueError, OSError, RuntimeError, OmegaConfBaseException) as error:
            failed.append(f"{path.stem}: {' '.join(str(error).split())}")
    return len(entries) - len(failed), failed


def _measure(path: Path, experiment: str, stored: StoredCell, verdicts: bool, draws: int) -> None:
    from cem_bench.measuring import fingerprint
    from cem_bench.measuring.joint import draw_sets, joint_store, proven_bench, refusal
    from cem_bench.store.draws import run_key

    wanted = sets_of(stored) if verdicts else sets_of(stored)[:1]
    if _complete(stored, wanted, draws):
        return
    config = composed([f"+experiment={experiment}", *overrides_of(stored.entry, path.stem)])
    OmegaConf.resolve(config)
    cell = build_cell(config)
    if why := refusal(cell):
        raise ValueError(why)
    if run_key(cell.identity()) != stored.entry["key"]:
        raise ValueError(
            "its network, scene or donors are others here than those that drew its map: draw the map again"
        )
    bench = proven_bench(cell)
    for sets in wanted:
        store = joint_store(cell, stored.folder.parent, sets)
        with store.claimed():
            fingerprint.compare(bench, [(bench, store)])
            bench = draw_sets(bench, store, sets, draws)


def _complete(stored: StoredCell, wanted: Sequence[BlockSets], draws: int) -> bool:
    """Say whether every set has its draws, or provably no effect."""
    have = {row["set"]: row["draws"] for row in joint_rows(stored)}
    names = [name for sets in wanted for name in sets.blocks]
    return all(name in have and (have[name] >= draws or not have[name]) for name in names)
