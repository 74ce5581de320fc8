"""Make the pictures of stored cells again: draws from an archive come without, and panels of scenes need them.

From the repository's root, after `python -m cem_bench.report restore`:
`python scripts/write_pictures.py denoise_ca`, or several experiments. Takes the cells of the scenes that a page shows,
one forward each, and refuses a network that does not restore as well as the entry says.
`python -m cem_bench report denoise_ca` then draws the panels.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from cem_bench.measuring.entry import png
from cem_bench.measuring.outcome import OUTCOMES
from cem_bench.measuring.prepared import to_tensor
from cem_bench.report.drawn import PANEL_SCENES
from cem_bench.run.build import asked_degradation, build_degradation, build_scene, register
from cem_bench.run.compose import composed
from cem_bench.run.networks import build_model
from cem_bench.run.verify import overrides_of
from cem_bench.store.cells import StoredCell, read_cells
from cem_bench.store.draws import Store
from cem_bench.store.manifest import read_identity

ALLOWED_DB = 1e-3


def lacking(output: Path, experiment: str) -> list[tuple[Path, StoredCell]]:
    """Return the entries whose panels stand on the experiment's page and whose cells have no pictures."""
    cells = read_cells(output, experiment)
    paths = sorted((output / "store" / "experiments" / experiment).glob("*.json"))
    scenes = sorted({cell.scene for cell in cells if cell.shipped and cell.scene.endswith("_1")})[:PANEL_SCENES]
    seed = min(cell.entry["seed"] for cell in cells)
    wanted = [(path, cell) for path, cell in zip(paths, cells, strict=True) if cell.scene in scenes]
    return [(path, cell) for path, cell in wanted if cell.entry["seed"] == seed and not cell.has_pictures]


def write_pictures(cell: StoredCell, path: Path, experiment: str) -> None:
    """Restore a cell's observation and keep clean image, observation and restored image beside its draws.

    Raises:
        ValueError: if the restored ROI has not the PSNR of the entry.
    """
    config = composed([f"+experiment={experiment}", *overrides_of(cell.entry, path.stem)])
    OmegaConf.resolve(config)
    asked = asked_degradation(config)
    model, scene = build_model(config.model, asked, forced=config.force), build_scene(config.scene)
    observation = (build_degradation(model) if asked is None else asked)(scene.clean)
    with torch.inference_mode(), model.forwards():
        answer = model.restorer(to_tensor(observation)[None])
    restored = (answer[0].clamp(0, 1) * 255).round().to(torch.uint8)
    part = (Ellipsis, *scene.roi.slices)
    psnr = float(OUTCOMES["psnr"].measure(restored[None][part] / 255.0, to_tensor(scene.clean)[None][part])[0])
    if abs(psnr - cell.entry["psnr_roi_db"]) > ALLOWED_DB:
        raise ValueError(f"ROI {psnr:.4f} dB, the entry says {cell.entry['psnr_roi_db']:.4f} dB")
    images = {"clean": scene.clean, "observation": observation, "restored": restored.numpy().transpose(1, 2, 0)}
    identity: Any = read_identity(cell.folder)
    Store(cell.folder.parent, identity).write_files({f"{name}.png": png(image) for name, image in images.items()})


def main() -> int:
    """Make the pictures of the experiments that the command line names; returns 1 where some could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", help="names, as denoise_ca")
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder of the results")
    options = parser.parse_args()
    register()
    failed = 0
    for experiment in options.experiments:
        for path, cell in tqdm(lacking(options.output, experiment), desc=experiment):
            try:
                write_pictures(cell, path, experiment)
            except (ValueError, FileNotFoundError) as error:
                failed += 1
                print(f"{experiment}, {cell.model} on {cell.scene}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
