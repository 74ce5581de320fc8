"""Networks that draw random numbers: refused, or measured under common random numbers, with the variance split."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cem_bench.inputs.degradations import Noise
from cem_bench.inputs.donors import DonorPool
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure, measure_matrix
from cem_bench.measuring.refusals import MeasureError
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.stats.components import components, of_block

STATES = 4


class Noisy(nn.Module):
    """A denoiser with noise injected, dropout left on, or a gain that Python's generator draws."""

    def __init__(self, body: nn.Module, how: str) -> None:
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.how == "noise":
            return y + 0.02 * torch.randn_like(y)
        if self.how == "gain":
            return y * random.uniform(0.9, 1.1)
        return x + F.dropout(y - x, 0.3)


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3), Options(stochastic=STATES))


@pytest.mark.parametrize("how", ["noise", "dropout", "gain"])
def test_a_stochastic_network_is_refused_and_measured_where_asked_for(cell, tiny, tmp_path, how: str):
    noisy = dataclasses.replace(cell, model=as_model(Noisy(tiny(), how), name="noisy"))
    with pytest.raises(MeasureError, match=r"draws random numbers, .* stochastic=K"):
        measure(dataclasses.replace(noisy, options=Options()), tmp_path / "refused")
    state = torch.random.get_rng_state()
    first = measure(noisy, tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's generators are put back"
    assert first.store.rows.equals(measure(noisy, tmp_path / "two").store.rows), "the same bits again"
    assert measure(noisy, tmp_path / "one").record["session"]["new_draws"] == 0
    split = first.record["stochastic"]
    assert split["states"] == STATES
    for name in ("donors", "network"):
        low, high = split[f"{name}_db2_interval_95"]
        assert low <= split[f"{name}_db2"] <= high
    far = first.effect_map.effect[0, 0]
    assert far == 0.0, "a block out of reach, under common random numbers, moves nothing"
    assert np.nanmax(np.abs(first.effect_map.effect)) > 0


def test_a_block_of_its_own_content_has_no_effect_under_any_state(cell, tiny, scene, tmp_path):
    patch = np.ascontiguousarray(scene.clean[scene.grid.rect(10).slices][None])
    cell = dataclasses.replace(cell, model=as_model(Noisy(tiny(), "noise"), name="noisy"))
    own = dataclasses.replace(cell, pool=DonorPool(patch, np.array(["itself"])))
    rows = measure(own, tmp_path).store.rows.query("block == 10")
    assert np.array_equal(rows["psnr"], rows["psnr_untouched"])


def test_a_network_without_random_numbers_has_the_same_map_and_no_variance_of_its_own(cell, tmp_path):
    plain = measure(dataclasses.replace(cell, options=Options(engine="full")), tmp_path).effect_map
    under = measure(cell, tmp_path)
    assert np.allclose(under.effect_map.effect, plain.effect, rtol=0, atol=1e-5, equal_nan=True)
    assert under.record["stochastic"]["network_db2"] == pytest.approx(0, abs=1e-9)
    assert under.record["stochastic"]["donors_db2"] > 1e-8
    assert cell.identity() != dataclasses.replace(cell, options=Options()).identity()


def test_state_is_refused_under_common_random_numbers_too(cell, tiny, tmp_path):
    net, calls = tiny().eval(), []

    def drifts(x: Tensor) -> Tensor:
        calls.append(1)
        return net(x) * (1 + 0.01 * len(calls))

    with pytest.raises(MeasureError, match=r"under the same random numbers .* keeps state"):
        measure(dataclasses.replace(cell, model=as_model(drifts, name="drifts")), tmp_path)


@pytest.mark.parametrize("options", [{"stochastic": 1}, {"stochastic": -2}, {"engine": "cone"}, {"precision": "bf16"}])
def test_what_does_not_go_together_is_refused(options: dict):
    with pytest.raises(ValueError, match=r"write stochastic=8|stochastic: got -2"):
        Options(**{"stochastic": 4, **options})


def test_all_rois_at_once_are_not_measured_under_states(cell, tmp_path):
    with pytest.raises(ValueError, match="roi=grid measures networks that draw no random numbers"):
        measure_matrix(cell, tmp_path, 2)


def test_variances_of_donors_and_network_are_found_again():
    """Effects made of a donor's part (sd 0.3), a state's part (sd 0.2) and a rest (sd 0.1), 400 blocks."""
    rng = np.random.default_rng(0)
    made = [rng.normal(0, 0.3, (6, 1)) + rng.normal(0, 0.2, (1, 5)) + rng.normal(0, 0.1, (6, 5)) for _ in range(400)]
    found = components(made)
    assert found["donors_db2_interval_95"][0] < 0.09 < found["donors_db2_interval_95"][1]
    assert found["network_db2_interval_95"][0] < 0.05 < found["network_db2_interval_95"][1]
    assert components([np.zeros((1, 5))]) == {"donors_db2": None, "network_db2": None, "blocks": 0}
    donors, network = of_block(np.array([[1.0, 1.0], [3.0, 3.0]]))
    assert (donors, network) == (2.0, 0.0)
