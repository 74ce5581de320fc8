"""Keep the draws of a store in few small files that git can hold, and restore a store from them.

`python -m cem_bench.report keep` after measuring, `python -m cem_bench.report restore` in a clone: then every report
can be redrawn and judged, and a sweep measures only what is missing.

`OUTPUT/draws/MODEL.parquet` holds the draws of every cell of an experiment (`run` is the run's folder, `root` the hash
of its draws; where they are too many for one file, `MODEL.part2.parquet` and so on go on), `MODEL.runs.parquet` what
else the store knows of them: identity, record, entries of experiments, LAM, fingerprint. `MODEL.joint.parquet` and
`MODEL.joint.runs.parquet` are the same of draws that replace many blocks at once. `packing` says what is left out:
outcomes that no entry is of, and donors that are drawn again. Pictures are not kept: those of most scenes may not be
shipped.
`SHA256SUMS` has the hashes of all these files: what does not match is not read.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from cem_bench.store import packing
from cem_bench.store.draws import FINGERPRINT, Store, read_rows, run_key
from cem_bench.store.entries import matches
from cem_bench.store.files import file_name, inside, write_atomically
from cem_bench.store.joint_runs import base_key, joint_folders
from cem_bench.store.manifest import DamagedError, read_beside, read_identity
from cem_bench.store.shards import rows_root
from cem_bench.store.sums import checked_content, read_sums, write_sums

JOINT = ".joint"  # behind a model's name: the files of its joint draws
LIMIT_MB = 5.0  # larger files stay out of git
OF_STORE = ("key", "shards", "root_sha256")  # what a store writes into a record itself


@dataclass
class Run:
    """One run of a store as the archive keeps it.

    Attributes:
        identity: what the run key hashes.
        record: who measured it, when, with what.
        draws: one row per draw, as the store has them, of the outcomes that are kept.
        entries: experiment and file name to the entry of the cell there.
        lam: content of `lam.npz`; empty where LAM was not computed.
        fingerprint: content of `fingerprint.npy`; empty for a run of before there was one.
    """

    identity: Mapping[str, Any]
    record: Mapping[str, Any]
    draws: pd.DataFrame
    entries: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    lam: bytes = b""
    fingerprint: bytes = b""

    @property
    def name(self) -> str:
        """The run's folder in the store."""
        return run_key(self.identity)[:16]

    @property
    def outcomes(self) -> set[str]:
        """Those that are kept: the PSNR, and what the entries are of; of joint draws, which have none, the record."""
        told = [*self.entries.values()] or [self.record]
        return {"psnr", *(str(source.get("outcome", "psnr")) for source in told)}

    @property
    def pool(self) -> int | None:
        """Number of patches of the donor pool."""
        return (self.record.get("donors") or {}).get("patches")


def keep(output: Path, models: Sequence[str] = ()) -> list[Path]:
    """Write the draws of all cells of experiments in a store into the archive beside it; what it holds stays.

    A run that both have keeps the larger number of draws; one that no entry names any more is dropped.

    Args:
        output: folder of the results, which holds `store/` and gets `draws/`.
        models: patterns of the names to keep now, as `RCAN_DN_*`; empty for all.

    Returns:
        The files written: of every model the draws, in one or more parts, and the runs.

    Raises:
        FileNotFoundError: if the store has no cell of an experiment.
        DamagedError: if a stored run or an archived file is not what was written.
    """
    named = {at: entry for at, entry in _entries(output).items() if matches(entry["model"], models)}
    if not named:
        raise FileNotFoundError(f"No such cell of an experiment in {output / 'store'}: there is nothing to keep.")
    by_model: dict[str, dict[str, dict[str, Any]]] = {}
    for at, entry in named.items():
        by_model.setdefault(entry["model"], {}).setdefault(entry["key"][:16], {})[at] = entry
    written, beside = [], joint_folders(output / "store")
    for model, runs in tqdm(by_model.items(), desc="keep", unit="model"):
        single = _joined(read_archive(output, model), _stored(output, runs))
        written += _write(output / "draws", model, single)
        joint: dict[str, dict[str, Any]] = {folder.name: {} for name in runs for folder in beside.get(name, ())}
        if together := _joined(read_archive(output, model + JOINT), _stored(output, joint), single):
            written += _write(output / "draws", model + JOINT, together)
    write_sums(output / "draws")
    return written


def restore(output: Path) -> int:
    """Write into a store the runs of the archive beside it that the store lacks, whole or in part.

    Args:
        output: folder of the results, which holds `draws/` and gets `store/`.

    Returns:
        The number of runs that got draws.

    Raises:
        FileNotFoundError: if there is no archive.
        DamagedError: if a file does not match its hash in `SHA256SUMS`, or a run's identity its name.
        ValueError: if a name in the archive leads out of the folder of results.
    """
    models = sorted(path.name.removesuffix(".runs.parquet") for path in (output / "draws").glob("*.runs.parquet"))
    if not models:
        raise FileNotFoundError(f"No archive in {output / 'draws'}: `python -m cem_bench.report keep` writes one.")
    restored = 0
    for model in tqdm(models, desc="restore", unit="model"):
        restored += sum(_restore(output / "store", run) for run in read_archive(output, model).values())
    return restored


def read_archive(output: Path, model: str) -> dict[str, Run]:
    """Return the archived runs of a model by folder name; none where it has no files.

    Raises:
        DamagedError: as `restore`.
    """
    path = output / "draws" / f"{file_name(model)}.runs.parquet"
    if not path.is_file():
        return {}
    sums = read_sums(path.parent)
    parts = [_table(part, sums).astype({"run": str}) for part in _of_draws(path)]
    draws = {str(name): rows for name, rows in pd.concat(parts).groupby("run")}
    runs = {}
    for row in _table(path, sums).to_dict("records"):
        rows = draws[row["run"]].drop(columns="run").dropna(axis=1, how="all").reset_index(drop=True)
        identity, record, entries = (json.loads(row[name]) for name in ("identity", "record", "entries"))
        run = Run(identity, record, rows, entries, row["lam"], row.get("fingerprint", b""))
        if run.name != row["run"]:
            raise DamagedError(f"{path}: run {row['run']} has the identity of {run.name}: restore the file from git.")
        try:
            rows = packing.unpacked(rows, identity, run.pool)
            run.draws = packing.with_outcomes(rows, run.outcomes)
        except ValueError as error:
            raise DamagedError(f"{path}: run {run.name}: {error}: restore the file from git.") from error
        runs[run.name] = run
    return runs


def _table(path: Path, sums: Mapping[str, set[str]] | None) -> pd.DataFrame:
    content = checked_content(path, sums)
    try:
        return pd.read_parquet(io.BytesIO(content))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DamagedError(f"{path} cannot be read ({type(error).__name__}): restore the file from git.") from error


def _of_draws(runs: Path) -> list[Path]:
    """Return the files with the draws of the runs of a file, in order."""
    first = _part(runs, 1)
    return [first, *sorted(runs.parent.glob(f"{first.stem}.part*.parquet"))]


def _part(runs: Path, number: int) -> Path:
    name = runs.name.removesuffix(".runs.parquet")
    return runs.with_name(f"{name}.part{number}.parquet" if number > 1 else f"{name}.parquet")


def _entries(output: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of all experiments by "experiment/file name"."""
    folder = output / "store" / "experiments"
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in sorted(folder.glob("*/*.json"))
    }


def _stored(output: Path, runs: Mapping[str, dict[str, Any]]) -> Iterable[Run]:
    for name, entries in runs.items():
        folder = inside(output / "store", name)
        rows, content = read_rows(folder), read_beside(folder, "record.json")
        if content is None:
            raise DamagedError(f"{folder / 'record.json'} is gone or damaged: measure the cell again, as before.")
        record = {key: value for key, value in json.loads(content).items() if key not in OF_STORE}
        beside = [read_beside(folder, beside) or b"" for beside in ("lam.npz", FINGERPRINT)]
        run = Run(read_identity(folder), record, rows, entries, *beside)
        run.draws = packing.with_outcomes(rows, run.outcomes)
        yield run


def _joined(archived: dict[str, Run], stored: Iterable[Run], maps: Collection[str] = ()) -> dict[str, Run]:
    """Join archived and stored runs; those stay that an entry names, and joint draws of one of the maps."""
    runs = dict(archived)
    for run in stored:
        for earlier in runs.values():  # an entry names one run: the one measured last
            earlier.entries = {at: entry for at, entry in earlier.entries.items() if at not in run.entries}
        before = runs.get(run.name)
        if before and len(before.draws) > len(run.draws):
            beside = (run.lam or before.lam, before.fingerprint or run.fingerprint)
            run = Run(run.identity, before.record, before.draws, before.entries | run.entries, *beside)
        elif before:
            run.entries, run.lam = before.entries | run.entries, run.lam or before.lam
            run.fingerprint = run.fingerprint or before.fingerprint
        runs[run.name] = run
    return {name: run for name, run in sorted(runs.items()) if run.entries or base_key(run.identity)[:16] in maps}


def _write(folder: Path, model: str, runs: Mapping[str, Run]) -> list[Path]:
    path = folder / f"{file_name(model)}.runs.parquet"
    rows = [
        {"run": name, "lam": run.lam, "fingerprint": run.fingerprint}
        | {part: json.dumps(getattr(run, part), sort_keys=True) for part in ("identity", "record", "entries")}
        for name, run in runs.items()
    ]
    before = [part for part in _of_draws(path) if part.is_file()]
    contents = {_part(path, number): content for number, content in enumerate(_parts(runs, len(before)), start=1)}
    contents[path] = _parquet(pd.DataFrame(rows))
    write_sums(folder, {target.name: content for target, content in contents.items()})
    for old in {*before} - set(contents):
        old.unlink(missing_ok=True)
    for target, content in contents.items():
        if len(content) > LIMIT_MB * 1e6:
            warnings.warn(f"{target}: {len(content) / 1e6:.1f} MB: leave it out of git", stacklevel=2)
        if not target.is_file() or target.read_bytes() != content:
            write_atomically(target, content)
    return list(contents)


def _parts(runs: Mapping[str, Run], before: int) -> list[bytes]:
    """Return the draws of runs as the fewest files that git can hold; a run is not divided, so one may be too large.

    There are no fewer files than before: runs that move between files are new to git.
    """
    ends, parts = np.cumsum([len(run.draws) for run in runs.values()]), []
    for count in range(min(max(before, 1), len(runs)), len(runs) + 1):
        of_part: dict[int, dict[str, Run]] = {}
        for end, (name, run) in zip(ends, runs.items(), strict=True):
            of_part.setdefault(int((end - 1) * count // ends[-1]), {})[name] = run
        parts = [_draws_file(part) for part in of_part.values()]
        if max(map(len, parts)) <= LIMIT_MB * 1e6:
            break
    return parts


def _draws_file(runs: Mapping[str, Run]) -> bytes:
    parts = [
        packing.packed(run.draws, run.identity, run.pool).assign(run=name, root=rows_root(run.draws))
        for name, run in runs.items()
    ]
    return _parquet(pd.concat(parts, ignore_index=True).astype({"run": "category", "root": "category"}))


def _parquet(table: pd.DataFrame) -> bytes:
    floats = [str(name) for name, dtype in table.dtypes.items() if dtype.kind == "f"]
    others = [str(name) for name in table.columns if name not in floats]
    encoding = dict.fromkeys(floats, "BYTE_STREAM_SPLIT")  # a seventh less than as they are
    content = io.BytesIO()
    table.to_parquet(
        content, index=False, compression="zstd", compression_level=12, use_dictionary=others, column_encoding=encoding
    )
    return content.getvalue()


def _restore(root: Path, run: Run) -> bool:
    """Write what the store lacks of a run; says whether draws were among it."""
    store = Store(root, run.identity)
    paths = {inside(root / "experiments", at): entry for at, entry in run.entries.items()}
    names = ["block", "k"]
    here = pd.MultiIndex.from_frame(store.rows[names]) if len(store.rows) else pd.MultiIndex.from_arrays([[], []])
    lacking = run.draws[~pd.MultiIndex.from_frame(run.draws[names]).isin(here)]
    if len(lacking) and len(store.rows) and set(store.rows.columns) - set(run.draws.columns):
        warnings.warn(f"{store.folder} holds more of each draw than the archive: it stays as it is", stacklevel=2)
        lacking = lacking[:0]
    if len(lacking):
        store.append({str(name): np.asarray(column) for name, column in lacking.items()})
        store.write_record(run.record)
    for path, entry in paths.items():
        if not path.is_file():
            write_atomically(path, (json.dumps(entry, indent=1) + "\n").encode())
    beside = {"lam.npz": run.lam, FINGERPRINT: run.fingerprint}
    lost = {name: content for name, content in beside.items() if content and store.read_file(name) is None}
    if lost:
        store.write_files(lost)
    return bool(len(lacking))
