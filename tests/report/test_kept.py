"""What a report does where the draws of some cells are not here; and draws in and out of the archive."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cem_bench.measuring.fingerprint import Fingerprint
from cem_bench.report import write_report
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import read_experiment
from cem_bench.store import archive
from cem_bench.store.archive import keep, read_archive, restore
from cem_bench.store.draws import FINGERPRINT, Store
from cem_bench.store.manifest import read_identity
from cem_bench.store.sums import write_sums
from tests.report.conftest import maker

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = [block for block in range(64) if block not in (27, 28, 35, 36)]
MODELS = ("DnCNN", "FFDNet")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on two images, reported."""
    folder, rng = tmp_path_factory.mktemp("reported"), np.random.default_rng(7)
    make = maker(folder)
    for image in ("coffee", "rocket"):
        for model, size in zip(MODELS, (0.3, 0.1), strict=True):
            make({block: rng.normal(size * (block < 3), 0.02, 6) for block in OUTSIDE}, model=model, image=image)
    write_report("denoise_ca", folder)
    return folder


@pytest.fixture
def both(reported: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    return shutil.copytree(reported, tmp_path, dirs_exist_ok=True)


def entries(output: Path, model: str) -> list[Path]:
    return sorted((output / "store" / "experiments" / "denoise_ca").glob(f"model={model},*.json"))


def forget(output: Path, model: str, image: str = "") -> None:
    """Lose the draws of a model, as another machine that never had them."""
    for path in entries(output, model):
        if image in path.name:
            shutil.rmtree(output / "store" / json.loads(path.read_text())["key"][:16])
            path.unlink()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_and_figures_of_lost_draws_stay(both: Path) -> None:
    before, folder = files(both / "denoise_ca"), both / "denoise_ca"
    summaries = {name: read_table(folder / name) for name in ("summary.csv", "paired.csv")}
    forget(both, "FFDNet", "coffee")
    write_report("denoise_ca", both)
    after = files(folder)
    for name in ("cells.csv", "decay.csv", "decay_paired.csv"):
        assert after[name] == before[name], name
    pixels = [np.asarray(Image.open(io.BytesIO(content["decay.png"]))) for content in (before, after)]
    assert np.array_equal(*pixels), "its metadata name the root of the draws that are left"
    for name in ("summary.csv", "paired.csv"):  # tables have six digits: means of kept rows may differ in the last
        pd.testing.assert_frame_equal(read_table(folder / name), summaries[name], rtol=1e-5)
    for stem in ("scene_shipped_coffee_1", "difference_shipped_coffee_1"):
        assert after[f"{stem}.png"] == before[f"{stem}.png"]
    page = after["README.md"].decode()
    assert "(`run_key` and `commit` in `cells.csv` say of what): 1.\n" in page
    assert "stay as they were drawn: 2 of scenes.\n" in page
    assert set(after) == set(before)
    assert before["README.md"].decode().count("## Measured elsewhere") == 0


def test_new_cells_join_the_rows_of_an_earlier_report(both: Path, make, rng: np.random.Generator) -> None:
    forget(both, "DnCNN")
    forget(both, "FFDNet")
    lost = read_table(both / "denoise_ca" / "cells.csv")
    for image in ("coffee", "rocket"):
        make({block: rng.normal(0, 0.02, 6) for block in OUTSIDE}, model="RCAN_DN_ca", image=image, psnr=31.0)
    found = read_experiment("denoise_ca", both)
    assert list(dict.fromkeys(found.table["model"])) == ["RCAN_DN_ca", "DnCNN", "FFDNet"]  # the order of the file
    kept = found.table[found.table["model"] != "RCAN_DN_ca"].reset_index(drop=True)
    same = {"rtol": 1e-5, "check_dtype": False}
    pd.testing.assert_frame_equal(kept.drop(columns="psnr_gain_db"), lost.drop(columns="psnr_gain_db"), **same)
    # the gain is against all models of the table, and so moves with it
    assert kept["psnr_gain_db"].to_numpy(float) == pytest.approx([-1 / 3] * 4)
    assert {"RCAN_DN_ca", "DnCNN", "FFDNet"} == set(found.decay["label"])
    assert len(found.paired_decay) > 0


def test_a_curve_whose_draws_were_never_here_keeps_the_figure(both: Path, make, rng: np.random.Generator) -> None:
    """A table of an earlier version has no decay.csv beside it."""
    forget(both, "FFDNet")
    (both / "denoise_ca" / "decay.csv").unlink()
    before = files(both / "denoise_ca")
    write_report("denoise_ca", both)
    after = files(both / "denoise_ca")
    assert after["decay.png"] == before["decay.png"]
    assert "stay as they were drawn: decay and 3 of scenes.\n" in after["README.md"].decode()
    assert set(read_table(both / "denoise_ca" / "decay.csv")["label"]) == {"DnCNN"}


def test_measuring_again_replaces_a_kept_row(both: Path, make) -> None:
    forget(both, "FFDNet", "coffee")
    make({block: np.full(6, 0.5) for block in OUTSIDE}, model="FFDNet", image="coffee", psnr=33.0)
    table = read_experiment("denoise_ca", both).table
    row = table[(table["model"] == "FFDNet") & (table["image"] == "coffee")]
    assert row["psnr_roi_db"].tolist() == [33.0]


def test_restored_draws_redraw_the_same_tables(both: Path) -> None:
    (both / "store" / json.loads(entries(both, "DnCNN")[0].read_text())["key"][:16] / "lam.npz").write_bytes(b"lam")
    before, listed = files(both / "denoise_ca"), [path.name for path in entries(both, "DnCNN")]
    paths = keep(both)
    assert {path.name for path in paths} == {f"{model}{end}.parquet" for model in MODELS for end in ("", ".runs")}
    content = {path: path.read_bytes() for path in paths}
    shutil.rmtree(both / "store")
    assert restore(both) == 4
    assert restore(both) == 0
    assert [path.name for path in entries(both, "DnCNN")] == listed
    write_report("denoise_ca", both)
    after = files(both / "denoise_ca")
    for name in ("cells.csv", "summary.csv", "decay.csv", "decay_paired.csv", "decay.png", "verdicts.png"):
        assert after[name] == before[name], name
    # pictures are not in the archive: the panels of the earlier report stay
    assert after["scene_shipped_coffee_1.png"] == before["scene_shipped_coffee_1.png"]
    keep(both)
    assert {path: path.read_bytes() for path in paths} == content


def behaviour(rng: np.random.Generator) -> bytes:
    values = [rng.random(shape).astype(np.float16) for shape in [(3, 3, 3)] * 2]
    return Fingerprint(30 * rng.random(2), np.array([0.5, 0.6]), *values, np.array([64, 64], np.uint16)).content()


def test_a_fingerprint_is_kept_and_restored_with_the_draws(both: Path, rng: np.random.Generator) -> None:
    content = {}
    for path in entries(both, "DnCNN"):
        identity = read_identity(both / "store" / json.loads(path.read_text())["key"][:16])
        content[path.name] = behaviour(rng)
        Store(both / "store", identity).write_files({FINGERPRINT: content[path.name]})
    keep(both)
    shutil.rmtree(both / "store")
    restore(both)
    for path in entries(both, "DnCNN"):
        store = Store(both / "store", read_identity(both / "store" / json.loads(path.read_text())["key"][:16]))
        assert store.read_file(FINGERPRINT) == content[path.name]
    file = store.folder / FINGERPRINT
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert store.read_file(FINGERPRINT) is None, "the manifest has its hash"
    (run,) = {run.fingerprint for run in read_archive(both, "FFDNet").values()}
    assert run == b"", "a run of before has none"


def test_an_archive_of_before_has_no_fingerprints(both: Path) -> None:
    keep(both)
    path = both / "draws" / "FFDNet.runs.parquet"
    pd.read_parquet(path).drop(columns="fingerprint").to_parquet(path, index=False)
    write_sums(path.parent)
    assert {run.fingerprint for run in read_archive(both, "FFDNet").values()} == {b""}


def test_a_fingerprint_takes_a_hundred_bytes_of_an_archive(rng: np.random.Generator) -> None:
    """2,700 runs are archived: 300 kB."""
    table = pd.DataFrame({"run": [str(number) for number in range(200)]})
    without = len(archive._parquet(table))
    assert len(archive._parquet(table.assign(fingerprint=[behaviour(rng) for _ in table.index]))) - without < 160 * 200


def test_keeping_from_another_store_loses_nothing(both: Path, make) -> None:
    keep(both)
    whole = {name: run.draws for name, run in read_archive(both, "FFDNet").items()}
    shutil.rmtree(both / "store")
    # another machine has drawn less of one cell, and another cell
    make({block: np.full(2, 0.5) for block in OUTSIDE}, model="FFDNet", image="coffee", psnr=33.0)
    make({block: np.full(2, 0.5) for block in OUTSIDE}, model="FFDNet", image="chelsea", psnr=33.0)
    keep(both)
    runs = read_archive(both, "FFDNet")
    assert len(runs) == 3
    for name, draws in whole.items():
        pd.testing.assert_frame_equal(runs[name].draws, draws)


@pytest.mark.filterwarnings("ignore:.*runs.parquet")  # it is larger than these few draws
def test_draws_too_many_for_one_file_are_kept_in_parts(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(both)
    whole = {name: run.draws for name, run in read_archive(both, "FFDNet").items()}
    size = (both / "draws" / "FFDNet.parquet").stat().st_size
    monkeypatch.setattr(archive, "LIMIT_MB", (size - 1) / 1e6)
    parts = [path for path in keep(both) if path.name.startswith("FFDNet.p")]
    assert [path.name for path in parts] == ["FFDNet.parquet", "FFDNet.part2.parquet"]
    assert max(path.stat().st_size for path in parts) < size
    shutil.rmtree(both / "store")
    assert restore(both) == len(whole) + len(read_archive(both, "DnCNN"))
    for name, run in read_archive(both, "FFDNet").items():
        pd.testing.assert_frame_equal(run.draws, whole[name])
    monkeypatch.undo()
    content = [path.read_bytes() for path in parts]
    keep(both)  # runs that moved between files would be new to git
    assert [path.read_bytes() for path in parts] == content


def test_a_run_that_new_weights_replaced_leaves_the_archive(both: Path) -> None:
    keep(both)
    path = entries(both, "FFDNet")[0]
    entry = json.loads(path.read_text())
    other = json.loads(entries(both, "FFDNet")[1].read_text())
    path.write_text(json.dumps(entry | {"key": other["key"]}))
    keep(both)
    assert list(read_archive(both, "FFDNet")) == [other["key"][:16]]


def test_a_changed_identity_is_refused(both: Path) -> None:
    keep(both)
    path = both / "draws" / "FFDNet.runs.parquet"
    table = pd.read_parquet(path)
    table["identity"] = '{"model": "another"}'
    table.to_parquet(path, index=False)
    with pytest.raises(ValueError, match="restore the file from git"):
        restore(both)


def test_errors_of_the_command_say_what_to_do(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "cem_bench.report", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr

    assert "there is nothing to keep" in run("keep", f"output={tmp_path}")
    assert "python -m cem_bench.report keep` writes one" in run("restore", f"output={tmp_path}")
    assert "expected at most output=FOLDER" in run("keep", "experiment=sr_ca")
    assert "expected experiment=NAME, claims, keep or restore" in run("nothing")


def test_an_experiment_of_one_cell_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"single cell; expected a sweep.*cem_bench \+experiment=quickstart output="):
        read_experiment("quickstart", tmp_path)


def test_a_pair_whose_common_cells_are_all_here_is_compared_anew(both: Path, make, rng: np.random.Generator) -> None:
    """What one of them has besides, and lost, plays no part."""
    make({block: rng.normal(0, 0.02, 6) for block in OUTSIDE}, model="FFDNet", image="chelsea")
    write_report("denoise_ca", both)
    forget(both, "FFDNet", "chelsea")
    path = both / "denoise_ca" / "decay_paired.csv"
    table = read_table(path)
    table.assign(first_db=9.0).to_csv(path, index=False)
    found = read_experiment("denoise_ca", both).paired_decay
    assert len(found) == len(table) and (found["first_db"] < 9).all()
    forget(both, "FFDNet", "coffee")
    assert (read_experiment("denoise_ca", both).paired_decay["first_db"] == 9).all()


def test_a_store_without_cells_leaves_the_page_of_an_earlier_report(both: Path) -> None:
    before = files(both / "denoise_ca")
    shutil.rmtree(both / "store")
    (both / "denoise_ca" / "plan.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"python -m cem_bench\.report restore"):
        write_report("denoise_ca", both)
    assert files(both / "denoise_ca") == before | {"plan.json": b"{}"}
