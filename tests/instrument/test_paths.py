"""Effects by path: nothing through pools where there are none, parts that add, a split that is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cem_bench.figures.map import Look
from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.paths import paths
from cem_bench.models.model import as_model
from cem_bench.report.paths_page import blocks_of, figure_of, pools_of, rings_of, sums_of, write_paths_page
from cem_bench.sampling.rules import Paper, Uniform
from cem_bench.store.roots import other_roots, root_over


class Gated(nn.Module):
    """Two convolutions, each with channel attention over the whole image."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
            self.gates = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.first(x))
        for gate in self.gates:
            features = features * torch.exp(4 * gate(features.mean((2, 3))))[..., None, None]
        return x + 0.3 * self.last(features)


@pytest.fixture
def gated(scene, pool) -> Cell:
    return Cell(as_model(Gated().eval(), name="gated"), scene, Noise(30), pool, Uniform(4), Options())


def test_without_pools_all_travels_along_the_pixels_bit_for_bit(scene, pool, tiny):
    cell = Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(4), Options())
    measured, split = paths(cell, None)
    draws = measure(cell).draws
    assert np.array_equal(split.pixels, np.stack([draws[block] for block in split.blocks]))
    assert not split.pooled.any()
    assert split.pools == []
    assert split.unknown == []
    table = sums_of(split).set_index("path")
    assert table.loc["through the pools", ["sum_db", "sum_db_low", "sum_db_high", "sizes_db"]].tolist() == [0, 0, 0, 0]
    assert measured.effect_map.effect.shape == scene.grid.shape


def test_parts_add_to_the_draws_of_the_real_network(gated: Cell):
    measured, split = paths(gated, None)
    assert len(split.pools) == 2
    assert np.array_equal(split.effects, np.stack([measured.draws[block] for block in split.blocks]))
    few = split.alone.shape[1]
    parts = split.pixels[split.sampled, :few] + split.released.sum(axis=2)
    assert np.allclose(parts, split.effects[split.sampled, :few], atol=1e-5)
    far = split.distance > 8  # beyond the reach of both convolutions
    assert np.abs(split.pixels[far]).max() < 1e-5
    assert np.abs(split.effects[far]).max() > 1e-4
    left = split.pooled[far] - split.first_order[far].sum(axis=2)
    assert np.abs(left).max() < 0.1 * np.abs(split.pooled[far]).max()


def test_the_adjoint_says_which_pool_carries_it_as_forwards_do(gated: Cell):
    _, split = paths(gated, None)
    table = pools_of(split)
    assert (table["error_rms_db"] < 0.4 * table["forwards_rms_db"]).all()
    assert table["sum_db"].sum() == pytest.approx(split.first_order.sum(axis=2).mean(axis=1).sum())


def test_a_split_that_is_stored_is_not_made_again(gated: Cell, tmp_path: Path):
    _, before = paths(gated, tmp_path)
    stages: list[str] = []
    _, after = paths(gated, tmp_path, lambda done, total, text: stages.append(text))
    assert not {"drawing", "along the pixels", "pool by pool"} & set(stages)
    for name in ("effects", "pixels", "first_order", "alone", "released"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_page_and_tables_say_what_was_measured(gated: Cell, tmp_path: Path):
    measured, split = paths(gated, None)
    figure = figure_of(split, (gated.scene.clean, gated.scene.roi), Look.of("DN", "psnr"))
    record = {**measured.record, "root_sha256": root_over(split.roots)}
    assert measured.store.key in split.roots
    files = write_paths_page(tmp_path, split, figure, record, "python -m cem_bench paths")
    assert {path.name for path in files} >= {
        "README.md",
        "paths.png",
        "blocks.csv",
        "sums.csv",
        "rings.csv",
        "pools.csv",
    }
    assert other_roots(tmp_path, record["root_sha256"]) == (2, [])
    page = (tmp_path / "README.md").read_text()
    assert "through the pools" in page
    assert "interaction" in page
    table = blocks_of(split)
    total = table[table["path"] == "total"].set_index("block")["effect_db"]
    assert total[split.blocks[0]] == pytest.approx(split.effects[0].mean())
    assert rings_of(split)["blocks"].sum() == len(split.blocks)


@pytest.mark.parametrize(
    ("rule", "options", "word"),
    [
        (Paper(), Options(), "sampling=uniform"),
        (Uniform(1), Options(), "at least 2"),
        (Uniform(4), Options(outcome="psnr_8bit"), "derivative"),
        (Uniform(4), Options(outcome="ssim"), "derivative"),
        (Uniform(4), Options(precision="bf16"), "fp32"),
    ],
)
def test_what_cannot_be_split_is_refused(scene, pool, tiny, rule, options, word):
    cell = Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, rule, options)
    with pytest.raises(ValueError, match=word):
        paths(cell, None)


def test_more_draws_of_the_levels_narrow_the_intervals(gated: Cell):
    _, split = paths(gated, None, cheap=24)
    assert split.pixels.shape == (len(split.blocks), 24)
    assert split.pooled.shape == split.effects.shape
    table = blocks_of(split)
    width = (table["effect_db_high"] - table["effect_db_low"]).groupby(table["path"]).median()
    assert width["total, by levels"] < 0.7 * width["total"]
    assert "total, by levels" in set(sums_of(split)["path"])


def test_pools_of_other_photographs_are_set_beside_the_own(gated: Cell):
    photograph = np.full((60, 70, 3), 200, np.uint8)
    _, split = paths(gated, None, others=[photograph, photograph[:40]])
    assert split.others == 1, "one is smaller than the scene"
    assert split.own == pytest.approx(measure(gated).record["psnr_roi_db"], abs=0.02)
    assert abs(split.under_others - split.own) > 1e-3


def test_networks_that_enlarge_are_split_too(scene, pool, tiny):
    cell = Cell(as_model(tiny(4), name="tiny", scale=4), scene, Bicubic(4), pool, Uniform(2), Options())
    assert not paths(cell, None)[1].pooled.any()
