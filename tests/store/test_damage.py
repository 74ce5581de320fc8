"""Whatever happens to a run's folder, nothing wrong is served: it is set aside with one line and measured again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_runs import IDENTITY, flip, shard, unit, work

from cem_bench.store.draws import DamagedError, Limits, Store, read_rows
from cem_bench.store.manifest import Manifest, seal
from cem_bench.store.shards import rows_root


def earlier(root: Path, *, model: str = "A") -> Path:
    """Write a run as earlier versions did: numbered shards, hashes in the record, no manifest."""
    shutil.rmtree(root, ignore_errors=True)
    store = Store(root, {**IDENTITY, "model": model})
    shards = {}
    for number in range(3):
        rows = pd.concat([pd.DataFrame(unit(2 * number + i, 0, 5, model)) for i in (0, 1)])
        path = store.folder / f"draws-{number:05d}.parquet"
        rows.to_parquet(path, index=False)
        import hashlib

        shards[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    root_hash = hashlib.sha256("".join(shards.values()).encode()).hexdigest()
    record = {"key": store.key, "model": model, "shards": shards, "root_sha256": root_hash}
    (store.folder / "record.json").write_text(json.dumps(record))
    return store.folder


def edit(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = change(pq.read_table(shard(folder)).to_pandas())
    table.to_parquet(shard(folder), index=False)


def better(table: pd.DataFrame) -> pd.DataFrame:
    """Half a decibel on one draw."""
    table.loc[2, "psnr"] += 0.5
    return table


def other_key(folder: Path) -> None:
    other = work(folder.parent, model="another")
    shutil.copy(shard(other.folder), shard(folder))


def beside(folder: Path) -> None:
    other = work(folder.parent, model="another")
    shutil.copy(shard(other.folder), folder)


def relabel(folder: Path, first: str, second: str) -> None:
    edit(folder, lambda table: table.rename(columns={first: second, second: first}))


DAMAGES = {
    "hand-edited effect": lambda folder: edit(folder, better),
    "NaN rows": lambda folder: edit(folder, lambda table: table.assign(psnr=np.nan)),
    "swapped strata": lambda folder: edit(folder, lambda table: table.assign(stratum=2 - table["stratum"])),
    "swapped columns": lambda folder: relabel(folder, "psnr", "psnr_untouched"),
    "swapped blocks": lambda folder: edit(folder, lambda table: table.assign(block=table["block"].to_numpy()[::-1])),
    "flipped bit": lambda folder: flip(shard(folder), 3),
    "truncated": lambda folder: shard(folder).write_bytes(shard(folder).read_bytes()[:-100]),
    "empty": lambda folder: shard(folder).write_bytes(b""),
    "removed": lambda folder: shard(folder).unlink(),
    "another run's shard": other_key,
    "another run's shard beside": beside,
    "identity edited": lambda folder: (folder / "identity.json").write_text('{"model": "B", "seed": 0}'),
    "identity with infinity": lambda folder: (folder / "identity.json").write_text('{"model": "A", "seed": 1e400}'),
    "identity no JSON": lambda folder: (folder / "identity.json").write_text("{"),
}
OF_MANIFEST = {
    "manifest bit": lambda folder: flip(folder / "manifest.json", 11),
    "manifest edited": lambda folder: (folder / "manifest.json").write_text(
        (folder / "manifest.json").read_text().replace('"draws-', '"draws-0', 1)
    ),
    "manifest truncated": lambda folder: (folder / "manifest.json").write_text('{"key": '),
    "manifest leads out": lambda folder: leads_out(folder),
    "manifest nested": lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
}


def leads_out(folder: Path) -> None:
    """A manifest with a right seal that lists a file outside the folder."""
    said = json.loads((folder / "manifest.json").read_text())
    said["shards"] = {"draws-/../../other.parquet": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(said | {"seal_sha256": seal(said)}))


@pytest.mark.parametrize("damage", [*DAMAGES, *OF_MANIFEST])
def test_damage_is_found_set_aside_and_measured_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = work(tmp_path)
    before, root = store.rows, store.root_sha256
    (DAMAGES | OF_MANIFEST)[damage](store.folder)
    with pytest.raises(DamagedError, match="measure"):
        read_rows(store.folder)
    caplog.clear()
    again = work(tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    assert lines and all(str(store.folder) in line for line in lines)
    if damage != "removed":
        assert list((store.folder / "damaged").iterdir())
    pd.testing.assert_frame_equal(again.rows, before, check_exact=True)
    assert again.root_sha256 == root
    pd.testing.assert_frame_equal(read_rows(store.folder), before, check_exact=True)
    caplog.clear()
    work(tmp_path)
    assert not caplog.records, "mended once and for all"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_a_store_of_earlier_versions_is_found(tmp_path: Path, damage: str) -> None:
    folder = earlier(tmp_path)
    before = read_rows(folder)
    assert before["k"].tolist() == [0, 1, 2, 3, 4] * 6
    DAMAGES[damage](folder)
    with pytest.raises(DamagedError):
        read_rows(folder)
    pd.testing.assert_frame_equal(work(tmp_path).rows, before, check_exact=True)


def test_a_store_of_earlier_versions_is_read_and_sealed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = earlier(tmp_path / "store")
    before = read_rows(folder)
    store = work(tmp_path / "store")
    assert not caplog.records
    assert [path.name for path in folder.glob("draws-*")] == [shard(folder).name]
    pd.testing.assert_frame_equal(store.rows, before, check_exact=True)
    assert store.root_sha256 == work(tmp_path / "new").root_sha256 == rows_root(before)
    assert shard(folder).read_bytes() == shard(tmp_path / "new" / folder.name).read_bytes()


def test_duplicates_of_earlier_versions_collapse_where_they_are_equal(tmp_path: Path) -> None:
    folder = earlier(tmp_path)
    (folder / "record.json").unlink()
    before = read_rows(folder)
    pd.DataFrame(unit(0, 0, 5)).to_parquet(folder / "draws-00009.parquet", index=False)
    pd.testing.assert_frame_equal(read_rows(folder), before, check_exact=True)
    pd.DataFrame(unit(1, 2, 4)).assign(psnr=29.0).to_parquet(folder / "draws-00010.parquet", index=False)
    with pytest.raises(DamagedError, match="5 rows contradict others or follow a gap"):
        read_rows(folder)  # k = 2 and 3 twice, and 4 after them
    pd.testing.assert_frame_equal(work(tmp_path).rows, before, check_exact=True)


@pytest.mark.parametrize("moment", ["pending", "listed", "renamed"])
def test_a_writer_killed_at_any_moment_leaves_a_whole_folder(tmp_path: Path, moment: str, monkeypatch, caplog) -> None:
    whole = work(tmp_path / "whole")
    store = Store(tmp_path / "store", IDENTITY)
    for block in (0, 1):
        store.append(unit(block, 0, 5))
        if block == 0:
            store.flush()

    class Killed(BaseException):
        pass

    def killed(*_args, **_more) -> None:
        raise Killed

    step = {"pending": "_list", "listed": "_tidy", "renamed": "_retire"}[moment]
    with store.claimed():
        monkeypatch.setattr(Store, step, killed)
        with pytest.raises(Killed):
            store.flush()
    monkeypatch.undo()
    assert set(read_rows(store.folder)["block"]) == ({0} if moment == "pending" else {0, 1})
    pd.testing.assert_frame_equal(work(tmp_path / "store").rows, whole.rows, check_exact=True)
    assert not caplog.records
    names = {"identity.json", "manifest.json", "record.json", shard(whole.folder).name}
    assert {path.name for path in store.folder.iterdir()} == names


def test_numbers_that_cannot_be_are_refused_before_they_are_stored(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY, limits=Limits(48, 40))
    good = unit(0, 0, 2)
    for name, value, words in (
        ("psnr", np.nan, "NaN or infinity in psnr"),
        ("psnr_untouched", np.inf, "NaN or infinity in psnr_untouched"),
        ("block", 48, "has 48 in block, expected less than 48"),
        ("donor", 40, "has 40 in donor"),
        ("k", -1, "has -1 in k, expected 0 or more"),
    ):
        with pytest.raises(ValueError, match=words):
            store.append(good | {name: np.full(2, value)})
    with pytest.raises(ValueError, match="lacks the columns k"):
        store.append({"block": np.array([1])})
    assert not len(store.rows)


def test_a_large_cell_is_read_in_a_moment(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY)
    for block in range(250):
        store.append(unit(block, 0, 200))
    store.write_record({})
    started = time.process_time()
    assert len(read_rows(store.folder)) == 50_000
    assert time.process_time() - started < 0.2


def test_the_manifest_is_sealed() -> None:
    said = json.loads(Manifest("0" * 64, "draws", {"draws-1.parquet": "1" * 64}).content())
    assert said["seal_sha256"] == seal(said)
    assert seal(said | {"root_sha256": "0"}) != said["seal_sha256"]
