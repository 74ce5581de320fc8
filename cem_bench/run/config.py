"""The schema of the configuration: unknown keys, wrong types and impossible values are errors before anything runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf

from cem_bench.inputs.declared import check_options, option
from cem_bench.inputs.own_donors import MATCHES
from cem_bench.measuring.options import Options

PALETTES = ("paper", "safe")
ROIS = ("scene", "grid")


@dataclass
class ModelConfig:
    """A model: by name from the zoo, or one's own by `path` or `_target_`; a reference (`run/references.py`) sets all.

    `identity` is a name of one's own for what it computes, where that cannot be seen; `off_level` measures a network
    under another strength of the degradation than its weights are for. `output`, `beside`, `channels`, `value_range`
    (white, or BLACK..WHITE), `multiple`, `dtype` and `inference` say what the network takes and gives
    (`model_zoo.contracts.Contract`).
    """

    name: str | None = None
    path: str | None = None
    weights: str | None = None
    _target_: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    scale: int = 1
    value_range: Any = 1
    tasks: list[str] = field(default_factory=list)
    identity: str = ""
    off_level: bool = False
    output: str = ""
    beside: str = ""
    channels: str = "rgb"
    multiple: int = 1
    dtype: str = "float32"
    inference: str = "whole"
    reference: str = ""
    called: str = ""


@dataclass
class TaskConfig:
    """A degradation to instantiate; null for the one the model's card names."""

    degradation: dict[str, Any] | None = None


@dataclass
class SceneConfig:
    """An image, the part of it to use, the ROI (row, column, height, width) and the block size, in clean pixels.

    `segments` above 0 divides what lies outside the ROI into about so many superpixels, instead of square blocks.
    `fit` takes the largest part that the block tiles, where no `crop` is given; a `name` of "" is the file's stem.
    """

    name: str = MISSING
    source: str = MISSING
    crop: list[int] | None = None
    roi: list[int] = MISSING
    block: int = 8
    segments: int = 0
    fit: bool = False


@dataclass
class DonorsConfig:
    """A donor pool: a packed array, or patches cut from images or from the scene.

    `strata` above 0 draws by stratum; `match` (mean or contrast) gives each block the `nearest` donors alone.
    """

    kind: str = MISSING
    sources: list[str] = field(default_factory=list)
    path: str | None = None
    count: int = 10_000
    pool_seed: int = 0
    source: str = ""
    licence: str = "not stated"
    strata: int = 0
    match: str | None = None
    nearest: int = 100


@dataclass
class Run:
    """What a run is made of beside its options; the groups first."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    physics: dict[str, Any] = field(default_factory=dict)
    scene: SceneConfig = field(default_factory=SceneConfig)
    donors: DonorsConfig = field(default_factory=DonorsConfig)
    sampling: dict[str, Any] = field(default_factory=dict)
    experiment: str = option("single", "names the folder under `output`")
    question: str = option("", "what an experiment asks; makes its cells members of a report")
    report: dict[str, Any] = field(default_factory=dict)
    trained_tasks_only: bool = option(False, "leave out the tasks that a network is not trained for")
    force: bool = option(False, "also measure a network under a task or a strength that it is not trained for")
    include: list[str] = field(default_factory=list)
    roi: str = option("scene", "the scene's ROI, or the effect of every block on every output block", choices=ROIS)
    palette: str = option("paper", "seismic, or for colour-blind readers", choices=PALETTES)
    output: str = option("results", "folder of store, maps, figures and records")
    workers: int = option(1, "processes of this machine that share a sweep, its threads or its GPUs", least=1)


_TYPES = get_type_hints(Options)
Config = dataclasses.make_dataclass(
    "Config",
    [(item.name, _TYPES[item.name], dataclasses.field(default=item.default)) for item in dataclasses.fields(Options)],
    bases=(Run,),
)
Config.__module__ = __name__  # launchers then pickle its name, and not a copy that the parent gets back in its place


def options_of(config: DictConfig) -> Options:
    """Return the options of a configuration.

    Raises:
        ValueError: for a value out of range.
    """
    return Options(**{item.name: config[item.name] for item in dataclasses.fields(Options)})


def check_config(config: DictConfig) -> None:
    """Refuse impossible values of a composed configuration, before anything is read or measured.

    Raises:
        ValueError: with what was got and what is expected.
    """
    options_of(config)
    given = {item.name: config[item.name] for item in dataclasses.fields(Run) if item.metadata}
    check_options(Run(**given))
    scene, model = config.scene, config.model
    for name in ("roi", "crop"):
        if not OmegaConf.is_missing(scene, name) and scene[name] is not None:
            _check_rect(scene[name], name)
    if scene.segments < 0:
        raise ValueError(f"scene.segments: got {scene.segments}, expected 0 (square blocks) or a number of segments.")
    wanted = {"scene.block": (scene.block, "pixels"), "model.scale": (model.scale, "output pixels per input pixel")}
    donors = config.donors
    if donors.match is not None and donors.match not in MATCHES:
        raise ValueError(f"donors.match: got {donors.match!r}, expected one of {', '.join(MATCHES)}, or null.")
    range_of(model.value_range)
    for name, (value, unit) in wanted.items():
        if value <= 0:
            raise ValueError(f"{name}: got {value}, expected a number above 0 ({unit}).")


def _check_rect(values: Sequence[int], name: str) -> None:
    """Refuse what are not four whole numbers, a place that is negative, and a size that is not positive."""
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(numbers) != 4 or len(values) != 4 or min(numbers[:2]) < 0 or min(numbers[2:]) < 1:
        raise ValueError(
            f"scene.{name}: got {list(values)}, expected row, column, height and width in pixels, row and column at "
            f"least 0, height and width at least 1, as scene.{name}=[0,0,128,128]."
        )


def range_of(value: Any) -> tuple[float, float]:
    """Return black and white of a network's images.

    Args:
        value: white, as 1 or 255, or both, as `0..255` or `-1..1`.

    Raises:
        ValueError: if it is neither, or white does not lie above black.
    """
    number = r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"(?:({number})\.\.)?({number})", str(value).strip())
    low, high = (float(match[1] or 0), float(match[2])) if match else (0.0, 0.0)
    if not high > low:
        raise ValueError(
            f"model.value_range: got {value}, expected the value of white in what the network is fed, as 1 or 255, or "
            "black and white, as -1..1."
        )
    return low, high


def option_lines() -> Iterator[str]:
    """Yield a line of help per option: name, default, unit or choices, what it is for."""
    for item in (*dataclasses.fields(Options), *dataclasses.fields(Run)):
        if item.metadata:
            facts = item.metadata
            limits = " | ".join(facts["choices"]) or facts["unit"]
            default = "null" if item.default is None else str(item.default).lower()
            name, hint = f"{item.name}={default}", f" ({limits})" if limits else ""
            yield f"  {name:26} {facts['about']}{hint}"
