"""The report as a whole: from stored draws to files, without torch; experiments and scenes as they are declared."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cem_bench.inputs.geometry import Rect
from cem_bench.report.claims import write_claims
from cem_bench.run.build import CONF, register, why_no_scene
from cem_bench.run.networks import why_no_model
from cem_bench.run.sweep import included, plan

ROOT = Path(__file__).resolve().parents[2]
WHY = {"model": why_no_model, "scene": why_no_scene}
SWEEPS = sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - {"quickstart", "paper", "tasks"})
# a machine without torch
BLOCK = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is not installed here")
sys.meta_path.insert(0, NoTorch())
from cem_bench.report.__main__ import main
main(sys.argv[1:])
"""


@pytest.fixture
def stored(make, rng: np.random.Generator, tmp_path: Path) -> Path:
    outside = [block for block in range(64) if block not in (27, 28, 35, 36)]
    for image in ("coffee", "rocket"):
        for model, size in (("DnCNN", 0.3), ("FFDNet", 0.1)):
            make({block: rng.normal(size * (block < 3), 0.02, 6) for block in outside}, model=model, image=image)
    return tmp_path


def redraw(output: Path) -> dict[str, bytes]:
    command = [sys.executable, "-W", "error", "-c", BLOCK, "experiment=denoise_ca", f"output={output}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (output / "denoise_ca").iterdir()}


def test_redraws_without_torch_and_to_the_same_bytes(stored: Path) -> None:
    from cem_bench.report import write_report

    (stored / "denoise_ca").mkdir(exist_ok=True)
    private = stored / "private" / "denoise_ca"
    private.mkdir(parents=True)
    for folder in (stored / "denoise_ca", private):
        (folder / "scene_of_an_earlier_report.png").touch()
    first = redraw(stored)
    assert {"cells.csv", "summary.csv", "summary.tex", "paired.csv", "decay_paired.csv", "README.md"} <= set(first)
    assert "scene_of_an_earlier_report.png" not in first
    assert not (private / "scene_of_an_earlier_report.png").exists()
    assert {"masses.png", "decay.png", "radius.png", "scene_shipped_coffee_1.png"} <= set(first)
    assert b"](decay_paired.png)" in first["README.md"]
    assert not [name for name in first if name.endswith((".svg", ".pdf"))]
    write_report("denoise_ca", stored)
    assert first == {path.name: path.read_bytes() for path in (stored / "denoise_ca").iterdir()}
    page = first["README.md"].decode()
    assert "judged in [../claims](../claims/README.md): 2a, " in page
    assert "python -m cem_bench +experiment=denoise_ca" in page


def test_every_column_is_in_the_dictionary(stored: Path) -> None:
    from cem_bench.report.columns import meaning
    from cem_bench.report.experiment import read_experiment

    found = read_experiment("denoise_ca", stored)
    unknown = [name for table in (found.table, found.summary, found.paired) for name in table if not meaning(name)]
    assert unknown == []


def test_every_page_is_in_the_index(tmp_path: Path) -> None:
    from cem_bench.report.index import write_dictionary

    (tmp_path / "validity" / "one").mkdir(parents=True)
    (tmp_path / "validity" / "one" / "README.md").write_text("# Is it valid?\n\ntext")
    page = write_dictionary(tmp_path).read_text()
    assert "- [validity/one](validity/one/README.md): Is it valid?\n" in page
    assert "| `r90_px` " in page
    assert page == write_dictionary(tmp_path).read_text()


def test_no_stored_cell_says_what_to_run(tmp_path: Path) -> None:
    from cem_bench.report import write_report

    with pytest.raises(FileNotFoundError, match=r"python -m cem_bench \+experiment=sr_ca"):
        write_report("sr_ca", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"one of .*denoise_ca"):
        write_report("denoise_cca", tmp_path)


def test_claims_without_any_measurement_are_not_measured(tmp_path: Path) -> None:
    write_claims(tmp_path)
    claims = pd.read_csv(tmp_path / "claims.csv")
    assert set(claims["verdict"]) == {"not measured"}
    assert {1, 2, 3} <= set(claims["insight"])


def test_the_committed_page_of_claims_has_every_claim_with_its_verdict() -> None:
    lines = (ROOT / "results" / "claims" / "README.md").read_text().splitlines()
    for row in pd.read_csv(ROOT / "results" / "claims.csv").to_dict("records"):
        line = next(line for line in lines if line.startswith(f"| {row['id']} "))
        assert row["verdict"] in line
        assert f"{row['estimate']:+.3f} [" in line or row["images"] == 0 or abs(row["estimate"]) < 5e-4


@pytest.mark.parametrize("name", SWEEPS)
def test_every_experiment_is_a_sweep_with_a_question(name: str) -> None:
    register()
    sweep = plan([f"+experiment={name}"], WHY)
    assert sweep is not None
    assert sweep.experiment == name.removesuffix("_more")  # which joins the page of another
    assert {"model", "scene", "seed"} <= set(sweep.axes)
    assert "question:" in (CONF / "experiment" / f"{sweep.experiment}.yaml").read_text()


def test_the_paper_is_all_experiments() -> None:
    assert sorted(included(["+experiment=paper"])) == SWEEPS


def test_a_sweep_lists_what_is_missing_and_runs_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CEM_DATA", raising=False)
    monkeypatch.setenv("CEM_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    register()
    sweep = plan(["+experiment=denoise_ca"], WHY)
    assert sweep is not None
    assert "dncnn_color_blind.pth" in sweep.missing["model"]["DnCNN"]
    assert "CEM_DATA" in sweep.missing["scene"]["set_kodim02_1"]
    assert all(name.startswith("shipped_") for name in sweep.axes["scene"])
    assert "RCAN_DN_none" in sweep.axes["model"]


def test_the_command_line_narrows_a_sweep() -> None:
    register()
    arguments = ["+experiment=denoise_ca", "model=RCAN_DN_none", "scene=shipped_coffee_1,shipped_coffee_2", "seed=0,1"]
    sweep = plan([*arguments, "sampling.n=3"], {})
    assert sweep is not None
    assert len(sweep.cells) == 4
    assert "sampling.n=3" in sweep.arguments
    assert "--multirun" in sweep.arguments
    left_out = plan([*arguments, "sampling.n=3"], WHY).left_out
    assert "RCAN_DN_ca" in left_out["model"]
    assert "RCAN_DN_none" not in left_out["model"]
    assert "shipped_coffee_1" not in left_out["scene"]


def test_one_cell_is_no_sweep() -> None:
    register()
    assert plan(["model=DnCNN", "scene=coffee"], WHY) is None


def test_scenes_follow_the_rule() -> None:
    table = pd.read_csv(CONF / "scene_table.csv")
    others = table[~table["source"].str.startswith("skimage:")]
    assert others["image"].nunique() >= 12
    for _, pair in table.groupby("image"):
        rois = [Rect(row.roi_top, row.roi_left, row.roi_side, row.roi_side) for row in pair.itertuples()]  # pyright: ignore
        assert len(rois) == 2
        assert rois[0].intersect(rois[1]).area == 0
        inner = Rect(24, 24, 80, 80)
        assert all(inner.contains(roi) and roi.top % 8 == roi.left % 8 == 0 for roi in rois)


def test_a_committed_row_is_what_the_committed_code_measures(tmp_path: Path) -> None:
    """One cell of shipped weights and a shipped photograph, measured again."""
    committed = pd.read_csv(ROOT / "results" / "denoise_ca" / "cells.csv").set_index(["model", "scene"])
    command = ["+experiment=denoise_ca", "model=RCAN_DN_none", "scene=shipped_rocket_1", f"output={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "cem_bench", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    again = pd.read_csv(tmp_path / "denoise_ca" / "cells.csv").set_index(["model", "scene"])
    old, new = (found.loc[("RCAN_DN_none", "shipped_rocket_1")] for found in (committed, again))
    assert new["run_key"] == old["run_key"], "weights or settings changed: run the experiment again and commit it"
    for name in ("psnr_roi_db", "min_db", "max_db", "positive_mass_db", "negative_mass_db"):
        assert float(new[name]) == pytest.approx(float(old[name]), abs=1e-3)
