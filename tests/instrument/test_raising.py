"""A network that raises in the middle: the next engine goes on from the last good draw; what none can is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from cem_bench import Cell, DonorPool, Noise, Options, Uniform, as_model, measure
from cem_bench.measuring.prepared import MeasureError
from cem_bench.store.draws import Store


@pytest.fixture
def cell(scene, rng, tiny) -> Cell:
    """Every second donor is dark, which these networks do not take."""
    patches = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    patches[::2] //= 8
    pool = DonorPool(patches, np.arange(40).astype(str), {"source": "random"})
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(5), pool, Uniform(3))


class Raises(torch.nn.Module):
    """The tiny network, with something done to the means of its input's blocks beforehand."""

    def __init__(self, network, check) -> None:
        super().__init__()
        self.network, self.check = network, check

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * self.check(torch.nn.functional.avg_pool2d(x, 8).mean(1))


def caught(means: Tensor) -> Tensor:
    """Raises where a block is dark, and knows what to do then; a record of its calls does not."""
    try:
        return 1 + 0 * torch.linalg.cholesky(torch.diag_embed(means - 0.15))[:, None, :1, :1, 0]
    except torch.linalg.LinAlgError:
        return torch.stack(
            [0.9 * torch.ones(1, 1, 1) if (each < 0.15).any() else torch.ones(1, 1, 1) for each in means]
        )


def together(means: Tensor) -> Tensor:
    """Raises where a dark block stands in a batch."""
    if len(means) > 1 and bool((means < 0.15).any()):
        raise IndexError("a table of one row")
    return torch.ones(1)


class Memory:
    """Memory runs out in batches of four, from the twentieth call on."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, means: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 20 and len(means) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return torch.ones(1)


@pytest.mark.parametrize("engine", ["auto", "full"])
@pytest.mark.parametrize("check", [lambda: caught, lambda: together, Memory], ids=["caught", "together", "memory"])
def test_the_next_engine_goes_on_from_the_last_good_draw(cell: Cell, tiny, check, engine: str, tmp_path):
    whole, full = Raises(tiny(), check()), Options(engine="full")
    alone = as_model(lambda x: torch.cat([whole(row[None]) for row in x]), name="alone")
    expected = measure(dataclasses.replace(cell, model=alone, options=full)).effect_map.effect
    model = as_model(Raises(tiny(), check()), name="raises")
    measured = measure(dataclasses.replace(cell, model=model, options=Options(engine=engine)), tmp_path)
    assert np.nanmax(np.abs(measured.effect_map.effect - expected)) < 1e-4
    measured_blocks = int((measured.effect_map.status == 0).sum())
    assert measured.record["session"]["new_draws"] == 3 * measured_blocks, "none was made twice"


def test_draws_before_an_image_that_the_network_does_not_take_are_kept(cell: Cell, tiny, tmp_path):
    def refuses(means: Tensor) -> Tensor:
        if bool((means < 0.15).any()):
            raise KeyError("no entry for a dark block")
        return torch.ones(1)

    cell = dataclasses.replace(cell, model=as_model(Raises(tiny(), refuses), name="refuses"))
    with pytest.raises(MeasureError, match=r"raised KeyError \('no entry for a dark block'\) under engine full"):
        measure(dataclasses.replace(cell, options=Options(engine="full")), tmp_path)
    kept_draws = len(Store(tmp_path, cell.identity()).rows)
    with pytest.raises(MeasureError, match="what was measured before is kept"):
        measure(dataclasses.replace(cell, options=Options(engine="full")), tmp_path)
    assert len(Store(tmp_path, cell.identity()).rows) >= kept_draws
