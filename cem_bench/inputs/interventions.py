"""LV interventions: replace the content of a block, keep the degradation.

Both forms answer patches in input space, (n, b', b', 3) uint8 with b' = block / scale, ready to be pasted over the
observation's block; where a degradation carries a block's content beyond the block, over all of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from cem_bench.inputs.degradations import Bicubic, Degradation, Noise, Physics, Rain
from cem_bench.inputs.geometry import Grid, Rect
from cem_bench.inputs.protocol import grown, on_lattice
from cem_bench.inputs.segments import Segments


def pasted(degradation: Degradation, block: Rect, size: tuple[int, int]) -> Rect:
    """Return where an intervention on a block is pasted: all that the degradation spreads it to.

    Args:
        degradation: the scene's degradation; one that does not say its spread is taken to fill its reach.
        block: in clean pixels.
        size: height and width of the clean image.

    Returns:
        A rectangle in clean pixels that holds the block. Super-resolution pastes the block alone, as the method does.
    """
    spread = getattr(degradation, "spread", None)
    if spread is not None:
        return spread(block, size)
    return on_lattice(grown(block, degradation.reach, size), degradation.lattice, size)


def pasted_mask(degradation: Degradation, grid: Grid, index: int) -> np.ndarray:
    """Return which pixels of what is `pasted` for a block or segment are pasted, (height, width) bool, observation px.

    All of it for a block; for a segment its own pixels and those within the degradation's spread of them.
    """
    rect, size = grid.rect(index), (grid.height, grid.width)
    part = pasted(degradation, rect, size)
    mask = np.ones((part.height, part.width), bool)
    if not isinstance(grid, Segments):
        return mask[:: degradation.scale, :: degradation.scale]
    mask[:] = False
    mask[_within(rect, part).slices] = grid.mask(index)
    beyond = max(rect.top - part.top, part.bottom - rect.bottom, rect.left - part.left, part.right - rect.right)
    if beyond:
        mask = ndimage.maximum_filter(mask, 2 * beyond + 1)
    return mask[:: degradation.scale, :: degradation.scale]


def spread_px(degradation: Degradation, grid: Grid) -> int:
    """Return how far beyond their blocks, in clean pixels, the interventions of a grid are pasted at most."""

    def beyond(block: Rect) -> int:
        part = pasted(degradation, block, (grid.height, grid.width))
        rows = block.top - part.top, part.bottom - block.bottom
        return max(*rows, block.left - part.left, part.right - block.right)

    return max(beyond(grid.rect(index)) for index in range(len(grid)))


def true_patches(
    clean: np.ndarray, degradation: Degradation, block: Rect, donors: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """Place each donor in the clean image, degrade as the rest was degraded, and take what is `pasted`.

    Same noise field, same rain layer, same resampling kernel reaching over the block's edge. Only a window as wide as
    the degradation can see is degraded; that this equals degrading the whole image is a test.

    Args:
        clean: (H, W, 3) uint8.
        degradation: the scene's degradation.
        block: in clean pixels, on the lattice of the scale.
        donors: (n, b, b, 3) uint8 clean patches, as large as the block.
        mask: which pixels of the block the donors replace, (b, b) bool; None for all.

    Returns:
        (n, b', b', 3) uint8, or the larger part that the degradation spreads the donors to.

    Source: docs/method.md, "LV intervention"; the reference code's shortcuts are in `reference_patches`.
    """
    size = clean.shape[0], clean.shape[1]
    part = pasted(degradation, block, size)
    window = on_lattice(grown(part, degradation.reach, size), degradation.lattice, size)
    scene = np.repeat(clean[window.slices][None], len(donors), axis=0)
    place = (slice(None), *_within(block, window).slices)
    scene[place] = donors if mask is None else np.where(mask[..., None], donors, scene[place])
    taken = _within(part, window).scale_down(degradation.scale)
    degraded = [degradation.window(image, window, size) for image in scene]
    if isinstance(degradation, Physics) and degraded and part != window:
        _require_within(degradation, degradation(clean), degraded, part)
    patches = [image[taken.slices] for image in degraded]
    return np.stack(patches) if patches else np.empty((0, taken.height, taken.width, 3), np.uint8)


def _require_within(degradation: Physics, before: np.ndarray, degraded: Sequence[np.ndarray], part: Rect) -> None:
    """Refuse a measured spread that a block exceeds: it was measured elsewhere in the image.

    Raises:
        ValueError: with the option that mends it.
    """
    outside = np.ones(before.shape[:2], bool)
    outside[part.slices] = False
    if any((image != before)[outside].any() for image in degraded):
        raise ValueError(
            f"{degradation.operator['_target_']} carries a block beyond rows {part.top} to {part.bottom}, columns "
            f"{part.left} to {part.right}, farther than was measured of nine other blocks: write "
            f"task.degradation.spread_px={max(before.shape[:2])}."
        )


def _within(part: Rect, window: Rect) -> Rect:
    """Return a rectangle as seen from the top left of a window."""
    return Rect(part.top - window.top, part.left - window.left, part.height, part.width)


def reference_patches(
    clean: np.ndarray,
    degradation: Degradation,
    block: Rect,
    donors: np.ndarray,
    *,
    generators: Sequence[np.random.Generator],
    bgr: bool = False,
) -> np.ndarray:
    """Degrade donors as the reference code does (commit 5fd1d9b), shortcuts included.

    SR: each donor alone is reduced by the cubic kernel of OpenCV (a = -0.75, no antialiasing); DN: each donor gets
    fresh noise of the same sigma; DR: as in the true form. Other degradations have no reference form.

    Args:
        clean: (H, W, 3) uint8.
        degradation: the scene's degradation.
        block: in clean pixels.
        donors: (n, b, b, 3) uint8 clean patches, RGB.
        generators: one a donor, for the fresh noise.
        bgr: swap red and blue of the donors, as the reference code does unknowingly.

    Returns:
        (n, b', b', 3) uint8.

    Raises:
        ValueError: for a degradation that the reference code does not know.
    """
    donors = donors[..., ::-1] if bgr else donors
    if isinstance(degradation, Rain):
        return true_patches(clean, degradation, block, donors)
    if isinstance(degradation, Noise):
        noise = np.stack([generator.standard_normal(donors.shape[1:]) for generator in generators])
        return (np.clip(donors / 255.0 + noise * (degradation.sigma / 255.0), 0, 1) * 255.0).astype(np.uint8)
    if isinstance(degradation, Bicubic):
        reduced = _cubic(donors, donors.shape[1] // degradation.factor)
        return _cubic(reduced, donors.shape[1]) if degradation.restore_size else reduced
    raise ValueError(f"The reference code has no intervention for {type(degradation).__name__}; use intervention=lv.")


def _cubic(patches: np.ndarray, side: int) -> np.ndarray:
    """Resample as OpenCV's INTER_CUBIC: PyTorch's bicubic has the same kernel and edges; halves go to even."""
    planes = torch.from_numpy(np.ascontiguousarray(patches.transpose(0, 3, 1, 2))).to(torch.float32)
    resized = F.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False)
    return resized.round().clamp(0, 255).to(torch.uint8).numpy().transpose(0, 2, 3, 1)
