"""Training: the split, the crops, resuming, publishing, and a toy member from crop to card."""

import csv
import hashlib
import itertools
import json
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import model_zoo
from cem_bench.inputs.degradations import Noise
from model_zoo.__main__ import main as zoo_command
from model_zoo.cards import registry
from model_zoo.compat import basicsr
from model_zoo.training import Crops, Recipe, every_test, measure, pairs, publish, read_split, score, train
from model_zoo.training.into_zoo import write_cards
from model_zoo.training.receptive_field import reach
from model_zoo.training.split import photographs
from scripts.measure_trained import Enlarged
from scripts.train import build, degradation_maker, run

if sys.version_info >= (3, 13):
    pytest.skip("basicsr 1.4.2 does not build on Python 3.13", allow_module_level=True)

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(path.stem for path in (ROOT / "conf/train").glob("*.yaml"))


@cache
def member(name: str, *overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(overrides=[f"+train={name}", *overrides]).train


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 72, 3), dtype=np.uint8) for _ in range(3)]


def noise(rng: np.random.Generator, index: int) -> Noise:
    return Noise(50.0, int(rng.integers(2**63)))


def crops(images: list[np.ndarray], training_seed: int = 0) -> Crops:
    return Crops(images, [noise], 24, training_seed)


class Stopped(Exception):
    """The plug was pulled."""


class Breaking(Crops):
    """Crops that end early, as an interrupted training does."""

    def __getitem__(self, index: int):
        if index >= 30:
            raise Stopped
        return super().__getitem__(index)


def small_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


def test_a_part_of_basicsr_that_does_not_import_is_refused_with_the_remedy():
    with pytest.raises(ImportError, match=r"pip install .*--no-deps basicsr.*headless OpenCV"):
        basicsr("no_such_part")


def test_crops_are_a_pure_function_of_seed_and_index(images):
    random.seed(1)
    state = random.getstate()
    one, other = crops(images)[5], crops(images)
    other[4]
    assert all(torch.equal(a, b) for a, b in zip(one, other[5], strict=True))
    assert random.getstate() == state
    assert not torch.equal(one[1], crops(images, training_seed=1)[5][1])


def test_crop_stream_has_not_changed_since_the_shipped_members_were_trained(images):
    """A member trained later must see the crops its relatives saw."""
    stream = [tensor for index in range(4) for tensor in crops(images)[index]]
    digest = hashlib.sha256(b"".join((tensor.numpy() * 255).round().astype(np.uint8).tobytes() for tensor in stream))
    assert digest.hexdigest() == "7a0699e1bfd57756f59f5f9df124fe7555f889c37b30bf804ada6e5c156baa32"


def test_observation_is_the_degraded_crop(images):
    maker = degradation_maker(OmegaConf.create({"_target_": "cem_bench.inputs.degradations.Bicubic", "factor": 4}))
    observation, clean = Crops(images, [maker], 32, 0)[3]
    assert observation.shape == (3, 8, 8) and clean.shape == (3, 32, 32)
    assert abs(float(observation.mean() - clean.mean())) < 0.02


def test_fields_of_rain_are_shared_and_renewed():
    node = {
        "_target_": "cem_bench.inputs.degradations.Rain",
        "level": "medium",
        "field": {"size": [64, 80], "live": 2, "uses": 3},
    }
    maker = degradation_maker(OmegaConf.create(node))
    black = np.zeros((24, 24, 3), np.uint8)
    first, again, renewed = (maker(np.random.default_rng(0), index)(black) for index in (0, 4, 6))
    assert first.any()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, renewed)


def test_a_cut_training_ends_with_the_same_bits(images, tmp_path):
    recipe = Recipe(iterations=12, batch=4, warmup=2, precision="no", checkpoint_every=5)
    straight, cut, resumed = small_network(), small_network(), small_network()
    train(straight, crops(images), recipe, tmp_path / "straight")
    with pytest.raises(Stopped):
        train(cut, Breaking(images, [noise], 24, 0), recipe, tmp_path / "cut")
    assert train(resumed, crops(images), recipe, tmp_path / "cut")["step"] == 12
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_learns(images, tmp_path):
    recipe = Recipe(iterations=60, batch=4, warmup=5, rate=1e-2, precision="no", checkpoint_every=30)
    clean = [np.full((64, 64, 3), value, np.uint8) for value in (60, 120, 180)]
    short = train(small_network(), Crops(clean, [noise], 24, 0), Recipe(1, precision="no"), tmp_path / "short")
    state = train(small_network(), Crops(clean, [noise], 24, 0), recipe, tmp_path / "long")
    assert state["loss"] < 0.6 * short["loss"]


def test_toy_member_goes_from_crop_to_card(tmp_path):
    places = [
        f"train.outputs={tmp_path}/out",
        f"train.weights={tmp_path}/weights",
        f"train.cards={tmp_path}/cards.yaml",
    ]
    run(member("toy", *places))
    record = json.loads((tmp_path / "weights/RCAN_toy.json").read_text())
    assert record["training_step"] == 20
    assert (
        len(record["commit"]) == 40
        and record["manifest"] == photographs(["astronaut", "coffee", "chelsea", "rocket"])[1]
    )
    card = registry.__wrapped__(tmp_path)["rcan-toy"]
    assert card.reach is None and card.parameters == record["parameters"]
    tensors = load_file(tmp_path / "weights" / card.checkpoint)
    build(member("toy")).load_state_dict(tensors, strict=True)


def test_weights_that_suffer_from_half_precision_stay_whole(tmp_path):
    exact = small_network()
    first = exact[0].weight.detach().clone()
    record = {"name": "x", "network": "m:n", "options": {}, "card": {}}

    def measure(network: nn.Module) -> float:
        return 30.0 - 0.05 * (not torch.equal(network[0].weight, first))  # type: ignore[index]

    facts = publish(exact, record, measure, tmp_path / "w", tmp_path / "cards.yaml")
    assert facts["precision"] == "float32" and facts["psnr"] == 30.0
    assert torch.equal(load_file(tmp_path / "w/x.safetensors")["0.weight"], first)


@pytest.mark.parametrize(("layers", "expected"), [(1, 1), (4, 4)])
def test_reach_of_a_chain_of_convolutions(layers, expected):
    chain = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers)))
    assert reach(chain, 1, side=48, offsets=(0,)) == expected


def test_reach_of_a_global_pool_is_none():
    class Pooled(nn.Module):
        def forward(self, x):
            return x * x.mean((2, 3), keepdim=True)

    assert reach(Pooled(), 1, side=48, offsets=(0,)) is None


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_can_be_built(name):
    spec = member(name)
    network = build(spec)
    scale = spec.card.get("scale", 1)
    assert [degradation_maker(node) for node in spec.degradations]
    sides = [spec.crop] if isinstance(spec.crop, int) else spec.crop
    assert all(side // scale % 16 == 0 for side in sides) or name == "toy"
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32 * scale, 32 * scale)
    if name != "toy":
        assert 0.1e6 < sum(value.numel() for value in network.parameters()) < 0.7e6


@pytest.mark.parametrize("family", ["RCAN DN", "RCAN DN 128", "RCAN SR x4", "EDSR depth SR x4"])
def test_members_of_a_family_differ_by_what_is_isolated_alone(family):
    isolated = {"attention", "blocks"} if family == "EDSR depth SR x4" else {"attention"}
    own = ("name", "member", "card", "network", "warm_start")
    plain = []
    for spec in (OmegaConf.to_container(member(name), resolve=True) for name in MEMBERS):
        if spec["family"] != family:
            continue
        kept = {key: value for key, value in spec.items() if key not in own}
        plain.append((kept, {key: value for key, value in spec["network"].items() if key not in isolated}))
    assert len(plain) >= 3 and all(other == plain[0] for other in plain)


def test_no_measured_image_trains():
    rows = read_split()
    trained = [row for row in rows if row["role"] == "train"]
    assert len(trained) == 500
    assert {row["set"] for row in trained} == {"bsds500_train", "bsds500_test", "div2k_test_lr_x4"}
    assert not {row["sha256"] for row in trained} & {row["sha256"] for row in rows if row["role"] != "train"}
    assert not any("val" in Path(row["path"]).parts for row in trained)


def test_shipped_records_and_cards_agree(tmp_path):
    weights, cards = ROOT / "model_zoo/weights", ROOT / "model_zoo/cards/trained.yaml"
    write_cards(weights, tmp_path / "trained.yaml")
    assert (tmp_path / "trained.yaml").read_text() == cards.read_text()
    shipped = sorted(weights.glob("*.safetensors"))
    assert [path.stem for path in shipped] == [path.stem for path in sorted(weights.glob("*.json"))]
    for path in shipped:
        assert (
            hashlib.sha256(path.read_bytes()).hexdigest() == json.loads(path.with_suffix(".json").read_text())["sha256"]
        )
    assert sum(path.stat().st_size for path in shipped) < 40e6


def thumbnails(paths: list[Path]) -> np.ndarray:
    """(n, 2, 192): grey-free 8x8 means of each image as it is and turned by 180 degrees, less their mean."""
    small = []
    for path in paths:
        with Image.open(path) as image:
            upright = image.convert("RGB")
            upright = upright if upright.width >= upright.height else upright.rotate(90, expand=True)
            pixels = np.asarray(upright.resize((8, 8), Image.Resampling.BOX), dtype=np.float64)
        small.append([view.ravel() - view.mean() for view in (pixels, pixels[::-1, ::-1])])
    return np.asarray(small)


def nearest(paths: list[Path], others: list[Path]) -> np.ndarray:
    """Smallest root mean square difference of each image's thumbnail to any of the others', in grey levels."""
    here, there = thumbnails(paths)[:, :1], thumbnails(others)
    return np.sqrt(((here[:, :, None] - there[None].reshape(1, 1, -1, 192)) ** 2).mean(-1)).min((1, 2))


def test_no_pixels_of_a_measured_image_train(shared):
    """By content, not by name: the same look finds all of CBSD68 in BSDS500 val, and none of it in what trains."""
    rows = read_split()

    def paths(*sets: str) -> list[Path]:
        return [shared / "data" / row["path"] for row in rows if row["set"] in sets]

    trained = paths("bsds500_train", "bsds500_test", "div2k_test_lr_x4")
    assert nearest(paths("cbsd68"), paths("bsds500_val")).max() < 2.0
    assert nearest(paths("cbsd68", "set5", "set14", "kodak24", "urban100", "bsds500_val"), trained).min() > 4.0


def test_bicubic_and_noisy_images_score_what_is_published(shared):
    """Bicubic x4 on Set5, Y: 28.42 to 28.43 dB; noise of sigma 50 on CBSD68, RGB, clipped: 14.9 dB (docs/method.md)."""
    root = shared / "data"
    assert measure(Enlarged(4), "set5_x4", root)["psnr"] == pytest.approx(28.43, abs=0.05)
    few = list(itertools.islice(pairs(every_test()["cbsd68_dn50"], root), 8))
    assert score(nn.Identity(), few, luma=False, border=0)["psnr"] == pytest.approx(14.9, abs=0.25)


@pytest.mark.parametrize("path", sorted((ROOT / "model_zoo/weights").glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_shipped_weights_restore_as_their_record_says(shared, path, whole):
    """The whole test within 0.02 dB; of the middle of its first two images, that the network is far above its input."""
    record = json.loads(path.read_text())
    test = every_test()[record["check"]]
    network = model_zoo.load(record["name"])
    if whole:
        found = score(network, pairs(test, shared / "data"), luma=test.luma, border=test.border)["psnr"]
        assert found == pytest.approx(record["psnr"], abs=0.02)
        return
    scale = record["card"].get("scale", 1)
    images = [middle(*pair, scale) for pair in itertools.islice(pairs(test, shared / "data"), 2)]
    found = score(network, images, luma=test.luma, border=test.border)["psnr"]
    assert found > score(Enlarged(scale), images, luma=test.luma, border=test.border)["psnr"] + 0.5


def middle(observation: np.ndarray, clean: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of an observation and of its clean image, 96 clean pixels wide and high."""
    side = 96 // scale
    top, left = ((size - side) // 2 for size in observation.shape[:2])
    within = slice(top * scale, (top + side) * scale), slice(left * scale, (left + side) * scale)
    return observation[top : top + side, left : left + side], clean[within]


@pytest.mark.parametrize("library", ["accelerate", "basicsr.losses"])
def test_a_missing_training_library_is_said_with_the_remedy(library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)  # what Python itself does to an import that must not be found
    with pytest.raises(ImportError, match=rf"need {library.split('.')[0]}.*pip install.*--no-deps basicsr"):
        run(member("toy", f"train.outputs={tmp_path}"))
    assert not list(tmp_path.iterdir())


def test_members_train_beside_each_other_with_processes_for_their_crops(tmp_path):
    many = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "+train=toy", "train.training_seed=0,1"]
    where = [f"train.outputs={tmp_path}", f"hydra.sweep.dir={tmp_path / 'hydra'}"]
    command = [sys.executable, "scripts/train.py", *many, "train.recipe.workers=1", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / name / "step_00000020").is_dir() for name in ("RCAN_toy", "RCAN_toy_seed1"))


def test_verify_measures_trained_networks_as_their_training_did(shared, tmp_path, capsys):
    """Super-resolution to the same size has no observations on disk: they are made as for the training's end."""
    names = ["EDSR_SR_4", "SwinIR_SR1_light"]
    assert zoo_command(["verify", *names, "--out", str(tmp_path / "measured.csv")]) == 0
    with (tmp_path / "measured.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(names)
    assert all(row["images"] == "5" and abs(float(row["difference_db"])) <= 0.02 for row in rows.values())


def test_verify_says_what_a_trained_network_lacks(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CEM_DATA", str(tmp_path))
    assert zoo_command(["verify", "SRResNet_DR_light", "--out", str(tmp_path / "measured.csv")]) == 1
    assert "bsds500" in capsys.readouterr().err
