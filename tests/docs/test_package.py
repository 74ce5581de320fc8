"""What `pip install` takes from here works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """Return the folder of an unpacked wheel, built here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program of the wheel in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-m", "cem_bench", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_what_the_program_reads(unpacked):
    for place in (
        "cem_bench/conf/config.yaml",
        "cem_bench/conf/experiment/denoise_ca.yaml",
        "cem_bench/report/templates/single.md.j2",
        "cem_bench/figures/networks.yaml",
        "cem_bench/py.typed",
        "model_zoo/cards/trained.yaml",
        "model_zoo/weights/RCAN_DN_none.safetensors",
    ):
        assert (unpacked / place).is_file(), place


def test_the_wheel_measures_a_map_in_an_empty_folder(unpacked, tmp_path):
    came = run(unpacked, tmp_path, "model=RCAN_DN_none", "scene=astronaut", "sampling=smoke")
    assert came.returncode == 0, came.stderr[-2000:]
    written = list(tmp_path.rglob("*.png"))
    assert written
    assert str(written[0].relative_to(tmp_path)) in came.stdout  # a path is printed whole, to be copied


def test_what_the_wheel_lacks_is_said(unpacked, tmp_path):
    came = run(unpacked, tmp_path, "bench")
    assert came.returncode != 0
    assert "clone" in came.stderr
