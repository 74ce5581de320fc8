"""Which images train and which measure: `model_zoo/data_split.csv`, one row an image, checked by sha256."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SPLIT = Path(__file__).parents[1] / "data_split.csv"


def read_split(split: Path = SPLIT) -> list[dict[str, str]]:
    """Rows of the split file, in its order.

    Args:
        split: a CSV file with the columns role, set, path, sha256.

    Returns:
        One dictionary a row.
    """
    with split.open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(rows: list[dict[str, str]]) -> str:
    """Sha256 (hex) of the images' own sha256 and paths, in order: the identity of a training set."""
    return hashlib.sha256("".join(f"{row['sha256']}  {row['path']}\n" for row in rows).encode()).hexdigest()


def load_images(root: Path, rows: list[dict[str, str]]) -> list[np.ndarray]:
    """Decode images into memory after checking each one's sha256.

    Args:
        root: data folder that the rows' paths start from.
        rows: rows of the split file.

    Returns:
        (H, W, 3) uint8 RGB arrays, in the order of the rows.

    Raises:
        FileNotFoundError: where an image is missing.
        ValueError: where an image is not the one the split names.
    """
    return [_load(root, row) for row in rows]


def _load(root: Path, row: dict[str, str]) -> np.ndarray:
    file = root / row["path"]
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing; get the set {row['set']!r}, or name the data folder by CEM_DATA (trainings also take "
            "train.data_root)."
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != row["sha256"]:
        raise ValueError(f"{file}: sha256 {digest}, expected {row['sha256']}: this is not the image of the split.")
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def training_images(root: str | Path) -> tuple[list[np.ndarray], str]:
    """The images of the split that train.

    Args:
        root: data folder.

    Returns:
        The images, as `load_images`, and their manifest.
    """
    rows = [row for row in read_split() if row["role"] == "train"]
    return load_images(Path(root), rows), manifest(rows)


def photographs(names: Sequence[str]) -> tuple[list[np.ndarray], str]:
    """Photographs that scikit-image ships, for toy trainings.

    Args:
        names: functions of `skimage.data` that return (H, W, 3) uint8, such as "astronaut".

    Returns:
        The images, as `load_images`, and the manifest of their pixels.
    """
    from skimage import data

    images = [getattr(data, name)() for name in names]
    rows = [
        {"path": name, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
        for name, image in zip(names, images, strict=True)
    ]
    return images, manifest(rows)
