"""Laws of every degradation there is: those of the package, found by looking, and those of the shipped tasks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cem_bench.inputs import degradations
from cem_bench.inputs.degradations import (
    Bicubic,
    Blur,
    Degradation,
    Haze,
    Jpeg,
    LostPixels,
    Mosaic,
    MotionBlur,
    Noise,
    Physics,
    Rain,
)
from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.geometry import Grid, Rect
from cem_bench.inputs.interventions import pasted, spread_px, true_patches
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import Bench, to_tensor
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.store import maps

TASKS = Path(__file__).resolve().parents[2] / "conf" / "task"
NOISE = {"_target_": "deepinv.physics.GaussianNoise", "sigma": 0.02}
# other settings than those of the classes and of the tasks
FURTHER = [
    Bicubic(2),
    Noise(15, field_seed=3),
    Rain("large", field_seed=4),
    Rain("random", field_seed=5),
    Blur(0.7),
    Jpeg(5),
    Haze(depth="level"),
    Mosaic("GBRG", "zero"),
    LostPixels(0.5, side=5, value=128, field_seed=9),
    MotionBlur(side=9, field_seed=4),
    Physics({"_target_": "deepinv.physics.Demosaicing"}),
    Physics(
        {"_target_": "deepinv.physics.Blur", "padding": "circular", "noise_model": NOISE},
        {"_target_": "deepinv.physics.generator.MotionBlurGenerator", "psf_size": 7},
    ),
    Physics({"_target_": "deepinv.physics.CompressedSensing", "m": 900}, observed="pseudoinverse", channels="one"),
]


def every() -> list[Degradation]:
    """Every class of the package at its defaults, every shipped task, and further settings."""
    classes = [thing for thing in vars(degradations).values() if isinstance(thing, type)]
    plain = [kind() for kind in classes if dataclasses.is_dataclass(kind) and hasattr(kind, "lattice")]
    tasks = [OmegaConf.load(path).degradation for path in sorted(TASKS.glob("*.yaml"))]
    found = {repr(one): one for one in (*plain, *(instantiate(task) for task in tasks if task), *FURTHER)}
    return list(found.values())


EVERY = every()
over_all = pytest.mark.parametrize("degradation", EVERY, ids=repr)


@dataclasses.dataclass(frozen=True)
class Place:
    """A clean image, its grid, and a donor for every block."""

    clean: np.ndarray
    grid: Grid
    donors: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        return self.grid.height, self.grid.width


@pytest.fixture
def place(degradation: Degradation, scene: Scene, rng: np.random.Generator) -> Place:
    """The scene's image with blocks of 8 px, or of 12 px where the degradation's scale does not divide 8."""
    side = 8 if 8 % degradation.lattice == 0 else 12
    grid = Grid(48, 64 // side * side, side)
    donors = rng.integers(0, 256, (len(grid), side, side, 3), dtype=np.uint8)
    return Place(scene.clean[:, : grid.width], grid, donors)


def whole(degradation: Degradation, clean: np.ndarray, block: Rect, donor: np.ndarray) -> np.ndarray:
    """The observation of the clean image with a donor in it, degraded as a whole."""
    changed = clean.copy()
    changed[block.slices] = donor
    return degradation(changed)


def test_every_class_has_a_task_and_every_task_a_class():
    names = {type(one).__name__ for one in EVERY}
    assert names == set(degradations.__all__) - {"Degradation"}
    shipped = [OmegaConf.load(path).degradation for path in TASKS.glob("*.yaml")]
    assert {task["_target_"].rpartition(".")[2] for task in shipped if task} == names


@over_all
def test_same_bits_every_time(degradation, place: Place):
    clean = place.clean.copy()
    first = degradation(clean)
    assert first.dtype == np.uint8
    assert first.shape == (place.size[0] // degradation.scale, place.size[1] // degradation.scale, 3)
    assert first.flags.writeable
    assert np.array_equal(first, dataclasses.replace(degradation)(clean))
    assert not np.array_equal(first, clean)
    assert np.array_equal(clean, place.clean)


def is_random(degradation: Degradation) -> bool:
    """Whether it draws anything: a mosaic of deepinv has a seed that nothing uses."""
    return hasattr(degradation, "field_seed") and "Demosaicing" not in repr(degradation)


@pytest.mark.parametrize("degradation", [one for one in EVERY if is_random(one)], ids=repr)
def test_another_seed_is_another_observation(degradation, place: Place):
    other = dataclasses.replace(degradation, field_seed=degradation.field_seed + 1)
    assert not np.array_equal(degradation(place.clean), other(place.clean))


@over_all
def test_true_patches_equal_degrading_the_whole_image(degradation, place: Place):
    for block in (0, 7, 12, 19, len(place.grid) - 1):
        at = place.grid.rect(block)
        part = pasted(degradation, at, place.size).scale_down(degradation.scale)
        for patch, donor in zip(
            true_patches(place.clean, degradation, at, place.donors[:3]), place.donors[:3], strict=True
        ):
            assert np.array_equal(patch, whole(degradation, place.clean, at, donor)[part.slices])


@over_all
def test_an_intervention_is_pasted_over_all_that_it_changes(degradation, place: Place):
    """Only super-resolution leaves out what its kernel carries beyond the block, as the published method does."""
    before = degradation(place.clean)
    for block, donor in enumerate(place.donors):
        at = place.grid.rect(block)
        part = pasted(degradation, at, place.size)
        assert part.contains(at)
        assert Rect(0, 0, *place.size).contains(part)
        if isinstance(degradation, Bicubic):
            assert part == at
            continue
        after = whole(degradation, place.clean, at, donor)
        after[part.slices] = before[part.slices]
        assert np.array_equal(after, before)


@over_all
def test_a_donor_equal_to_the_content_changes_nothing(degradation, place: Place):
    before = degradation(place.clean)
    for block in range(len(place.grid)):
        at = place.grid.rect(block)
        patch = true_patches(place.clean, degradation, at, place.clean[at.slices][None])[0]
        assert np.array_equal(patch, before[pasted(degradation, at, place.size).scale_down(degradation.scale).slices])


@pytest.mark.parametrize("degradation", [one for one in EVERY if not 6 % one.lattice or one.scale == 1], ids=repr)
@pytest.mark.parametrize("side", [6, 12])
def test_blocks_beside_the_lattice(degradation, side: int, rng: np.random.Generator):
    """Blocks that do not lie on the 8x8 grid of a JPEG, in an image that it does not divide."""
    if isinstance(degradation, Bicubic) and side % degradation.lattice:
        side *= degradation.lattice // 2
    clean = rng.integers(0, 256, (36, 60, 3), dtype=np.uint8)
    grid = Grid(36, 60, side)
    for block in (0, 4, len(grid) // 2, len(grid) - 1):
        at, donor = grid.rect(block), rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        part = pasted(degradation, at, (36, 60)).scale_down(degradation.scale)
        patch = true_patches(clean, degradation, at, donor)[0]
        assert np.array_equal(patch, whole(degradation, clean, at, donor[0])[part.slices])


def test_how_far_interventions_spread():
    grid = Grid(64, 64, 4)
    assert spread_px(Noise(), grid) == spread_px(Bicubic(4), grid) == spread_px(LostPixels(), grid) == 0
    assert spread_px(Blur(2.0), grid) == 8
    assert spread_px(Jpeg(), grid) == 4
    assert spread_px(Jpeg(), Grid(64, 64, 16)) == 0
    assert spread_px(Mosaic(fill="bilinear"), grid) == 1


@dataclasses.dataclass(frozen=True)
class Smear:
    """Somebody's own degradation: the mean over three columns; it does not say its spread."""

    task, scale, reach, lattice = "restore", 1, 2, 1

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        padded = np.pad(clean.astype(np.float64), ((0, 0), (2, 0), (0, 0)), mode="edge")
        return np.mean([padded[:, i : i + clean.shape[1]] for i in range(3)], axis=0).astype(np.uint8)

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        return self(clean)


def test_a_degradation_that_does_not_say_its_spread_fills_its_reach(scene: Scene, pool):
    at = scene.grid.rect(20)
    part = pasted(Smear(), at, scene.size)
    assert part == Rect(at.top - 2, at.left - 2, 12, 12)
    patch = true_patches(scene.clean, Smear(), at, pool.patches[:1])[0]
    assert np.array_equal(patch, whole(Smear(), scene.clean, at, pool.patches[0])[part.slices])


@pytest.mark.parametrize("engine", ["full", "auto"])
@pytest.mark.parametrize("degradation", [*EVERY, Smear()], ids=repr)
def test_an_effect_is_that_of_the_whole_image_degraded_again(degradation, engine: str, place: Place, tiny):
    """Exactly 0 for a donor that is the content itself; else what the plain network makes of the whole observation."""
    side, block = place.grid.block, 10
    scene = Scene("waves", place.clean, Rect(side, side, side, side), side, "made")
    itself = place.clean[scene.grid.rect(block).slices]
    pool = DonorPool(np.stack([itself, *place.donors[:4]]), np.arange(5).astype(str))
    model = as_model(tiny(degradation.scale), name="tiny", scale=degradation.scale)
    bench = Bench.of(Cell(model, scene, degradation, pool, Uniform(2), Options(engine=engine)))
    for donors in (np.array([0, 0]), np.array([3, 1])):
        patches = bench.patches(block, donors, 0)
        outputs = psnr(bench.engine.outputs(bench.input_rect(block), patches), bench.target)
        if not donors.any():
            assert (outputs == outputs[0]).all()
        elif not isinstance(degradation, Bicubic):  # super-resolution pastes the block alone
            at = scene.grid.rect(block)
            seen = [to_tensor(whole(degradation, scene.clean, at, pool.patches[donor])) for donor in donors]
            plain = Bench.full_forward(bench.cell, torch.stack(seen))[(..., *scene.roi.slices)]
            assert outputs[1:].tolist() == pytest.approx(psnr(plain, bench.target).tolist(), abs=1e-4)


def test_reach_counts_from_where_an_intervention_spreads_to(scene: Scene, pool, tiny):
    """A network that reaches 2 px sees the content 8 px farther through a blur that carries it 8 px."""
    model = as_model(tiny(), name="tiny")
    sharp, blurred = (
        Bench.of(Cell(model, scene, degradation, pool, Uniform(2))).status() == maps.MEASURED
        for degradation in (Noise(), Blur(2.0))
    )
    assert sharp.sum() == 4 * 4 - 4
    assert blurred.sum() == 6 * 6 - 4
    cell = Cell(model, scene, Blur(2.0), pool, Uniform(2))
    assert cell.identity()["intervention"]["spread_px"] == 8
    assert "spread_px" not in dataclasses.replace(cell, degradation=Noise()).identity()["intervention"]


def test_photons_follow_the_light():
    """Mean and variance of the Poisson-Gaussian noise over a flat image, and more light never gives fewer photons."""
    grey = np.full((200, 200, 3), 100, np.uint8)
    noisy = degradations.PoissonGaussian(peak=60, sigma=4, field_seed=1)(grey).astype(np.float64)
    assert noisy.mean() == pytest.approx(100, abs=0.5)
    assert noisy.var() == pytest.approx(255**2 * (100 / 255) / 60 + 16, rel=0.03)
    darker = degradations.PoissonGaussian(peak=60, sigma=4, field_seed=1)(grey - 20)
    assert (darker <= noisy).all()


def test_haze_hides_the_top_and_a_plane_ends_clear(scene: Scene):
    hazy = Haze(beta=50, airlight=1.0)(scene.clean)
    assert (hazy[0] == 255).all()
    assert np.array_equal(hazy[-1], scene.clean[-1])


def test_a_mosaic_keeps_what_it_measures(scene: Scene):
    for fill in ("zero", "bilinear"):
        seen = Mosaic("RGGB", fill)(scene.clean)
        assert np.array_equal(seen[::2, ::2, 0], scene.clean[::2, ::2, 0])
        assert np.array_equal(seen[1::2, 1::2, 2], scene.clean[1::2, 1::2, 2])
        assert np.array_equal(seen[::2, 1::2, 1], scene.clean[::2, 1::2, 1])
    assert np.array_equal(seen[2, 2, 1], np.rint(scene.clean[[1, 2, 2, 3], [2, 1, 3, 2], 1].mean()))


def test_a_share_of_the_pixels_is_lost():
    lost = LostPixels(0.3, field_seed=2).mask(300, 300)
    assert lost.mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Blur(0.0), "Blur sigma is 0.0; expected a number above 0"),
        (lambda: Blur(float("nan")), "Blur sigma is nan"),
        (lambda: Jpeg(96), "Jpeg quality is 96; expected 1"),
        (lambda: Haze(airlight=2), "Haze airlight is 2; expected a number in 0..1"),
        (lambda: Haze(depth="deep"), "one of plane, level"),
        (lambda: degradations.LowLight(gain=0), "LowLight gain is 0"),
        (lambda: degradations.PoissonGaussian(peak=-1), "PoissonGaussian peak is -1; expected photons above 0"),
        (lambda: Mosaic("RGB"), "one of RGGB, BGGR, GRBG, GBRG"),
        (lambda: LostPixels(share=1.5), "LostPixels share is 1.5"),
    ],
)
def test_parameters_out_of_range_are_refused(make, words: str):
    with pytest.raises(ValueError, match=words):
        make()
