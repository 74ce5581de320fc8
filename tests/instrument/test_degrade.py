"""Degradations: the same bits every time, the reference code's observations, windows equal to the whole."""

from __future__ import annotations

import numpy as np
import pytest

from cem_bench.inputs.degradations import Bicubic, Blur, Noise, Rain
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.interventions import reference_patches
from cem_bench.inputs.scene import Scene


def test_seeds_and_levels_make_different_fields(scene: Scene):
    assert not np.array_equal(Noise(50, field_seed=0)(scene.clean), Noise(50, field_seed=1)(scene.clean))
    assert not np.array_equal(Rain("medium", 0)(scene.clean), Rain("medium", 1)(scene.clean))
    assert {"amount", "width", "length", "angle", "beta"} == set(Rain("medium").parameters(48, 64))


def test_noise_has_its_sigma():
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert np.std(Noise(20)(grey).astype(float)) == pytest.approx(20, rel=0.01)


def test_unknown_level_names_the_known():
    with pytest.raises(ValueError, match=r"Unknown rain level 'drizzle'; one of small, medium, large, random"):
        Rain("drizzle")


def test_size_the_scale_does_not_divide():
    with pytest.raises(ValueError, match="cannot be reduced by 4: crop it to 48x60"):
        Bicubic(4)(np.zeros((50, 61, 3), np.uint8))


@pytest.mark.parametrize(
    ("file", "degradation"),
    [("DN_DnCNN_crop_2", Noise(50, 0, "mt19937")), ("SR_RFDN_demo_1", Bicubic(4))],
)
def test_observations_of_the_reference_code(shared, file: str, degradation):
    with np.load(shared / "golden" / f"{file}.npz") as recording:
        assert np.array_equal(degradation(recording["clean"]), recording["observation"])


def test_reference_donors_of_the_reference_code(shared):
    """The recorded SR patches are cubic reductions of BGR donors: our reference form gives the same bytes."""
    with np.load(shared / "data" / "donors_div2k_8x8.npz") as packed:
        index = {name: i for i, name in enumerate(packed["names"])}
        donors = packed["patches"]
    with np.load(shared / "golden" / "SR_RFDN_demo_1.npz") as recording:
        wanted = donors[[index[name] for name in recording["donor"][:500]]]
        recorded, clean = recording["patches"][:500], recording["clean"]
    ours = reference_patches(clean, Bicubic(4), Rect(0, 0, 8, 8), wanted, generators=[], bgr=True)
    assert np.array_equal(ours, recorded)


def test_reference_form_of_an_unknown_degradation(scene: Scene, pool):
    with pytest.raises(ValueError, match="no intervention for Blur; use intervention"):
        reference_patches(scene.clean, Blur(), scene.grid.rect(0), pool.patches[:1], generators=[])
