"""Any linear operator of deepinv as a degradation: MRI, tomography, blur, inpainting, with its noise.

The operator measures the clean image, under random numbers that are the same each time; what the network gets is the
measurement itself, or its way back to an image. How far a block's content spreads is measured.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.protocol import grown, rounded

if TYPE_CHECKING:
    from torch import Tensor

OBSERVED = ("measurement", "adjoint", "pseudoinverse")
CHANNELS = {"rgb": 3, "one": 1, "complex": 2}
WHOLE = 1 << 20  # pixels: farther than any image
CHANGED = 1e-11  # of white, in float64: what is less is the arithmetic's own noise
SHARE = 0.25  # of the longer side: what spreads farther is taken to spread over the whole image


def deepinv_version(who: str) -> str:
    """Return the version of deepinv.

    Raises:
        ValueError: if it is not installed, with the command that installs it.
    """
    try:
        return metadata.version("deepinv")
    except metadata.PackageNotFoundError as error:
        raise ValueError(f"{who} needs deepinv: pip install 'cem-bench[physics]'.") from error


@dataclass(frozen=True)
class Physics:
    """What an operator of deepinv makes of a clean image.

    Attributes:
        operator: `_target_`, a class of `deepinv.physics`, with its arguments; those may be nodes with a `_target_`
            too (a noise model, a kernel). `img_size`, `img_width` and `dtype` are the image's where not given.
        generator: `_target_`, a class of `deepinv.physics.generator` that draws the operator's parameters (mask,
            kernel) from the seed; empty for none.
        observed: what the network gets: the `measurement`, or what `adjoint` or `pseudoinverse` make of it.
        channels: `rgb` gives the operator one image of 3 channels, `one` the three channels one by one, `complex` each
            as a real part beside an imaginary part of 0 (MRI); then the magnitude is observed.
        field_seed: names the random numbers of operator, generator and noise.
        spread_px: how far beyond a block its content is seen, clean pixels; None to measure it at nine blocks.
        library: version of deepinv.

    Source: Tachella et al. 2025, DeepInverse, arXiv 2505.20160.
    """

    operator: Mapping[str, Any] = field(default_factory=lambda: {"_target_": "deepinv.physics.Inpainting", "mask": 0.5})
    generator: Mapping[str, Any] = field(default_factory=dict)
    observed: str = "measurement"
    channels: str = "rgb"
    field_seed: int = 0
    spread_px: int | None = None
    library: str = field(default_factory=lambda: deepinv_version("task=physics"))
    task: ClassVar[str] = "restore"
    scale: ClassVar[int] = 1
    reach: ClassVar[int] = WHOLE
    lattice: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse choices that are none, and an operator without a class.

        Raises:
            ValueError: with what is expected.
        """
        for name, allowed in (("observed", OBSERVED), ("channels", tuple(CHANNELS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"Physics {name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}.")
        if self.channels == "complex" and self.observed == "measurement":
            raise ValueError(
                "Physics channels=complex with observed=measurement: the measurement is no image; write "
                "task.degradation.observed=adjoint or pseudoinverse."
            )
        if "_target_" not in self.operator:
            raise ValueError(
                f"Physics operator is {dict(self.operator)}; expected _target_, as in "
                "physics._target_=deepinv.physics.MRI."
            )
        if self.spread_px is not None and self.spread_px < 0:
            raise ValueError(
                f"Physics spread_px is {self.spread_px}; expected 0 or more pixels, or null to measure it."
            )

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Degrade (H, W, 3) uint8."""
        return rounded(_observe(self._spec, clean / 255.0))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Degrade the whole image, which is the only window that every operator knows."""
        return self(clean)

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return the block grown by how far the operator carries it."""
        margin = _margin(self._spec, *size, block.height) if self.spread_px is None else self.spread_px
        return grown(block, margin, size)

    @property
    def _spec(self) -> str:
        """The operator in words, as the cache of built operators knows it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@lru_cache(maxsize=4)
def _operator(spec: str, height: int, width: int) -> tuple[Any, Any]:
    """Build an operator for an image size; returns it and the type of number that it computes in."""
    import torch

    facts = json.loads(spec)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(facts["field_seed"])
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            operator = _made(facts["operator"], facts, height, width)
            if facts["generator"]:
                operator.update(**_made(facts["generator"], facts, height, width).step(1, seed=facts["field_seed"]))
        except Exception as error:
            raise ValueError(
                f"{facts['operator']['_target_']} cannot be built for an image of {height}x{width} pixels: "
                f"{str(error).strip().splitlines()[-1]}"
            ) from error
        finally:
            torch.set_default_dtype(before)
    image = np.random.Generator(np.random.Philox(0)).random((height, width, 3))
    try:
        _measured(operator.double(), facts, image, torch.float64)
        dtype = torch.float64
    except (RuntimeError, TypeError):
        operator, dtype = operator.float(), torch.float32
    _require_same_noise(operator, facts, image, dtype)
    return operator, dtype


def _made(node: Mapping[str, Any], facts: Mapping[str, Any], height: int, width: int) -> Any:
    """Make what a node names, with the arguments that follow from image and seed where its class takes them."""
    import torch
    from hydra.utils import get_object, instantiate

    takes = inspect.signature(get_object(node["_target_"])).parameters
    side, channels = max(height, width), CHANNELS[facts["channels"]]
    size = (channels, side, side) if "img_width" in takes else (channels, height, width)
    # without a generator of numbers of their own, some classes draw from a seed that is always the same
    rng = torch.Generator().manual_seed(facts["field_seed"])
    ours = {"img_size": size, "img_width": side, "dtype": torch.float64, "rng": rng}
    given = {name: value for name, value in ours.items() if name in takes and name not in node}
    return instantiate({**node, "_partial_": True}, _convert_="all")(**given)


def _measured(operator: Any, facts: Mapping[str, Any], image: np.ndarray, dtype: Any) -> Tensor:
    """Measure (H, W, 3) float in 0..1, under the random numbers of the seed."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(facts["field_seed"])
        return operator(_input(image, facts["channels"], operator, dtype))


def _input(image: np.ndarray, channels: str, operator: Any, dtype: Any) -> Tensor:
    """Return what the operator takes of (H, W, 3) float; a square operator gets zeros below or beside the image."""
    import torch
    from torch.nn import functional as F

    rows = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(dtype)
    if hasattr(operator, "img_width"):
        height, width = rows.shape[1:]
        rows = F.pad(rows, (0, operator.img_width - width, 0, operator.img_width - height))
    if channels == "rgb":
        return rows[None]
    return rows[:, None] if channels == "one" else torch.stack([rows, torch.zeros_like(rows)], 1)


def _observe(spec: str, image: np.ndarray) -> np.ndarray:
    """Return what the network is to get of (H, W, 3) float in 0..1, in float64 and beyond 0..1."""
    import torch

    facts, (height, width) = json.loads(spec), image.shape[:2]
    operator, dtype = _operator(spec, height, width)
    with torch.inference_mode():
        seen = _measured(operator, facts, image, dtype)
        if facts["observed"] != "measurement":
            seen = _way_back(operator, facts)(seen)
        if facts["channels"] == "complex":
            seen = seen.square().sum(dim=1, keepdim=True).sqrt()
    wanted = (1, 3) if facts["channels"] == "rgb" else (3, 1)
    if tuple(seen.shape[:2]) != wanted or seen.ndim != 4 or seen.shape[2] < height or seen.shape[3] < width:
        raise ValueError(
            f"{facts['operator']['_target_']} gives {tuple(seen.shape)} by observed={facts['observed']}, expected an "
            f"image of {height}x{width} pixels: write task.degradation.observed=adjoint or pseudoinverse, or, for a "
            "blur, physics.padding=reflect."
        )
    return seen.reshape(3, *seen.shape[2:])[:, :height, :width].double().numpy().transpose(1, 2, 0)


def _way_back(operator: Any, facts: Mapping[str, Any]) -> Any:
    """Return the adjoint or the pseudo-inverse of an operator; filtered back-projection where it has one."""
    name = {"adjoint": "A_adjoint", "pseudoinverse": "fbp" if hasattr(operator, "fbp") else "A_dagger"}
    way = getattr(operator, name[facts["observed"]], None)
    if way is None:
        raise ValueError(
            f"{facts['operator']['_target_']} has no {facts['observed']}: write another task.degradation.observed, one "
            f"of {', '.join(OBSERVED)}."
        )
    return way


def _require_same_noise(operator: Any, facts: Mapping[str, Any], image: np.ndarray, dtype: Any) -> None:
    """Refuse noise that depends on the content: a donor would meet other noise, and so would the rest of the image.

    Raises:
        ValueError: saying what to take.
    """
    import torch

    fields = []
    for content in (image, 0.5 * image[::-1]):
        with torch.inference_mode():
            plain = operator.A(_input(content, facts["channels"], operator, dtype))
        fields.append(_measured(operator, facts, content, dtype) - plain)
    if not torch.allclose(*fields, rtol=0, atol=1e-4):
        raise ValueError(
            f"The noise of {facts['operator']['_target_']} depends on the content, so that a donor would change it "
            "elsewhere too: take deepinv.physics.GaussianNoise or UniformNoise, or task=poisson_gaussian."
        )


@lru_cache(maxsize=64)
def _margin(spec: str, height: int, width: int, side: int) -> int:
    """Measure how far beyond a block its content is seen, clean pixels: at nine blocks, by random contents.

    Returns:
        The longer side of the image where it is more than a quarter of that: then every block is taken to be seen
        everywhere.
    """
    rng = np.random.Generator(np.random.Philox(1))
    image = rng.random((height, width, 3))
    before, farthest = _observe(spec, image), 0
    tops, lefts = (sorted({0, (length - side) // 2 // side * side, length - side}) for length in (height, width))
    for block in (Rect(top, left, side, side) for top in tops for left in lefts):
        for content in (rng.random((side, side, 3)), np.zeros((side, side, 3)), np.ones((side, side, 3))):
            changed = image.copy()
            changed[block.slices] = content
            seen = np.abs(_observe(spec, changed) - before).max(axis=2) > CHANGED
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if len(rows):
                edges = block.top - rows[0], rows[-1] + 1 - block.bottom
                farthest = max(farthest, *edges, block.left - columns[0], columns[-1] + 1 - block.right)
    longer = max(height, width)
    return int(farthest) if farthest <= SHARE * longer else longer
