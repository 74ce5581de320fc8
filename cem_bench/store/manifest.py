"""The manifest of a run's folder, and its identity: what must lie there. No torch.

`manifest.json` lists the shards that count; replacing it is what makes a change true. It is sealed by its own hash.
Earlier versions wrote none: their shards are listed in `record.json`, or nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cem_bench.store.files import inside, sha256

MANIFEST, PENDING = "manifest.json", ".pending"


class DamagedError(ValueError):
    """What is stored is not what was measured; the message says where and what to do."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what was measured."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Manifest:
    """What a run's folder holds.

    Attributes:
        key: run key, 64 hexadecimal digits.
        kind: of shard, see `ORDER`.
        shards: file name to sha256; "" where an earlier version kept none.
        files: name of another file (picture, LAM) to sha256.
        retired: shards that no longer count and may still lie there.
        root_sha256: of all rows, see `rows_root`.
    """

    key: str
    kind: str
    shards: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    retired: tuple[str, ...] = ()
    root_sha256: str = ""

    def content(self) -> bytes:
        """Return the file's content, sealed by its own hash."""
        fields = {name: value for name, value in vars(self).items() if name != "retired"} | {"retired": [*self.retired]}
        return (json.dumps(fields | {"seal_sha256": seal(fields)}, indent=1, sort_keys=True) + "\n").encode()


def seal(content: Mapping[str, Any]) -> str:
    """Return the sha256 of a dictionary as JSON with sorted keys, its own `seal_sha256` left out."""
    fields = {name: value for name, value in content.items() if name != "seal_sha256"}
    return sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def manifest_of(folder: Path, kind: str, key: str, content: bytes | None) -> tuple[Manifest, list[Damage]]:
    """Return the manifest of a folder, rebuilt from what lies there if there is none that holds."""
    damage = []
    if content is not None:
        try:
            fields = json.loads(content)
            sealed = fields.pop("seal_sha256")
            retired = tuple(fields.pop("retired"))
            manifest = Manifest(**fields, retired=retired)
            if not all(_is_shard(name, kind) for name in (*manifest.shards, *retired)):
                raise ValueError("names that are no shards")
            if sealed == seal(fields | {"retired": [*retired]}) and (manifest.key, manifest.kind) == (key, kind):
                return manifest, damage
            reason = "does not match its own hash" if (manifest.key, manifest.kind) == (key, kind) else "is another's"
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            reason = "cannot be read"
        damage.append(Damage(folder / MANIFEST, reason))
    return Manifest(key, kind, _unlisted(folder, kind, damage, numbered=content is None)), damage


def listed_content(folder: Path, name: str, manifest: Manifest) -> bytes | None:
    """Return the content of a file beside the draws; None where it is not there or is not what the manifest lists."""
    listed = manifest.files.get(name)
    if listed is None:  # earlier versions listed none
        return content_of(inside(folder, name))
    contents = (content_of(inside(folder, name + end)) for end in ("", PENDING))
    return next((content for content in contents if content is not None and sha256(content) == listed), None)


def read_beside(folder: Path, name: str) -> bytes | None:
    """Return a file that lies beside a run's draws (picture, LAM, record); None where it is not there or not whole.

    Args:
        folder: of the run.
        name: of the file.
    """
    manifest, damage = manifest_of(folder, "draws", run_key(read_identity(folder)), content_of(folder / MANIFEST))
    return None if damage else listed_content(folder, name, manifest)


def _unlisted(folder: Path, kind: str, damage: list[Damage], *, numbered: bool) -> dict[str, str]:
    """Return the shards of a folder without a manifest: those named by their hash, and those of earlier versions."""
    shards, record = {}, {}
    if numbered and (content := content_of(folder / "record.json")) is not None:
        try:
            fields = json.loads(content)
            record = fields.get("shards", {})
            record = {str(name): str(digest) for name, digest in record.items() if _is_shard(str(name), kind)}
        except (ValueError, AttributeError, RecursionError):
            damage.append(Damage(folder / "record.json", "cannot be read"))
    for path in sorted(folder.glob(f"{kind}-*.parquet")):
        if named_by_hash(path, kind):
            shards[path.name] = path.stem.removeprefix(f"{kind}-")
        elif numbered:
            shards[path.name] = record.get(path.name, "")
    return shards | record


def named_by_hash(path: Path, kind: str) -> bool:
    """Whether a shard is named by its content, as it is since the manifest; earlier ones have a number."""
    return len(path.stem.removeprefix(f"{kind}-")) == 64


def _is_shard(name: str, kind: str) -> bool:
    return name.startswith(f"{kind}-") and name.endswith(".parquet") and Path(name).name == name


def has_identity(folder: Path, key: str) -> bool:
    """Whether the identity that lies in a folder hashes to the key."""
    try:
        return run_key(json.loads(content_of(folder / "identity.json") or b"")) == key
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False


def read_identity(folder: Path) -> dict[str, Any]:
    """Return what a run's key hashes, checked against the folder's name.

    Raises:
        DamagedError: if it is not there, cannot be read, or belongs to another folder.
    """
    path = folder / "identity.json"
    try:
        identity = json.loads(path.read_bytes())
        key = run_key(identity)  # refuses NaN and infinity
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({type(error).__name__}): measure the cell again.") from error
    if not isinstance(identity, dict) or key[:16] != folder.name:
        raise DamagedError(f"{path} is not the identity of this folder: measure the cell again, which mends it.")
    return identity


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the sha256 of an identity, written as JSON with sorted keys."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode())


def content_of(path: Path) -> bytes | None:
    """Return a file's content; None where there is no file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
