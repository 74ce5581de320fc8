"""Trials of a network on one photograph: what it takes and gives, found by running it, and how well it restores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import to_tensor
from cem_bench.run.networks import build_model

if TYPE_CHECKING:
    from cem_bench.inputs.degradations import Degradation
    from cem_bench.inputs.scene import Scene
    from cem_bench.models.model import Model

RANGES = ("1", "255", "-1..1")
ORDERS = ("rgb", "bgr")
MULTIPLES = (2, 4, 8, 16, 32, 64)
SIDE = 64  # pixels of the images on which sizes are tried
BETTER_DB = 0.5  # by so much another range or order must be better to be proposed
NOISE = "sigma"


@dataclass(frozen=True)
class Trial:
    """What became of a network under some settings.

    Attributes:
        settings: of the node `model`, beyond those that were given.
        answer: what it answered, a tensor or whatever it is; None where it raised.
        error: what it raised, a line; "" where it answered.
        psnr_db: of the restored image, where the answer is one of the right size; else None.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    answer: Any = None
    error: str = ""
    psnr_db: float | None = None


class Trials:
    """Runs a network under settings on one observation."""

    def __init__(self, node: DictConfig, scene: Scene, degradation: Degradation) -> None:
        """Args: node: `model` of a configuration; scene: a small one; degradation: of the task."""
        self.node, self.degradation = node, degradation
        self.clean = to_tensor(scene.clean).double()
        self.observation = to_tensor(degradation(scene.clean))[None]

    def model(self, settings: Mapping[str, Any]) -> Model:
        """Return the network under settings, whatever it is trained for.

        Raises:
            ValueError: as `build_model`.
        """
        node = OmegaConf.merge(self.node, dict(settings))
        assert isinstance(node, DictConfig)
        return build_model(node, self.degradation, forced=True)

    def run(self, settings: Mapping[str, Any], rows: Tensor | None = None) -> Trial:
        """Run the network once.

        Args:
            settings: beyond those given.
            rows: (1, 3, h, w) in 0..1 in place of the observation.
        """
        rows = self.observation if rows is None else rows
        try:
            model = self.model(settings)
            with torch.inference_mode():
                answer = model.restorer(rows.clone())
        except Exception as error:  # noqa: BLE001 - a network may raise anything; the trial says what
            words = (str(error).strip().splitlines() or [""])[0]
            return Trial(settings, error=f"{type(error).__name__}: {words}"[:200])
        return Trial(settings, answer, psnr_db=self._psnr(answer))

    def _psnr(self, answer: Any) -> float | None:
        fits = isinstance(answer, Tensor) and tuple(answer.shape) == (1, *self.clean.shape)
        return float(psnr(answer.float(), self.clean)[0]) if fits and torch.isfinite(answer).all() else None

    def first_that_runs(self) -> Trial:
        """Return the first trial that does not raise: as given, else with what networks commonly ask for."""
        plain = self.run({})
        if not plain.error:
            return plain
        for settings in self._commonly_asked():
            trial = self.run(settings)
            if not trial.error and (trial.psnr_db is not None or not isinstance(trial.answer, Tensor)):
                return trial
        return plain

    def _commonly_asked(self) -> Iterator[dict[str, Any]]:
        """Yield settings, likeliest first; only those that the user left open."""
        level = NOISE if hasattr(self.degradation, NOISE) else "0"
        beside = [f"{form}:{level}" for form in ("channel", "map", "tensor", "vector", "number")]
        options: dict[str, list[Any]] = {
            "channels": ["grey"],
            "beside": [*beside, "index:0"],
            "dtype": ["half", "bfloat16"],
            "multiple": [8, 16, 32, 64],
        }
        free = {key: values for key, values in options.items() if self.node[key] in ("", "rgb", "float32", 1)}
        for key, values in free.items():
            yield from ({key: value} for value in values)
        for channels, form in product(free.get("channels", ()), free.get("beside", ())):
            yield {"channels": channels, "beside": form}

    def images_in(self, trial: Trial) -> list[Trial]:
        """Return, for every image among several outputs, the trial that picks it; best PSNR first."""
        picked = [self.run({**trial.settings, "output": path}) for path in leaves(trial.answer)]
        known = [trial for trial in picked if trial.psnr_db is not None]
        return sorted(known, key=lambda trial: -(trial.psnr_db or 0.0))

    def ranges(self, settings: Mapping[str, Any]) -> list[Trial]:
        """Return a trial per value range and colour order."""
        orders = ORDERS if settings.get("channels", self.node.channels) in ORDERS else (None,)
        trials = []
        for white, order in product(RANGES, orders):
            changed = {**settings, "value_range": white} | ({"channels": order} if order else {})
            trials.append(self.run(changed))
        return trials

    def multiple(self, settings: Mapping[str, Any]) -> int | None:
        """Return the least multiple that the sides of an input must be, 1 for any; None where none up to 64 is."""
        for multiple in (1, *MULTIPLES):
            times = -(-SIDE // multiple) | 1  # an odd number of times, so that no larger multiple passes for it
            height, width = times * multiple, (times + 2) * multiple
            trial = self.run(settings, torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)))
            wanted = (height * self.degradation.scale, width * self.degradation.scale)
            if isinstance(trial.answer, Tensor) and tuple(trial.answer.shape[2:]) == wanted:
                return multiple
        return None


def leaves(answer: Any, path: str = "") -> dict[str, Tensor]:
    """Return the tensors in a nest of lists, tuples and mappings, by the way in, as `output` spells it."""
    if isinstance(answer, Tensor):
        return {path: answer}
    items = (
        answer.items() if isinstance(answer, Mapping) else enumerate(answer) if isinstance(answer, list | tuple) else ()
    )
    tensors: dict[str, Tensor] = {}
    for name, inner in items:
        tensors |= leaves(inner, f"{path}.{name}" if path else str(name))
    return tensors


def described(answer: Any) -> str:
    """Return what a network answered, in a line."""
    if isinstance(answer, Tensor):
        return f"one tensor {tuple(answer.shape)} {str(answer.dtype).removeprefix('torch.')}"
    parts = [f"{path}: {tuple(tensor.shape)}" for path, tensor in leaves(answer).items()]
    return f"{type(answer).__name__} of {', '.join(parts) or 'no tensor'}"
