"""How far a network looks, found by poisoning a pixel."""

import torch
from torch import nn


@torch.inference_mode()
def reach(network: nn.Module, scale: int, side: int = 384, offsets: tuple[int, ...] = (0, 5, 10, 15)) -> int | None:
    """Farthest input pixel that an output pixel depends on, by the spread of a NaN.

    Args:
        network: restorer of (1, 3, side, side).
        scale: output pixels per input pixel.
        side: of the probed input in pixels.
        offsets: places of the poisoned pixel from the middle: a window's phase changes the spread.

    Returns:
        Distance in input pixels, or None where the spread meets the edge of the probe.
    """
    farthest = 0
    for offset in offsets:
        place = side // 2 + offset
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(offset))
        image[..., place, place] = torch.nan
        hit = torch.isnan(network(image)).any(1)[0]
        for axis in (0, 1):
            lines = torch.nonzero(hit.any(axis)).flatten().div(scale, rounding_mode="floor")
            if int(lines.min()) == 0 or int(lines.max()) == side - 1:
                return None
            farthest = max(farthest, place - int(lines.min()), int(lines.max()) - place)
    return farthest
