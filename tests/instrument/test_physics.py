"""Operators of deepinv and motion blur: what they are built of, what the key says of it, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from cem_bench import Cell, Noise, Options, Scene, Uniform, as_model, measure
from cem_bench.inputs.degradations import Blur, MotionBlur, Physics
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.interventions import pasted, spread_px, true_patches
from cem_bench.measuring.cell import describe
from cem_bench.measuring.entry import enlist
from cem_bench.store.cells import read_cells
from cem_bench.store.draws import run_key
from cem_bench.store.quantities import reach_px

NOISE = {"_target_": "deepinv.physics.GaussianNoise", "sigma": 0.02}
GAUSSIAN = {"_target_": "deepinv.physics.functional.gaussian_blur", "sigma": [2.0, 2.0]}
BLUR = {"_target_": "deepinv.physics.Blur", "filter": GAUSSIAN, "padding": "reflect"}
MRI = {"_target_": "deepinv.physics.MRI"}
MASK = {"_target_": "deepinv.physics.generator.GaussianMaskGenerator", "acceleration": 4}


def test_spread_is_measured(scene: Scene):
    """As far as the kernel's radius; the whole image in Fourier space; nothing for a mask."""
    assert spread_px(Physics({**BLUR, "filter": {**GAUSSIAN, "sigma": [1.0, 1.0]}}), scene.grid) in (3, 4)
    assert spread_px(Physics(), scene.grid) == 0
    for operator, more in (
        (MRI, {"generator": MASK, "observed": "adjoint", "channels": "complex"}),
        ({**BLUR, "padding": "circular"}, {}),
    ):
        degradation = Physics(operator, **more)
        assert pasted(degradation, scene.grid.rect(20), scene.size) == Rect(0, 0, *scene.size)


def test_a_blur_of_deepinv_is_that_of_scipy(scene: Scene):
    """Away from the edges, where the two reflect differently, and up to the radius at which each cuts its kernel."""
    ours, theirs = (one(scene.clean).astype(int)[10:-10, 10:-10] for one in (Blur(2.0), Physics(BLUR)))
    assert np.abs(ours - theirs).max() <= 1


def test_full_measurements_give_the_image_back(scene: Scene):
    """Without noise or a mask, Fourier space and way back are the identity, of a square and of another image."""
    for observed in ("adjoint", "pseudoinverse"):
        assert (
            np.abs(Physics(MRI, observed=observed, channels="complex")(scene.clean).astype(int) - scene.clean).max()
            == 0
        )
    many = {"_target_": "deepinv.physics.Tomography", "angles": 180, "normalize": True}
    back = Physics(many, observed="pseudoinverse")(scene.clean).astype(int)[8:-8, 8:-8]
    assert np.abs(back - scene.clean[8:-8, 8:-8]).mean() < 6


def test_a_spread_that_is_too_small_is_refused(scene: Scene, pool):
    with pytest.raises(ValueError, match=r"farther than was measured .* write task.degradation.spread_px=64"):
        true_patches(scene.clean, Physics(BLUR, spread_px=1), scene.grid.rect(20), pool.patches[:1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Physics(observed="sinogram"), "Physics observed is 'sinogram'; expected one of measurement, adjoint"),
        (lambda: Physics(channels="bgr"), "Physics channels is 'bgr'; expected one of rgb, one, complex"),
        (
            lambda: Physics(MRI, channels="complex"),
            "the measurement is no image; write task.degradation.observed=adjoint",
        ),
        (lambda: Physics({"mask": 0.5}), "expected _target_, as in physics._target_=deepinv.physics.MRI"),
        (lambda: Physics(spread_px=-1), "Physics spread_px is -1; expected 0 or more"),
        (lambda: MotionBlur(side=4), "MotionBlur side is 4; expected an odd number"),
        (lambda: MotionBlur(length=0), "MotionBlur length is 0; expected a number above 0"),
        (lambda: MotionBlur("nowhere.npy"), "MotionBlur kernel nowhere.npy is not there"),
    ],
)
def test_parameters_out_of_range_are_refused(make, words: str):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("degradation", "words"),
    [
        (Physics({**BLUR, "padding": "valid"}), r"expected an image of 48x64 pixels: write .* physics.padding=reflect"),
        (Physics({"_target_": "deepinv.physics.Nothing"}), "Nothing cannot be built for an image of 48x64"),
        (Physics({**BLUR, "kernel": 3, "filter": "none"}), "Blur cannot be built for an image of 48x64"),
        (
            Physics({**BLUR, "noise_model": {"_target_": "deepinv.physics.PoissonNoise", "gain": 0.1}}),
            "depends on the content, .* take deepinv.physics.GaussianNoise",
        ),
    ],
)
def test_operators_that_cannot_be_measured_are_refused(degradation: Physics, words: str, scene: Scene):
    with pytest.raises(ValueError, match=words):
        degradation(scene.clean)


def test_the_key_has_operator_version_and_kernel(scene: Scene, pool, tmp_path):
    kernel = np.zeros((3, 5))
    kernel[1] = 1
    file = tmp_path / "kernel.npy"
    np.save(file, kernel)
    first = MotionBlur(str(file))
    np.save(file, kernel * 7)
    assert np.array_equal(MotionBlur(str(file)).weights, first.weights), "scaled to sum 1"
    kernel[0, 0] = 1
    np.save(file, kernel)
    second = MotionBlur(str(file))
    model = as_model(lambda x: x, name="same")
    made = [first, second, Physics(), Physics(BLUR), Physics(BLUR, field_seed=1), Physics(BLUR, library="0.4")]
    keys = {run_key(Cell(model, scene, one, pool, Uniform(1)).identity()) for one in made}
    assert len(keys) == len(made)
    assert describe(Physics())["library"].count(".") == 2
    assert (first.reach, second.reach) == (2, 2)
    with pytest.raises(ValueError, match=r"is \(2, 5\) with values from 0 to 1; expected \(height, width\), both odd"):
        np.save(file, kernel[:2])
        MotionBlur(str(file))


@pytest.mark.parametrize("suffix", [".txt", ".png", ".npy"])
def test_a_kernel_of_a_file_moves_the_image(scene: Scene, tmp_path, suffix: str):
    """A single weight beside the middle shifts the image against its side, as a convolution does."""
    kernel = np.zeros((3, 3))
    kernel[1, 2] = 200
    file = tmp_path / f"kernel{suffix}"
    if suffix == ".txt":
        np.savetxt(file, kernel)
    elif suffix == ".npy":
        np.save(file, kernel)
    else:
        Image.fromarray(kernel.astype(np.uint8)).save(file)
    moved = MotionBlur(str(file))(scene.clean)
    assert np.array_equal(moved[:, 1:], scene.clean[:, :-1])


def test_a_drawn_path_is_a_kernel():
    for field_seed in range(3):
        weights = MotionBlur(side=21, field_seed=field_seed).weights
        assert weights.shape == (21, 21)
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 0
        assert 3 <= (weights > 1e-3).sum() < 150, "a path, no disc"


def test_reach_in_tables_counts_from_where_content_spreads_to(scene: Scene, pool, tiny, tmp_path):
    facts = {"network": "tiny", "reach": 2, "global_statistics": "", "parameters": 1}
    scene = dataclasses.replace(scene, source="skimage:data/coffee.png")
    for degradation, wanted in ((Noise(), 2), (Blur(1.0), 6)):
        output = tmp_path / type(degradation).__name__
        model = as_model(tiny(), name="tiny", facts=facts)
        cell = Cell(model, scene, degradation, pool, Uniform(2), Options(engine="full"))
        enlist(cell, measure(cell, output / "store"), ["model=tiny"], output, "denoise_ca")
        stored = read_cells(output, "denoise_ca")[0]
        assert reach_px(stored) == wanted
        effects = {block: draws for block, draws in stored.effects.items() if np.abs(draws).max() > 0}
        assert effects
