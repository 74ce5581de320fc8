"""What a reader may ask of stored draws, in one place for both command lines: each answers in a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cem_bench.report.claims import write_claims
from cem_bench.report.index import write_dictionary
from cem_bench.report.write import write_report
from cem_bench.store.archive import keep, restore


def redraw(experiment: str, output: Path, *, palette: str = "paper", formats: Sequence[str] = ("png",)) -> str:
    """Write tables, figures and page of an experiment again.

    Args:
        experiment: its name.
        output: folder of the results.
        palette: paper or safe.
        formats: of the figures.

    Raises:
        FileNotFoundError: if nothing of it is stored.
        ValueError: for an unknown palette or format.
    """
    paths = write_report(experiment, output, palette=palette, formats=formats)
    return f"{experiment}: {len(paths)} files in {paths[0].parent}"


def judge(output: Path) -> str:
    """Judge the claims by the tables of the experiments, and write their page and the list of columns."""
    paths = write_claims(output)
    return f"claims: {len(paths)} files, {paths[-1]} is the page; columns: {write_dictionary(output)}"


def pack(output: Path, models: Sequence[str] = ()) -> str:
    """Pack the store's draws into `draws`, which git holds.

    Args:
        output: folder of the results.
        models: patterns of the names to pack, as `RCAN_DN_*`; empty for all.
    """
    paths = keep(output, models)
    size = sum(path.stat().st_size for path in paths) / 1e6
    return f"{len(paths) // 2} models in {output / 'draws'}, {size:.1f} MB"


def unpack(output: Path) -> str:
    """Unpack `draws` into the store; what is stored already stays."""
    return f"{restore(output)} runs restored into {output / 'store'}"
