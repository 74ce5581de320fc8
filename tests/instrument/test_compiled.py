"""Networks as others hand them on: scripted, traced, compiled, exported to ONNX; each a denoiser of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel.architectures.DnCNN import DnCNN
from torch import nn

import model_zoo
from cem_bench import Cell, Noise, Options, Uniform, as_model, measure
from cem_bench.models.model import Model
from cem_bench.models.onnx import OnnxNetwork, onnx_model
from cem_bench.run.build import register
from cem_bench.run.compose import composed
from cem_bench.run.networks import build_model
from cem_bench.store.draws import run_key

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit and the old exporter are deprecated; files hold them


def denoiser() -> nn.Module:
    network = model_zoo.load("RCAN_DN_none").eval()
    network._forward_pre_hooks.clear()  # the check of sizes, which TorchScript does not take
    return network


def scriptable() -> nn.Module:
    """A network that TorchScript takes whole; its weights are random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DnCNN(in_nc=3, out_nc=3, nc=16, nb=5, act_mode="R", mode="DnCNN").eval()


def exported(folder: Path, *, moving: bool = True) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = folder / "denoiser.onnx"
    axes = {"x": {0: "n", 2: "h", 3: "w"}} if moving else None
    size = torch.rand(1, 3, 48, 64)
    torch.onnx.export(denoiser(), size, str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
    return path


MAKERS: dict[str, Callable[[Path], Model]] = {
    "scripted": lambda folder: as_model(torch.jit.script(scriptable()), name="scripted"),
    "traced": lambda folder: as_model(torch.jit.trace(denoiser(), torch.rand(1, 3, 48, 64)), name="traced"),
    "a traced body in a module": lambda folder: as_model(nn.Sequential(MAKERS["traced"](folder).restorer), name="in"),
    "loaded from a TorchScript file": lambda folder: loaded(folder),
    "compiled": lambda folder: as_model(torch.compile(denoiser(), backend="eager"), name="compiled"),
    "compiled in place": lambda folder: compiled_in_place(),
    "ONNX": lambda folder: onnx_model(exported(folder)),
    "ONNX, one image of one size": lambda folder: onnx_model(exported(folder, moving=False)),
}


SCRIPTED = ("scripted", "loaded from a TorchScript file")


def loaded(folder: Path) -> Model:
    torch.jit.save(torch.jit.script(scriptable()), str(folder / "denoiser.pt"))
    return as_model(torch.jit.load(str(folder / "denoiser.pt")), name="loaded")


def compiled_in_place() -> Model:
    network = denoiser()
    network.compile(backend="eager")
    return as_model(network, name="compiled")


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return {}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_network_that_cannot_be_seen_has_the_map_of_the_one_it_was_made_of(kind, scene, pool, truth, tmp_path):
    plain = scriptable if kind in SCRIPTED else denoiser
    if plain.__name__ not in truth:
        cell = Cell(as_model(plain(), name="plain"), scene, Noise(50), pool, Uniform(1), Options(engine="full"))
        truth[plain.__name__] = measure(cell).effect_map.effect
    expected = truth[plain.__name__]
    measured = measure(Cell(MAKERS[kind](tmp_path), scene, Noise(50), pool, Uniform(1)))
    # the engine's own copy of a module that is compiled in place is a plain one
    assert measured.record["engine"]["kind"] in ("full", "crop") or kind == "compiled in place"
    assert np.nanmax(np.abs(measured.effect_map.effect - expected)) < 1e-4


def test_an_onnx_file_is_known_by_what_it_holds(tmp_path):
    path = exported(tmp_path)
    model = onnx_model(path)
    register()
    config = composed(["model=custom", f"model.path={path}", "model.tasks=[DN]"]).model
    assert model.identity() == onnx_model(path).identity() == build_model(config).identity()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run_key(onnx_model(path).identity()) != run_key(model.identity())


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x08" * 40])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx is no ONNX file that ONNX Runtime .* runs"):
        OnnxNetwork(tmp_path / "broken.onnx")


def test_without_onnx_runtime_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "cem-bench\[onnx\]"'):
        OnnxNetwork(tmp_path / "any.onnx")
