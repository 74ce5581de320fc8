"""A crop is certified only where every op is known to carry NaN; what is on the list does carry it."""

from __future__ import annotations

import pytest
import torch
from test_unusual_ops import OPS
from torch import Tensor, nn

from cem_bench.engine import EngineError, prepare
from cem_bench.engine.certificate import require_nan_carried
from cem_bench.inputs.geometry import Rect

ACTIVATIONS = [
    *(
        getattr(torch, name)
        for name in [
            "abs",
            "ceil",
            "cos",
            "erf",
            "exp",
            "expm1",
            "floor",
            "log1p",
            "neg",
            "relu",
            "round",
            "rsqrt",
            "sigmoid",
        ]
    ),
    *(
        getattr(torch, name)
        for name in ["reciprocal", "sin", "sqrt", "square", "tan", "tanh", "trunc", "log", "selu", "celu"]
    ),
    *(
        getattr(nn.functional, name)
        for name in ["elu", "gelu", "hardtanh", "leaky_relu", "logsigmoid", "mish", "relu6", "silu", "softplus"]
    ),
    lambda y: y.clamp(-0.2, 0.3),
    lambda y: y.clamp_min(0),
    lambda y: y**2,
    lambda y: y**0.5,
    lambda y: torch.maximum(y, torch.zeros(())),
    lambda y: torch.minimum(y, torch.zeros(())),
    lambda y: nn.functional.prelu(y, torch.tensor([0.2])),
]


def carried(op, y: Tensor) -> bool | None:
    """Say whether NaN at one value reaches all that the value moves; None where the op is not certified."""
    try:
        require_nan_carried(op, y)
    except EngineError:
        return None
    poisoned, moved = y.clone(), y.clone()
    poisoned[0, 1, 7, 9] = torch.nan
    moved[0, 1, 7, 9] += 1.7
    with torch.no_grad():
        return bool(op(poisoned)[op(moved) != op(y)].isnan().all())


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activations_on_the_list_carry_nan(op, order: torch.memory_format) -> None:
    y = torch.randn(1, 8, 18, 22, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=order)
    assert carried(op, y)
    assert carried(op, y.abs())


@pytest.mark.parametrize("name", OPS)
def test_other_ops_carry_nan_or_are_not_certified(name: str) -> None:
    y = torch.rand(1, 4, 18, 22, generator=torch.Generator().manual_seed(0))
    assert carried(OPS[name], y) in (True, None)


@pytest.mark.parametrize(
    ("swallows", "named"),
    [
        (torch.sign, "sign"),
        (lambda y: y.int().float(), "_to_copy"),
        (torch.nan_to_num, "nan_to_num"),
        (lambda y: torch.fmax(y, torch.zeros(())), "fmax"),
        (lambda y: y ** torch.zeros(()), "pow"),
        (lambda y: y**0, "pow"),
        (lambda y: torch.where(y > 0, 1.0, 0.0), "gt"),
        (lambda y: y.argmax(1, keepdim=True) + 0.0 * y, "argmax"),
        (lambda y: y * float(y.mean() > 0), "gt"),
        (lambda y: y * float(y.mean()), "__float__"),
        (lambda y: torch.from_numpy(y.numpy()), "numpy"),
        (lambda y: y.max(1).values, "max"),
        (lambda y: torch.heaviside(y, torch.ones(())), "heaviside"),
    ],
)
def test_what_may_swallow_a_nan_is_refused_by_name(swallows, named: str) -> None:
    with pytest.raises(EngineError, match=named):
        require_nan_carried(swallows, torch.rand(1, 4, 18, 22))


def test_ops_that_end_the_process_are_not_run_on_nan() -> None:
    """An op outside the list refuses the crop before anything is poisoned."""
    torchvision = pytest.importorskip("torchvision")
    weight, seen = torch.rand(3, 3, 3, 3), []

    def deformable(x: Tensor) -> Tensor:
        seen.append(bool(x.isnan().any()))
        return torchvision.ops.deform_conv2d(x, x[:, :1].expand(-1, 18, -1, -1) * 0.1, weight, padding=1)

    with pytest.raises(EngineError, match="locality cannot be certified"):
        prepare(_Function(deformable), torch.rand(3, 32, 32), Rect(0, 0, 8, 8), kind="crop")
    assert seen
    assert not any(seen)


class _Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
