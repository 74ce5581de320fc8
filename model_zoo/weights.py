"""Where the file of a checkpoint lies: in the package, in CEM_WEIGHTS, in the cache, or at the card's address."""

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.cards import Card
from model_zoo.checkpoint import sha256
from model_zoo.errors import ZooError

if TYPE_CHECKING:
    import requests

SHIPPED = Path(__file__).parent / "weights"
VARIABLE = "CEM_WEIGHTS"
SUFFIXES = (".pth", ".pt", ".safetensors")


def cache_folder() -> Path:
    """Where downloads go: the cem_bench folder of the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cem_bench" / "weights"


def folders() -> list[Path]:
    """The folders a checkpoint is looked for in, in order."""
    named = [Path(part).expanduser() for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return [SHIPPED, *named, cache_folder()]


def find(entry: Card) -> Path | None:
    """The local file of a card's checkpoint.

    Args:
        entry: the card; its file names are looked for, and its sha256 decides where it gives one.

    Returns:
        The path, or None where no folder holds it.
    """
    names = dict.fromkeys((*entry.file_names, f"{entry.name}.safetensors"))
    for path in (folder / name for folder in folders() for name in names):
        if path.is_file() and entry.sha256 in ("", _sum(path, path.stat().st_mtime_ns)):
            return path
    return None


@cache
def _sum(path: Path, _changed: int) -> str:
    return sha256(path)


def obtain(entry: Card) -> Path:
    """The file of a card's checkpoint, downloaded where it is not here yet.

    Args:
        entry: the card.

    Returns:
        The path.

    Raises:
        ZooError: the file is nowhere and cannot be fetched; says which file to put where.
    """
    local = find(entry)
    if local is not None:
        return local
    what = f"{entry.name}: put {' or '.join(entry.file_names) or entry.name + '.safetensors'} into a folder of "
    what += f"{VARIABLE} (now {os.environ.get(VARIABLE) or 'not set'}) or into {cache_folder()}"
    if entry.sha256:
        what += f"; its sha256 is {entry.sha256}"
    direct = entry.address.startswith(("https://", "http://")) and Path(entry.address).suffix in SUFFIXES
    if not (direct and entry.sha256):  # a page, or a file nothing vouches for: not fetched unseen
        raise ZooError(f"{what}; you get it from {entry.address or entry.paper or 'its authors'}")
    return _download(entry, what)


def _download(entry: Card, what: str) -> Path:
    import pooch
    import requests

    try:
        path = pooch.retrieve(
            entry.address,
            known_hash=f"sha256:{entry.sha256}",
            fname=entry.checkpoint,
            path=cache_folder(),
            downloader=_resumed,  # pyright: ignore[reportArgumentType]
        )
    except (requests.RequestException, OSError) as error:
        raise ZooError(f"{what}; {entry.address} could not be fetched ({type(error).__name__})") from error
    except ValueError as error:  # pooch's, of a file it then threw away
        raise ZooError(f"{what}; what {entry.address} sent has another sha256 and was thrown away") from error
    return Path(path)


def _resumed(address: str, target: str, _cache: object) -> None:
    """A downloader for pooch that goes on where an earlier one was cut off, with a progress bar."""
    import requests
    from tqdm import tqdm

    part = cache_folder() / f"{Path(address).name}.part"
    have = part.stat().st_size if part.is_file() else 0
    with _ask(address, have) as answer:
        answer.raise_for_status()
        have = have if answer.status_code == requests.codes.partial_content else 0
        total = have + int(answer.headers.get("content-length", 0))
        bar = tqdm(total=total, initial=have, unit="B", unit_scale=True)
        with part.open("ab" if have else "wb") as stream, bar:
            for chunk in answer.iter_content(1 << 16):
                stream.write(chunk)
                bar.update(len(chunk))
    part.replace(target)


def _ask(address: str, have: int) -> "requests.Response":
    """Asks for what follows the bytes that are here; for all of it where nothing follows them."""
    import requests

    if have:
        answer = requests.get(address, headers={"Range": f"bytes={have}-"}, stream=True, timeout=30)
        if answer.status_code != requests.codes.requested_range_not_satisfiable:
            return answer
        answer.close()
    return requests.get(address, stream=True, timeout=30)
