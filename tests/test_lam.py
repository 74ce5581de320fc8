"""Laws of local attribution maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.lam import attribution, blurred, texture

ROI = Rect(10, 12, 8, 8)


@pytest.fixture
def observation(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.random((3, 32, 32))).double()


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1)).double()


def test_completeness(network: nn.Module, observation: torch.Tensor) -> None:
    """The attributions sum to what the detector gained from the blurred to the sharp observation."""
    found = attribution(network, observation, ROI, steps=100)
    with torch.no_grad():
        ends = texture(network(torch.stack([observation, blurred(observation, 1.2)])), ROI)
    gain = float(ends[0] - ends[1])
    assert float(found.sum()) == pytest.approx(gain, rel=0.01)
    assert abs(gain) > 1e-3


def test_more_steps_come_closer(network: nn.Module, observation: torch.Tensor) -> None:
    with torch.no_grad():
        ends = texture(network(torch.stack([observation, blurred(observation, 1.2)])), ROI)
    gain = float(ends[0] - ends[1])
    errors = [abs(float(attribution(network, observation, ROI, steps=steps).sum()) - gain) for steps in (3, 60)]
    assert errors[1] < errors[0]


def test_nothing_outside_the_receptive_field(network: nn.Module, observation: torch.Tensor) -> None:
    found = attribution(network, observation, ROI, steps=4).abs().sum(0)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[ROI.top - 2 : ROI.bottom + 2, ROI.left - 2 : ROI.right + 2] = True
    assert float(found[~inside].max()) == 0.0
    assert float(found[inside].sum()) > 0


def test_constant_network_has_no_attribution(observation: torch.Tensor) -> None:
    class Constant(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows * 0 + 0.5

    assert float(attribution(Constant(), observation, ROI, steps=3).abs().max()) == 0.0


def test_flat_image_stays_under_blur() -> None:
    flat = torch.full((3, 16, 16), 0.3, dtype=torch.float64)
    assert torch.allclose(blurred(flat, 1.2), flat, atol=1e-12)


@pytest.mark.parametrize("sigma", [1.2, 0.6, 0.03])
def test_blur_is_that_of_nine_taps_mirrored_at_the_border(sigma: float) -> None:
    image = torch.rand(3, 20, 31, generator=torch.Generator().manual_seed(2))
    expected = ndimage.gaussian_filter(image.double().numpy(), (0, sigma, sigma), mode="mirror", radius=(0, 4, 4))
    np.testing.assert_allclose(blurred(image, sigma).numpy(), expected, atol=1e-6)


def test_detector_of_a_ramp_is_its_slope() -> None:
    ramp = (torch.arange(32, dtype=torch.float64) * 0.01).expand(1, 3, 32, 32)
    assert float(texture(ramp, ROI)) == pytest.approx(0.01, rel=1e-6)


def test_no_steps_is_refused(network: nn.Module, observation: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        attribution(network, observation, ROI, steps=0)
