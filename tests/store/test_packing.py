import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cem_bench.inputs.donors import DonorPool, DrawKeys
from cem_bench.store import packing
from cem_bench.store.archive import keep, read_archive, restore
from cem_bench.store.draws import Store, read_rows
from cem_bench.store.sums import SUMS, write_sums

SCENE = "5f" * 32
PATCHES = 37


def pool(strata: np.ndarray | None = None) -> DonorPool:
    patches = np.zeros((PATCHES, 8, 8, 3), np.uint8)
    return DonorPool(patches, np.arange(PATCHES).astype(str), {"patches": PATCHES}, strata)


def identity_of(model: str, side: int = 8) -> dict:
    return {"model": model, "seed": 3, "image_sha256": SCENE, "block": side, "outcomes": ["psnr", "psnr_8bit"]}


def unit(block: int, first: int, last: int, donors: DonorPool, side: int = 8) -> dict[str, np.ndarray]:
    """What measuring hands to the store, of made-up values with all of their bits."""
    rng, count = np.random.default_rng([block, first]), last - first
    picked, strata = DrawKeys(3, SCENE, side).donors(donors, block, first, last)
    columns = {"block": np.full(count, block), "k": np.arange(first, last), "donor": picked, "stratum": strata}
    for outcome in ("psnr", "psnr_8bit"):
        columns |= {outcome: 30 - rng.normal(0, 0.1, count), f"{outcome}_untouched": np.full(count, rng.normal(30))}
    return columns


def measured(root: Path, model: str, donors: DonorPool, outcome: str = "psnr", draws: int = 6) -> Store:
    store = Store(root / "store", identity_of(model))
    for block in (2, 5, 11):
        store.append(unit(block, 0, draws, donors))
    store.write_record({"model": model, "donors": donors.manifest})
    path = root / "store" / "experiments" / "trial" / f"model={model}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model": model, "key": store.key, "outcome": outcome}))
    return store


def test_donors_are_what_the_names_of_the_draws_say():
    picked = [DrawKeys(3, SCENE, 16).donors(pool(), block, 0, 11)[0] for block in (7, 1)]
    rows = pd.DataFrame({"block": np.repeat([7, 1], 11), "k": [*range(11), *range(11)]})
    rows = rows.sample(frac=1.0, random_state=1)
    again = packing.donors_of(rows, identity_of("A", 16), PATCHES)
    np.testing.assert_array_equal(again, np.concatenate(picked)[rows.index])


@pytest.mark.parametrize("strata", [None, np.arange(PATCHES) % 3])
def test_what_is_restored_has_the_bits_of_what_was_kept(tmp_path: Path, strata):
    before = measured(tmp_path, "A", pool(strata)).rows
    keep(tmp_path)
    held = pd.read_parquet(tmp_path / "draws" / "A.parquet")
    assert ("donor" in held) == (strata is not None)
    assert "psnr_8bit" not in held
    shutil.rmtree(tmp_path / "store")
    assert restore(tmp_path) == 1
    after = read_rows(next(path.parent for path in (tmp_path / "store").glob("*/identity.json")))
    pd.testing.assert_frame_equal(after, before.drop(columns=["psnr_8bit", "psnr_8bit_untouched"]), check_exact=True)


def test_the_outcome_that_an_entry_is_of_is_kept(tmp_path: Path):
    rows = measured(tmp_path, "A", pool(), "psnr_8bit").rows
    keep(tmp_path)
    pd.testing.assert_frame_equal(next(iter(read_archive(tmp_path, "A").values())).draws, rows, check_exact=True)


@pytest.mark.parametrize(("column", "change"), [("psnr", 1e-13), ("k", 1), ("psnr_untouched", -0.5)])
def test_a_changed_draw_is_refused(tmp_path: Path, column: str, change: float):
    measured(tmp_path, "A", pool())
    keep(tmp_path)
    path = tmp_path / "draws" / "A.parquet"
    table = pd.read_parquet(path)
    table.loc[4, column] += change
    table.to_parquet(path, index=False)
    write_sums(path.parent)
    with pytest.raises(ValueError, match="its draws have another hash than when they were kept: restore the file"):
        restore(tmp_path)


def test_a_record_without_the_size_of_the_pool_is_refused_where_donors_are_left_out(tmp_path: Path):
    measured(tmp_path, "A", pool())
    keep(tmp_path)
    path = tmp_path / "draws" / "A.runs.parquet"
    table = pd.read_parquet(path)
    table["record"] = "{}"
    table.to_parquet(path, index=False)
    write_sums(path.parent)
    with pytest.raises(ValueError, match="it has no donors, and its record no number of patches"):
        restore(tmp_path)


def test_a_restored_run_goes_on_with_the_outcomes_it_has(tmp_path: Path):
    measured(tmp_path, "A", pool())
    keep(tmp_path)
    shutil.rmtree(tmp_path / "store")
    restore(tmp_path)
    store = Store(tmp_path / "store", identity_of("A"))
    store.append(unit(2, 6, 8, pool()))
    store.flush()
    again = Store(tmp_path / "store", identity_of("A"))
    assert len(again.effects([2], "psnr")[2]) == 8
    with pytest.raises(ValueError, match=r"no psnr_8bit: they were restored from the archive.*output=FOLDER"):
        again.effects([2], "psnr_8bit")


def test_a_store_that_holds_more_of_each_draw_stays_as_it_is(tmp_path: Path):
    measured(tmp_path, "A", pool(), draws=6)
    keep(tmp_path)
    shutil.rmtree(tmp_path / "store")
    before = measured(tmp_path, "A", pool(), draws=2).rows
    with pytest.warns(UserWarning, match="holds more of each draw than the archive: it stays as it is"):
        assert restore(tmp_path) == 0
    pd.testing.assert_frame_equal(Store(tmp_path / "store", identity_of("A")).rows, before, check_exact=True)


def test_an_archive_of_an_earlier_version_is_read(tmp_path: Path):
    rows = measured(tmp_path, "A", pool()).rows
    keep(tmp_path)
    runs = pd.read_parquet(tmp_path / "draws" / "A.runs.parquet")
    rows.assign(run=runs["run"][0]).to_parquet(tmp_path / "draws" / "A.parquet", index=False)
    (tmp_path / "draws" / SUMS).unlink()
    draws = next(iter(read_archive(tmp_path, "A").values())).draws
    pd.testing.assert_frame_equal(draws, rows.drop(columns=["psnr_8bit", "psnr_8bit_untouched"]), check_exact=True)
