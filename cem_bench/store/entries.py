"""How the entry of a cell is named in the list of its experiment. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from cem_bench.store.files import file_name

# these name no cell of their own: how much was drawn, how it was run, where it was put
HOW = ("experiment", "sampling", "output", "palette", "engine", "memory_gb", "compile", "device", "workers", "hydra")
# overrides that entries and tables call by an earlier name, so that a cell keeps its entry
STORED_KEYS = {"task.degradation.field_seed": "task.degradation.seed", "donors.pool_seed": "donors.seed"}

LONGEST = 245  # letters of a file's name, its ending apart


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name matches one of some patterns, as `RCAN_DN_*`; any does where there are none."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def chosen(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the overrides that make a cell what it is, by the key they are stored under, in order."""
    names = {STORED_KEYS.get(key, key): key for key in overrides if key.split(".")[0] not in HOW}
    return {name: overrides[names[name]] for name in sorted(names)}


def entry_stem(overrides: Mapping[str, str]) -> str:
    """Return the name of a cell's entry without the ending: measured again with new weights, it is the same."""
    name = file_name(",".join(f"{key}={value}" for key, value in chosen(overrides).items()))
    if len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def as_choices(overrides: Iterable[str]) -> dict[str, str]:
    """Return overrides by key, those of Hydra itself left out."""
    pairs = (text.lstrip("+").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs if key.split(".")[0].split("/")[0] != "hydra"}
