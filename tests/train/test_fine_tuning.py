"""Fine-tuning: crops of several sizes, a start from weights of the zoo, the same bits after a cut."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from torch import nn

import model_zoo
from cem_bench.inputs.degradations import Noise
from model_zoo.cards import registry
from model_zoo.errors import ZooError
from model_zoo.training import Crops, Recipe, train, warm_start
from scripts.train import build, run

if sys.version_info >= (3, 13):
    pytest.skip("basicsr 1.4.2 does not build on Python 3.13", allow_module_level=True)

ROOT = Path(__file__).parents[2]


def member(name: str, *overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(overrides=[f"+train={name}", *overrides]).train


def noise(rng: np.random.Generator, index: int) -> Noise:
    return Noise(50.0, int(rng.integers(2**63)))


@pytest.fixture(autouse=True)
def _own_precision():
    """accelerate keeps the precision of a process's first training; each test here has its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 72, 3), dtype=np.uint8) for _ in range(3)]


class Pooled(nn.Module):
    """A convolution whose channels are weighted by the mean over the image, so that the size of a crop matters."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        inner = torch.relu(self.inner(x))
        return x + self.outer(inner * inner.mean((2, 3), keepdim=True))


def pooled() -> Pooled:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Pooled()


def test_sizes_go_round_batch_by_batch(images):
    crops = Crops(images, [noise], [16, 40, 24], 0, alike=2)
    sides = [crops[index][1].shape[-2:] for index in range(8)]
    assert sides == [(16, 16)] * 2 + [(40, 40)] * 2 + [(24, 24)] * 2 + [(16, 16)] * 2
    assert all(observation.shape == clean.shape for observation, clean in (crops[index] for index in range(8)))


def test_one_size_listed_is_the_stream_of_that_size(images):
    single, listed = Crops(images, [noise], 24, 5), Crops(images, [noise], [24], 5, alike=4)
    for index in (0, 3, 9):
        assert all(torch.equal(a, b) for a, b in zip(single[index], listed[index], strict=True))


@pytest.mark.parametrize(
    ("sizes", "alike", "match"),
    [([], 1, "at least one side"), ([24, 0], 1, "at least one side"), (24, 0, "at least"), ([24, 65], 1, "65 pixels")],
)
def test_sizes_that_cannot_be_cropped_are_refused(images, sizes, alike, match):
    with pytest.raises(ValueError, match=match):
        Crops(images, [noise], sizes, 0, alike=alike)


class Stopped(Exception):
    """The plug was pulled."""


class Cut(Crops):
    """Crops that end after 27, in the middle of a round of sizes and between two checkpoints."""

    def __getitem__(self, index: int):
        if index >= 27:
            raise Stopped
        return super().__getitem__(index)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_cut_fine_tuning_of_mixed_sizes_ends_with_the_same_bits(images, tmp_path, precision):
    recipe = Recipe(iterations=14, batch=3, warmup=2, precision=precision, checkpoint_every=4)
    start = {key: value + 0.01 for key, value in pooled().state_dict().items()}
    straight, cut, resumed = pooled(), pooled(), pooled()
    for network in (straight, cut, resumed):
        network.load_state_dict(start)  # the start is given again before a checkpoint replaces it
    settings = (images, [noise], [16, 40, 24], 1)
    train(straight, Crops(*settings, alike=3), recipe, tmp_path / "straight")
    with pytest.raises(Stopped):
        train(cut, Cut(*settings, alike=3), recipe, tmp_path / "cut")
    assert [path.name for path in (tmp_path / "cut").glob("step_*")] == ["step_00000008"]
    assert train(resumed, Crops(*settings, alike=3), recipe, tmp_path / "cut")["step"] == 14
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_warm_start_gives_the_weights_and_names_them():
    spec = member("rcan_dn_half_128")
    network = build(spec)
    facts = warm_start(network, spec.warm_start)
    record = json.loads((ROOT / "model_zoo/weights/RCAN_DN_half.json").read_text())
    assert facts == {"name": "RCAN_DN_half", "sha256": record["sha256"]}
    expected = model_zoo.load("RCAN_DN_half").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_warm_start_of_another_architecture_is_refused():
    network = build(member("rcan_dn_none"))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ZooError, match=r"RCAN_DN_ca has .* expected None .*same architecture"):
        warm_start(network, "RCAN_DN_ca")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(ZooError):
        warm_start(network, "no_such_weights")


def test_record_and_card_say_where_a_training_started(tmp_path):
    """One step of almost no length on tiny crops: what is published is still the start, and both say so."""
    places = [f"train.outputs={tmp_path}", f"train.weights={tmp_path}/weights", f"train.cards={tmp_path}/cards.yaml"]
    tiny = ["train.photographs=[chelsea]", "train.crop=[16,32]", "train.check=null", "train.training_seed=1"]
    recipe = ["iterations=2", "batch=1", "rate=1e-12", "final_rate=1e-12", "warmup=0", "checkpoint_every=1"]
    run(member("rcan_dn_ca_128", *places, *tiny, *(f"train.recipe.{item}" for item in recipe)))
    record = json.loads((tmp_path / "weights/RCAN_DN_ca_128_seed1.json").read_text())
    start = json.loads((ROOT / "model_zoo/weights/RCAN_DN_ca_seed1.json").read_text())
    assert record["warm_start"] == {"name": "RCAN_DN_ca_seed1", "sha256": start["sha256"]}
    card = registry.__wrapped__(tmp_path)["rcan-dn-ca-128-seed1"]
    assert card.training is not None and card.training.endswith("fine-tuned from the weights of RCAN_DN_ca_seed1")
    stored = load_file(tmp_path / "weights/RCAN_DN_ca_128_seed1.safetensors")
    shipped = load_file(ROOT / "model_zoo/weights/RCAN_DN_ca_seed1.safetensors")
    assert all(torch.equal(value, shipped[key]) for key, value in stored.items())


def test_every_member_of_the_larger_crops_starts_from_its_own_weights():
    for path in sorted((ROOT / "conf/train").glob("rcan_dn_*_128.yaml")):
        spec, origin = member(path.stem), member(path.stem.removesuffix("_128"))
        assert spec.warm_start == origin.name and spec.name == f"{origin.name}_128"
        assert spec.network == origin.network and spec.recipe.iterations >= 3000 and max(spec.crop) == 160
