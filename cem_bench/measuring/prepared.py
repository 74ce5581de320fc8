"""A cell set up to run: degraded, prepared, and able to measure draws and to prove them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cem_bench.engine import Engine, prepare
from cem_bench.inputs.geometry import Rect, hull
from cem_bench.inputs.interventions import reference_patches, true_patches
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.outcome import psnr, psnr_by_block, to_measure
from cem_bench.sampling.rules import Request
from cem_bench.store import maps
from cem_bench.store.draws import Store

PROOF_SHARE, PROOF_LEAST, PROOF_DB = 0.01, 8, 1e-3
Progress = Callable[[int, int, str], None]


class MeasureError(ValueError):
    """A measurement cannot be made; the message says what was found, what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class Bench:
    """A cell set up to run: observation degraded, engine prepared, target of the ROI on the device.

    `answered` is the region that the engine answers, in clean pixels; the ROI lies in it.
    """

    cell: Cell
    observation: np.ndarray
    restored: np.ndarray
    engine: Engine
    answered: Rect
    target: Tensor

    @classmethod
    def of(cls, cell: Cell, also: Sequence[Rect] = ()) -> Bench:
        """Degrade, restore once in full, check the answer, and prepare the engine.

        Args:
            cell: the cell.
            also: further ROIs in clean pixels that the engine is to answer with the same forwards, see `beside`.
        """
        cell.scene.require_scale(cell.degradation.scale)
        if cell.degradation.scale != cell.model.scale:
            raise MeasureError(
                f"{cell.model.name} enlarges by {cell.model.scale}, but the observation is {cell.degradation.scale} "
                f"times smaller than the clean image: choose a task of scale {cell.model.scale} or another model."
            )
        device = torch.device(cell.options.device)
        observation = cell.degradation(cell.scene.clean)
        tensor = to_tensor(observation).to(device)
        restored = cls.full_forward(cell, tensor[None])[0]
        answered = cell.scene.roi
        for roi in also:
            answered = hull(answered, roi) or answered
        engine = prepare(
            cell.model.restorer.to(device),
            tensor,
            answered,
            kind=cell.options.engine,
            precision=cell.options.precision,
            memory_gb=cell.options.memory_gb,
            compiled=cell.options.compile,
        )
        image = (restored.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy().transpose(1, 2, 0)
        return cls(cell, observation, image, engine, answered, _target(cell, device))

    def beside(self, roi: Rect) -> Bench:
        """Return the cell of another ROI on the same engine."""
        cell = dataclasses.replace(self.cell, scene=dataclasses.replace(self.cell.scene, roi=roi))
        return dataclasses.replace(self, cell=cell, target=_target(cell, self.target.device))

    @staticmethod
    def full_forward(cell: Cell, rows: Tensor) -> Tensor:
        """Run the network plainly in fp32 and check what comes back.

        Args:
            cell: the cell.
            rows: (n, 3, h, w) float32 in 0..1.

        Returns:
            (n, 3, H, W) float32.
        """
        with torch.inference_mode():
            output = cell.model.restorer.to(rows.device)(rows)
        expected = (len(rows), 3, *cell.scene.size)
        if not isinstance(output, Tensor) or tuple(output.shape) != expected:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise MeasureError(
                f"{cell.model.name} answered {got} to an input of {tuple(rows.shape)}; expected {expected}: "
                "check its scale and that it returns one RGB image."
            )
        if not torch.isfinite(output).all():
            raise MeasureError(
                f"{cell.model.name} answered NaN or infinity on the untouched observation: "
                "check weights and value range."
            )
        return output.float()

    @property
    def scale(self) -> int:
        """Clean pixels per observation pixel."""
        return self.cell.degradation.scale

    def status(self) -> np.ndarray:
        """Return the status of every block before any draw, (rows, columns) int8."""
        grid, roi = self.cell.scene.grid, set(self.cell.scene.grid.overlapping(self.cell.scene.roi))
        codes = np.full(len(grid), maps.MEASURED, dtype=np.int8)
        for block in range(len(grid)):
            if block in roi and not self.cell.options.include_roi:
                codes[block] = maps.ROI
            elif not self.engine.reaches(self.input_rect(block), self.cell.scene.roi):
                codes[block] = maps.UNREACHABLE
        return codes.reshape(grid.shape)

    def patches(self, block: int, donors: np.ndarray, first: int) -> Tensor:
        """Return the patches of draws first, first + 1, ... as (n, 3, b, b) float32 in 0..1, in input space."""
        cell, at = self.cell, self.cell.scene.grid.rect(block)
        chosen = cell.pool.patches[donors]
        if cell.options.form == "true":
            patches = true_patches(cell.scene.clean, cell.degradation, at, chosen)
        else:
            generators = [cell.keys.generator(block, first + i, 1) for i in range(len(donors))]
            patches = reference_patches(
                cell.scene.clean, cell.degradation, at, chosen, generators=generators, bgr=cell.options.bgr
            )
        return torch.stack([to_tensor(patch) for patch in patches]).to(self.target.device)

    def run(self, request: Request) -> Tensor:
        """Run the network under the draws of one request.

        Returns:
            (draws + 1, 3, h, w) float32, the answered region untouched and under each draw.
        """
        donors, _ = self.cell.keys.donors(self.cell.pool, request.block, request.first, request.last)
        patches = self.patches(request.block, donors, request.first)
        return self.engine.outputs(self.input_rect(request.block), patches)

    def unit(self, request: Request, outputs: Tensor) -> dict[str, np.ndarray]:
        """Measure what came of one request on the ROI.

        Args:
            request: the draws.
            outputs: what `run` answered.

        Returns:
            The columns of the store: block, k, donor, stratum, and every outcome with its untouched value.
        """
        cell, roi, count = self.cell, self.cell.scene.roi, request.draws
        donors, strata = cell.keys.donors(cell.pool, request.block, request.first, request.last)
        within = Rect(roi.top - self.answered.top, roi.left - self.answered.left, roi.height, roi.width)
        outputs = outputs[(..., *within.slices)]
        if not torch.isfinite(outputs).all():
            raise MeasureError(
                f"{cell.model.name} answered NaN or infinity to block {request.block}, draws {request.first} to "
                f"{request.last - 1}; what was measured before is kept."
            )
        unit: dict[str, np.ndarray] = {
            "block": np.full(count, request.block, dtype=np.int64),
            "k": np.arange(request.first, request.last, dtype=np.int64),
            "donor": donors,
            "stratum": strata,
        }
        for outcome in to_measure(cell.options.outcome):
            values = outcome.compute(outputs, self.target).cpu().numpy()
            unit[outcome.name] = values[1:]
            unit[f"{outcome.name}_untouched"] = np.full(count, values[0])
        return unit

    def run_on_all(self, block: int, draws: int) -> np.ndarray:
        """Measure draws 0, 1, ... of a block on every output block; the scene's ROI must be the whole image.

        Returns:
            (draws, blocks) effects in dB, float64.
        """
        outputs = self.run(Request(block, 0, draws))
        values = psnr_by_block(outputs, self.target, self.cell.scene.block).cpu().numpy()
        if not np.isfinite(values).all():
            raise MeasureError(f"{self.cell.model.name} answered NaN or infinity to block {block}.")
        return values[:1] - values[1:]

    def input_rect(self, block: int) -> Rect:
        """Return a block in observation pixels."""
        return self.cell.scene.grid.rect(block).scale_down(self.scale)

    def prove(self, store: Store, fresh: list[tuple[int, int]], progress: Progress) -> dict[str, Any]:
        """Send a seeded sample of the fresh draws through the full fp32 forward and compare.

        Raises:
            MeasureError: if an fp32 engine differs by more than `PROOF_DB`, naming the first op that does.
        """
        if reason := self._nothing_to_prove(fresh):
            return {"draws": 0, "reason": reason}
        stored = store.rows.set_index(["block", "k"])

        def difference(block: int, k: int) -> tuple[float, Tensor]:
            row: Any = stored.loc[(block, k)]
            patch = self.patches(block, np.array([int(row["donor"])]), k)
            output = self._full_roi(block, patch)
            return abs(float(psnr(output, self.target)[0]) - float(row["psnr"])), patch

        return self._proof(fresh, difference, progress)

    def prove_on_all(self, fresh: list[tuple[int, int]], progress: Progress) -> dict[str, Any]:
        """Make a seeded sample of the fresh draws again, by engine and by full fp32 forward; compare every block.

        Raises:
            MeasureError: as `prove`.
        """
        if reason := self._nothing_to_prove(fresh):
            return {"draws": 0, "reason": reason}

        def difference(block: int, k: int) -> tuple[float, Tensor]:
            donors, _ = self.cell.keys.donors(self.cell.pool, block, k, k + 1)
            patch = self.patches(block, donors, k)
            found = self.engine.outputs(self.input_rect(block), patch)[1:]
            size = self.cell.scene.block
            apart = psnr_by_block(found, self.target, size) - psnr_by_block(
                self._full_roi(block, patch), self.target, size
            )
            return float(apart.abs().max()), patch

        return self._proof(fresh, difference, progress)

    def _nothing_to_prove(self, fresh: list[tuple[int, int]]) -> str:
        plain = self.engine.kind == "full" and not self.cell.options.compile
        if plain and self.cell.options.precision == "fp32":
            return "the full forward itself"
        return "" if fresh else "no new draw"

    def _proof(
        self,
        fresh: list[tuple[int, int]],
        difference: Callable[[int, int], tuple[float, Tensor]],
        progress: Progress,
    ) -> dict[str, Any]:
        size = min(max(int(PROOF_SHARE * len(fresh)), PROOF_LEAST), len(fresh))
        rng = np.random.Generator(np.random.Philox(self.cell.options.seed))
        worst = 0.0
        for done, index in enumerate(sorted(rng.choice(len(fresh), size, replace=False)), 1):
            block, k = fresh[index]
            found, patch = difference(block, k)
            worst = max(worst, found)
            if found > PROOF_DB and self.cell.options.precision == "fp32":
                op = self.engine.first_difference(self.input_rect(block), patch)
                raise MeasureError(
                    f"Engine {self.engine.kind} differs from the full forward by {found:.2e} dB (allowed "
                    f"{PROOF_DB:g}) at block {block}, draw {k}; first op that differs: {op}. "
                    "Use engine=full, and please report this."
                )
            progress(done, size, "proving")
        return {"draws": size, "max_abs_db": worst}

    def _full_roi(self, block: int, patch: Tensor) -> Tensor:
        """Return the ROI under a patch by the plain network, (1, 3, h, w)."""
        rows = to_tensor(self.observation).to(patch.device)[None].clone()
        rows[(slice(None), slice(None), *self.input_rect(block).slices)] = patch
        return self.full_forward(self.cell, rows)[(..., *self.cell.scene.roi.slices)]


def _target(cell: Cell, device: torch.device) -> Tensor:
    return to_tensor(cell.scene.clean).to(device, torch.float64)[(slice(None), *cell.scene.roi.slices)]


def to_tensor(image: np.ndarray) -> Tensor:
    """Turn (H, W, 3) uint8 into (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255.0
