"""A sweep seen as a whole before it starts: which cells there are, and which of them cannot run on this machine."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from cem_bench.inputs.geometry import Rect
from cem_bench.run.compose import composed, experiment_file, loaded, parser, split

SWEEPS = ("-m", "--multirun")


@dataclass(frozen=True)
class Sweep:
    """The choices of a sweep.

    Attributes:
        fixed: overrides that hold for every cell.
        axes: key to the values swept over, those that cannot run left out.
        missing: key to {value: why it cannot run and what to do}, those that the experiment's file names included.
        experiment: the experiment's name, "" where none is given.
        left_out: key to the values that the experiment's file names, could run, and the command line leaves out.
        trained_tasks_only: whether only the tasks that a network was trained for are cells.
    """

    fixed: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]
    missing: Mapping[str, Mapping[str, str]]
    experiment: str = ""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trained_tasks_only: bool = False

    @property
    def cells(self) -> list[dict[str, str]]:
        """Every combination, in the order of running."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    @property
    def arguments(self) -> list[str]:
        """The command line that runs what can run."""
        axes = [f"{key}={','.join(values)}" for key, values in self.axes.items()]
        return [*self.fixed, *axes, "hydra.sweeper.params=null", "hydra/hydra_logging=none", "--multirun"]


def plan(arguments: Sequence[str], why_missing: Mapping[str, Callable[[str], str]]) -> Sweep | None:
    """Read a command line as a sweep.

    Args:
        arguments: the command line without the program's name.
        why_missing: for a swept key (model, scene), a function from value to "" or the reason why it cannot run.

    Returns:
        The sweep, or None where the command line asks for one cell.

    Raises:
        ValueError: if an experiment's file varies a key that is not there.
    """
    flags, given, _ = split(arguments)
    wanted = ("+experiment=", "trained_tasks_only=", "hydra.searchpath=")
    chosen = [argument for argument in given if argument.startswith(wanted)]
    swept, experiment, trained_only = _of_experiment(chosen)
    if not swept and not set(flags) & set(SWEEPS):
        return None
    with loaded() as loader:
        spelled = parser(loader)
        of_file = {override.get_key_element(): _values(override) for override in _parsed(spelled, swept)}
        axes = dict(of_file)
        fixed = []
        for override in spelled.parse_overrides(given):
            if override.is_sweep_override() or override.get_key_element() in axes:
                axes[override.get_key_element()] = _values(override)
            else:
                fixed.append(_rendered(override))
    # also what the experiment's file asks for and the command line leaves out: the report says what its table lacks
    named = {key: tuple(dict.fromkeys((*axes.get(key, ()), *of_file.get(key, ())))) for key in why_missing}
    missing = {key: _reasons(named[key], ask) for key, ask in why_missing.items()}
    present = {key: tuple(v for v in values if v not in missing.get(key, {})) for key, values in axes.items()}
    named_only = {key: tuple(v for v in named[key] if v not in axes.get(key, ())) for key in why_missing}
    left_out = {key: tuple(v for v in values if v not in missing[key]) for key, values in named_only.items()}
    missing = {key: reasons for key, reasons in missing.items() if reasons}
    return Sweep(tuple(fixed), present, missing, experiment, left_out, trained_only)


def included(arguments: Sequence[str]) -> list[str]:
    """Return the experiments that the one on the command line consists of; empty for most."""
    _, given, folders = split(arguments)
    chosen = [argument.partition("=")[2] for argument in given if argument.startswith("+experiment=")]
    path = experiment_file(chosen[0], folders) if chosen else None
    content: Any = OmegaConf.to_container(OmegaConf.load(path)) if path else {}
    return list(content.get("include", []))


def table_scenes(path: Path) -> dict[str, dict[str, Any]]:
    """Read the scenes that `scripts/choose_scenes.py` chose, as options of the group `scene`."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: _scene(row) for row in rows}


def rois_beside(path: Path, name: str) -> list[Rect]:
    """Return the other ROIs that the table of scenes has on the same image."""
    scenes = table_scenes(path)
    own = scenes.get(name, {})
    others = [scene for scene in scenes.values() if scene["name"] != name]
    image = ("source", "crop", "block")
    return [Rect(*scene["roi"]) for scene in others if all(scene[key] == own.get(key) for key in image)]


def _scene(row: Mapping[str, str]) -> dict[str, Any]:
    def place(*names: str) -> list[int]:
        return [int(row[name]) for name in names]

    crop = place("crop_top", "crop_left", "crop_side", "crop_side")
    roi = place("roi_top", "roi_left", "roi_side", "roi_side")
    return {"name": row["name"], "source": row["source"], "crop": crop, "roi": roi, "block": 8}


def _of_experiment(chosen: list[str]) -> tuple[dict[str, str], str, bool]:
    if not any(text.startswith("+experiment=") for text in chosen):
        return {}, "", False
    config = composed(chosen, hydra=True)
    params: Any = OmegaConf.to_container(config.hydra.sweeper.params) if config.hydra.sweeper.params else {}
    swept = {key: str(value) for key, value in params.items()}
    return swept, str(config.experiment), bool(config.trained_tasks_only)


def _parsed(spelled: OverridesParser, params: Mapping[str, str]) -> list[Override]:
    return spelled.parse_overrides([f"{key}={value}" for key, value in params.items()])


def _rendered(override: Override) -> str:
    """Return an override as Hydra's sweeper passes it to a job (tol=1e-3 as tol=0.001): by it a cell is found again."""
    key = override.get_key_element()
    return key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"


def _values(override: Override) -> tuple[str, ...]:
    if override.is_sweep_override():
        return tuple(override.sweep_string_iterator())
    return (override.get_value_element_as_str(),)


def _reasons(values: tuple[str, ...], ask: Callable[[str], str]) -> dict[str, str]:
    reasons = {value: ask(value) for value in values}
    return {value: reason for value, reason in reasons.items() if reason}
