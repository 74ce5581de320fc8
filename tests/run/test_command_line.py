"""The command line, run for real in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cem_bench.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["output=results", "scene.crop=[0,100,64,64]", "scene.roi=[16,16,32,32]", "sampling=smoke", "donors.count=50"]


def cem_bench(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "cem_bench", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_quickstart_model_on_a_small_scene_then_again(tmp_path: Path):
    first = cem_bench("+experiment=quickstart", *SMALL, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    for word in ("effect of a block", "PSNR of the ROI", "run key", "proof"):
        assert word in first.stdout
    files = sorted((tmp_path / "results" / "quickstart").iterdir())
    assert sorted(path.suffix for path in files) == [".json", ".md", ".npz", ".png"]
    record = json.loads(next(path for path in files if path.suffix == ".json").read_text())
    with np.load(next(path for path in files if path.suffix == ".npz")) as stored:
        assert stored["effect_db"].shape == (8, 8)
        assert str(stored["run_key"]) == record["key"]
    assert record["proof"]["draws"] >= 8 or record["engine"]["kind"] == "full"
    page = (tmp_path / "results" / "quickstart" / "README.md").read_text()
    assert page.startswith("# quickstart: single maps")
    row = "".join(next(line for line in page.splitlines() if line.startswith(f"| {record['model']}")).split())
    assert row.startswith(f"|{record['model']}|{record['scene']}|0|Noise|{record['psnr_roi_db']:.2f}|")
    assert f"    {shlex.join(['python', '-m', 'cem_bench', '+experiment=quickstart', *SMALL])}" in page
    again = cem_bench("+experiment=quickstart", *SMALL, cwd=tmp_path)
    assert "0 new draws" in again.stdout


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`main` in this process, to be quick: exit code, standard output, standard error with the exit message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cem_bench", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        words = f"{said.err}\n{code}" if isinstance(code, str) else said.err
        return (0 if code in (0, None) else 1), said.out, words

    return run


def test_multirun_goes_on_after_a_failure_and_says_so(command):
    code, out, err = command("--multirun", "scene.block=7,8", "seed=0", *SMALL)
    assert code == 1
    assert "not a multiple of the block size 7" in err
    assert out.count("Causal Effect Map:") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sede=1"], "unknown key 'sede'; nearest: seed"),
        (["model=DnCN"], "there is no model 'DnCN'; nearest: DnCNN"),
        (["scene=astronot"], "there is no scene 'astronot'; nearest: astronaut"),
        (["sampling.fime=3"], "unknown key 'sampling.fime'; nearest: sampling.fine"),
        (["seed=many"], "seed: Value 'many'"),
        (["scene.source=nowhere.png", "scene=file"], "Image not found: nowhere.png"),
        (["model=custom", "model.path=nowhere.pth"], "nowhere.pth"),
        (["model=custom"], "expected exactly one of model=NAME"),
        (["model=custom", "model._target_=nowhere.Net", "task=dn50"], "nowhere"),
        (["donors=folder", "donors.path=nowhere"], "nowhere"),
        (["task=sr_x4"], "choose a task of scale 1"),
        (["engine=magic"], "engine: got 'magic', expected one of auto, cone, crop, full"),
        (["outcome=pnsr"], "Unknown outcome 'pnsr'; one of psnr, psnr_8bit"),
        (["task=1"], "there is no task '1'; nearest: "),
        (["scene=[1,2]"], "there is no scene '[1"),
        (["~scene=3"], "~scene takes a group away"),
        (["palette=foo"], "palette: got 'foo', expected one of paper, safe"),
        (["roi=foo"], "roi: got 'foo', expected one of scene, grid"),
        (["tol=nan"], "tol: got nan, expected a number at least 0"),
        (["tol=-1"], "tol: got -1.0"),
        (["scene.crop=[0,0,-8,-8]"], "scene.crop: got [0, 0, -8, -8], expected row, column, height and width"),
        (["model=custom", "model.value_range=-1"], "model.value_range: got -1"),
        (["task.degradation.sigma=25"], "task.degradation"),
        (["intervention=foo"], "there is no intervention 'foo'"),
        (["memory_gb=0"], "memory_gb: got 0.0 GiB, expected a number above 0 GiB"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_one_clear_line(command, arguments: list[str], message: str):
    code, _, err = command(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("cem_bench:")]
    assert code == 1
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err


def test_help_names_groups_and_keys(command):
    code, out, _ = command("--help")
    assert code == 0
    for word in (
        "scene: astronaut",
        "task: auto",
        "sampling: ",
        "model=file.pth",
        "zoo list",
        "tol=null",
        "reproduce",
    ):
        assert word in out


def test_ones_own_class_with_weights(command, tmp_path: Path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width=4):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(\n"
        "            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1))\n"
        "    def forward(self, x):\n"
        "        return x - 0.1 * self.body(x)\n"
        "def brighten(x):\n"
        "    return x * 1.1\n"
    )
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 3, 3))
    torch.save({f"body.{name}": value for name, value in net.state_dict().items()}, tmp_path / "mine.pth")
    own = ["model=custom", "model._target_=mine.Net", "model.weights=mine.pth", "+model.options.width=6", "task=dn25"]
    code, out, err = command(*own, *SMALL)
    assert code == 0, err
    assert "Net on astronaut" in out
    code, _, err = command("model=custom", "model._target_=mine.brighten", "task=dn25", *SMALL)
    assert code == 0, err
    code, _, err = command(*own[:3], "task=dn25", *SMALL)
    assert code == 1
    assert "body.0.weight" in err


@pytest.mark.parametrize("model", ["DnCNN", "IMDN", "PReNet_Rain100H"])
def test_real_checkpoints_on_a_scene_of_the_paper(shared: Path, command, model: str):
    small = ["scene.roi=[64,48,16,16]", "scene.block=32", "sampling=smoke", "donors.count=50", "scene=crop_2"]
    code, _, err = command(f"model={model}", *small)
    assert code == 0, err


def test_a_file_that_spandrel_recognises(shared: Path, command):
    path = shared / "weights" / "dncnn_color_sigma25.pth"
    code, out, err = command("model=custom", f"model.path={path}", "task=dn25", *SMALL)
    assert code == 0, err
    assert "dncnn_color_sigma25 on astronaut" in out
    code, _, err = command("model=custom", f"model.path={path}", *SMALL)
    assert code == 1
    assert "choose one, as task=dn50" in err


def test_ones_own_experiment_in_ones_own_folder(command, tmp_path: Path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nexperiment: mine\nsampling: {coarse: 2}\n")
    code, _, err = command("--config-dir", str(folder.parent), "+experiment=mine", *SMALL[:3], "donors.count=50")
    assert code == 0, err
    assert (tmp_path / "results" / "mine" / "README.md").is_file()
    code, _, err = command("+experiment=mine")
    assert code == 1
    assert "there is no experiment 'mine'" in err


def test_a_sweep_of_ones_own_has_its_page(command, tmp_path: Path):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [base/sweep, {override /task: dn50}, {override /sampling: uniform}, _self_]\n"
        "experiment: mine\n"
        "question: Does it hold here?\n"
        "sampling: {n: 2}\n"
        "scene: {crop: [0, 100, 64, 64], roi: [16, 16, 32, 32]}\n"
        "donors: {count: 50}\n"
        "hydra: {sweeper: {params: {model: RCAN_DN_none, scene: astronaut}}}\n"
    )
    code, _, err = command("--config-dir", str(folder.parent), "+experiment=mine")
    assert code == 0, err
    page = (tmp_path / "results" / "mine" / "README.md").read_text()
    assert "Does it hold here?" in page
    assert "RCAN_DN_none" in page
    code, _, err = command("report", "mine")
    assert code == 0, err


@pytest.mark.parametrize("name", ["report", "claims", "draws", "validity", "paths", "replay", "reproduce", "bench"])
def test_help_of_a_sub_command_runs_nothing(tmp_path: Path, name: str):
    answer = cem_bench(name, "--help", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "Usage:" in answer.stdout or "usage:" in answer.stdout
    assert not any(tmp_path.iterdir())


def test_version_is_ours(command):
    assert command("--version")[1].startswith("cem_bench ")


def test_a_network_that_raises_is_listed_with_its_command(command, tmp_path: Path):
    (tmp_path / "odd.py").write_text("def odd(x):\n    return {}['image']\n")
    own = ["model=custom", "model._target_=odd.odd", "task=dn25", *SMALL]
    code, _, err = command("--multirun", "seed=0,1", *own)
    assert code == 1
    assert "2 of 2 cells failed" in err
    assert "python -m cem_bench" in err
    assert "Traceback" not in err


def test_a_warning_of_ours_is_seen_on_the_command_line(tmp_path: Path):
    small = ["+experiment=quickstart", *SMALL, "joint=0"]
    assert cem_bench(*small, cwd=tmp_path).returncode == 0
    shard = next((tmp_path / "results" / "store").glob("*/draws-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-7])
    again = cem_bench(*small, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert str(shard.parent.name) in again.stderr
    assert "0 new draws" not in again.stdout
