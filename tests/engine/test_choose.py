"""Which engine is chosen, what it says, and what all engines have in common."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cem_bench.engine import EngineError, prepare
from cem_bench.engine.base import Untouched, in_batches
from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.full import FullEngine
from cem_bench.engine.memory import forward_bytes
from cem_bench.inputs.geometry import Rect


class Unrecorded(nn.Module):
    """A local network that asks its input for something a record of calls cannot promise for other inputs."""

    def __init__(self, hidden: bool = False) -> None:
        super().__init__()
        self.conv, self.hidden = nn.Conv2d(3, 3, 3, padding=1), hidden

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden:
            x = torch.nan_to_num(x)
        return self.conv(x.clone() if x.is_pinned() else x)


@pytest.fixture
def observation() -> Tensor:
    return torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(0))


ROI, BLOCK = Rect(8, 8, 8, 8), Rect(12, 12, 4, 4)


def test_auto_takes_the_cone_where_it_removes_work(observation: Tensor) -> None:
    engine = prepare(nn.Conv2d(3, 3, 3, padding=1), observation, ROI)
    assert engine.kind == "cone"
    assert "of the work is left" in engine.reason


def test_auto_takes_full_forwards_where_the_cone_would_not_pay(observation: Tensor) -> None:
    net = nn.Sequential(nn.InstanceNorm2d(3), nn.Conv2d(3, 3, 3, padding=1))
    engine = prepare(net, observation, Rect(0, 0, 64, 64))
    assert engine.kind == "full"
    assert "instance_norm" in engine.reason


def test_crop_is_certified_and_equals_the_full_forward(observation: Tensor) -> None:
    engine = prepare(Unrecorded(), observation, ROI)
    assert engine.kind == "crop"
    patches = torch.rand((3, 3, 4, 4), generator=torch.Generator().manual_seed(1))
    full = prepare(Unrecorded(), observation, ROI, kind="full")
    assert engine.outputs(BLOCK, patches).shape == full.outputs(BLOCK, patches).shape
    assert not engine.reaches(Rect(60, 60, 4, 4))


def test_crop_refuses_what_can_hide_a_nan(observation: Tensor) -> None:
    with pytest.raises(EngineError, match="nan_to_num"):
        prepare(Unrecorded(hidden=True), observation, ROI, kind="crop")


def test_crop_refuses_a_global_network(observation: Tensor) -> None:
    with pytest.raises(EngineError, match="not local"):
        prepare(nn.InstanceNorm2d(3), observation, ROI, kind="crop")


@pytest.mark.parametrize("kind", ["cone", "crop", "full"])
def test_identity_intervention_gives_row_zero_bit_for_bit(kind: str, observation: Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    patch = observation[(slice(None), *BLOCK.slices)][None].repeat(5, 1, 1, 1)
    outputs = prepare(net, observation, ROI, kind=kind).outputs(BLOCK, patch)
    assert torch.equal(outputs, outputs[:1].expand_as(outputs))


def test_bf16_is_near_fp32_and_not_equal(observation: Tensor) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    patches = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(1))
    exact = prepare(net, observation, ROI).outputs(BLOCK, patches)
    coarse = prepare(net, observation, ROI, precision="bf16").outputs(BLOCK, patches)
    assert 0 < (exact - coarse).abs().max() < 0.05 * exact.abs().max()
    assert next(net.parameters()).dtype == torch.float32


def test_memory_running_out_halves_the_batch_and_changes_no_result() -> None:
    sizes = []

    def forward(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return rows * 2

    rows = torch.arange(10.0)[:, None]
    results, limit = in_batches(forward, rows, 16)
    assert torch.equal(results, rows * 2)
    assert limit <= 3
    assert len(set(sizes[-4:])) == 1, "batches of one size give every row the same last bits"


@pytest.mark.parametrize(("count", "limit", "batches"), [(3, 2, [1] * 3), (3, 3, [3]), (4, 2, [2, 2]), (50, 64, [50])])
def test_batches_waste_no_rows(count: int, limit: int, batches: list[int]) -> None:
    sizes = []

    def forward(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return rows

    in_batches(forward, torch.zeros(count, 1), limit)
    assert sizes == batches


def test_measured_memory_counts_what_lives_at_once() -> None:
    batch = torch.zeros(1, 1, 16, 16)
    assert forward_bytes(lambda x: (x + 1) + 1, batch) == 3 * batch.nbytes


@pytest.mark.parametrize(
    ("options", "words"),
    [({"kind": "cones"}, "expected one of auto, cone"), ({"precision": "fp16"}, "expected one of fp32, bf16")],
)
def test_unknown_choices_are_refused_by_name(options: dict[str, str], words: str, observation: Tensor) -> None:
    with pytest.raises(ValueError, match=words):
        prepare(nn.Identity(), observation, ROI, **options)


def test_patches_of_the_wrong_size_are_refused(observation: Tensor) -> None:
    engine = prepare(nn.Conv2d(3, 3, 3, padding=1), observation, ROI)
    with pytest.raises(ValueError, match="cut the donors"):
        engine.outputs(BLOCK, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="input pixels"):
        engine.outputs(Rect(62, 0, 4, 4), torch.zeros(1, 3, 4, 4))


def test_the_untouched_row_is_made_once_for_every_batch_size(observation: Tensor) -> None:
    sizes = []

    def forward(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return rows * 2

    untouched = Untouched(forward, observation)
    rows = torch.stack([observation] * 5)
    for count in (5, 3, 5, 3, 0):
        outputs, limit = untouched.before(rows[:count], 4)
        assert limit == 4
        assert torch.equal(outputs, torch.stack([observation * 2] * (count + 1)))
    assert sizes == [3, 3, 3, 3, 3, 3, 3, 1], "5 rows in batches of 3, 3 rows in one of 3, no row in one of 1"


class Gated(nn.Module):
    """Attention over channels between convolutions, then x2: all of it changes, the ROI wants a part of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.tail = (nn.Conv2d(*sizes, 3, padding=1) for sizes in ((3, 8), (8, 8), (8, 12)))

    def forward(self, image: Tensor) -> Tensor:
        features = functional.gelu(self.head(image))
        low, high = features.chunk(2, 1)
        features = torch.cat([low, high * high.mean((2, 3), keepdim=True).sigmoid()], 1)
        return functional.pixel_shuffle(self.tail(functional.gelu(self.body(features))), 2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("kind", ["full", "cone"])
def test_compiled_code_agrees_with_plain_forwards(
    kind: str, observation: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    net = Gated().eval()
    patches = torch.cat([observation[(None, slice(None), *BLOCK.slices)], torch.rand(2, 3, 4, 4)])
    plain, fast = prepare(net, observation, ROI, kind="full"), prepare(net, observation, ROI, kind=kind, compiled=True)
    assert isinstance(fast, FullEngine | ConeEngine) and fast.compiled
    found = fast.outputs(BLOCK, patches)
    assert torch.equal(found[1], found[0]), "a block's own content is the untouched row bit for bit"
    assert float((found - plain.outputs(BLOCK, patches)).abs().max()) < 1e-5


def test_what_cannot_be_compiled_says_so(observation: Tensor) -> None:
    local = nn.Conv2d(3, 3, 3, padding=1)
    with pytest.raises(ValueError, match="choose auto, cone or full"):
        prepare(local, observation, ROI, kind="crop", compiled=True)
    cone = prepare(local, observation, ROI, kind="cone", compiled=True)
    assert isinstance(cone, ConeEngine) and not cone.compiled
    assert "too little of it is whole to compile" in cone.reason
