"""Cutting feature maps into square windows and putting them together again."""

from torch import Tensor


def to_windows(x: Tensor, side: int) -> Tensor:
    """Windows of a map, each as a list of its pixels.

    Args:
        x: (B, C, h, w), h and w multiples of the side.
        side: of a window, in pixels.

    Returns:
        (B * windows, side * side, C), windows and pixels row by row.
    """
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // side, side, width // side, side)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, channels)


def to_map(parts: Tensor, side: int, height: int, width: int) -> Tensor:
    """The map that `to_windows` cut.

    Args:
        parts: (B * windows, side * side, C).
        side: of a window, in pixels.
        height: of the map, in pixels.
        width: of the map, in pixels.

    Returns:
        (B, C, height, width).
    """
    channels = parts.shape[2]
    x = parts.reshape(-1, height // side, width // side, side, side, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, channels, height, width)
