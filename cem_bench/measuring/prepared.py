"""A cell set up to run: degraded, checked, prepared, and able to measure draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cem_bench.engine import Engine
from cem_bench.engine.cone import ConeEngine
from cem_bench.inputs.geometry import Rect, hull
from cem_bench.inputs.interventions import pasted, pasted_mask, reference_patches, true_patches
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.engines import engine_for
from cem_bench.measuring.outcome import psnr_by_block
from cem_bench.measuring.refusals import MeasureError, Refuted, first_line, no_other_engine
from cem_bench.measuring.stochastic import COLUMN, outputs_under_states, states_of
from cem_bench.measuring.yardstick import (
    TOLERANCE,
    Yardstick,
    answer,
    apart_of,
    check,
    check_under,
    require_no_memory,
)
from cem_bench.sampling.rules import Request
from cem_bench.store import maps

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Bench:
    """A cell set up to run: observation degraded, yardstick checked, engine prepared.

    Attributes:
        cell: the cell.
        observation: (h, w, 3) uint8.
        yardstick: the plain network's answer to it, and what was checked of it.
        engine: answers interventions.
        answered: the region that the engine answers, in clean pixels; the ROI lies in it.
        target: (3, H, W) float64 in 0..1, the ROI of the clean image, on the device.
        refuted: what was proven wrong of engines that were tried before.
    """

    cell: Cell
    observation: np.ndarray
    yardstick: Yardstick
    engine: Engine
    answered: Rect
    target: Tensor
    refuted: tuple[str, ...] = ()

    @classmethod
    def of(cls, cell: Cell, also: Sequence[Rect] = ()) -> Bench:
        """Degrade, check the yardstick, prepare the engine and hold it against the yardstick.

        Args:
            cell: the cell.
            also: further ROIs in clean pixels that the engine is to answer with the same forwards, see `beside`.

        Raises:
            MeasureError: if the network cannot be measured, or the engine that was asked for cannot be had.
            Refuted: if the engine that was asked for answers the untouched observation otherwise than the network.
        """
        cell.scene.require_scale(cell.degradation.scale)
        if cell.degradation.scale != cell.model.scale:
            raise MeasureError(
                f"{cell.model.name} enlarges by {cell.model.scale}, but the observation is {cell.degradation.scale} "
                f"times smaller than the clean image: choose a task of scale {cell.model.scale} or another model."
            )
        _require_side(cell)
        device = torch.device(cell.options.device)
        observation = cell.degradation(cell.scene.clean)
        tensor, answered = to_tensor(observation).to(device), cell.scene.roi
        states = states_of(cell.options)
        if states:
            yardstick = check_under(cell.model, tensor, cell.scene.size, states)
        else:
            yardstick = check(cell.model, tensor, cell.scene.size)
        for roi in also:
            answered = hull(answered, roi) or answered
        engine = engine_for(cell, tensor, answered, yardstick)
        bench = cls(cell, observation, yardstick, engine, answered, _target(cell, device)).agreeing()
        if not states:
            recorded = bench.engine.whole if cell.options.precision == "fp32" else None
            require_no_memory(cell.model, yardstick, tensor, recorded)
        return bench

    def agreeing(self) -> Bench:
        """Return the cell on an engine that answers the untouched observation as the network did before.

        Raises:
            MeasureError: as `without`.
        """
        if self.cell.options.stochastic or self.cell.options.precision != "fp32":
            return self
        try:
            with self.engine.checks.counted():
                apart = apart_of(self.engine.untouched(), self.yardstick.answer[(..., *self.answered.slices)])
        except Exception as error:  # noqa: BLE001 - a network may raise anything; the last engine makes it a refusal
            return self.without(error).agreeing()
        if apart <= TOLERANCE:
            return self
        kind = self.engine.kind
        text = f"Engine {kind} answers the untouched observation otherwise than the network did, by {apart:.1e} of its"
        return self.without(Refuted(f"{text} largest value (allowed {TOLERANCE:g}).", kind, apart)).agreeing()

    def without(self, error: Exception) -> Bench:
        """Return the cell on plain forwards, after its engine was refuted or raised.

        Plain forwards of several images at once give way to those of one.

        Args:
            error: what went wrong.

        Raises:
            MeasureError: if the engine was asked for by name, or was plain forwards of one image already.
        """
        kind, asked = self.engine.kind, self.cell.options.engine
        if asked not in ("auto", "full") or (kind == "full" and getattr(self.engine, "batch", 1) == 1):
            raise no_other_engine(self.cell.model.name, kind, error) from error
        one_row = kind == "full"
        engine = engine_for(self.cell, self.tensor, self.answered, self.yardstick, kind="full", one_row=one_row)
        engine.checks = self.engine.checks
        engine.reason = f"{kind} given up: {first_line(error)}"
        refuted = (*self.refuted, f"{kind}: {first_line(error)}")
        return dataclasses.replace(self, engine=engine, refuted=refuted)

    @property
    def tensor(self) -> Tensor:
        """The observation, (3, h, w) float32 in 0..1, on the device."""
        return to_tensor(self.observation).to(self.target.device)

    @property
    def restored(self) -> np.ndarray:
        """The restored observation, (H, W, 3) uint8."""
        image = (self.yardstick.answer[0].clamp(0, 1) * 255).round().to(torch.uint8)
        return image.cpu().numpy().transpose(1, 2, 0)

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
        return answer(cell.model, rows, cell.scene.size)

    def facts(self) -> dict[str, Any]:
        """Return what the record says of engine and yardstick."""
        yardstick, options = self.yardstick, self.cell.options
        checked = {"tolerance": TOLERANCE, "difference": yardstick.difference, "forwards": yardstick.forwards}
        checked |= {"part_px": list(yardstick.part), "one_row": yardstick.one_row}
        engine = {"kind": self.engine.kind, "reason": self.engine.reason, "precision": options.precision}
        return {"engine": engine, "yardstick": checked}

    @property
    def scale(self) -> int:
        """Clean pixels per observation pixel."""
        return self.cell.degradation.scale

    def status(self) -> np.ndarray:
        """Return the status of every block before any draw, (rows, columns) int8."""
        return self._status.copy()

    @cached_property
    def _status(self) -> np.ndarray:
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
        chosen = cell.pool.patches[donors][:, : at.height, : at.width]
        if cell.options.form == "true":
            grid, part = cell.scene.grid, self.observation[self.input_rect(block).slices]
            patches = true_patches(cell.scene.clean, cell.degradation, at, chosen, grid.mask(block))
            patches = np.where(pasted_mask(cell.degradation, grid, block)[..., None], patches, part)
        else:
            generators = [cell.keys.generator(block, first + i, 1) for i in range(len(donors))]
            patches = reference_patches(
                cell.scene.clean, cell.degradation, at, chosen, generators=generators, bgr=cell.options.bgr
            )
        return torch.stack([to_tensor(patch) for patch in patches]).to(self.target.device)

    def run(self, request: Request) -> Tensor:
        """Run the network under the draws of one request.

        Returns:
            (draws + 1, 3, h, w) float32, the answered region untouched and under each draw; for a stochastic network
            (states, draws + 1, 3, h, w).
        """
        donors, _ = self.cell.keys.donors(self.cell.pool, request.block, request.first, request.last)
        patches, block = self.patches(request.block, donors, request.first), self.input_rect(request.block)
        return self.outputs(block, patches)

    def outputs(self, region: Rect, patches: Tensor) -> Tensor:
        """Run the network with patches (n, 3, h, w) pasted into a region of the observation; returns as `run`."""
        if self.cell.options.stochastic:
            return outputs_under_states(self, region, patches)
        return self.engine.outputs(region, patches)

    def unit(self, request: Request, outputs: Tensor) -> dict[str, np.ndarray]:
        """Measure what came of one request on the ROI.

        Args:
            request: the draws.
            outputs: what `run` answered.

        Returns:
            The columns of the store: block, k, donor, stratum, and every outcome with its untouched value.
        """
        donors, strata = self.cell.keys.donors(self.cell.pool, request.block, request.first, request.last)
        return {
            "block": np.full(request.draws, request.block, dtype=np.int64),
            "k": np.arange(request.first, request.last, dtype=np.int64),
            "donor": donors,
            "stratum": strata,
            **self.outcomes(outputs, f"block {request.block}, draws {request.first} to {request.last - 1}"),
        }

    def outcomes(self, outputs: Tensor, drawn: str) -> dict[str, np.ndarray]:
        """Return the columns of every outcome of what `outputs` gave, one row per draw.

        Raises:
            MeasureError: naming what was `drawn`, if the network answered NaN or infinity.
        """
        cell, unit = self.cell, {}
        outputs = outputs[(..., *self._within.slices)]
        if not torch.isfinite(outputs).all():
            raise MeasureError(
                f"{cell.model.name} answered NaN or infinity to {drawn}; what was measured before is kept."
            )
        for outcome in cell.outcomes:
            states = outputs if outputs.ndim == 5 else outputs[None]
            values = np.stack([outcome.measure(rows, self.target).cpu().numpy() for rows in states])
            unit[outcome.name] = values[:, 1:].mean(axis=0)
            unit[f"{outcome.name}_untouched"] = np.full(values.shape[1] - 1, values[:, 0].mean())
            if outputs.ndim == 5 and outcome.name == cell.options.facts.name:
                unit |= {f"{COLUMN}{k}": untouched - under for k, (untouched, *under) in enumerate(values)}
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
        """Return where the interventions on a block are pasted, in observation pixels."""
        cell = self.cell
        return pasted(cell.degradation, cell.scene.grid.rect(block), cell.scene.size).scale_down(self.scale)

    def under(self, block: int, patch: Tensor) -> Tensor:
        """Return the observation under a patch (1, 3, b, b): (1, 3, h, w) float32 in 0..1."""
        rows = self.tensor[None].clone()
        rows[(..., *self.input_rect(block).slices)] = patch
        return rows

    def plain_roi(self, rows: Tensor) -> Tensor:
        """Return the ROI of observations (n, 3, h, w) by the plain network, (n, 3, h, w) float32."""
        return self.full_forward(self.cell, rows)[(..., *self.cell.scene.roi.slices)]

    def engine_roi(self, block: int, patch: Tensor) -> Tensor:
        """Return the ROI under a patch (1, 3, b, b) by the engine, (1, 3, h, w) float32."""
        return self.engine.outputs(self.input_rect(block), patch)[(slice(1, None), ..., *self._within.slices)]

    def record_roi(self, rows: Tensor) -> Tensor:
        """Return the ROI of one observation (1, 3, h, w) by the record of a cone engine, (1, 3, h, w) float32."""
        assert isinstance(self.engine, ConeEngine)
        return self.engine.roi_of(rows[0])[(..., *self._within.slices)]

    @property
    def _within(self) -> Rect:
        """Where the ROI lies in what the engine answers."""
        roi = self.cell.scene.roi
        return Rect(roi.top - self.answered.top, roi.left - self.answered.left, roi.height, roi.width)


def _require_side(cell: Cell) -> None:
    """Refuse a ROI that an outcome cannot be computed on.

    Raises:
        MeasureError: naming the outcome and the side that it needs.
    """
    side = min(cell.scene.roi.height, cell.scene.roi.width)
    for outcome in cell.outcomes:
        if side < outcome.facts.least_side:
            raise MeasureError(
                f"outcome={outcome.name} needs a ROI of at least {outcome.facts.least_side} pixels a side, got "
                f"{cell.scene.roi.height}x{cell.scene.roi.width}: choose a larger ROI, as scene.roi=[152,96,32,32]."
            )


def _target(cell: Cell, device: torch.device) -> Tensor:
    return to_tensor(cell.scene.clean).to(device, torch.float64)[(slice(None), *cell.scene.roi.slices)]


def to_tensor(image: np.ndarray) -> Tensor:
    """Turn (H, W, 3) uint8 into (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255.0
