"""Print what a comparison came to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cem_bench.inputs.images import SUFFIXES
from cem_bench.run.comparison import compare
from cem_bench.run.references import split_references

OVERRIDE = re.compile(r"[+~]*[A-Za-z_][\w./@]*=")


def print_comparison(
    words: Sequence[str], photos: Sequence[str], tasks: Sequence[str], rest: Mapping[str, Any]
) -> bool:
    """Compare, and print where the page is.

    Args:
        words: references, overrides of the configuration, and photos, as a shell makes of `--photos folder/*.jpg`.
        photos: files and folders.
        tasks: of the group `task`.
        rest: further arguments of `compare`.

    Returns:
        Whether every cell was measured.
    """
    overrides = [word for word in words if OVERRIDE.match(word) and not Path(word).is_file()]
    others = [word for word in words if word not in overrides]
    images = [word for word in others if Path(word).suffix.lower() in SUFFIXES]
    networks = [part for word in others if word not in images for part in split_references(word)]
    done = compare(networks, [*photos, *images], tasks, overrides=overrides, **rest)
    for line in done.left_out:
        print(f"left out: {line}")
    print(f"{len(done.files)} files: {done.files[-1]} is the page, {done.files[-2]} the same in Markdown")
    for line in done.failed:
        print(f"failed: {line}")
    return not done.failed
