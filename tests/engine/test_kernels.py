"""Products run by the CPU library's own kernels give what torch gives."""

import pytest
import torch
from torch import Tensor, nn

from cem_bench.engine import prepare
from cem_bench.engine.cone import ConeEngine
from cem_bench.inputs.geometry import Rect


class Perceptron(nn.Module):
    """A 1x1 convolution, then two products a pixel with GELU between them, of odd sizes."""

    def __init__(self, approximate: str) -> None:
        super().__init__()
        self.lift, self.grow, self.shrink = nn.Conv2d(3, 13, 1), nn.Linear(13, 29), nn.Linear(29, 3, bias=False)
        self.act = nn.GELU(approximate)

    def forward(self, image: Tensor) -> Tensor:
        pixels = self.lift(image).flatten(2).transpose(1, 2)
        return self.shrink(self.act(self.grow(pixels))).transpose(1, 2).reshape(image.shape)


@pytest.mark.parametrize(("approximate", "ops"), [("none", 1), ("tanh", 2)])
def test_products_and_gelu_run_as_one_and_agree_with_double_precision(approximate: str, ops: int) -> None:
    torch.manual_seed(0)
    net, observation = Perceptron(approximate).eval(), torch.rand(3, 12, 10)
    block, roi = Rect(2, 3, 4, 4), Rect(0, 0, 12, 10)
    patches = torch.rand(3, 3, 4, 4)
    engine = prepare(net, observation, roi, kind="cone")
    assert isinstance(engine, ConeEngine)
    between = [step.call.name for step in engine.program.steps.values() if step.call.name in ("linear", "gelu")]
    assert len(between) == 1 + ops
    rows = observation.repeat(4, 1, 1, 1)
    rows[1:, :, 2:6, 3:7] = patches
    with torch.no_grad():
        truth = net.double()(rows.double())
    assert float((engine.outputs(block, patches) - truth).abs().max()) < 1e-6
