"""Which images train and which measure: `model_zoo/data_split.csv`, one row an image, checked by sha256.

`python -m model_zoo.training.split FOLDER` writes the file anew from a data folder (see `SETS`).
"""

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

SPLIT = Path(__file__).parents[1] / "data_split.csv"
COLUMNS = ("role", "set", "path", "sha256")
SETS = (
    ("train", "bsds500_train", "bsds500/train/*.jpg"),
    ("train", "bsds500_test", "bsds500/test/*.jpg"),
    ("train", "div2k_test_lr_x4", "div2k_test_lr_x4/*.png"),
    ("measure", "bsds500_val", "bsds500/val/*.jpg"),
    ("measure", "cbsd68", "test/cbsd68/*.png"),
    ("measure", "set5", "test/set5/HR/*.png"),
    ("measure", "set14", "test/set14/HR/*.png"),
    ("measure", "kodak24", "test/kodak24/*.png"),
    ("measure", "urban100", "test/urban100/*.png"),
    ("measure", "rain100h", "test/rain100h/**/*.png"),
    ("measure", "scenes", "scenes/*.png"),
)


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
        raise FileNotFoundError(f"{file} is missing; get the set {row['set']!r}, or set train.data_root.")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != row["sha256"]:
        raise ValueError(f"{file}: sha256 {found}, expected {row['sha256']}: this is not the image of the split.")
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def write_split(root: Path, split: Path = SPLIT) -> None:
    """Write the split file of the sets found under a data folder.

    Args:
        root: data folder.
        split: file to write.
    """
    with split.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for role, name, pattern in SETS:
            for image in sorted(root.glob(pattern)):
                digest = hashlib.sha256(image.read_bytes()).hexdigest()
                writer.writerow((role, name, image.relative_to(root).as_posix(), digest))


if __name__ == "__main__":
    write_split(Path(sys.argv[1]))
