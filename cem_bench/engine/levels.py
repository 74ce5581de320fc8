"""Cheap levels of a network that mixes the whole image: by pixels alone, and what its pools add to first order.

Both come from the record and the rules of the cone engine. Frozen: every op that mixes the whole image keeps the value
that it has on the untouched image, so a block's cone is small again. Adjoint: one backward pass per scene and ROI says
how the outcome depends on what each of these ops reads (`adjoint`), and the frozen cone says how that changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from cem_bench.engine.adjoint import slopes_of
from cem_bench.engine.base import check_draws, exact_arithmetic, in_batches
from cem_bench.engine.plan import Tap
from cem_bench.engine.reductions import reduction_of
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from cem_bench.engine.cone import ConeEngine
    from cem_bench.engine.trace import Ref


@dataclass(frozen=True, eq=False)
class Levels:
    """The cheap levels of one network on one scene.

    Attributes:
        exact: the cone engine of the network itself.
        frozen: the same with every mixing op at its clean value; `exact` where there is none.
        pools: the mixing ops whose first-order part is known, in the order in which they run.
        why: why a first-order part is lacking; "" where none is.
        taps: slopes and sums of `pools`.
    """

    exact: ConeEngine
    frozen: ConeEngine
    pools: tuple[Ref, ...]
    why: str = ""
    taps: dict[Ref, Tap] = field(default_factory=dict)

    @classmethod
    def of(cls, exact: ConeEngine, outcome: Callable[[Tensor], Tensor] | None = None) -> Levels:
        """Hold the mixing ops of a network, and take the derivative of an outcome to them.

        Args:
            exact: the cone engine of the network.
            outcome: (1, 3, roi.height, roi.width) to one number, differentiable; None for the frozen level alone.
        """
        program, held = exact.program, frozenset(exact.program.mixed)
        known = {ref: sums for ref in held if (sums := reduction_of(program, ref)) is not None}
        taps, why = {}, "" if outcome else "no outcome to take a derivative of"
        if known and outcome is not None:
            try:
                slopes = slopes_of(program, exact.observation, outcome, known)
                taps = {ref: Tap(known[ref], slope) for ref, slope in slopes.items()}
            except (RuntimeError, NotImplementedError) as error:
                why = str(error).strip().partition("\n")[0]
        pools = tuple(ref for ref in program.mixed if ref in taps)
        return cls(exact, exact.holding(held, taps), pools, why, taps)

    def near(self, pixels: int) -> Levels:
        """Return the levels that leave out changes farther than so many input pixels from the block.

        Cheaper, and no longer exact along the pixels.
        """
        return replace(self, frozen=self.exact.holding(frozenset(self.frozen.program.held), self.taps, pixels))

    @property
    def titles(self) -> list[str]:
        """Name and module of each of `pools`."""
        return [self.exact.program.steps[ref].title for ref in self.pools]

    def reaches(self, block: Rect) -> bool:
        """Say whether a block may touch the ROI by any way."""
        return self.exact.reaches(block)

    def work(self, block: Rect) -> float:
        """Return what a draw of these levels costs, in forwards of the whole network."""
        return self.frozen.work(block)

    def outputs(self, block: Rect, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ROI with every mixing op held, and what each pool adds to the outcome to first order.

        Args:
            block: where the patches go, input pixels.
            patches: (n, 3, block.height, block.width) float32 in [0, 1].

        Returns:
            (n + 1, 3, roi.height, roi.width) float32, row 0 untouched; (n + 1, pools) float32 in the outcome's unit,
            row 0 exactly 0.
        """
        engine = self.frozen
        cone = engine.cone(block)
        if not self.pools or len(cone.regions) < 2:
            return engine.outputs(block, patches), patches.new_zeros(len(patches) + 1, len(self.pools))
        check_draws(engine.observation, block, patches)
        own = engine.observation[(slice(None), *block.slices)][None]

        def run(rows: Tensor) -> Tensor:
            values = engine.values(cone, block, rows)
            none = rows.new_zeros(len(rows))
            added = torch.stack([values.get(ref, none).float() for ref in self.pools], dim=1)
            return torch.cat([engine.placed(cone, values, len(rows)).flatten(1), added], dim=1)

        with exact_arithmetic():
            rows = torch.cat([own, patches.to(own)])
            result, _ = in_batches(run, rows, engine.rows_for(cone))
        split = result.shape[1] - len(self.pools)
        size = (len(rows), 3, engine.roi.height, engine.roi.width)
        return result[:, :split].reshape(size), result[:, split:] - result[:1, split:]

    def by_pools_alone(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI of the untouched image whose mixing ops have the values that they have under each patch.

        Args:
            block: where the patches go, input pixels.
            patches: (n, 3, block.height, block.width) float32 in [0, 1].

        Returns:
            (n + 1, 3, roi.height, roi.width) float32; row 0 has the values of the untouched image.
        """
        check_draws(self.exact.observation, block, patches)
        cone = self.exact.cone(block)
        held = frozenset(ref for ref in self.frozen.program.held if ref in self.frozen.program.steps)
        own = self.exact.observation[(slice(None), *block.slices)][None]

        def run(rows: Tensor) -> Tensor:
            values = self.exact.values(cone, block, rows, held)
            return self.frozen.under({ref: values[ref] for ref in held if ref in values}, len(rows))

        with exact_arithmetic():
            rows = torch.cat([own, patches.to(own)])
            return in_batches(run, rows, self.exact.rows_for(cone))[0]

    def under_pools_of(self, images: Tensor) -> Tensor | None:
        """Return the ROI of the untouched image whose mixing ops have the mean of their values over other images.

        Args:
            images: (n, 3, h, w) float32 in [0, 1], n at least 1, of the untouched image's size.

        Returns:
            (1, 3, roi.height, roi.width) float32; None where a mixing op's value holds positions.
        """
        program, whole = self.exact.program, Rect(0, 0, images.shape[-2], images.shape[-1])
        held = frozenset(ref for ref in self.frozen.program.held if ref in self.frozen.program.steps)
        if any(program.layouts[ref].extent != (1, 1) for ref in held):
            return None
        with exact_arithmetic():
            each = [self.exact.values(program.cone(whole), whole, image[None], held) for image in images]
            means = {ref: torch.stack([values[ref] for values in each]).mean(dim=0) for ref in held}
            return self.frozen.under(means, 1)

    def releasing(self, first: int) -> ConeEngine:
        """Return the engine in which the mixing ops before `pools[first]` are held, that one and all later ones run.

        From one pool to the next these split what goes through the pools: the parts add to it by construction.

        Args:
            first: 0 for the network itself, `len(pools)` for all held.
        """
        own = [ref for ref in self.exact.program.mixed if ref in self.frozen.program.steps]
        place = 0 if first == 0 else own.index(self.pools[first]) if first < len(self.pools) else len(own)
        return self.exact.holding(frozenset(own[:place]))
