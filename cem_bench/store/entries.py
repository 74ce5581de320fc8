"""How the entry of a cell is named in the list of its experiment. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from cem_bench.store.files import file_name

# these name no cell of their own: how much was drawn, how it was run, where it was put
HOW = ("experiment", "sampling", "output", "palette", "engine", "memory_gb", "compile", "device")


def chosen(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the overrides that make a cell what it is, by key, in order."""
    return {key: overrides[key] for key in sorted(overrides) if key.split(".")[0] not in HOW}


def entry_stem(overrides: Mapping[str, str]) -> str:
    """Return the name of a cell's entry without the ending: measured again with new weights, it is the same."""
    return file_name(",".join(f"{key}={value}" for key, value in chosen(overrides).items()))
