"""The second lock: a store serves no draw to a network that behaves otherwise than the one that measured it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cem_bench import Cell, Noise, Options, Rect, Uniform, as_model, measure
from cem_bench.measuring.measure import measure_matrix
from cem_bench.measuring.prepared import MeasureError
from cem_bench.store.draws import FINGERPRINT


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def gain(self) -> float:
        return 0.1

    def forward(self, x):
        return x + self.gain() * F.relu(self.body(x))


class ReadsAFile(Net):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def gain(self) -> float:
        return float(Path(self.path).read_text())


class ReadsTheEnvironment(Net):
    """The name of the variable is no text of its code."""

    variable = "gain_of_test"

    def gain(self) -> float:
        return float(os.environ.get(self.variable.upper(), "0.1"))


class ReadsALibrary(Net):
    def gain(self) -> float:
        return torch.gain_of_test


def louder(value: float):
    return eval(f"lambda x: x * {value}")


def by_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "gain.txt"
    path.write_text("0.1")
    yield as_model(ReadsAFile(path), name="net")
    path.write_text("0.3")
    yield as_model(ReadsAFile(path), name="net")


def by_environment(tmp_path: Path, monkeypatch):
    yield as_model(ReadsTheEnvironment(), name="net")
    monkeypatch.setenv("GAIN_OF_TEST", "0.3")
    yield as_model(ReadsTheEnvironment(), name="net")


def by_library(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch, "gain_of_test", 0.1, raising=False)
    yield as_model(ReadsALibrary(), name="net")
    monkeypatch.setattr(torch, "gain_of_test", 0.3)
    yield as_model(ReadsALibrary(), name="net")


def by_name(tmp_path: Path, monkeypatch):
    yield as_model(louder(0.9), name="net", identity="mine-1")
    yield as_model(louder(0.8), name="net", identity="mine-1")


HIDDEN = [by_file, by_environment, by_library, by_name]


@pytest.fixture
def cell(scene, pool) -> Cell:
    return Cell(as_model(Net(), name="net"), scene, Noise(30), pool, Uniform(1), Options(engine="full"))


@pytest.mark.parametrize("change", HIDDEN)
@pytest.mark.parametrize("forgotten", [False, True], ids=["fingerprint", "store of before"])
def test_a_change_that_no_key_sees_is_refused(cell: Cell, change, forgotten: bool, tmp_path, monkeypatch):
    steps = change(tmp_path, monkeypatch)
    first = dataclasses.replace(cell, model=next(steps))
    measured = measure(first, tmp_path / "store")
    path = measured.store.folder / FINGERPRINT
    if forgotten:
        path.unlink()
    second = dataclasses.replace(cell, model=next(steps))
    assert second.identity() == first.identity()
    with pytest.raises(MeasureError, match=r"restores otherwise than .* dB .* dB.*output=FOLDER.*identity=NAME"):
        measure(second, tmp_path / "store")
    assert measure(second, tmp_path / "another").record["session"]["new_draws"] > 0


def test_a_store_of_before_gets_a_fingerprint_at_its_next_use(cell: Cell, tmp_path):
    first = measure(cell, tmp_path)
    assert first.record["fingerprint"]["compared"] == "nothing stored"
    (first.store.folder / FINGERPRINT).unlink()
    second = measure(cell, tmp_path)
    assert second.record["fingerprint"]["compared"] == "untouched ROI of stored draws"
    assert second.record["session"]["new_draws"] == 0
    third = measure(cell, tmp_path).record["fingerprint"]
    assert third["compared"] == "stored fingerprint"
    assert third["max_abs_db"] == third["max_abs_value"] == 0


class Noisy(Net):
    def forward(self, x):
        return super().forward(x) + 0.05 * torch.randn_like(x)


def test_a_stochastic_network_is_known_by_one_state(cell: Cell, tmp_path):
    noisy = dataclasses.replace(cell, options=Options(stochastic=2), model=as_model(Noisy(), name="net"))
    folder = measure(noisy, tmp_path).store.folder
    again = dataclasses.replace(noisy, model=as_model(Noisy(), name="net"))
    assert measure(again, tmp_path).record["fingerprint"]["max_abs_value"] == 0
    (folder / FINGERPRINT).unlink()
    assert measure(again, tmp_path).record["session"]["new_draws"] == 0


@pytest.mark.parametrize("moved", [1e-7, 1e-6])
def test_last_bits_are_no_difference(cell: Cell, moved: float, tmp_path):
    measure(dataclasses.replace(cell, model=as_model(louder(0.9), name="net", identity="a")), tmp_path)
    again = dataclasses.replace(cell, model=as_model(louder(0.9 + moved), name="net", identity="a"))
    assert measure(again, tmp_path).record["session"]["new_draws"] == 0


def test_what_differs_on_the_probe_alone_is_seen(cell: Cell, tmp_path):
    """The same on the observation, another elsewhere."""
    for gain, refused in ((1.0, False), (0.5, True)):
        network = eval("lambda x: x * (1.0 if x.std() < 0.3 and x[..., :24, :].std() > 0.05 else gain)", {"gain": gain})
        named = dataclasses.replace(cell, model=as_model(network, name="net", identity="a"))
        if refused:
            with pytest.raises(MeasureError, match="restores otherwise"):
                measure(named, tmp_path)
        else:
            measure(named, tmp_path)


def test_regions_beside_and_matrices_have_theirs(cell: Cell, tmp_path):
    other = Rect(32, 32, 16, 16)
    measure(cell, tmp_path, also=[other])
    folders = [path.parent for path in tmp_path.rglob(FINGERPRINT)]
    assert len(folders) == 3  # the cell, its joint effects, the region beside
    beside = dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=other))
    assert measure(beside, tmp_path).record["fingerprint"]["compared"] == "stored fingerprint"
    named = dataclasses.replace(cell, model=as_model(louder(0.9), name="net", identity="a"))
    measure_matrix(named, tmp_path, 2)
    changed = dataclasses.replace(cell, model=as_model(louder(0.8), name="net", identity="a"))
    with pytest.raises(MeasureError, match="restores otherwise"):
        measure_matrix(changed, tmp_path, 2)
