"""The page of a folder of single maps: one row and one picture a record, so that what was measured is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from cem_bench.report.pages import markdown
from cem_bench.store.draws import write_atomically


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
    rows = pd.DataFrame([_row(record) for record in maps.values()])
    commands = [record["command"] for record in maps.values() if "command" in record]  # older records lack it
    pictures = [_picture(stem, record) for stem, record in maps.items()]
    parts = [f"# {folder.name}: single maps", markdown(rows), NOTE, *pictures]
    parts += ["## Again", "\n".join(f"    {command}" for command in commands)] if commands else []
    path = folder / "README.md"
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())
    return path


NOTE = (
    "Shares are of all blocks outside the ROI, by |mean effect| against tol; draws are those in the averages; the last "
    "column is the largest difference between the engine and the full forward on the proof draws. Written by "
    "`python -m cem_bench`; not edited by hand."
)


def _row(record: dict[str, Any]) -> dict[str, str]:
    summary, proof = record["summary"], record["proof"]
    shares = (f"{summary[name]:.1%}" for name in ("positive", "negative", "none"))
    return {
        "model": record["model"],
        "scene": record["scene"],
        "seed": str(record["identity"]["seed"]),
        "PSNR of ROI, dB": f"{record['psnr_roi_db']:.2f}",
        "effect of a block, dB": f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f}",
        "help, harm, none": ", ".join(shares),
        "provably out of reach": f"{summary['blocks_unreachable']} blocks",
        "draws": f"{summary['draws']:,}",
        "engine": record["engine"]["kind"],
        "proof, dB": f"{proof['max_abs_db']:.1e}" if proof["draws"] else proof["reason"],
    }


def _picture(stem: str, record: dict[str, Any]) -> str:
    session, made = record["session"], record["provenance"]
    words = f"{record['model']} on {record['scene']}: input, restored image, effect map."
    source = (
        f"Donors: {record['donors']['source']}; sampling {record['sampling']}. {session['new_draws']:,} new draws in "
        f"{session['seconds']:.0f} s on {made['machine']}, torch {made['torch']}, commit {made['commit'][:10]}; "
        f"run key {record['key'][:16]}."
    )
    return f"![{words}]({stem}.png)\n*{words} {source}*"
