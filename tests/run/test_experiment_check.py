"""The file of an experiment is checked whole, before the first draw."""

from pathlib import Path

import pytest

from cem_bench.run.compose import CONF
from cem_bench.run.experiment_check import check_experiment

HEAD = """experiment: bad
hydra:
  sweeper:
    params:
      model: {model}
      scene.block: {block}
report:
  {report}
"""


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_ones_are_right(path: Path):
    assert check_experiment(path) == ""


@pytest.mark.parametrize(
    ("model", "block", "report", "fault"),
    [
        ("DnCNN,FFDNet", "8,16", "parrs: [[DnCNN, FFDNet]]", "unknown setting report.parrs; nearest: pairs"),
        ("DnCNN,FFDNet", "8", "setting: scene.block", "report.setting is scene.block, which does not vary"),
        ("DnCNN,FFDNet", "8", "setting: donors", "report.setting is donors, which does not vary"),
        ("DnCNN,FFDNett", "8,16", "note: x", "there is no model 'FFDNett'; nearest: FFDNet"),
        ("DnCNN", "8,16", "pairs: [[DnCNN, FFDNett]]", "there is no model 'FFDNett'"),
    ],
)
def test_what_cannot_be_meant_is_said(model: str, block: str, report: str, fault: str, tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD.format(model=model, block=f'"{block}"', report=report))
    assert check_experiment(path).startswith(f"experiment bad: {fault}")


def test_a_right_one_of_ones_own_passes(tmp_path: Path):
    path = tmp_path / "good.yaml"
    path.write_text(HEAD.format(model="DnCNN,FFDNet", block='"8,16"', report="setting: scene.block"))
    assert check_experiment(path) == ""
