"""What a reader of the explorer can choose, and the command line that each choice stands for."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import read_rgb
from cem_bench.measuring.cell import Cell
from cem_bench.run.build import build_cell, register, why_no_scene
from cem_bench.run.compose import CONF, composed
from cem_bench.run.overrides import check_overrides

SIDE = 256  # largest side of an uploaded photograph's part that is looked at
SMALLEST = 64  # smallest side of one
BLOCK = 8
OWN = ("model", "task", "scene", "sampling", "output")
_composing = threading.Lock()  # Hydra keeps one configuration for the whole process


@dataclass(frozen=True)
class Choice:
    """One network on one photograph.

    Attributes:
        model: name in the zoo.
        task: of `conf/task`.
        scene: of `conf/scene`; "file" for an uploaded photograph.
        photo: the uploaded file.
        roi: row, column, height, width; None for the scene's own.
        sampling: of `conf/sampling`, with its keys.
        others: further overrides, as they were given to the command.
    """

    model: str
    task: str = "auto"
    scene: str = "astronaut"
    photo: Path | None = None
    roi: Rect | None = None
    sampling: tuple[str, ...] = ("sampling=sequential",)
    others: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        """The command line of the cell, without the program's name."""
        texts = [f"model={self.model}", f"task={self.task}", f"scene={self.scene}", *self.sampling]
        if self.photo is not None:
            texts += [
                f"scene.name={self.photo.stem}",
                f"scene.source='{self.photo}'",
                f"scene.crop={_crop(self.photo)}",
            ]
        roi = self.roi or (None if self.photo is None else _middle(self.photo))
        if roi is not None:
            texts.append(f"scene.roi=[{roi.top},{roi.left},{roi.height},{roi.width}]")
        return [*texts, *self.others]

    @property
    def command(self) -> str:
        """The command that measures the same cell."""
        return shlex.join(["python", "-m", "cem_bench", *self.overrides])

    def cell(self) -> Cell:
        """Build the cell.

        Raises:
            ValueError: in a sentence, whatever cannot be.
        """
        with _composing:
            register()
            if problem := check_overrides(self.overrides):
                raise ValueError(problem)
            config = composed(self.overrides)
            OmegaConf.resolve(config)
        return build_cell(config)


def split(overrides: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what a command line says of model, task, scene, sampling and output, and all else as it is."""
    given = {key: value for key, _, value in (text.partition("=") for text in overrides)}
    own = {key: given[key] for key in OWN if key in given}
    return own, tuple(text for text in overrides if text.partition("=")[0] not in OWN)


def scenes() -> list[str]:
    """Return the scenes of `conf/scene` whose images lie here."""
    register()
    names = sorted(path.stem for path in (CONF / "scene").glob("*.yaml") if path.stem != "file")
    return [name for name in names if not why_no_scene(name)]


def checked_photo(path: Path) -> Path:
    """Return an uploaded photograph that can be looked at.

    Raises:
        ValueError: if it is no photograph, or too small.
    """
    height, width = read_rgb(path).shape[:2]
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"{path} has {height}x{width} pixels; expected at least {SMALLEST}x{SMALLEST}: choose a larger photograph."
        )
    return path


def _size(path: Path) -> tuple[int, int]:
    height, width = read_rgb(path).shape[:2]
    return min(height // BLOCK * BLOCK, SIDE), min(width // BLOCK * BLOCK, SIDE)


def _crop(path: Path) -> str:
    """Return the middle of a photograph, whole blocks, as an override's value."""
    shape, (height, width) = read_rgb(path).shape, _size(path)
    return f"[{(shape[0] - height) // 2},{(shape[1] - width) // 2},{height},{width}]"


def _middle(path: Path) -> Rect:
    height, width = _size(path)
    return roi_at(height // 2, width // 2, (height, width))


def roi_at(row: int, column: int, size: tuple[int, int], side: int = 32) -> Rect:
    """Return the ROI around a pixel, on the lattice of blocks and inside the image.

    Args:
        row: of the pixel, clean pixels.
        column: of the pixel.
        size: height and width of the image, clean pixels.
        side: of the ROI.
    """
    top, left = (
        min(max(round((at - side / 2) / BLOCK) * BLOCK, 0), (edge - side) // BLOCK * BLOCK)
        for at, edge in zip((row, column), size, strict=True)
    )
    return Rect(top, left, side, side)
