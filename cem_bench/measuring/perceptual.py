"""Outcomes by trained networks: LPIPS and DISTS, by torchmetrics, their backbone's weights taken from a file.

torchmetrics ships what was trained for the two measures; torchvision's backbone below them is a file that is looked for
and checked here, and is never fetched.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import file_digest
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# torchvision's own file names: the part after the dash begins the sha256 of what it published
BACKBONES = {"lpips": "alexnet-owt-7be5be79.pth", "dists": "vgg16-397923af.pth"}
LIBRARY = "torchmetrics"


@dataclass(frozen=True)
class Perceptual:
    """A measure by a trained network.

    Attributes:
        name: lpips or dists.
        backbone: file of the backbone's weights.
        changed: when the file was last written, ns.
    """

    name: str
    backbone: Path
    changed: int

    def identity(self) -> dict[str, Any]:
        """Return what decides its numbers: the backbone's weights and the library."""
        return {"backbone_sha256": _sha256(self.backbone, self.changed), LIBRARY: metadata.version(LIBRARY)}

    def compute(self, outputs: Tensor, clean: Tensor) -> Tensor:
        """Measure the distance of the clipped outputs (n, 3, h, w) from the clean image (3, h, w): (n,) float64.

        One image at a time: in a batch the same image twice would differ by last bits.
        """
        network = _network(self, outputs.device)
        further = {"normalize": True} if self.name == "lpips" else {}
        images = outputs.double().clamp(0, 1)
        return torch.cat([network(image[None], clean[None], **further).reshape(1) for image in images])


def find(name: str, weights: str = "") -> Perceptual:
    """Return a measure with the weights that are here.

    Args:
        name: lpips or dists.
        weights: a file, or a folder that holds it, taken as it is; "" for the folders of CEM_WEIGHTS, then torch's
            cache, where it must be what torchvision published.

    Raises:
        ValueError: if torchmetrics or the weights are missing, or the file is another than torchvision published.
    """
    _require_library(name)
    given, wanted = Path(weights).expanduser(), BACKBONES[name]
    if weights and given.is_file():
        return Perceptual(name, given, given.stat().st_mtime_ns)
    variable = [Path(part).expanduser() for part in os.environ.get("CEM_WEIGHTS", "").split(os.pathsep) if part]
    folders = [given] if weights else [*variable, Path(torch.hub.get_dir()) / "checkpoints"]
    path = next((folder / wanted for folder in folders if (folder / wanted).is_file()), None)
    if path is None:
        raise ValueError(
            f"outcome={name} needs {wanted}, the weights of its backbone as torchvision publishes them; not in "
            f"{', '.join(map(str, folders))}. Put the file into a folder of CEM_WEIGHTS, or write "
            "outcome_weights=FILE; nothing is fetched."
        )
    measure = Perceptual(name, path, path.stat().st_mtime_ns)
    begins, digest = path.stem.rpartition("-")[2], _sha256(path, measure.changed)
    if not weights and not digest.startswith(begins):
        raise ValueError(
            f"{path} has sha256 {digest[:16]}..., expected one that begins with {begins}: it is not what torchvision "
            f"published. Fetch it again; to use it as it is, write outcome_weights={path}."
        )
    return measure


def _require_library(name: str) -> None:
    try:
        metadata.version(LIBRARY)
    except metadata.PackageNotFoundError as error:
        raise ValueError(f"outcome={name} needs {LIBRARY}: pip install 'cem-bench[outcomes]'.") from error


@cache
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4)
def _network(measure: Perceptual, device: torch.device) -> nn.Module:
    """Build the network of a measure in float64, its backbone from the file and not from the net."""
    from torchmetrics.functional.image.dists import DISTSNetwork
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    with _as_cache(measure.backbone, BACKBONES[measure.name]):
        try:
            lpips = measure.name == "lpips"
            network: nn.Module = LearnedPerceptualImagePatchSimilarity("alex").net if lpips else DISTSNetwork()
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{measure.backbone} does not hold the weights of torchvision's backbone of {measure.name} "
                f"({str(error).splitlines()[0]}); expected {BACKBONES[measure.name]}."
            ) from error
    return network.requires_grad_(False).eval().double().to(device)


@contextmanager
def _as_cache(file: Path, name: str) -> Iterator[None]:
    """Let torchvision find a file where it keeps what it fetched: then it fetches nothing."""
    before = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkpoints"
        place.mkdir()
        (place / name).symlink_to(file.resolve())
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(before)
