"""Laws of the figures: what is drawn is what the tables say, and it fits a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from omegaconf import OmegaConf

from cem_bench.figures import curves, panels
from cem_bench.figures.map import Look
from cem_bench.figures.style import ALL_EQUAL_GREY, WIDTH
from cem_bench.report import ablations
from cem_bench.report.drawn import evenly
from cem_bench.report.tables import cells_table, decay_table, summary_table
from cem_bench.store.cells import StoredCell
from cem_bench.store.quantities import measure_cell

LIVE = [block for block in range(64) if block not in (27, 28, 35, 36)]


def mixed(make, rng: np.random.Generator, **said) -> StoredCell:
    """Block 0 positive; 1 and 2 without spread: at 0, and far above tol; 3 in doubt; none elsewhere."""
    effects = {block: rng.normal(0, 1e-4, 6) for block in LIVE}
    effects |= {0: rng.normal(0.5, 0.01, 6), 1: np.zeros(6), 2: np.full(6, 0.4), 3: rng.normal(0.02, 0.1, 6)}
    return make(effects, **said)


def test_equal_draws_under_tol_are_a_kind_of_undecided(make, rng: np.random.Generator) -> None:
    row = measure_cell(mixed(make, rng))
    assert (row["blocks_positive"], row["blocks_undecided"], row["blocks_all_equal"]) == (1, 3, 1)
    assert row["share_all_equal"] == pytest.approx(1 / 60)


def test_equal_draws_under_tol_are_plain_grey_and_draws_in_doubt_are_hatched(make, rng: np.random.Generator) -> None:
    cell = mixed(make, rng)
    axes = Figure().subplots()
    panels.draw_verdicts(axes, cell.table, cell, Look())
    hatched = [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert hatched == [(16, 0), (24, 0)]
    painted = np.asarray(axes.images[0].get_array())
    assert painted.shape == (8, 8, 3)
    assert np.allclose(painted[0, 1], ALL_EQUAL_GREY)
    assert np.allclose(painted[0, 0], Look().cmap(0.85)[:3])
    assert np.allclose(painted[7], 1)
    assert axes.get_title() == "+1  −0  ?3"


@pytest.mark.parametrize("count", range(1, 31))
def test_parts_of_a_scene_are_few_even_and_fit(count: int) -> None:
    parts = evenly(list(range(count)))  # pyright: ignore[reportArgumentType]
    sizes = [len(part) for part in parts]
    assert [one for part in parts for one in part] == list(range(count))
    assert max(sizes) <= panels.MOST
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-count // panels.MOST)


def test_a_scene_of_many_models_and_a_pair_are_no_wider_than_a_page(make, rng: np.random.Generator) -> None:
    cells = [mixed(make, rng, model=f"a_model_of_long_name_{number}") for number in range(panels.MOST)]
    for figure in (panels.scene_figure(cells), panels.pair_figure(*cells[:2])):
        assert figure.get_figwidth() <= WIDTH + 1e-9


def test_long_names_break_where_they_fit() -> None:
    assert panels.folded("FFDNet", 1) == "FFDNet"
    assert panels.folded("RCAN_DN_none_seed1", 0.9) == "RCAN_DN_none_\nseed1"
    assert panels.folded("anamewithoutanybreak", 0.9) == "anamewithoutanybreak"


def test_a_network_of_two_tasks_is_drawn_and_averaged_by_task(make, rng: np.random.Generator) -> None:
    cells = []
    for task, size in (("DN", 0.1), ("SR", 1.0)):
        for image in ("coffee", "rocket"):
            effects = {block: np.abs(rng.normal(size * (block == 26), 1e-3, 6)) for block in LIVE}
            cell = make(effects, image=f"{image}{task}")
            cells.append(StoredCell({**cell.entry, "task": task}, cell.folder, cell.rule))
    decay = decay_table(cells).set_index(["task", "distance_px"])["size_db"]
    assert decay["SR", 8] == pytest.approx(10 * decay["DN", 8], rel=0.1)
    summary = summary_table(cells_table(cells))
    figure = curves.verdict_plot(summary, Look())
    assert [len(axis.get_yticklabels()) for axis in figure.axes] == [1, 1]
    for axis, task in zip(figure.axes, ("DN", "SR"), strict=True):
        row = summary.set_index("task").loc[task]
        width = sum(patch.get_width() for patch in axis.patches if isinstance(patch, Rectangle))
        assert width == pytest.approx(100 * (row["share_positive"] + row["share_negative"] + row["share_undecided"]))
        assert axis.get_title(loc="left") == {"DN": "denoising", "SR": "super-resolution"}[task]
    assert len(curves.mass_plot(summary, Look()).axes) == 4
    assert len(curves.radius_plot(summary).axes) == len(curves.decay_plot(decay_table(cells)).axes) == 2


def test_maps_of_two_settings_agree_as_far_as_they_are_alike(make, rng: np.random.Generator) -> None:
    cell = mixed(make, rng)
    other = make({block: -draws for block, draws in cell.effects.items()}, model="B")
    as_pool = [
        StoredCell({**one.entry, "model": "A", "variant": {"donors": pool}}, one.folder, one.rule)
        for one, pool in ((cell, "x"), (cell, "y"), (other, "z"))
    ]
    found = ablations.agreement(as_pool, ends_only=False)
    assert found["correlation"].tolist() == pytest.approx([1, -1, -1])
    assert found["flip_rate"].tolist() == [0, 1, 1]
    assert len(ablations.agreement(as_pool, ends_only=True)) == 1
    coarse = StoredCell({**as_pool[2].entry, "block": 16}, other.folder, other.rule)
    assert ablations.agreement([as_pool[0], coarse], ends_only=True).empty


SETTINGS = [
    key
    for path in sorted((Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))
    if (key := OmegaConf.load(path).get("report", {}).get("setting"))
]


@pytest.mark.parametrize("key", [*SETTINGS, "model.options.width"])
def test_every_setting_that_an_experiment_varies_is_drawn(make, rng: np.random.Generator, key: str) -> None:
    cells = []
    for value in ("1", "2"):
        for image in ("coffee", "rocket"):
            cell = mixed(make, rng, image=image, model=f"FFDNet{value}")
            cells.append(StoredCell({**cell.entry, "model": "FFDNet", "variant": {key: value}}, cell.folder, cell.rule))
    figure = ablations.figure(cells_table(cells), {"setting": key})
    assert {axis.get_xlabel() for axis in figure.axes} == {ablations.SETTINGS.get(key, (key, False))[0]}
    assert (key in ablations.SETTINGS) == (key in SETTINGS), "every setting of ours has a name of its own"


def test_shares_of_a_pie_have_signs_where_every_row_has_them(make, rng: np.random.Generator) -> None:
    effects = {block: rng.normal(0, 1e-4, 6) for block in LIVE}
    cell = make(effects | {0: np.full(6, 0.4), 1: np.full(6, 0.3), 2: np.full(6, -0.2)})
    table = cells_table([cell])
    assert panels.shares_of(table) == pytest.approx({"positive": 2 / 60, "negative": 1 / 60, "none": 57 / 60})
    assert panels.shares_of(table)["positive"] == pytest.approx(cell.effect_map.shares()["positive"])
    lost = pd.concat([table, table.drop(columns="share_harm_paper")])
    for rows in (lost, lost.drop(columns="share_harm_paper")):
        assert panels.shares_of(rows) == pytest.approx({"unsigned": 3 / 60, "none": 57 / 60})


def test_one_draw_per_block_has_a_plot_without_sums(make, rng: np.random.Generator) -> None:
    cell = make({block: rng.normal(0, 0.1, 1) for block in LIVE})
    table = cells_table([cell], pd.DataFrame(), [cell.model])
    figure = curves.mass_plot(summary_table(table), Look())
    assert any("2 draws" in text.get_text() for axes in figure.axes for text in axes.texts)
