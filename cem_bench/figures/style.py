"""The look of every plot: one size of type, one set of colours, one way of saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns

from cem_bench.figures.map import ROI_GREEN, Look

WIDTH = 6.9  # inches: two columns of an article
COLUMN = 3.35  # inches: one column
RC = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "hatch.linewidth": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.3,
    "grid.alpha": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
DEAD_GREY, ALL_EQUAL_GREY = (0.8,) * 3, (0.92,) * 3
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)  # of logarithmic axes in dB
ALL_EQUAL = "undecided: all draws equal"
OF_ROI = "blocks of the ROI"
MARKERS = "osD^vP*Xp<>hd8"


@contextmanager
def style() -> Iterator[None]:
    """Draw inside in the house style."""
    with mpl.rc_context(RC):  # pyright: ignore[reportArgumentType]
        yield


def colours_of(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Give every name a colour that colour-blind readers can tell apart, with `markers_of` for more than ten."""
    palette = sns.color_palette("colorblind", len(names))
    return dict(zip(names, palette, strict=True))


def markers_of(names: Sequence[str]) -> dict[str, str]:
    """Give every name a marker."""
    return {name: MARKERS[index % len(MARKERS)] for index, name in enumerate(names)}


def verdict_key(look: Look) -> list[dict[str, Any]]:
    """Return the look of every verdict and what else a block may be, as arguments of a patch, in the legend's order.

    Blocks whose draws are all equal have no spread to test by: undecided, but not for draws that disagree.
    """
    positive, negative = sign_colours(look)
    fills = (
        ("positive", positive, ""),
        ("negative", negative, ""),
        ("undecided", (0.97,) * 3, "////////"),
        (ALL_EQUAL, ALL_EQUAL_GREY, ""),
        ("no effect", (1.0,) * 3, ""),
        ("out of reach", DEAD_GREY, ""),
        (OF_ROI, ROI_GREEN, ""),
    )
    edge = {"edgecolor": "0.4", "linewidth": 0.4}
    return [{"label": label, "facecolor": colour, "hatch": hatch} | edge for label, colour, hatch in fills]


def sign_colours(look: Look) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the colours of positive and negative effects."""
    return look.cmap(0.85)[:3], look.cmap(0.15)[:3]
