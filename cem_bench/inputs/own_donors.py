"""Donors chosen for each block of a scene: from its own image, or alike its content in mean or contrast."""

from __future__ import annotations

import dataclasses

import numpy as np

from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import sha256_of
from cem_bench.inputs.scene import Scene

# luma of a patch is compared; contrast is its standard deviation
MATCHES = ("mean", "contrast")
LUMA = (0.299, 0.587, 0.114)


def same_image_donors(scene: Scene, *, count: int = 4000, pool_seed: int = 0, licence: str = "not stated") -> DonorPool:
    """Cut donors from the scene's own clean image, outside the ROI; no block gets a donor that overlaps it.

    Args:
        scene: whose image and grid.
        count: number of patches, or all places where there are fewer.
        pool_seed: names the places.
        licence: said in the manifest.

    Raises:
        ValueError: if no patch lies outside the ROI, or a block is left without a donor.
    """
    side, (height, width) = scene.block, scene.size
    tops, lefts = (places.ravel() for places in np.mgrid[: height - side + 1, : width - side + 1])
    free = np.flatnonzero(~_overlap(tops, lefts, side, scene.roi))
    if not len(free):
        raise ValueError(
            f"No patch of {side}x{side} pixels lies outside the ROI of {scene.name}: use a smaller ROI or other donors."
        )
    rng = np.random.Generator(np.random.Philox(pool_seed))
    chosen = np.sort(rng.choice(free, min(count, len(free)), replace=False))
    tops, lefts = tops[chosen], lefts[chosen]
    patches = np.stack(
        [scene.clean[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
    )
    names = np.array([f"{scene.name}:{top}:{left}" for top, left in zip(tops, lefts, strict=True)])
    blocks = [scene.grid.rect(block) for block in range(len(scene.grid))]
    choices = tuple(np.flatnonzero(~_overlap(tops, lefts, side, block)) for block in blocks)
    if not all(map(len, choices)):
        raise ValueError(f"A block of {scene.name} overlaps all {len(patches)} patches: raise donors.count.")
    manifest = {
        "source": f"the image itself ({scene.source or scene.name}), outside ROI and block",
        "licence": licence,
        "patches": len(patches),
        "seed": pool_seed,
        "image_sha256": sha256_of(scene.clean),
    }
    return DonorPool(patches, names, manifest, choices=choices)


def matched(pool: DonorPool, scene: Scene, by: str, nearest: int = 100) -> DonorPool:
    """Give each block of a scene the donors that are most alike its content.

    Args:
        pool: of patches as large as the scene's blocks.
        scene: whose clean image and grid.
        by: `mean` or `contrast` (standard deviation), of the patch's luma.
        nearest: number of donors a block may get; all that it may get already where those are fewer.

    Raises:
        ValueError: for another word, fewer than 2 donors, or a pool with strata.
    """
    if by not in MATCHES:
        raise ValueError(f"donors.match is {by!r}; expected one of {', '.join(MATCHES)}, or null.")
    if nearest < 2:
        raise ValueError(f"donors.nearest is {nearest}; expected at least 2 donors a block, as 100.")
    if pool.strata is not None:
        raise ValueError("donors.match with donors.strata: a block's donors are few and alike; leave strata at 0.")
    blocks = [scene.clean[scene.grid.rect(block).slices] for block in range(len(scene.grid))]
    of_pool, of_blocks = _statistic(pool.patches, by), _statistic(np.stack(blocks), by)
    choices = []
    for block, value in enumerate(of_blocks):
        allowed = np.arange(len(pool)) if pool.choices is None else pool.choices[block]
        order = np.argsort(np.abs(of_pool[allowed] - value), kind="stable")
        choices.append(np.sort(allowed[order[:nearest]]))
    manifest = pool.manifest | {"match": by, "nearest": nearest}
    manifest["source"] = f"{manifest.get('source', '')}; the {nearest} nearest in {by}"
    return dataclasses.replace(pool, manifest=manifest, choices=tuple(choices))


def _statistic(patches: np.ndarray, by: str) -> np.ndarray:
    """Return the mean or the standard deviation of each patch's luma, (N,) float64."""
    luma = patches.astype(np.float64) @ np.array(LUMA)
    return luma.mean(axis=(1, 2)) if by == "mean" else luma.std(axis=(1, 2))


def _overlap(tops: np.ndarray, lefts: np.ndarray, side: int, region: Rect) -> np.ndarray:
    """Return which patches share a pixel with a region."""
    rows = (tops < region.bottom) & (tops + side > region.top)
    return rows & (lefts < region.right) & (lefts + side > region.left)
