"""The look of every plot: one size of type, one set of colours, one way of saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import seaborn as sns

from cem_bench.figures import Look

WIDTH = 6.9  # inches: two columns of an article
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


def sign_colours(look: Look) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the colours of positive and negative effects."""
    return look.cmap(0.85)[:3], look.cmap(0.15)[:3]
