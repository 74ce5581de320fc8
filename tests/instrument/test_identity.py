"""Run keys: all that decides a number, and nothing else; draws that are shipped are still found."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

import model_zoo
from cem_bench import Cell, Noise, Options, Rect, Uniform, as_model, measure
from cem_bench.models.model import Model
from cem_bench.run.build import CONF, build_cell, register
from cem_bench.run.networks import build_model
from cem_bench.store.draws import run_key

ROOT = Path(__file__).resolve().parents[2]
FULL = Options(engine="full")


def composed(*overrides: str):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def test_quickstart_still_has_the_key_under_which_its_draws_are_shipped():
    (path,) = (ROOT / "results" / "quickstart").glob("*.json")
    cell = build_cell(composed("+experiment=quickstart"))
    record = json.loads(path.read_text())
    assert cell.identity() == record["identity"]
    assert run_key(cell.identity()) == record["key"]


SHIPPED = sorted(
    path.name.removesuffix(".runs.parquet") for path in (ROOT / "results" / "draws").glob("*.runs.parquet")
)


@pytest.mark.parametrize("name", SHIPPED)
def test_models_still_have_the_identity_under_which_their_draws_are_archived(name: str, monkeypatch):
    """Of every model of the archive whose weights lie in the package, or in the folders of the test data."""
    shared = ROOT.parent / "shared" / "weights"
    if shared.is_dir():
        monkeypatch.setenv("CEM_WEIGHTS", str(shared))
    archived = pd.read_parquet(ROOT / "results" / "draws" / f"{name}.runs.parquet")["identity"]
    identities = {tuple(json.loads(text)[part] for part in ("architecture", "weights_sha256")) for text in archived}
    try:
        model = build_model(composed(f"model={name.removesuffix('.joint')}").model)
    except model_zoo.ZooError as error:
        pytest.skip(str(error))
    found = model.identity()
    assert set(found) == {"architecture", "weights_sha256"}
    assert {(found["architecture"], found["weights_sha256"])} == identities


class Gain(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.gain = nn.Conv2d(3, 3, 3, padding=1), gain

    def forward(self, x):
        return x + self.gain * self.body(x)


class Caching(Gain):
    """Keeps things of its forwards."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        self.last = super().forward(x)
        return self.last


@pytest.fixture
def cell(scene, pool) -> Cell:
    return Cell(as_model(Gain(0.1), name="mine"), scene, Noise(30), pool, Uniform(2), FULL)


def with_network(cell: Cell, network, **more) -> Cell:
    return dataclasses.replace(cell, model=as_model(network, name="mine", **more))


def test_another_network_gets_draws_of_its_own(cell: Cell, tmp_path):
    alone = measure(with_network(cell, Gain(1.0)), tmp_path / "alone").effect_map.effect
    measure(cell, tmp_path / "both")
    beside = measure(with_network(cell, Gain(1.0)), tmp_path / "both")
    assert beside.record["session"]["new_draws"] > 0
    assert np.array_equal(beside.effect_map.effect, alone, equal_nan=True)
    again = measure(with_network(cell, Gain(1.0)), tmp_path / "both")
    assert again.record["session"]["new_draws"] == 0


def test_a_network_changed_in_place_is_another(cell: Cell, tmp_path):
    network = Gain(0.1)
    cell = with_network(cell, network)
    measure(cell, tmp_path)
    network.gain = 0.5
    assert measure(cell, tmp_path).record["session"]["new_draws"] > 0
    network.gain = 0.1
    assert measure(cell, tmp_path).record["session"]["new_draws"] == 0
    network.body.weight.data *= 2
    assert measure(cell, tmp_path).record["session"]["new_draws"] > 0


def test_what_a_forward_leaves_behind_changes_no_key(cell: Cell, tmp_path):
    first, second = (with_network(cell, Caching(0.1)) for _ in range(2))
    key = run_key(first.identity())
    assert measure(first, tmp_path).store.key == key
    assert run_key(first.identity()) == key
    assert measure(first, tmp_path).record["session"]["new_draws"] == 0
    assert measure(second, tmp_path).record["session"]["new_draws"] == 0
    first.model.restorer.network.gain = 0.3
    assert run_key(first.identity()) != key


def test_without_a_folder_nothing_is_written(cell: Cell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured = measure(cell)
    assert list(tmp_path.iterdir()) == []
    stored = measure(cell, tmp_path)
    pd.testing.assert_frame_equal(measured.store.rows, stored.store.rows)
    assert measured.record["identity"] == stored.record["identity"]
    assert np.array_equal(measured.effect_map.effect, stored.effect_map.effect, equal_nan=True)
    with pytest.raises(ValueError, match="is in memory alone and has no folder: give measure"):
        _ = measured.store.folder
    removed = measured.store.remove([(int(measured.store.rows["block"].iloc[0]), 0)])
    assert removed == 2, "a block's later draws go too"


def unsourced(gain: float):
    return eval(f"lambda x: x * {gain}")


@pytest.mark.parametrize(
    "make",
    [
        lambda: unsourced(0.5),
        lambda: torch.compile(Gain(0.1), backend="eager"),
        lambda: (lambda session: lambda x: x + 0 * next(session, 0))(part for part in []),
    ],
    ids=["no source", "compiled", "an iterator"],
)
def test_draws_of_what_cannot_be_seen_stay_in_the_process(cell: Cell, make, tmp_path, caplog, recwarn):
    cell = with_network(cell, make())
    with caplog.at_level(logging.WARNING):
        first = measure(cell, tmp_path)
    assert [record.getMessage() for record in caplog.records if "cannot be seen" in record.getMessage()]
    assert list(tmp_path.rglob("*.parquet")) == []
    assert first.record["session"]["new_draws"] > 0
    assert measure(cell, tmp_path).record["session"]["new_draws"] == 0, "the same object, in this process"
    assert measure(with_network(cell, make()), tmp_path).record["session"]["new_draws"] > 0
    named = [with_network(cell, make(), identity="mine-1") for _ in range(2)]
    assert measure(named[0], tmp_path).record["session"]["new_draws"] > 0
    assert measure(named[1], tmp_path).record["session"]["new_draws"] == 0


@pytest.mark.parametrize("how", ["seen", "named", "unseen"])
def test_an_altered_copy_of_a_model_is_another(how: str):
    network = {"seen": lambda: Gain(1), "named": lambda: Gain(1), "unseen": lambda: unsourced(0.5)}[how]()
    model = as_model(network, name="mine", identity="mine-1" if how == "named" else "")
    copied = copy.deepcopy(model.restorer)
    for weights in copied.parameters():
        weights.data *= 2
    altered = [model.altered(copied, f"{count} layers random") for count in (1, 2)]
    assert all(one.identity() != model.identity() for one in altered)
    assert all(one.sight.stores is not model.sight.stores for one in altered)
    if how != "seen":  # the same weights under another word: nothing else tells them apart
        assert altered[0].identity() != altered[1].identity()


@pytest.mark.parametrize("value", [-1, 0, float("nan"), float("inf"), "255"])
def test_a_value_range_that_is_no_white_is_refused(value):
    with pytest.raises(ValueError, match=r"value_range of mine: got .*, expected the value of white, as 1 or 255"):
        as_model(Gain(1), name="mine", value_range=value)


@pytest.mark.parametrize("name", [" mine", 3, "mine\n"])
def test_an_identity_that_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match=r"identity of mine: got .*, expected a name, as 'mine-1'"):
        as_model(Gain(1), name="mine", identity=name)


def model_of(*overrides: str) -> Model:
    config = composed(*overrides)
    asked = None if config.task.degradation is None else OmegaConf.to_object(config.task.degradation)
    return build_model(config.model, Noise(asked["sigma"]) if asked else None)


def level_of(model: Model) -> float:
    return next(part.sigma for part in model.restorer.modules() if hasattr(part, "sigma"))


def test_the_level_that_a_network_is_told_follows_the_task(shared):
    own, same, other = (model_of("model=FFDNet", task) for task in ("task=auto", "task=dn50", "task=dn25"))
    assert (level_of(own), level_of(same), level_of(other)) == (50, 50, 25)
    assert own.identity() == same.identity() != other.identity()
    given = model_of("model=FFDNet", "+model.options.sigma=25")
    assert given.identity() == other.identity()
    stands = model_of("model=FFDNet", "task=dn25", "+model.options.sigma=10")
    assert level_of(stands) == 10
    assert len({str(model.identity()) for model in (own, other, stands)}) == 3


def test_ffdnet_restores_weak_noise_as_published(shared):
    cell = build_cell(composed("model=FFDNet", "task=dn25", "scene=astronaut"))
    clean = cell.scene.clean
    observation = cell.degradation(clean)
    with torch.inference_mode():
        rows = torch.from_numpy(observation.transpose(2, 0, 1)[None].copy()).float() / 255
        restored = cell.model.restorer(rows)[0].numpy().transpose(1, 2, 0)
    psnr = -10 * np.log10(np.mean((restored.clip(0, 1) - clean / 255) ** 2))
    assert psnr > 31, "told 50 it is 3 dB lower"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("model=FFDNet", "task=rain_medium"),
            r"FFDNet is told the sigma of its noise, and Rain has none: it is for DN",
        ),
        (("model=FFDNet", "task=blur"), r"sigma of its noise, and Blur has none"),
        (("model=FFDNet", "task=low_light"), r"sigma of its noise, and LowLight has none"),
        (("model=DRUNet", "task=poisson_gaussian"), r"of its noise, and PoissonGaussian has none"),
        (
            ("model=DnCNN_sigma25", "task=dn50"),
            r"is for Noise of sigma 25, .* 50: write task.degradation.sigma=25",
        ),
        (
            ("model=RCAN_DN_none", "task=dn15"),
            r"is for Noise of sigma 50, .* 15: write task.degradation.sigma=50",
        ),
        (("model=DnCNN", "task=dn50", "task.degradation.sigma=70"), r"sigma 0 to 55, and the task has 70"),
        (("model=RCAN_SR1_light", "task=sr_x2_same_size"), r"is for Bicubic of factor 4, and the task has 2"),
        (("model=FFDNet", "+model.options.sigmas=25"), r"FFDNet has no option sigmas; it has sigma, features, depth"),
        (("model=FFDNet", "model.identity=mine"), r"FFDNet has an identity by its card; take it away"),
    ],
)
def test_a_task_that_a_card_is_not_for_is_refused(overrides, message: str):
    with pytest.raises(ValueError, match=message):
        build_cell(composed(*overrides))


def test_a_network_off_its_level_is_measured_where_asked_for():
    cell = build_cell(composed("model=RCAN_DN_none", "task=dn15", "model.off_level=true"))
    assert cell.degradation.sigma == 15
    assert cell.scene.roi == Rect(96, 96, 32, 32)


def test_every_card_follows_what_its_network_has():
    for name in model_zoo.list_models():
        card = model_zoo.card(name)
        for option in card.follows:
            assert option in (*card.options, "noise_map")
            assert option != "noise_map" or card.noise_map is not None
            assert model_zoo.configured(card, {option: 7}) != card
