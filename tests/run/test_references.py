"""References to networks: one parser for single runs, sweeps, compare and check."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

from cem_bench.inputs.degradations import Jpeg, Noise
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.run.launch import _end, failures_of, run
from cem_bench.run.networks import build_model, imported
from cem_bench.run.progress import Turnout
from cem_bench.run.references import is_reference, node_of, reference_of, registered, split_references
from cem_bench.run.sweep import plan
from cem_bench.store.states import all_states, turn_begun

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, features=4, gain=0.1):
        super().__init__()
        self.conv = nn.Conv2d(3, features, 3, padding=1)
        self.back = nn.Conv2d(features, 3, 3, padding=1)
        self.gain = gain

    def forward(self, x):
        return x + self.gain * self.back(self.conv(x).relu())


class Told(Net):
    def forward(self, x, level):
        return {"noise": level, "image": super().forward(x) - level}


def make():
    return Net(2)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    register()
    monkeypatch.delitem(sys.modules, "own", raising=False)
    path = tmp_path / "own.py"
    path.write_text(NETWORK)
    torch.manual_seed(0)
    torch.save(imported(f"{path}:Net")(features=4).state_dict(), tmp_path / "own.pth")
    monkeypatch.chdir(tmp_path)
    return path


def model_of(reference: str, degradation=None):
    return build_model(composed([f"model={reference}", "task=dn25"]).model, degradation or Noise(25.0))


def test_options_belong_to_the_reference_before_them():
    text = "mine.py:Net,weights=a.pth,tasks=[DN,SR],features=(1,2),DnCNN,b.pth,output=-1,RCAN_DN_ca,inference=local:48"
    assert split_references(text) == [
        "mine.py:Net,weights=a.pth,tasks=[DN,SR],features=(1,2)",
        "DnCNN",
        "b.pth,output=-1",
        "RCAN_DN_ca,inference=local:48",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("DnCNN", False),
        ("RFDN_AIM", False),
        ("glob(*)", False),
        ("DnCNN,output=-1", True),
        ("a/b.py:Net", True),
        ("package.module:Net", True),
        ("weights.SAFETENSORS", True),
        ("net.onnx", True),
    ],
)
def test_what_is_a_reference(text: str, named: bool):
    assert is_reference(text) == named


def test_a_node_holds_types_and_leaves_the_rest_to_the_class():
    node = node_of("m.py:Net,weights=w.pth,scale=4,output=-1,features=8,gain=0.5,options.scale=2,tasks=DN,name=Mine")
    assert node["scale"] == 4 and node["output"] == "-1" and node["tasks"] == ["DN"] and node["called"] == "Mine"
    assert node["options"] == {"features": 8, "gain": 0.5, "scale": 2}
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        node_of("m.py:Net,weights")


def test_names_of_the_zoo_are_left_alone_and_references_come_back_as_they_were():
    register()
    assert registered(["model=DnCNN,FFDNet", "seed=0,1", "--multirun"]) == [
        "model=DnCNN,FFDNet",
        "seed=0,1",
        "--multirun",
    ]
    (override,) = registered(["model=m.py:Net,features=8,DnCNN"])
    own, zoo = override.removeprefix("model=").split(",")
    assert zoo == "DnCNN" and reference_of(own) == "m.py:Net,features=8"
    with pytest.raises(ValueError, match="Two networks are called Net"):
        registered(["model=m.py:Net,features=8,m.py:Net,features=4"])


def test_a_class_in_a_file_with_weights_and_options(mine: Path):
    model = model_of(f"{mine}:Net,weights=own.pth,gain=0.2,tasks=[DN]")
    assert (model.name, model.tasks) == ("Net", ("DN",))
    assert model.restorer.network.gain == 0.2
    stored = torch.load("own.pth", weights_only=True)
    assert all(torch.equal(value, stored[name]) for name, value in model.restorer.network.state_dict().items())
    again = model_of("own.py:Net,weights=own.pth,gain=0.2,tasks=[DN]")
    assert again.identity() == model.identity()
    assert model_of("own.py:Net,weights=own.pth").identity() != model.identity()


def test_a_function_that_makes_a_network(mine: Path):
    assert model_of("own.py:make,name=made").name == "made"


def test_the_level_of_a_second_input_follows_the_task(mine: Path):
    for sigma in (15.0, 25.0):
        model = model_of("own.py:Told,output=image,beside=tensor:sigma", Noise(sigma))
        assert model.facts["contract"]["beside"] == f"tensor:{sigma / 255:.9g}"
        image = torch.rand(1, 3, 8, 8)
        plain = super(type(model.restorer.network.network.network), model.restorer.network.network.network)
        assert torch.allclose(model.restorer(image), plain.forward(image) - sigma / 255, atol=1e-6)
    with pytest.raises(ValueError, match="the task has none: choose such a task"):
        model_of("own.py:Told,output=image,beside=tensor:sigma", Jpeg())


def test_a_scripted_network_is_found_again_by_its_file(mine: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have users leave it; they have such files
        torch.jit.script(imported("own.py:Net")()).save("net.pt")
    one, two = model_of("net.pt"), model_of("net.pt")
    assert one.identity() == two.identity() and one.given.startswith("torchscript ")
    assert one.restorer(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert model_of("net.pt,channels=bgr").identity() != one.identity()


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own.py:Nett", "own.py:Nett cannot be imported: AttributeError"),
        ("gone.py:Net", "gone.py:Net cannot be imported: FileNotFoundError"),
        ("gone.pth", "There is no file gone.pth"),
        ("own.py:Net,depth=3", "was called with depth=3: .*depth"),
        ("own.py:Net,channels=2", "channels=2: expected"),
        ("own.py:Net,value_range=3..1", "expected the value of white"),
        ("DnCNN,identity=x", "has an identity by its card"),
    ],
)
def test_refusals_say_what_mends_them(mine: Path, reference: str, words: str):
    with pytest.raises(ValueError, match=words):
        model_of(reference)


def test_an_inference_mode_is_part_of_the_key_of_a_shipped_network():
    register()
    whole, local, tiles = (
        build_cell(composed([f"model=RCAN_DN_ca{mode}", "task=dn50", "scene=astronaut"]))
        for mode in ("", ",inference=local:48", ",inference=tiles:64")
    )
    keys = [json.dumps(cell.identity(), sort_keys=True) for cell in (whole, local, tiles)]
    assert len({*keys}) == 3
    assert local.model.name == "RCAN_DN_ca (inference=local:48)"
    assert not local.model.facts["global_statistics"] and whole.model.facts["global_statistics"]


def test_a_network_is_not_measured_under_what_it_is_not_trained_for_unless_forced():
    register()
    with pytest.raises(ValueError, match=r"is trained for DN, and the task is DR .*force=true"):
        build_cell(composed(["model=RCAN_DN_none", "task=rain_medium"]))
    with pytest.raises(ValueError, match="force=true"):
        build_cell(composed(["model=RCAN_DN_none", "task=blur"]))
    assert build_cell(composed(["model=RCAN_DN_none", "task=rain_medium", "force=true"])).degradation.task == "DR"
    assert build_cell(composed(["model=RCAN_DN_none", "task=dn15", "force=true"])).degradation.sigma == 15


def test_references_join_a_sweep_and_its_failures_can_be_pasted(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    arguments = ["--multirun", "model=own.py:Net,weights=own.pth,own.py:Told,RCAN_DN_none", "task=dn50", "output=out"]
    arguments += [
        "scene=file",
        "scene.source=skimage:data/chelsea.png",
        "scene.crop=[0,0,48,48]",
        "scene.roi=[16,16,16,16]",
    ]
    arguments += ["sampling=smoke"]
    monkeypatch.setattr(sys, "argv", ["cem_bench", *arguments])
    assert run(arguments) == 1
    shown = capsys.readouterr().err
    assert "1 of 3 cells failed" in shown and "model=own.py:Told" in shown and "beside=FORM:VALUE" in shown
    records = [json.loads(path.read_text()) for path in Path("out/single").glob("*.json")]
    assert {record["model"] for record in records} == {"Net", "RCAN_DN_none"}
    assert any("model=own.py:Net,weights=own.pth" in record["command"] for record in records)
    states = list(all_states(Path("out")))  # one per cell: what a job noted is found again by the sweep, once measured
    assert sorted((state.failed, state.new_draws > 0) for state in states) == [(False, True)] * 2 + [(True, False)]


def test_a_process_that_takes_over_a_cell_knows_its_reference(mine: Path):
    overrides = [*registered(["model=own.py:Told"]), "task=dn50", "scene=astronaut", "sampling=smoke", "output=out"]
    with turn_begun() as turn:
        turnout = Turnout(Path("out"), [overrides], turn)
        _end(turnout)
        (failure,) = failures_of(Path("out"), turnout)
    assert "model=own.py:Told" in failure.command and "beside=FORM:VALUE" in failure.error


def test_a_sweep_spells_what_it_fixes_as_its_jobs_do():
    given = ["tol=1e-3", "scene=file", "scene.source=skimage:data/chelsea.png", "scene.crop=[0, 0,48,48]", "seed=0,1"]
    sweep = plan(["--multirun", *given], {})
    assert sweep is not None
    assert sweep.fixed == (
        "tol=0.001",
        "scene=file",
        r"scene.source=skimage\:data/chelsea.png",
        "scene.crop=[0,0,48,48]",
    )
