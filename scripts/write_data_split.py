"""Write `model_zoo/data_split.csv` anew: `python scripts/write_data_split.py ../shared/data`."""

import argparse
import csv
import hashlib
import io
from pathlib import Path

from cem_bench.store.files import write_atomically
from model_zoo.training.split import SPLIT

COLUMNS = ("role", "set", "path", "sha256")
# "other": neither trains nor measures these families (Rain100H shares its clean images with the training set)
SETS = (
    ("train", "bsds500_train", "bsds500/train/*.jpg"),
    ("train", "bsds500_test", "bsds500/test/*.jpg"),
    ("train", "div2k_test_lr_x4", "div2k_test_lr_x4/*.png"),
    ("measure", "bsds500_val", "bsds500/val/*.jpg"),
    ("measure", "cbsd68", "test/cbsd68/*.png"),
    ("measure", "set5", "test/set5/HR/*.png"),
    ("measure", "set5_x4", "test/set5/LR_bicubic/X4/*.png"),
    ("measure", "set14", "test/set14/HR/*.png"),
    ("measure", "set14_x4", "test/set14/LR_bicubic/X4/*.png"),
    ("measure", "kodak24", "test/kodak24/*.png"),
    ("measure", "urban100", "test/urban100/*.png"),
    ("measure", "scenes", "scenes/*.png"),
    ("other", "rain100h", "test/rain100h/**/*.png"),
)


def main(root: Path) -> None:
    """Write one row an image of the sets found under a data folder."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for role, name, pattern in SETS:
        for image in sorted(root.glob(pattern)):
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
            writer.writerow((role, name, image.relative_to(root).as_posix(), digest))
    write_atomically(SPLIT, text.getvalue().encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder that holds bsds500, div2k_test_lr_x4, test and scenes")
    folder = parser.parse_args().data
    if not (folder / "bsds500").is_dir():
        parser.error(f"{folder} does not hold bsds500: the split would be written empty; name the data folder")
    main(folder)
