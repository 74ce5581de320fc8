"""The full engine: plain forwards of whole images. The yardstick for every other engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cem_bench.engine.base import PRECISIONS, Untouched, check_draws, exact_arithmetic, intervened
from cem_bench.engine.compiled import compile_network
from cem_bench.engine.cost import Cost
from cem_bench.engine.memory import forward_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from cem_bench.inputs.geometry import Rect

# Convolution libraries keep packed copies of what they read and write: twice the tensors' own bytes is safe.
WORKSPACE = 2.0
CPU_BATCH = 4  # on a CPU a larger batch only leaves the cache


class FullEngine:
    """Every draw through the whole network, in batches sized by measured memory."""

    kind = "full"
    whole: Tensor | None = None
    elsewhere = float("inf")

    def __init__(
        self,
        restorer: nn.Module,
        observation: Tensor,
        roi: Rect,
        *,
        precision: str,
        memory_gb: float,
        reason: str,
        compiled: bool = False,
        one_row: bool = False,
    ) -> None:
        self.reason, self.checks = reason, Cost()
        self.compiled = compiled
        self.roi = roi
        self.observation = observation
        self._dtype = PRECISIONS[precision]
        self._restorer = restorer.to(self._dtype)
        self.batch = 1 if one_row else self._fitting(memory_gb)
        if observation.device.type == "cpu":
            self.batch = 1 if compiled else min(self.batch, CPU_BATCH)  # every size would be compiled anew
        if compiled:
            self._restorer = compile_network(self._restorer, observation[None].to(self._dtype))
        self._untouched = Untouched(self._roi, observation)

    def _fitting(self, memory_gb: float) -> int:
        """Return how many rows fit into the memory granted; 1 where it cannot be measured (compiled code)."""
        try:
            with exact_arithmetic():
                row = forward_bytes(self._restorer, self.observation[None].clone().to(self._dtype))
        except Exception:  # noqa: BLE001 - compiled code may refuse to be watched; a network's own fault comes again
            return 1
        return max(1, int(memory_gb * 2**30 / (WORKSPACE * row)))

    def untouched(self) -> Tensor:
        """Return the ROI of the untouched output, (1, 3, roi.height, roi.width) float32."""
        with exact_arithmetic():
            return self._untouched.before(self.observation[None][:0], self.batch)[0]

    def reaches(self, block: Rect, part: Rect | None = None) -> bool:
        """Nothing is proven about the network: every block may touch the ROI."""
        return True

    def work(self, block: Rect) -> float:
        """Return what a draw on a block costs, in forwards of the whole network."""
        return 1.0

    def outputs(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI untouched (row 0) and under each patch, (n + 1, 3, roi.height, roi.width) float32."""
        check_draws(self.observation, block, patches)
        with exact_arithmetic():
            rows = intervened(self.observation, block, patches)
            outputs, self.batch = self._untouched.before(rows, self.batch)
        return outputs

    def in_batches_of(self, batch: int) -> Callable[[Rect, Tensor], Tensor]:
        """Return `outputs` with that many rows a batch from then on."""

        def run(block: Rect, patches: Tensor) -> Tensor:
            self.batch = batch
            return self.outputs(block, patches)

        return run

    def _roi(self, rows: Tensor) -> Tensor:
        whole = self._restorer(rows.to(self._dtype))
        return whole[(..., *self.roi.slices)].float()

    def first_difference(self, block: Rect, patches: Tensor) -> str:
        """Name the whole network: this engine has no ops of its own."""
        return "the network as torch.compile runs it" if self.compiled else "none: this is the full forward"
