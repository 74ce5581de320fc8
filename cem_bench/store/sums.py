"""The hashes of an archive's files, as `sha256sum` writes and checks them: `SHA256SUMS` beside the files. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cem_bench.store.files import sha256, write_atomically
from cem_bench.store.manifest import DamagedError, content_of

SUMS = "SHA256SUMS"


def read_sums(folder: Path) -> dict[str, set[str]] | None:
    """Return file name to sha256, two while a file is being replaced; None where an earlier version left no list.

    Raises:
        DamagedError: if the list cannot be read.
    """
    content = content_of(folder / SUMS)
    if content is None:
        return None
    lines = content.decode(errors="replace").splitlines()
    matches = [re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\\]+)", line) for line in lines]
    if not all(matches):
        raise DamagedError(f"{folder / SUMS} has lines that `sha256sum` did not write: restore the file from git.")
    sums: dict[str, set[str]] = {}
    for match in matches:
        if match:
            sums.setdefault(match[2], set()).add(match[1])
    return sums


def checked_content(path: Path, sums: Mapping[str, set[str]] | None) -> bytes:
    """Return the content of a file of the archive.

    Args:
        path: of the file.
        sums: from `read_sums` of its folder.

    Raises:
        DamagedError: if it is not what the list names.
    """
    content = path.read_bytes()
    if sums is not None and sha256(content) not in sums.get(path.name, ()):
        reason = f"is not in {SUMS}" if path.name not in sums else f"does not match its hash in {SUMS}"
        raise DamagedError(f"{path} {reason}: restore the file from git.")
    return content


def write_sums(folder: Path, coming: Mapping[str, bytes] | None = None) -> None:
    """Write the list anew over all parquet files of a folder.

    Args:
        folder: of the archive.
        coming: name to content of files that are about to be written: a reader in between takes old and new.
    """
    present = {(path.name, sha256(path.read_bytes())) for path in folder.glob("*.parquet")}
    listed = present | {(name, sha256(content)) for name, content in (coming or {}).items()}
    write_atomically(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(listed)).encode())
