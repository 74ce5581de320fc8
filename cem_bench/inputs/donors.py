"""Donor pools, and which donor a draw gets.

A draw is named by (seed, scene, block, k). Its donor and its own noise are pure functions of that name: never of the
model, the batch, the order of work or a resume.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from cem_bench.inputs.images import SUFFIXES, locate, read_rgb, sha256_of


@dataclass(frozen=True, eq=False)
class DonorPool:
    """Clean patches to draw from.

    Attributes:
        patches: (N, b, b, 3) uint8 RGB.
        names: (N,) where each patch came from.
        manifest: source, licence and files with their sha256.
        strata: (N,) int stratum of each donor, or None: draws are then uniform over the pool.
        choices: of every block of one scene, row-major, the indices of the donors that it may get; None for all.
    """

    patches: np.ndarray
    names: np.ndarray
    manifest: dict = field(default_factory=dict)
    strata: np.ndarray | None = None
    choices: tuple[np.ndarray, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse an empty or misshapen pool."""
        shape = self.patches.shape
        if self.patches.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
            raise ValueError(f"Donor patches must be (N, b, b, 3) uint8, got {shape} {self.patches.dtype}.")
        if len(self.patches) == 0:
            raise ValueError("The donor pool is empty: give a folder or array that holds at least one patch.")
        self._check_labels()

    def _check_labels(self) -> None:
        """Refuse names and strata that are not one per patch.

        Raises:
            ValueError: saying how many there are, and how many patches.
        """
        count = (len(self.patches),)
        if np.shape(self.names) != count:
            raise ValueError(f"Donor names are {np.shape(self.names)}, expected {count}: one per patch.")
        if self.strata is None:
            return
        if np.shape(self.strata) != count:
            raise ValueError(f"Donor strata are {np.shape(self.strata)}, expected {count}: one per patch.")
        if not np.issubdtype(np.asarray(self.strata).dtype, np.integer) or np.min(self.strata) < 0:
            raise ValueError(
                f"Donor strata must be whole numbers from 0 on, got {np.asarray(self.strata).dtype} values from "
                f"{np.min(self.strata)}: number the strata 0, 1, 2, ..."
            )

    def __len__(self) -> int:
        return len(self.patches)

    @cached_property
    def sha256(self) -> str:
        """Hash of the patches (of strata and choices too): part of every run key."""
        parts = [self.patches, *([] if self.strata is None else [self.strata]), *(self.choices or ())]
        hashes = [sha256_of(part) for part in parts]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Donor indices of every stratum; one stratum that holds all where none are declared."""
        if self.strata is None:
            return [np.arange(len(self))]
        return [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]

    def fit(self, side: int) -> DonorPool:
        """Return the pool with patches of `side` pixels: the same, or their centres.

        Raises:
            ValueError: if the patches are smaller than `side`.
        """
        have = self.patches.shape[1]
        if have == side:
            return self
        if have < side:
            raise ValueError(
                f"Donor patches of {have}x{have} pixels are smaller than the block of {side}x{side}: build the pool "
                "from a folder of images (donors=folder donors.path=...), which cuts patches of any size."
            )
        start = (have - side) // 2
        centre = np.ascontiguousarray(self.patches[:, start : start + side, start : start + side])
        return DonorPool(centre, self.names, self.manifest | {"centre_of": have}, self.strata, self.choices)


@dataclass(frozen=True)
class DrawKeys:
    """Names the draws of one scene.

    Attributes:
        seed: the user's seed.
        scene: sha256 of the clean image.
        block_size: side of a block in clean pixels, so that other grids get other donors.
    """

    seed: int
    scene: str
    block_size: int

    def generator(self, block: int, k: int, purpose: int = 0) -> np.random.Generator:
        """Return the generator of draw k of a block (purpose 0: donor, 1: fresh noise, 2: order of strata)."""
        entropy = (self.seed, int(self.scene[:16], 16), self.block_size, block, k, purpose)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))

    def donors(self, pool: DonorPool, block: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the donor index and the stratum of draws [first, last) of a block, both (last - first,) int64.

        Every run of S draws visits each of the S strata once, in a random order, so any number of draws is as
        balanced as it can be; within a stratum donors are uniform with replacement. Where the pool says which donors a
        block may get, they are uniform with replacement among those.

        Raises:
            ValueError: if the pool's choices are of another scene's grid.
        """
        if pool.choices is not None:
            if not block < len(pool.choices):
                raise ValueError(f"The pool has donors for {len(pool.choices)} blocks, asked for block {block}.")
            allowed = pool.choices[block]
            picks = [allowed[self.generator(block, k).integers(len(allowed))] for k in range(first, last)]
            return np.array(picks, dtype=np.int64), np.zeros(last - first, dtype=np.int64)
        count = len(pool.members)
        strata = np.array(
            [self._order(block, k // count, count)[k % count] for k in range(first, last)], dtype=np.int64
        )
        picks = [
            pool.members[stratum][self.generator(block, k).integers(len(pool.members[stratum]))]
            for k, stratum in zip(range(first, last), strata, strict=True)
        ]
        return np.array(picks, dtype=np.int64), strata

    def _order(self, block: int, cycle: int, count: int) -> np.ndarray:
        return np.zeros(1, dtype=np.int64) if count == 1 else self.generator(block, cycle, 2).permutation(count)


def pool_from_array(path: str, *, source: str = "", licence: str = "not stated") -> DonorPool:
    """Read a packed pool: an npz with `patches` (N, b, b, 3) uint8 and, if it has them, `names` and `strata`.

    Raises:
        ValueError: if the file is missing or is no such pool.
    """
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            patches = stored["patches"]
            names = stored["names"] if "names" in stored.files else np.arange(len(patches)).astype(str)
            strata = stored["strata"] if "strata" in stored.files else None
    except Exception as error:
        raise ValueError(
            f"Donor pool {file} cannot be read ({type(error).__name__}: {error}); expected an npz with `patches` "
            "(N, b, b, 3) uint8."
        ) from error
    manifest = {"source": source or str(file), "licence": licence, "patches": len(patches)}
    return DonorPool(patches, names, manifest, strata)


def pool_from_images(
    sources: list[str], side: int, *, count: int, pool_seed: int = 0, source: str = "", licence: str = "not stated"
) -> DonorPool:
    """Cut `count` patches of `side` pixels, uniformly over images and positions.

    Args:
        sources: images (paths or package:path), or one folder of images.
        side: side of a patch in clean pixels.
        count: number of patches.
        pool_seed: names the positions.
        source: said in the manifest.
        licence: said in the manifest.

    Raises:
        ValueError: if there is no image, or one is smaller than a patch.
    """
    files = [file for entry in sources for file in _images_in(locate(entry))]
    if not files:
        raise ValueError(f"No image found in {', '.join(sources) or 'an empty list'}: the donor pool would be empty.")
    rng = np.random.Generator(np.random.Philox(pool_seed))
    chosen = rng.integers(len(files), size=count)
    patches = np.empty((count, side, side, 3), dtype=np.uint8)
    names = np.empty(count, dtype=object)
    hashes: dict[str, str] = {}
    for index in np.unique(chosen):
        image = read_rgb(files[index])
        hashes[files[index].name] = sha256_of(image)
        height, width = image.shape[:2]
        if min(height, width) < side:
            raise ValueError(f"{files[index]} of {height}x{width} pixels is smaller than a donor of {side}x{side}.")
        for place in np.flatnonzero(chosen == index):
            top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
            patches[place] = image[top : top + side, left : left + side]
            names[place] = f"{files[index].name}:{top}:{left}"
    manifest = {
        "source": source or ", ".join(sources),
        "licence": licence,
        "patches": count,
        "seed": pool_seed,
        "files": hashes,
    }
    return DonorPool(patches, names.astype(str), manifest)


def stratify(pool: DonorPool, count: int, *, pool_seed: int = 0) -> DonorPool:
    """Return the pool with its donors sorted into `count` strata by mean colour and contrast."""
    from cem_bench.stats.strata import strata_of_patches

    labels = strata_of_patches(pool.patches, count, pool_seed=pool_seed)
    return DonorPool(pool.patches, pool.names, pool.manifest | {"strata": count, "strata_seed": pool_seed}, labels)


def _images_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)


# photographs that scikit-image ships, with their licence in the manifest
SHIPPED = (
    "skimage:data/astronaut.png",
    "skimage:data/chelsea.png",
    "skimage:data/coffee.png",
    "skimage:data/rocket.jpg",
    "skimage:data/motorcycle_left.png",
    "skimage:data/motorcycle_right.png",
)
SHIPPED_LICENCE = "public domain, CC0 (motorcycle - Middlebury stereo 2014)"


def shipped_donors(side: int = 8, *, count: int = 4000, pool_seed: int = 0, leave_out: str = "") -> DonorPool:
    """Cut donors from the photographs that scikit-image ships: a pool that needs no files.

    Args:
        side: of a patch, clean pixels.
        count: number of patches.
        pool_seed: names the positions.
        leave_out: a source whose patches are not wanted, as that of the scene.
    """
    sources = [source for source in SHIPPED if source != leave_out]
    facts = {"source": "photographs in scikit-image", "licence": SHIPPED_LICENCE}
    return pool_from_images(sources, side, count=count, pool_seed=pool_seed, **facts)
