"""Pictures of maps, in the published look (docs/method.md, "Show"). No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cem_bench.inputs.degradations import facts_of_task
from cem_bench.inputs.geometry import Rect
from cem_bench.store.maps import NOT_RUN, EffectMap
from cem_bench.store.outcomes import facts_of

GAMMA = 1 / 1.2
PALETTES = {"paper": "seismic", "safe": "PuOr_r"}
ROI_GREEN = (0.15, 0.9, 0.15)
NOT_RUN_GREY = (0.75, 0.75, 0.75)


class NotebookFigure(Figure):
    """A figure that a notebook shows, whatever matplotlib backend it runs."""

    def _repr_png_(self) -> bytes:
        """Return the picture as IPython asks for it."""
        picture = BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


@dataclass(frozen=True)
class Look:
    """How a map is drawn.

    Attributes:
        bound: effects are clipped to +-bound, in `unit`.
        palette: `paper` (seismic) or `safe` (orange and purple, for colour-blind readers).
        blend: weight of the map over the image, 0 to 1.
        unit: of effects, as bars and axes name it.
        digits: decimals of an effect on bars.
    """

    bound: float = 1.0
    palette: str = "paper"
    blend: float = 0.7
    unit: str = "dB"
    digits: int = 2

    @classmethod
    def of(cls, task: str, outcome: str, palette: str = "paper") -> Look:
        """Return the published look of a task; of another outcome than PSNR, with a bound as many times its tol."""
        facts = facts_of(outcome)
        bound = facts_of_task(task).bound_db * facts.tol / facts_of("psnr").tol
        return cls(bound, palette, unit=facts.unit, digits=facts.digits)

    @property
    def cmap(self) -> Colormap:
        """The colour map, blue to red over -1..1."""
        return mpl.colormaps[PALETTES[self.palette]]

    def colours(self, effect: np.ndarray) -> np.ndarray:
        """Return RGB in 0..1 for effects: sign(v) |v/bound|^(1/1.2)."""
        level = np.clip(effect / self.bound, -1, 1)
        return self.cmap(0.5 + 0.5 * np.sign(level) * np.abs(level) ** GAMMA)[..., :3]


def overlay(effect_map: EffectMap, image: np.ndarray, roi: Rect, look: Look) -> np.ndarray:
    """Paint a map over an image.

    Args:
        effect_map: rows and columns of blocks.
        image: (H, W, 3) uint8, same extent as the grid.
        roi: in pixels of the image; painted green.
        look: colours and blending.

    Returns:
        (H, W, 3) float in 0..1.
    """
    shown = np.where(np.abs(np.nan_to_num(effect_map.effect)) < effect_map.tol, 0.0, np.nan_to_num(effect_map.effect))
    colours = look.colours(shown)
    colours[effect_map.status == NOT_RUN] = NOT_RUN_GREY
    block = image.shape[0] // effect_map.effect.shape[0]
    painted = np.kron(colours, np.ones((block, block, 1)))
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) / 255.0
    blended = look.blend * painted + (1 - look.blend) * grey
    blended[roi.slices] = 0.75 * np.array(ROI_GREEN) + 0.25 * image[roi.slices] / 255.0
    return np.clip(blended, 0, 1)


def draw_map(axes: Axes, effect_map: EffectMap, image: np.ndarray, roi: Rect, look: Look) -> None:
    """Draw overlay and pie into one axes."""
    axes.imshow(overlay(effect_map, image, roi, look), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    draw_pie(axes.inset_axes((0.74, 0.01, 0.25, 0.25)), effect_map.shares(), look)


def draw_pie(axes: Axes, shares: Mapping[str, float], look: Look) -> None:
    """Draw the shares of negative, positive (or unsigned: grey, of either sign) and none, clockwise from the top."""
    colours = {"negative": look.cmap(0.12), "positive": look.cmap(0.88), "unsigned": (0.6,) * 3, "none": (1.0,) * 3}
    names = ("unsigned", "none") if "unsigned" in shares else ("negative", "positive", "none")
    sizes = [shares[name] for name in names]
    if sum(sizes) > 0:
        edge = {"edgecolor": "black", "linewidth": 0.8}
        axes.pie(sizes, colors=[colours[name] for name in names], startangle=90, counterclock=False, wedgeprops=edge)


def draw_bar(axes: Axes, effect_map: EffectMap, look: Look) -> None:
    """Draw the part of the colour axis between the smallest and the largest effect, both printed."""
    summary = effect_map.summary()
    low, high = summary.get("min_db", 0.0), summary.get("max_db", 0.0)
    axis = np.linspace(-look.bound, look.bound, 512)
    strip = look.colours(axis)[None]
    outside = (axis < min(low, 0.0)) | (axis > max(high, 0.0))
    strip[:, outside] = 1.0
    axes.imshow(strip, aspect="auto", extent=(-look.bound, look.bound, 0, 1))
    axes.set_axis_off()
    style = {"transform": axes.transAxes, "va": "center", "fontsize": 9, "fontweight": "bold"}
    axes.text(-0.02, 0.5, f"{low:+.{look.digits}f}", ha="right", **style)
    axes.text(1.02, 0.5, f"{high:+.{look.digits}f} {look.unit}", ha="left", **style)


def map_figure(
    effect_map: EffectMap, panels: Sequence[tuple[str, np.ndarray]], clean: np.ndarray, roi: Rect, look: Look
) -> Figure:
    """Draw the figure of one cell: the panels (title, image), then the map with its bar and pie.

    Args:
        effect_map: the map.
        panels: titles and (h, w, 3) uint8 images, each of the extent of the clean image at any scale.
        clean: (H, W, 3) uint8, under the map.
        roi: in clean pixels.
        look: colours and blending.
    """
    columns = len(panels) + 1
    figure = NotebookFigure(figsize=(2.9 * columns, 3.5), layout="constrained")
    axes = figure.subplots(2, columns, height_ratios=(1, 0.09), squeeze=False)
    for column, (title, image) in enumerate(panels):
        ratio = image.shape[0] / clean.shape[0]
        top = axes[0, column]
        top.imshow(image, interpolation="nearest")
        frame = Rectangle(
            (roi.left * ratio - 0.5, roi.top * ratio - 0.5),
            roi.width * ratio,
            roi.height * ratio,
            fill=False,
            edgecolor=ROI_GREEN,
            linewidth=1.5,
        )
        top.add_patch(frame)
        top.set_title(title, fontsize=10)
        top.set_xticks([])
        top.set_yticks([])
        axes[1, column].set_axis_off()
    axes[0, -1].set_title("Causal Effect Map", fontsize=10)
    draw_map(axes[0, -1], effect_map, clean, roi, look)
    draw_bar(axes[1, -1].inset_axes((0.2, 0, 0.55, 1)), effect_map, look)
    axes[1, -1].set_axis_off()
    return figure
