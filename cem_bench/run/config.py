"""The schema of the configuration: unknown keys and wrong types are errors before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    """A model: by name from the zoo, or one's own by `path` or `_target_`.

    `identity` is a name of one's own for what it computes, where that cannot be seen; `off_level` measures a network
    under another strength of the degradation than its weights are for.
    """

    name: str | None = None
    path: str | None = None
    weights: str | None = None
    _target_: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    scale: int = 1
    value_range: int = 1
    tasks: list[str] = field(default_factory=list)
    identity: str = ""
    off_level: bool = False


@dataclass
class TaskConfig:
    """A degradation to instantiate; null for the one the model's card names."""

    degradation: dict[str, Any] | None = None


@dataclass
class SceneConfig:
    """An image, the part of it to use, the ROI (row, column, height, width) and the block size, in clean pixels."""

    name: str = MISSING
    source: str = MISSING
    crop: list[int] | None = None
    roi: list[int] = MISSING
    block: int = 8


@dataclass
class DonorsConfig:
    """A donor pool: a packed array, or patches cut from images; `strata` above 0 draws by stratum."""

    kind: str = MISSING
    sources: list[str] = field(default_factory=list)
    path: str | None = None
    count: int = 10_000
    seed: int = 0
    source: str = ""
    licence: str = "not stated"
    strata: int = 0


@dataclass
class InterventionConfig:
    """Form of the LV intervention."""

    form: str = "true"
    bgr: bool = False


@dataclass
class StatsConfig:
    """How verdicts are made of draws; read by the reports, changes no stored number."""

    fdr: str = "bh"


@dataclass
class Config:
    """The whole."""

    model: ModelConfig = field(default_factory=ModelConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    donors: DonorsConfig = field(default_factory=DonorsConfig)
    sampling: dict[str, Any] = field(default_factory=dict)
    intervention: InterventionConfig = field(default_factory=InterventionConfig)
    experiment: str = "single"
    question: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    trained_tasks_only: bool = False
    include: list[str] = field(default_factory=list)
    seed: int = 0
    outcome: str = "psnr"
    tol: float | None = None
    stats: StatsConfig = field(default_factory=StatsConfig)
    engine: str = "auto"
    precision: str = "fp32"
    roi: str = "scene"
    memory_gb: float = 2.0
    compile: bool = False
    device: str = "cpu"
    include_roi: bool = False
    palette: str = "paper"
    output: str = "results"
