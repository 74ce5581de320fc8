"""What a cell of an experiment leaves for its report: pictures beside its draws, and an entry in a list."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cem_bench.measuring.cell import Cell, describe
from cem_bench.measuring.measure import Measurement
from cem_bench.sampling.rules import Rule
from cem_bench.store.cells import PICTURES
from cem_bench.store.entries import HOW, chosen, entry_stem
from cem_bench.store.files import inside, write_atomically

NOT_VARIANTS = ("model", "scene", "seed", "task")
OF_SCENE = ("scene.name", "scene.source", "scene.crop", "scene.roi")
FACTS = ("network", "reach", "global_statistics", "parameters", "contract")


def members_folder(output: Path, experiment: str) -> Path:
    """Return where the entries of an experiment's cells are."""
    return inside(output / "store" / "experiments", experiment)


def enlist(
    cell: Cell,
    measured: Measurement,
    overrides: Sequence[str],
    output: Path,
    experiment: str,
    *,
    common: Sequence[str] = (),
) -> Path:
    """Write a cell's pictures into its run folder and its entry into the experiment's list.

    The entry's file is named by the overrides that made the cell, so that measuring again with new weights replaces it.

    Args:
        cell: the cell.
        measured: what it came to.
        overrides: what the sweep chose for it, as key=value.
        output: folder of the results.
        experiment: name of the experiment.
        common: of the overrides, those that hold for every cell: they name none.

    Returns:
        The entry's file.

    Raises:
        OSError: if the folder cannot be written.
        ValueError: if the draws are in memory alone: an entry would name a run that no report finds.
    """
    _ = measured.store.folder
    images = {"clean": cell.scene.clean, "observation": measured.observation, "restored": measured.restored}
    measured.store.write_files({f"{name}.png": png(images[name]) for name in PICTURES})
    given = dict(override.lstrip("+").split("=", 1) for override in overrides if override not in common)
    path = members_folder(output, experiment) / f"{entry_stem(given)}.json"
    # a scene with a name of its own is one scene, whatever makes it
    of_scene = OF_SCENE if "scene.name" in given else ()
    variant = {key: value for key, value in chosen(given).items() if key not in (*NOT_VARIANTS, *of_scene)}
    texts = sorted(text for text in overrides if text.lstrip("+").partition("=")[0].split(".")[0] not in HOW)
    entry = entry_of(cell, measured, cell.sampling) | {"variant": variant, "overrides": texts}
    if path.exists() and not entry["session"]["new_draws"]:
        with suppress(ValueError, TypeError, KeyError, RecursionError):  # a damaged entry is written anew
            before = json.loads(path.read_bytes())
            if before["key"] == entry["key"]:
                entry |= {name: before[name] for name in ("session", "proof", "provenance")}
    write_atomically(path, (json.dumps(entry, indent=1) + "\n").encode())
    return path


def png(image: np.ndarray) -> bytes:
    """Return the file of an image (h, w, 3) uint8."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG", optimize=True)
    return content.getvalue()


def entry_of(cell: Cell, measured: Measurement, rule: Rule) -> dict[str, Any]:
    """Return what the list of an experiment says of a cell, all but what the sweep varied.

    Args:
        cell: the cell.
        measured: what it came to.
        rule: by which its draws are taken.
    """
    record, roi = measured.record, cell.scene.roi
    facts: Mapping[str, Any] = cell.model.facts
    same = (
        "key",
        "model",
        "scene",
        "scene_source",
        "tol",
        "unit",
        "fdr",
        "outcome",
        "psnr_roi_db",
        "psnr_image_db",
        "engine",
    )
    return {
        **{name: record[name] for name in (*same, "proof", "session", "provenance", "sampling")},
        "seed": cell.options.seed,
        "task": cell.degradation.task,
        "degradation": describe(cell.degradation),
        "trained_for": list(cell.model.tasks),
        "facts": {name: facts.get(name) for name in FACTS},
        "observed_psnr_roi_db": _observed(cell, measured.observation),
        "roi": [roi.top, roi.left, roi.height, roi.width],
        "size": list(cell.scene.size),
        "block": cell.scene.block,
        "rule": {"type": type(rule).__name__, **dataclasses.asdict(rule)},  # pyright: ignore[reportArgumentType]
        "donors": {name: cell.pool.manifest.get(name) for name in ("source", "licence")},
        "status": measured.effect_map.status.tolist(),
        **cell.spread(),
    }


def _observed(cell: Cell, observation: np.ndarray) -> float | None:
    """PSNR of the ROI before restoring, where the observation has the size of the clean image."""
    if observation.shape != cell.scene.clean.shape:
        return None
    at = cell.scene.roi.slices
    error = (observation[at].astype(np.float64) - cell.scene.clean[at]) / 255.0
    return float(-10 * np.log10(max(np.mean(error**2), 1e-10)))
