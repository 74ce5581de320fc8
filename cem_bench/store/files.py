"""Files that are whole or not there, and names that stay inside their folder."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

WHAT_TO_DO = (
    "Everything stored before is kept; free space or choose another folder with output=FOLDER, then run the same "
    "command again"
)


def write_atomically(path: Path, content: bytes, *, durable: bool = True, last: bool = True) -> None:
    """Write a file so that it is either whole or not there, also after a power cut.

    Args:
        path: of the file.
        content: of it.
        durable: wait for the disk; without, a power cut may leave it empty or as it was.
        last: of several files of one folder that count together: its waiting makes the names of all of them durable.

    Raises:
        OSError: with a sentence on what to do, if the folder cannot be written or the disk is full.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new.", suffix=".tmp", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # a temporary file is its owner's alone, a result is everybody's
        Path(temporary).replace(path)
        temporary = ""
        if durable and last:
            sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:  # also where a signal's exception arrives in the middle
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> OSError:
    """Return the error of a file that cannot be written, with what to do."""
    return OSError(error.errno, f"cannot write {path}: {error.strerror or error}. {WHAT_TO_DO}")


def npz(**arrays: Any) -> bytes:
    """Return arrays as the content of a compressed npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def sha256(content: bytes) -> str:
    """Return the sha256 of a file's content, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def file_name(text: str) -> str:
    """Return a text as the name of one file: letters, digits and `.,=+-_`, never a path, never hidden."""
    return re.sub(r"[^\w.,=+-]", "_", text).lstrip(".") or "_"


def inside(folder: Path, name: str) -> Path:
    """Return `folder / name`, which must lie in the folder.

    Raises:
        ValueError: if the name leads out of the folder, as `../x` or `/x`.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise ValueError(f"{name!r} leads out of {folder}: nothing is written there. Was the archive changed?")
    return path


def sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems refuse to sync a folder; the file itself is synced
        pass
    finally:
        os.close(descriptor)
