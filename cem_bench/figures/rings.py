"""Joint effects of rings: what replacing a whole ring of blocks at once does, by its distance."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cem_bench.figures.series import looks_of, panel_grid
from cem_bench.figures.style import style
from cem_bench.store.outcomes import facts_of


def ring_plot(joint: pd.DataFrame, outcome: str = "psnr") -> Figure:
    """Draw the joint effect of every ring of distance by model, with bands over images, linear within ten times tol.

    Args:
        joint: `label`, `task`, `distance_px` (rows without one are left out), `joint_db` and `_low`, `_high`.
        outcome: of the effects.
    """
    facts, rings = facts_of(outcome), joint.dropna(subset=["distance_px"])
    with style():
        figure, axes, panels = panel_grid(rings, 2.4)
        for line, shown in zip(axes, panels, strict=True):
            for axis, curves in zip(line, shown, strict=False):
                looks = looks_of(list(curves["label"]))
                for label, rows in curves.groupby("label", sort=False):
                    rows, look = rows.sort_values("distance_px"), looks[str(label)]
                    at = rows["distance_px"].to_numpy(float)
                    axis.plot(at, rows["joint_db"], markersize=3.5, **look)
                    ends = rows["joint_db_low"], rows["joint_db_high"]
                    axis.fill_between(at, *ends, color=look["color"], alpha=0.12, linewidth=0)
                axis.axhline(0, color="0.4", linewidth=0.7)
                axis.set_yscale("symlog", linthresh=10 * facts.tol)
            line[0].set_ylabel(f"joint effect of the ring, {facts.unit}\n(linear within ±{10 * facts.tol:g})")
        for axis in axes[-1]:
            axis.set_xlabel("distance to the ROI, px")
    return figure
