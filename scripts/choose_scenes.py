"""Choose the scenes of the experiments by a rule that looks at no picture, and write them to conf/scene_table.csv.

The rule, stated before anything was measured:
    images: every photograph of SHIPPED; of each folder in POOLS, four of its RGB images, drawn by the seed;
    crop:   128 x 128 pixels, corner uniform over multiples of 8;
    ROIs:   two of 32 x 32 pixels in each crop, corners uniform over multiples of 8 that leave 24 pixels on every side,
            the second drawn again until it does not overlap the first.

    CEM_DATA=... python scripts/choose_scenes.py
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import locate
from cem_bench.store.files import write_atomically

SEED, CROP, ROI, STEP, MARGIN, EACH = 20251, 128, 32, 8, 24, 4
SHIPPED = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
# lam_7 is demo_1 again, crop_2 a part of demo_2
POOLS = {"scenes": ("lam_*.png", "demo_*.png"), "test/kodak24": ("*.png",), "test/cbsd68": ("*.png",)}
TWICE = {"lam_7.png"}
TABLE = Path(__file__).resolve().parent.parent / "conf" / "scene_table.csv"


def images(data: Path, rng: np.random.Generator) -> Iterator[tuple[str, str, Path]]:
    """Yield group, source and file of every image chosen."""
    for name in SHIPPED:
        source = f"skimage:data/{name}"
        yield "shipped", source, locate(source)
    for folder, patterns in POOLS.items():
        paths = sorted(path for pattern in patterns for path in (data / folder).glob(pattern) if path.name not in TWICE)
        usable = [path for path in paths if Image.open(path).mode == "RGB"]
        for index in sorted(rng.choice(len(usable), EACH, replace=False)):
            yield "set", f"${{data:{folder}/{usable[index].name}}}", usable[index]


def rois(rng: np.random.Generator) -> tuple[Rect, Rect]:
    """Draw two regions of interest that do not overlap."""

    def draw() -> Rect:
        top, left = rng.integers(MARGIN // STEP, (CROP - MARGIN - ROI) // STEP + 1, 2) * STEP
        return Rect(int(top), int(left), ROI, ROI)

    first = second = draw()
    while first.intersect(second).area:
        second = draw()
    return first, second


def rows(data: Path) -> Iterator[dict[str, object]]:
    """Yield the rows of the table."""
    rng = np.random.Generator(np.random.Philox(SEED))
    for group, source, path in images(data, rng):
        width, height = Image.open(path).size
        top, left = (int(rng.integers((side - CROP) // STEP + 1)) * STEP for side in (height, width))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for number, roi in enumerate(rois(rng), 1):
            name = f"{group}_{path.stem.removesuffix('_left')}_{number}"
            place = {"crop_top": top, "crop_left": left, "crop_side": CROP, "roi_top": roi.top, "roi_left": roi.left}
            yield {"name": name, "image": path.stem, "source": source, **place, "roi_side": ROI, "sha256": digest}


def main() -> None:
    """Write the table."""
    folder = os.environ.get("CEM_DATA")
    if not folder:
        sys.exit("CEM_DATA is not set: it names the folder that holds scenes/, test/kodak24/ and test/cbsd68/.")
    table = pd.DataFrame(rows(Path(folder)))
    write_atomically(TABLE, table.to_csv(index=False).encode())
    print(f"{len(table)} scenes of {table['image'].nunique()} images: {TABLE}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
