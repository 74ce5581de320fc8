"""The root of an experiment's draws: one hash that tables, figures and pages carry, and `verify` walks to. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from cem_bench.store.files import sha256
from cem_bench.store.manifest import Damage
from cem_bench.store.packing import with_outcomes
from cem_bench.store.shards import rows_root

MARK = "cem_bench root"
NAMED = re.compile(MARK.encode() + rb" ([0-9a-f]{64})")
CARRIERS = (".md", ".html", ".tex", ".png", ".svg", ".pdf")


def root_over(runs: Mapping[str, str]) -> str:
    """Return the root of runs; the same wherever the same draws lie.

    Args:
        runs: run key to root, see `run_root`.
    """
    return sha256("".join(f"{key} {root}\n" for key, root in sorted(runs.items())).encode())


def run_root(rows: pd.DataFrame, outcomes: Collection[str]) -> str:
    """Return the root of one run as it is published: of the outcomes that the archive keeps, so that both agree.

    Args:
        rows: one per draw.
        outcomes: of the entries that name the run; the PSNR is always kept.
    """
    return rows_root(with_outcomes(rows, {"psnr", *outcomes}))


def marked(root: str) -> str:
    """Return what a file carries that was made of the draws of a root; "" where the root is not known."""
    return f"{MARK} {root}" if root else ""


def tables_root(folder: Path, names: Collection[str]) -> str:
    """Return the root of numbers that no store holds, as timings: over the tables that a page or figure is made of.

    Args:
        folder: of the tables.
        names: of their files.
    """
    return root_over({name: sha256((folder / name).read_bytes()) for name in names})


def page_root(folder: Path) -> str:
    """Return the root that the page of a folder names; "" where it names none, or there is no page."""
    try:
        named = NAMED.search((folder / "README.md").read_bytes())
    except OSError:
        return ""
    return named[1].decode() if named else ""


def other_roots(folder: Path, root: str) -> tuple[int, list[Damage]]:
    """Look for the root in the pages, tables and figures of a folder.

    Args:
        folder: of an experiment's report.
        root: of its draws.

    Returns:
        How many files name it, and a line for each that names another.
    """
    named, damage = 0, []
    for path in sorted(path for path in folder.glob("*") if path.suffix in CARRIERS):
        roots = {match.decode() for match in NAMED.findall(path.read_bytes())}
        named += root in roots
        if roots - {root}:
            foreign = min(roots - {root})[:16]
            reason = f"names the root {foreign}..., the draws have {root[:16]}...: write the report again"
            damage.append(Damage(path, reason))
    return named, damage
