"""PSNR of real weights on the usual test sets, beside the published figure or that of a training's end."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model_zoo.cards import Card, card, list_models
from model_zoo.errors import ZooError
from model_zoo.loading import SizeCheck, load
from model_zoo.training import every_test, read_split
from model_zoo.training import measure as measure_trained
from model_zoo.weights import SHIPPED

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIABLE = "CEM_DATA"
COLUMNS = ("model", "test", "images", "claimed_db", "measured_db", "difference_db")


@dataclass(frozen=True)
class Result:
    """One line of the table: the mean PSNR in dB over so many images, with the weights of a card."""

    model: str
    images: int
    measured: float


def table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """The lines of the table, beside what the cards claim now, in order of the models' names.

    Args:
        results: what was measured; of two with one name the later one counts.

    Returns:
        The column names, then one line a model; figures in dB. Claimed is what is published or, of networks trained
        here, what the training's end measured over the whole test; empty where there is neither.
    """
    latest = {result.model: result for result in results}
    lines: list[tuple[str, ...]] = [COLUMNS]
    for name, result in sorted(latest.items()):
        entry = card(name)
        record = training_record(entry)
        claim = record["psnr"] if record else entry.claimed
        claimed = "" if claim is None else f"{claim:.4f}" if record else f"{claim:.2f}"
        difference = "" if claim is None else f"{result.measured - claim:+.4f}"
        lines.append((name, entry.test, str(result.images), claimed, f"{result.measured:.4f}", difference))
    return lines


def training_record(entry: Card) -> dict[str, Any] | None:
    """What the training of the zoo's own weights wrote down: `check` (its test), `psnr` (dB); None for others."""
    path = SHIPPED / f"{entry.name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_table(path: Path) -> list[Result]:
    """What a table written before holds; nothing where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    known = set(list_models())
    return [
        Result(row["model"], int(row["images"]), float(row["measured_db"])) for row in rows if row["model"] in known
    ]


def write_table(path: Path, results: Iterable[Result]) -> None:
    """Writes the table, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(table(results))
    part.replace(path)


def _image(path: Path, test: str = "") -> np.ndarray:
    """An image (h, w, 3) as a test wants it: uint8; of "grey" its luminance and of "Y as grey" Y in equal channels."""
    from PIL import Image

    with Image.open(path) as picture:
        colours = picture.convert("RGB")
        if "Y as grey" in test:
            return np.repeat(luma(np.asarray(colours))[..., None], 3, axis=2)
        return np.asarray(colours.convert("L").convert("RGB") if "grey" in test else colours)


def folder(entry: Card) -> Path:
    """Where the images of a card's test set must lie, e.g. test/set5 of the folder CEM_DATA names."""
    return _root() / "test" / (entry.test.split() or ["none"])[0].casefold()


def _root() -> Path:
    return Path(os.environ.get(VARIABLE, ""))


def can_measure(entry: Card) -> bool:
    """Whether the images of a card's test are below the folder that CEM_DATA names."""
    record = training_record(entry)
    if record is None:
        return folder(entry).is_dir()
    return any((_root() / row["path"]).is_file() for row in _clean_rows(record["check"]))


def _clean_rows(test: str) -> list[dict[str, str]]:
    """The rows of the split with the clean images of a trained network's test."""
    wanted = every_test()[test].set
    return [row for row in read_split() if row["set"] == wanted]


def _first(place: Path, most: int) -> list[Path]:
    files = sorted(place.glob("*.png"))
    if not files:
        raise ZooError(f"no images at {place}; {VARIABLE} (now {os.environ.get(VARIABLE) or 'not set'}) must hold it")
    return files[:most]


def pairs(entry: Card, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Observation (h, w, 3) float64 in 0..255 and clean image (H, W, 3) in 0..255 of the test set of a card.

    Args:
        entry: its test line begins with the name of the set, and says "grey" (luminance of full swing) or "Y as grey"
            (studio swing, not rounded) where colours are taken off first; its degradation says how the set is read.
        most: at most so many images, in order of their names.

    Yields:
        One pair per image. Noise is seeded by the image's place in the list, is the same in every channel of a grey
        image, and is cut and truncated to 8 bit only where the card says `eight_bit`.
    """
    root = folder(entry)
    if "bicubic" in entry.degradation:
        for path in _first(root / "HR", most):
            yield _reduced(entry, path)
    elif "noise" in entry.degradation:
        eight_bit = entry.degradation.get("eight_bit", False)
        for place, path in enumerate(_first(root, most)):
            clean = _image(path, entry.test)
            shape = (*clean.shape[:2], 1) if "grey" in entry.test else clean.shape
            noisy = clean + np.random.Generator(np.random.Philox(place)).normal(0, entry.degradation["noise"], shape)
            yield (noisy.clip(0, 255).astype(np.uint8).astype(np.float64) if eight_bit else noisy), clean
    elif "rain" in entry.degradation:
        for path in _first(root / "clean", most):
            yield _image(root / "rainy" / path.name).astype(np.float64), _image(path)
    else:
        raise ZooError(f"{entry.name}: no test set for its degradation {dict(entry.degradation)}")


def _reduced(entry: Card, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The reduced image, enlarged again bicubically where the card says `restore_size`, and the clean one."""
    clean, factor = _image(path, entry.test), entry.degradation["bicubic"]
    folder_of_factor = path.parent.parent / "LR_bicubic" / f"X{factor}"
    small = _image(next(folder_of_factor.glob(f"{path.stem}*.png")), entry.test).astype(np.float64)
    height, width = (side * factor for side in small.shape[:2])
    clean = clean[:height, :width]
    return (_enlarged(small, height, width) if entry.degradation.get("restore_size") else small), clean


def _enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A (h, w, 3) image at another size, bicubic and not rounded."""
    from PIL import Image

    planes = [Image.fromarray(image[..., place].astype(np.float32)) for place in range(image.shape[2])]
    return np.stack([np.asarray(p.resize((width, height), Image.Resampling.BICUBIC)) for p in planes], 2).astype(float)


def restore(network: "nn.Module", observation: np.ndarray, entry: Card) -> np.ndarray:
    """Restores one image in the range the card gives, at any size.

    Args:
        network: what `load` gives.
        observation: (h, w, 3), 0..255.
        entry: its value range, scale, and the sizes the network takes; others are padded by reflection.

    Returns:
        (h * scale, w * scale, 3) float64, 0..255, cut and rounded.
    """
    import torch
    import torch.nn.functional as F

    check = SizeCheck(entry.name, entry.size_multiple, entry.size_minimum)
    height, width = observation.shape[:2]
    x = torch.from_numpy(observation.transpose(2, 0, 1)[None].astype(np.float32)) * (entry.value_range / 255)
    x = F.pad(x, (0, check.next_valid(width) - width, 0, check.next_valid(height) - height), mode="reflect")
    with torch.no_grad():
        out: Tensor = network(x)[0] * (255 / entry.value_range)
    out = out[:, : height * entry.scale, : width * entry.scale]
    return out.clamp(0, 255).round().double().permute(1, 2, 0).numpy()


def luma(rgb: np.ndarray) -> np.ndarray:
    """Y of BT.601 in studio swing, of (..., 3) RGB in 0..255."""
    return 16 + rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def psnr(restored: np.ndarray, clean: np.ndarray, border: int) -> float:
    """Peak signal to noise ratio in dB of images in 0..255, without a border of so many pixels."""
    inside = (slice(border, -border or None),) * 2
    error = restored[inside].astype(np.float64) - clean[inside]
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def measure(entry: Card, most: int = 1000) -> Result:
    """Measures a card's own weights on its test set.

    Args:
        entry: the card; its test line says whether Y or RGB counts.
        most: at most so many images.

    Returns:
        The mean PSNR; of a network trained here on the test of its training's end.

    Raises:
        ZooError: weights or images are not here.
        FileNotFoundError: an image of a trained network's test is not here.
        ImportError: basicsr, which compares trained networks, is not here; with the remedy.
    """
    network = load(entry.name)
    record = training_record(entry)
    if record:
        images = min(most, len(_clean_rows(record["check"])))
        return Result(entry.name, images, measure_trained(network, record["check"], _root(), most)["psnr"])
    on_luma = " Y" in entry.test and "Y as grey" not in entry.test  # there the images are Y already
    border = entry.degradation.get("bicubic", 0)
    values = []
    for observation, clean in pairs(entry, most):
        restored = restore(network, observation, entry)
        both = (luma(restored), luma(clean)) if on_luma else (restored, clean)
        values.append(psnr(*both, border))
    return Result(entry.name, len(values), float(np.mean(values)))
