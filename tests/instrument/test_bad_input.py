"""Every bad input is answered with one clear line: what it got, what it expected, what to do."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.inputs.donors import DonorPool, pool_from_array, pool_from_images
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import locate, read_rgb
from cem_bench.inputs.scene import Scene, load_scene
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.outcome import to_measure
from cem_bench.measuring.prepared import Bench, MeasureError
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.store.draws import Store, write_atomically


def test_image_missing():
    with pytest.raises(FileNotFoundError, match=r"Image not found: nowhere\.png\. Give a file path, or package:path"):
        locate("nowhere.png")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("RGBA", "is an image with alpha that is not opaque: flatten it"),
        ("I;16", r"has I;16 pixels \(16 bit or more\); expected 8-bit RGB: convert it to 8 bit"),
        ("LA", "is a grey image with alpha that is not opaque"),
    ],
)
def test_image_of_another_kind(tmp_path: Path, mode: str, message: str):
    path = tmp_path / "image.png"
    Image.new(mode, (16, 16)).save(path)
    with pytest.raises(ValueError, match=message):
        read_rgb(path)


def test_an_opaque_alpha_plane_is_dropped(tmp_path: Path):
    path = tmp_path / "image.png"
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[..., 1] = 7
    Image.fromarray(pixels).save(path)
    assert np.array_equal(read_rgb(path), pixels[..., :3])


def test_not_an_image(tmp_path: Path):
    path = tmp_path / "text.png"
    path.write_text("no image")
    with pytest.raises(ValueError, match="is not an image that can be read"):
        read_rgb(path)


def image(tmp_path: Path, height: int, width: int) -> str:
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)
    return str(path)


def test_image_smaller_than_the_roi(tmp_path: Path):
    with pytest.raises(ValueError, match="image of 16x24 pixels is smaller than the ROI of 32x32"):
        load_scene("small", image(tmp_path, 16, 24), Rect(0, 0, 32, 32), crop=None, block=8)


def test_roi_outside(tmp_path: Path):
    with pytest.raises(ValueError, match="the image of 64x64; the nearest that does is at row 32, column 0"):
        load_scene("outside", image(tmp_path, 64, 64), Rect(48, 0, 32, 32), crop=None, block=8)


def test_crop_outside(tmp_path: Path):
    with pytest.raises(ValueError, match=r"Crop .* does not lie in the image"):
        load_scene("crop", image(tmp_path, 64, 64), Rect(0, 0, 32, 32), crop=Rect(40, 0, 32, 32), block=8)


def test_roi_not_aligned(scene: Scene):
    moved = dataclasses.replace(scene, roi=Rect(17, 24, 16, 16))
    with pytest.raises(ValueError, match=r"not aligned to the scale 4; the nearest is \(16, 24, 16, 16\)"):
        moved.require_scale(4)


def test_block_the_scale_does_not_divide(scene: Scene):
    with pytest.raises(ValueError, match="Block size 8 is not a multiple of the scale 3: use 6 or 9"):
        scene.require_scale(3)


def test_block_that_does_not_tile(scene: Scene):
    with pytest.raises(ValueError, match="Image height 48 is not a multiple of the block size 7: crop the scene to 42"):
        dataclasses.replace(scene, block=7)


def test_empty_donor_folder(tmp_path: Path):
    with pytest.raises(ValueError, match="the donor pool would be empty"):
        pool_from_images([str(tmp_path)], 8, count=4)


def test_unreadable_donor_array(tmp_path: Path):
    path = tmp_path / "pool.npz"
    path.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"Donor pool .*pool\.npz cannot be read"):
        pool_from_array(str(path))
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ValueError, match="expected an npz with `patches`"):
        pool_from_array(str(path))


def test_empty_pool():
    with pytest.raises(ValueError, match="The donor pool is empty"):
        DonorPool(np.zeros((0, 8, 8, 3), np.uint8), np.array([]))


def test_donors_smaller_than_the_block(pool: DonorPool):
    with pytest.raises(ValueError, match="8x8 pixels are smaller than the block of 16x16: build"):
        pool.fit(16)


def test_unknown_outcome_and_form():
    with pytest.raises(ValueError, match=r"Unknown outcome 'sssim'; one of psnr, .* \(nearest: ssim\), or module.name"):
        to_measure(["sssim"])
    with pytest.raises(ValueError, match="form: got 'mean', expected one of true, reference"):
        Options(form="mean")
    with pytest.raises(ValueError, match=r"it needs intervention=reference"):
        Options(bgr=True)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda x: x[..., :-1], r"answered \(1, 3, 48, 63\) to an input of .* expected \(1, 3, 48, 64\)"),
        (lambda x: x[:, :1], r"answered \(1, 1, 48, 64\)"),
        (lambda x: x * torch.nan, "answered NaN or infinity on the untouched observation"),
        (lambda x: [x], "answered list"),
    ],
)
def test_network_that_answers_something_else(scene: Scene, pool: DonorPool, network, message: str):
    with pytest.raises(MeasureError, match=message):
        Bench.of(Cell(as_model(network, name="odd"), scene, Noise(), pool, Uniform(1), Options(engine="full")))


def test_network_that_answers_nan_later_keeps_what_was_measured(scene: Scene, pool: DonorPool, tmp_path: Path):
    calls = []

    def breaks(x):
        calls.append(x)
        return x * torch.nan if len(calls) > 12 else x

    cell = Cell(as_model(breaks, name="breaks"), scene, Noise(), pool, Uniform(1), Options(engine="full"))
    with pytest.raises(MeasureError, match=r"answered NaN or infinity to block .* what was measured before is kept"):
        measure(cell, tmp_path)
    assert len(Store(tmp_path, cell.identity()).rows) > 0


def test_model_of_another_scale(scene: Scene, pool: DonorPool, tiny):
    cell = Cell(as_model(tiny(4), name="tiny", scale=4), scene, Bicubic(2), pool, Uniform(1))
    with pytest.raises(MeasureError, match="tiny enlarges by 4, but the observation is 2 times smaller"):
        Bench.of(cell)


def test_not_callable():
    with pytest.raises(TypeError, match="must be callable"):
        as_model(3, name="three")  # pyright: ignore[reportArgumentType]


def test_folder_not_writable(tmp_path: Path):
    """A file stands where the folder should be: no user, not even root, can write there."""
    (tmp_path / "store").write_text("a file")
    with pytest.raises(OSError, match=r"cannot write .*Everything stored before is kept.*output=FOLDER"):
        Store(tmp_path / "store", {"a": 1})


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The error a full disk gives at fsync leaves no half file and says what to do."""
    whole = tmp_path / "record.json"
    write_atomically(whole, b"before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\. Everything stored before is kept"):
        write_atomically(whole, b"after")
    assert whole.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_lost_shard_is_noticed_and_measured_again(
    scene: Scene, pool: DonorPool, tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    cell = Cell(as_model(tiny(), name="tiny"), scene, Noise(), pool, Uniform(2), Options(engine="full"))
    store = measure(cell, tmp_path).store
    before = store.rows
    next(store.folder.glob("draws-*.parquet")).unlink()
    again = measure(cell, tmp_path)
    assert "is gone, though it was listed" in caplog.text
    assert again.record["session"]["new_draws"] == len(before)
    pd.testing.assert_frame_equal(again.store.rows, before, check_exact=True)
