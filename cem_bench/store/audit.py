"""Walk every hash of an experiment's draws, from the shards to one root, and name all that does not hold. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cem_bench.store.files import inside
from cem_bench.store.joint_runs import joint_folders
from cem_bench.store.manifest import (
    MANIFEST,
    Damage,
    DamagedError,
    content_of,
    listed_content,
    read_beside,
    read_identity,
    run_key,
)
from cem_bench.store.roots import root_over, run_root
from cem_bench.store.shards import Reading, read_run
from cem_bench.store.sums import checked_content, read_sums

RECORD = "record.json"
# of entry and record; all else may differ, since experiments that share a run write its record one after the other
COMMON = ("psnr_roi_db", "psnr_image_db")
TOLERANCE_DB = 1e-3  # between machines


@dataclass(frozen=True)
class Walk:
    """What a walk over an experiment came to.

    Attributes:
        runs: number of runs that its entries name.
        draws: number of stored draws that hold.
        root_sha256: hash of all runs' keys and roots; the same wherever the same draws lie.
        damage: files that do not hold, with the reason.
    """

    runs: int
    draws: int
    root_sha256: str
    damage: tuple[Damage, ...]


def walk(output: Path, experiment: str) -> Walk:
    """Check the store and the archive of an experiment; nothing is changed.

    Args:
        output: folder of the results.
        experiment: its name.

    Raises:
        FileNotFoundError: if nothing of it is stored.
    """
    paths = sorted(inside(output / "store" / "experiments", experiment).glob("*.json"))
    if not paths:
        raise FileNotFoundError(
            f"No stored cell of {experiment} in {output / 'store'}: restore its draws from {output / 'draws'}, or "
            f"measure it with `python -m cem_bench +experiment={experiment} output={output}`."
        )
    damage, readings, joint = archive_damage(output / "draws"), {}, joint_folders(output / "store")
    outcomes: dict[str, set[str]] = {}
    damage += [fault for folder in joint.get("", ()) for fault in _run(folder)[1]]
    for path in paths:
        try:
            entry = json.loads(path.read_bytes())
            folder = inside(output / "store", entry["key"][:16])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            damage.append(Damage(path, f"cannot be read ({type(error).__name__})"))
            continue
        outcomes.setdefault(folder.name, set()).add(str(entry.get("outcome", "psnr")))
        for run in (folder, *joint.get(folder.name, ())):
            if run.name not in readings:
                readings[run.name], faults = _run(run)
                damage += faults
        damage += _entry_damage(path, entry, folder)
    good = {name: reading for name, reading in readings.items() if reading is not None}
    # pages and tables are made of the maps that entries name, and of the joint draws of these
    of_run = {
        run: units for name, units in outcomes.items() for run in (name, *(at.name for at in joint.get(name, ())))
    }
    runs = {name: reading for name, reading in good.items() if name in of_run}
    root = root_over({item.manifest.key: run_root(item.rows, of_run[name]) for name, item in runs.items()})
    draws = sum(len(reading.rows) for reading in good.values())
    return Walk(len(readings), draws, root, tuple(damage))


def archive_damage(folder: Path) -> list[Damage]:
    """Return the files of an archive that do not match `SHA256SUMS`, and those that it lists and lacks."""
    try:
        sums = read_sums(folder)
    except DamagedError as error:
        return [Damage(folder, str(error))]
    damage = []
    for path in sorted({*folder.glob("*.parquet"), *(folder / name for name in sums or ())}):
        try:
            checked_content(path, sums)
        except FileNotFoundError:
            damage.append(Damage(path, "is gone, though it was listed"))
        except DamagedError as error:
            damage.append(Damage(path, str(error).removeprefix(f"{path} ")))
    return damage


def _run(folder: Path) -> tuple[Reading | None, list[Damage]]:
    """Read a run's folder; return it and what does not hold."""
    try:
        key = run_key(read_identity(folder))
    except DamagedError as error:
        return None, [Damage(folder, str(error))]
    reading = read_run(folder, "draws", key)
    damage = [*reading.damage]
    if reading.content is None and not reading.damage:
        damage.append(Damage(folder / MANIFEST, "is gone: nothing vouches for the shards"))
    if len(reading.refused):
        damage.append(Damage(folder, f"{len(reading.refused)} rows contradict others or follow a gap"))
    lost = [name for name in reading.manifest.files if listed_content(folder, name, reading.manifest) is None]
    damage += [Damage(folder / name, "does not match its hash, or is gone") for name in lost]
    record = _json(content_of(folder / RECORD))
    if RECORD not in lost and record.get("root_sha256") != reading.manifest.root_sha256:
        damage.append(Damage(folder / RECORD, "names another root than the draws have, or none"))
    return reading, damage


def _entry_damage(path: Path, entry: Mapping[str, Any], folder: Path) -> list[Damage]:
    """Compare an entry, which the tables are made of, with record and identity of its run."""
    try:
        record, identity = _json(read_beside(folder, RECORD)), read_identity(folder)
    except DamagedError:
        return []  # the run itself is named already
    differing = [name for name in COMMON if name in record and not _near(entry.get(name), record[name])]
    differing += [name for name in ("roi", "block") if name in identity and entry.get(name) != identity[name]]
    differing += ["key"] if entry["key"] != run_key(identity) else []
    return [Damage(path, f"differs from the run {folder} in {', '.join(differing)}")] if differing else []


def _near(first: object, second: object) -> bool:
    if not (isinstance(first, int | float) and isinstance(second, int | float)):
        return False
    return abs(float(first) - float(second)) <= TOLERANCE_DB


def _json(content: bytes | None) -> dict[str, Any]:
    try:
        parsed = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
