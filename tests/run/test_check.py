"""What `check` finds of a network, and the line it tells to write."""

from pathlib import Path

import pytest
import torch

from cem_bench.run.commands.check import print_check
from cem_bench.run.trials import described, leaves

NETWORK = """
import torch
from torch import nn
from torch.nn.functional import avg_pool2d


class Blur(nn.Module):
    def forward(self, x):
        return avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Local(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False, padding_mode="replicate")
        nn.init.constant_(self.mean.weight, 1 / 9)

    def forward(self, x):
        return self.mean(x)


class Byte(Blur):  # works in 0..255 and answers two images
    def forward(self, x):
        return {"mask": x[:, :1], "image": (super().forward(x).clamp(16, 255) - 16).round() + 16}


class Told(Blur):  # grey, wants the level beside the image
    def forward(self, x, level):
        assert x.shape[1] == 1 and level.shape[1:] == (1, 1, 1)
        return super().forward(x) + 0 * level


class Sides(Blur):
    def forward(self, x):
        assert x.shape[2] % 16 == x.shape[3] % 16 == 0
        return super().forward(x)


class Twice(nn.Module):
    def forward(self, x):
        return nn.functional.interpolate(x, scale_factor=2)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "checked.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "checked", raising=False)
    return tmp_path


def checked(capsys: pytest.CaptureFixture, reference: str, task: str = "dn25") -> tuple[bool, str]:
    ready = print_check(reference, task, ["sampling=smoke", "donors.count=50"])
    return ready, " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_network_that_fits_needs_nothing(nets: Path, capsys: pytest.CaptureFixture):
    ready, shown = checked(capsys, "checked.py:Local")
    assert ready
    for words in ("one tensor (1, 3, 128, 128)", "sides of an input any", "alone as in a batch yes", "time of a map"):
        assert words in shown
    assert "at most 8 px" in shown and "engine cone" in shown
    assert shown.endswith("Write: python -m cem_bench compare checked.py:Local --photos FOLDER --task dn25")


def test_range_and_output_are_found(nets: Path, capsys: pytest.CaptureFixture):
    ready, shown = checked(capsys, "checked.py:Byte")
    assert not ready and "the image is image" in shown
    assert "checked.py:Byte,output=image,value_range=255 --photos" in shown
    ready, shown = checked(capsys, "checked.py:Byte,output=image,value_range=255")
    assert ready and "WORSE" not in shown


def test_one_channel_and_a_second_input_are_found(nets: Path, capsys: pytest.CaptureFixture):
    ready, shown = checked(capsys, "checked.py:Told")
    assert not ready and "channels=grey" in shown and "beside=tensor:sigma" in shown


def test_sides_are_found(nets: Path, capsys: pytest.CaptureFixture):
    ready, shown = checked(capsys, "checked.py:Sides")
    assert ready and "multiples of 16; multiple=16 pads by reflection" in shown


def test_another_scale_is_told(nets: Path):
    with pytest.raises(ValueError, match="It enlarges by 2: write scale=2 and --task sr_x2"):
        print_check("checked.py:Twice", "dn25", [])


def test_a_network_of_the_zoo_is_checked_by_its_card(capsys: pytest.CaptureFixture):
    ready, shown = checked(capsys, "RCAN_DN_none", "")
    assert ready and "PSNR by range" not in shown and "trained for DN" in shown


def test_tensors_in_a_nest():
    nest = {"a": [torch.zeros(1), (torch.ones(2), "text")], "b": torch.zeros(3)}
    assert list(leaves(nest)) == ["a.0", "a.1.0", "b"]
    assert described(nest) == "dict of a.0: (1,), a.1.0: (2,), b: (3,)"
