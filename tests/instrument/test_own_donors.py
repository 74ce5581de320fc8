"""Donors of the same image, and donors alike a block's content: which donor a block gets, and that the key says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cem_bench import Cell, DonorPool, Noise, Options, Rect, Scene, Uniform, as_model, measure
from cem_bench.inputs.donors import stratify
from cem_bench.inputs.own_donors import MATCHES, matched, same_image_donors
from cem_bench.store.draws import run_key


def place(name: str, side: int) -> Rect:
    """Where a patch of the image itself was cut."""
    top, left = map(int, name.split(":")[1:])
    return Rect(top, left, side, side)


@pytest.mark.parametrize("block", [4, 8, 16])
def test_a_donor_of_the_same_image_overlaps_neither_roi_nor_block(scene: Scene, block: int):
    scene = dataclasses.replace(scene, block=block)
    pool = same_image_donors(scene, count=500, pool_seed=3)
    keys = Cell(as_model(lambda x: x, name="same"), scene, Noise(), pool, Uniform(2)).keys
    assert len(pool) <= 500
    assert len(pool.choices or ()) == len(scene.grid)
    for number, (name, patch) in enumerate(zip(pool.names, pool.patches, strict=True)):
        at = place(name, block)
        assert at.intersect(scene.roi).area == 0
        assert np.array_equal(patch, scene.clean[at.slices])
        if number > 60:
            break
    seen = set()
    for index in range(len(scene.grid)):
        donors, strata = keys.donors(pool, index, 0, 40)
        assert not strata.any()
        assert all(place(pool.names[one], block).intersect(scene.grid.rect(index)).area == 0 for one in donors)
        seen |= set(donors.tolist())
    assert len(seen) > len(pool) / 3, "all over the image"


@pytest.mark.parametrize("by", MATCHES)
@pytest.mark.parametrize("own", [False, True])
def test_matched_donors_are_the_nearest_a_block_may_get(scene: Scene, pool: DonorPool, by: str, own: bool):
    start = same_image_donors(scene) if own else pool
    found = matched(start, scene, by, 10)
    luma = lambda patches: patches @ np.array([0.299, 0.587, 0.114])  # noqa: E731
    statistic = (lambda values: values.mean()) if by == "mean" else (lambda values: values.std())
    of_pool = np.array([statistic(luma(patch)) for patch in start.patches])
    for block in range(len(scene.grid)):
        value = statistic(luma(scene.clean[scene.grid.rect(block).slices]))
        chosen = (found.choices or ())[block]
        allowed = np.arange(len(start)) if start.choices is None else start.choices[block]
        assert len(chosen) == 10 and set(chosen) <= set(allowed)
        rest = np.setdiff1d(allowed, chosen)
        assert np.abs(of_pool[chosen] - value).max() <= np.abs(of_pool[rest] - value).min() + 1e-9
    assert "nearest in" in found.manifest["source"]


def test_the_choice_is_part_of_the_key(scene: Scene, pool: DonorPool):
    model = as_model(lambda x: x, name="same")
    pools = [
        pool,
        matched(pool, scene, "mean", 10),
        matched(pool, scene, "contrast", 10),
        matched(pool, scene, "mean", 11),
        same_image_donors(scene),
        same_image_donors(scene, count=500, pool_seed=1),
        same_image_donors(scene, count=500, pool_seed=2),
        same_image_donors(dataclasses.replace(scene, roi=Rect(0, 0, 16, 16))),
        matched(same_image_donors(scene), scene, "mean", 10),
    ]
    keys = {run_key(Cell(model, scene, Noise(), one, Uniform(2)).identity()) for one in pools}
    assert len(keys) == len(pools)
    assert matched(pool, scene, "mean", 10).sha256 == pools[1].sha256


def test_a_map_with_donors_of_the_same_image(scene: Scene, tiny, tmp_path):
    pool = matched(same_image_donors(scene), scene, "contrast", 20)
    cell = Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3), Options(engine="auto"))
    measured = measure(cell, tmp_path)
    rows = measured.store.rows
    for block, donors in rows.groupby("block")["donor"]:
        assert set(donors) <= set((pool.choices or ())[int(block)])  # pyright: ignore
    assert measure(cell, tmp_path).record["session"]["new_draws"] == 0
    more = measure(dataclasses.replace(cell, rule=Uniform(5)), tmp_path)
    assert np.array_equal(more.store.rows.query("k < 3")["donor"], rows["donor"])
    assert "outside ROI and block" in measured.record["donors"]["source"]


def test_donors_that_cannot_be(scene: Scene, pool: DonorPool):
    whole = dataclasses.replace(scene, roi=Rect(0, 0, 48, 64))
    for make, words in (
        (lambda: same_image_donors(whole), "lies outside the ROI of waves: use a smaller ROI"),
        (lambda: same_image_donors(scene, count=1), "overlaps all 1 patches: raise donors.count"),
        (lambda: matched(pool, scene, "colour"), "donors.match is 'colour'; expected one of mean, contrast"),
        (lambda: matched(pool, scene, "mean", 1), "donors.nearest is 1; expected at least 2"),
        (lambda: matched(stratify(pool, 3), scene, "mean"), "donors.match with donors.strata"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
