"""The second lock of a store: what the network answered when the store was begun, compared before a draw is taken up.

The run key says what a network should be; a fingerprint says how it behaves, whatever the key could not see: PSNR of
the restored untouched observation and of its ROI, mean and size of the answer to one fixed probe image, and both at
nine pixels. The probe is as large as the images of the yardstick. A fingerprint takes 100 bytes of an archive.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cem_bench.engine.base import exact_arithmetic
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.opened import record_of
from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import Bench, MeasureError, to_tensor
from cem_bench.measuring.yardstick import common_random_numbers
from cem_bench.models.model import Model
from cem_bench.store.draws import FINGERPRINT, Store

LATTICE = (1 / 6, 1 / 2, 5 / 6)  # rows and columns of the pixels that are kept, in sides
# machines, thread counts and devices move last bits (1e-6 of white, 1e-5 dB); another network moves more than this
TOLERANCE, TOLERANCE_DB = 1e-3, 1e-3
HALF_DB = 0.05  # draws of an engine in bf16 start from an untouched ROI in bf16


VALUES = (np.float16, (3, 3, 3))
RECORD = np.dtype(
    [
        ("psnr_db", np.float64, 2),
        ("restored", *VALUES),
        ("moments", np.float64, 2),
        ("probe", *VALUES),
        ("size", np.uint16, 2),
    ]
)


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """How a network behaves on a scene.

    Attributes:
        psnr_db: (2,) float64, PSNR of the restored image and of its ROI.
        moments: (2,) float64, mean and root mean square of its answer to the probe.
        restored: (3, 3, 3) float16 values of the restored observation.
        probe: the same of its answer to the probe.
        size: (2,) uint16, height and width of the probe, pixels.
    """

    psnr_db: np.ndarray
    moments: np.ndarray
    restored: np.ndarray
    probe: np.ndarray
    size: np.ndarray

    def content(self) -> bytes:
        """Return it as a file: one record, of which an archive repeats nothing that runs share."""
        file, record = io.BytesIO(), np.zeros((), RECORD)
        for name in RECORD.names or ():
            record[name] = getattr(self, name)
        np.save(file, record)
        return file.getvalue()

    @classmethod
    def of_content(cls, content: bytes) -> Fingerprint:
        """Read it from a file."""
        record = np.load(io.BytesIO(content), allow_pickle=False)
        return cls(**{name: record[name] for name in RECORD.names or ()})

    def difference(self, stored: Fingerprint) -> tuple[float, float]:
        """Return the largest difference of a PSNR, dB, and of a value, of white."""
        names = ("moments", "restored", "probe", "size")
        values = max(_apart(getattr(self, name), getattr(stored, name)) for name in names)
        return _apart(self.psnr_db, stored.psnr_db), values


def _apart(values: np.ndarray, expected: np.ndarray) -> float:
    if values.shape != expected.shape:
        return float("inf")
    values, expected = values.astype(np.float64), expected.astype(np.float64)
    known = ~(np.isnan(values) & np.isnan(expected))
    apart = np.nan_to_num(np.abs(values - expected)[known], nan=np.inf)
    return float(apart.max(initial=0.0))


def of(scene: Scene, restored: Tensor, probed: Tensor, size: tuple[int, int]) -> Fingerprint:
    """Return the fingerprint of what a network made of a scene's observation and of a probe, both (3, H, W).

    Args:
        scene: the scene.
        restored: the restored observation.
        probed: the restored probe.
        size: height and width of the probe, pixels.
    """
    clean, roi = to_tensor(scene.clean).to(restored.device, torch.float64), (..., *scene.roi.slices)
    levels = [float(psnr(image[None], target)[0]) for image, target in ((restored, clean), (restored[roi], clean[roi]))]
    moments = [float(probed.double().mean()), float(probed.double().square().mean().sqrt())]
    values = (_lattice(restored), _lattice(probed))
    return Fingerprint(np.array(levels), np.array(moments), *values, np.array(size, dtype=np.uint16))


def probe(height: int, width: int) -> Tensor:
    """Return the probe of a size: the same uniform noise each time, smooth in its upper half.

    Returns:
        (3, height, width) float32 in 0..1.
    """
    image = np.random.Generator(np.random.Philox(0)).random((3, height, width), dtype=np.float32)
    image[:, : height // 2] = image[:, : height // 2].mean(axis=(0, 2), keepdims=True)
    return torch.from_numpy(image)


def _answer(model: Model, image: Tensor) -> Tensor:
    """Run the plain network on one image, with random numbers that are the same each time."""
    with exact_arithmetic(), common_random_numbers(0):
        return model.restorer(image[None])[0].float()


def _lattice(image: Tensor) -> np.ndarray:
    rows, columns = ([int(place * side) for place in LATTICE] for side in image.shape[-2:])
    return image.cpu().numpy()[:, rows][:, :, columns].astype(np.float16)


def compare(bench: Bench, stores: Iterable[tuple[Bench, Store]]) -> dict[str, Any]:
    """Compare how the network behaves with what each store says, before any of its draws is taken up.

    Args:
        bench: the cell set up to run.
        stores: cell and store of the ROI and of those beside it. One without a fingerprint gets one, after the
            untouched ROI of the draws that it has was compared.

    Returns:
        What the record says: how it was compared, and the largest differences.

    Raises:
        MeasureError: if the network behaves otherwise than the one whose draws lie in a store; both numbers are named.
    """
    model, yardstick, device = bench.cell.model, bench.yardstick, bench.target.device
    restored, probed = yardstick.answer[0], _answer(model, probe(*yardstick.part).to(device))
    if bench.cell.options.stochastic:  # the yardstick's answer is a mean over states
        restored = _answer(model, to_tensor(bench.observation).to(device))
    told = [
        _compare_one(beside, store, of(beside.cell.scene, restored, probed, yardstick.part)) for beside, store in stores
    ]
    return told[0]


def _compare_one(bench: Bench, store: Store, today: Fingerprint) -> dict[str, Any]:
    content = store.read_file(FINGERPRINT)
    if content is None or not len(store.rows):
        apart, stored_db = _from_draws(store, today)
        allowed = TOLERANCE_DB if bench.cell.options.precision == "fp32" else HALF_DB
        if apart > allowed:
            raise _another(
                bench, store, f"{today.psnr_db[1]:.4f} dB in the ROI, the draws stored say {stored_db:.4f} dB"
            )
        _compare_with_record(bench, store)
        store.write_files({FINGERPRINT: today.content()})
        return {
            "compared": "untouched ROI of stored draws" if len(store.rows) else "nothing stored",
            "max_abs_db": apart,
        }
    stored = Fingerprint.of_content(content)
    apart_db, apart = today.difference(stored)
    if apart_db > TOLERANCE_DB or apart > TOLERANCE:
        levels = " and ".join(f"{level:.4f}" for level in today.psnr_db)
        before = " and ".join(f"{level:.4f}" for level in stored.psnr_db)
        raise _another(
            bench, store, f"{levels} dB in image and ROI, stored are {before} dB; values differ by up to {apart:.2g}"
        )
    return {"compared": "stored fingerprint", "max_abs_db": apart_db, "max_abs_value": apart}


def _compare_with_record(bench: Bench, store: Store) -> None:
    """Compare the restored image with what the record of the session before says of it; archives have no more."""
    before = record_of(store).get("psnr_image_db") if len(store.rows) else None
    restored, clean = (to_tensor(image)[None] for image in (bench.restored, bench.cell.scene.clean))
    now = float(psnr(restored, clean[0].double())[0])
    if before is not None and abs(now - before) > TOLERANCE_DB:
        raise _another(bench, store, f"{now:.4f} dB in the image, the record stored says {before:.4f} dB")


def _from_draws(store: Store, today: Fingerprint) -> tuple[float, float]:
    """Return how far today's ROI is from the untouched ROI of stored draws, and the farthest of those, dB."""
    # a stochastic network's untouched ROI is another under every state of the generator
    if "psnr_untouched" not in store.rows or store.identity.get("stochastic"):
        return 0.0, float(today.psnr_db[1])
    untouched = store.rows["psnr_untouched"].to_numpy(float)
    farthest = untouched[np.abs(untouched - today.psnr_db[1]).argmax()]
    return float(abs(farthest - today.psnr_db[1])), float(farthest)


def _another(bench: Bench, store: Store, numbers: str) -> MeasureError:
    return MeasureError(
        f"{bench.cell.model.name} restores otherwise than the network whose draws lie under run key {store.key[:16]}: "
        f"{numbers} (allowed {TOLERANCE_DB:g} dB, {TOLERANCE:g}). The key is the same, so what changed cannot be seen "
        "in it (a file behind a name, the code of a library); nothing stored was used. Bring back the network that "
        "measured them; or measure into another folder, output=FOLDER; or give the new network a name, "
        "model.identity=NAME or as_model(..., identity=NAME)."
    )
