"""The page of a folder of single maps: one row and one picture per record, so that what was measured is found again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.report.columns import signed_estimate
from cem_bench.report.render import Markdown, render
from cem_bench.store.draws import write_atomically
from cem_bench.store.roots import marked


def write_single_page(folder: Path) -> Path | None:
    """Write `README.md` into a folder of records as `publish` leaves them.

    Args:
        folder: of the results; one that holds an experiment's table keeps the page of its report.

    Returns:
        The page, or None where it stays as it is.
    """
    if (folder / "cells.csv").is_file():
        return None
    records = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    maps = {stem: record for stem, record in records.items() if "summary" in record}
    text = render(
        "single",
        folder=folder.name,
        rows=_table(list(maps.values())),
        forced=[line for record in maps.values() if (line := _forced(record))],
        maps=[_map(stem, record) for stem, record in maps.items()],
        # older records lack it; the maps of several outcomes share one
        commands=list(dict.fromkeys(record["command"] for record in maps.values() if "command" in record)),
    )
    path = folder / "README.md"
    write_atomically(path, text.encode())
    return path


def _table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row per record, without the columns that none of them fills."""
    rows = pd.DataFrame([_row(record) for record in records])
    return rows.loc[:, (rows != "").any(axis=0)]


def _forced(record: dict[str, Any]) -> str:
    """Return what to say of a network that was measured under a task that it is not trained for; "" of others."""
    trained, task = record.get("trained_for"), record.get("task")  # older records lack them
    if not trained or task in trained:
        return ""
    return f"{record['model']} (trained for {', '.join(trained)}) on {record['scene']} under {task}"


def _row(record: dict[str, Any]) -> dict[str, str]:
    summary, proof, unit = record["summary"], record["proof"], record.get("unit", "dB")
    shares = (f"{summary[name]:.1%}" for name in ("positive", "negative", "none"))
    spread = record["identity"]["intervention"].get("spread_px", 0)
    return {
        "model": record["model"],
        "scene": record["scene"],
        "seed": str(record["identity"]["seed"]),
        "degradation": _degradation(record["identity"]["degradation"]),
        "PSNR of ROI, dB": f"{record['psnr_roi_db']:.2f}",
        "effect of a block": f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {unit}{_by(record)}",
        **joint_lines(record.get("joint") or {}),  # older records lack it
        "help, harm, none": ", ".join(shares),
        "provably out of reach": f"{summary['blocks_unreachable']} blocks",
        "draws": f"{summary['draws']:,}",
        "engine": record["engine"]["kind"],
        "proof, dB": f"{proof['max_abs_db']:.1e}" if proof["draws"] else proof["reason"],
        "content seen beyond its block": f"{spread} px" if spread else "",
        "trained for": ", ".join(record.get("trained_for", [])),  # older records lack it
    }


def _degradation(fields: dict[str, Any]) -> str:
    """Name a degradation by its type, an operator of deepinv by its class."""
    operator = fields.get("operator", {}).get("_target_", "")
    return operator.rpartition(".")[2] or fields["type"]


def _by(record: dict[str, Any]) -> str:
    """Name the outcome where it is another than the PSNR; older records have none."""
    return "" if record.get("outcome", "psnr") == "psnr" else f" by {record['outcome']}"


def joint_lines(joint: Mapping[str, Any]) -> dict[str, str]:
    """Return the joint effect of all surroundings beside the sum of single effects, by name, with unit and interval.

    Args:
        joint: of a record; one without numbers says why, and gives no line.
    """
    if "effect" not in joint:
        return {}
    names = {"all surroundings at once": "effect", "sum of single effects": "sum_of_singles"}
    ends = {name: [joint[f"{key}{end}"] for end in ("", "_low", "_high")] for name, key in names.items()}
    return {
        name: f"{signed_estimate(*(np.nan if value is None else value for value in values))} {joint['unit']}"
        for name, values in ends.items()
    }


def _map(stem: str, record: dict[str, Any]) -> dict[str, object]:
    session, made = record["session"], record["provenance"]
    return {
        "model": record["model"],
        "scene": record["scene"],
        "outcome": _by(record),
        "picture": f"{stem}.png",
        "donors": record["donors"]["source"],
        "sampling": record["sampling"],
        "new_draws": Markdown(f"{session['new_draws']:,}"),
        "seconds": f"{session['seconds']:.0f}",
        "machine": made["machine"],
        "torch": made["torch"],
        "commit": made["commit"][:10],
        "key": record["key"][:16],
        "root": marked(record.get("root_sha256", "")),  # older records lack it
    }
