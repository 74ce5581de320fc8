"""Look at a network before it is measured: what it takes and gives, what a map will cost, and the line to write."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from cem_bench.inputs.geometry import ring_distance
from cem_bench.run.build import asked_degradation, build_degradation, build_pool, build_scene, register
from cem_bench.run.compose import composed
from cem_bench.run.config import options_of
from cem_bench.run.networks import build_model
from cem_bench.run.trials import BETTER_DB, Trial, Trials, described
from cem_bench.store import maps

if TYPE_CHECKING:
    from cem_bench.measuring.prepared import Bench

SCENE = ("scene=chelsea", "scene.crop=[100,100,128,128]", "scene.roi=[48,48,32,32]")
TIMED_BLOCKS, TIMED_DRAWS, COARSE, FINE = 5, 3, 3, 50
FALLBACK_TASK = "dn25"


def print_check(reference: str, task: str, overrides: Sequence[str]) -> bool:
    """Print what is found of a network.

    Args:
        reference: of the network.
        task: of the group `task`; "" for that of its card, else noise of sigma 25.
        overrides: of the configuration, as scene=coffee.

    Returns:
        Whether it can be measured as it was written.

    Raises:
        ValueError: if it cannot be loaded, or no setting makes it answer an image.
    """
    register()
    config = _config(reference, task, overrides)
    scene = build_scene(config.scene)
    degradation = _degradation(config)
    trials = Trials(config.model, scene, degradation)
    rows: dict[str, str] = {}
    chosen = _settled(trials, rows, by_card=bool(config.model.name))
    _sizes(trials, chosen.settings, rows)
    bench = _bench(config, trials, chosen)
    _facts(bench, rows)
    line = _line(reference, task or _task_of(config), chosen.settings)
    _print(reference, rows, line)
    return not chosen.settings


def _config(reference: str, task: str, overrides: Sequence[str]) -> DictConfig:
    scene = [] if any(text.startswith("scene") for text in overrides) else SCENE
    config = composed([f"model={reference}", *scene, *overrides])
    asked = task or ("auto" if config.model.name else FALLBACK_TASK)
    config = composed([f"model={reference}", f"task={asked}", *scene, *overrides])
    OmegaConf.resolve(config)
    return config


def _task_of(config: DictConfig) -> str:
    return "auto" if config.model.name else FALLBACK_TASK


def _degradation(config: DictConfig) -> Any:
    return asked_degradation(config) or build_degradation(build_model(config.model, None, forced=True))


def _settled(trials: Trials, rows: dict[str, str], *, by_card: bool) -> Trial:
    """Return the trial to go on with: the settings that the network needs beyond those given.

    Raises:
        ValueError: if under no setting it answers an image.
    """
    trial = trials.first_that_runs()
    rows["outputs"] = trial.error or described(trial.answer)
    if not trial.error and trial.psnr_db is None and (picked := trials.images_in(trial)):
        trial = picked[0]
        rows["outputs"] += f"; the image is {trial.settings['output']}"
    if trial.psnr_db is None:
        scales = _scale(trials, trial)
        raise ValueError(f"It answers no RGB image of {tuple(trials.clean.shape)}: {rows['outputs']}.{scales}")
    return trial if by_card else _ranged(trials, trial, rows)


def _scale(trials: Trials, trial: Trial) -> str:
    """Return what to write where the answer is of another scale; "" where it is not."""
    shape = tuple(getattr(trial.answer, "shape", ()))
    before = trials.observation.shape[2]
    if len(shape) != 4 or shape[2] % before or shape[2] == before * trials.degradation.scale:
        return " Write beside=, channels=, multiple= or scale= as it needs (docs/how-to/compare.md)."
    times = shape[2] // before
    return f" It enlarges by {times}: write scale={times} and --task sr_x{times}."


def _ranged(trials: Trials, trial: Trial, rows: dict[str, str]) -> Trial:
    """Try the value ranges and colour orders; return the trial to go on with."""
    tried = [trial for trial in trials.ranges(trial.settings) if trial.psnr_db is not None]
    rows["PSNR by range and order"] = ", ".join(f"{_fed(trial)}: {trial.psnr_db:.2f}" for trial in tried) + " dB"
    best = max(tried, key=lambda trial: trial.psnr_db or 0.0, default=trial)
    own = trial.psnr_db or 0.0
    if (best.psnr_db or 0.0) < own + BETTER_DB:
        rows["value range, colour order"] = "as given: no other is better by 0.5 dB"
        return trial
    rows["value range, colour order"] = f"as given {own:.2f} dB; {_fed(best)} is better: {best.psnr_db:.2f} dB"
    changed = {key: value for key, value in best.settings.items() if str(value) != str(trials.node[key])}
    return dataclasses.replace(best, settings=changed)


def _fed(trial: Trial) -> str:
    """Return range and order that a trial fed, as `255 rgb`."""
    return " ".join(str(trial.settings[key]) for key in ("value_range", "channels") if key in trial.settings)


def _sizes(trials: Trials, settings: Mapping[str, Any], rows: dict[str, str]) -> None:
    multiple = trials.multiple(settings)
    rows["sides of an input"] = {1: "any", None: "no multiple of 64 or less is enough"}.get(
        multiple, f"multiples of {multiple}; multiple={multiple} pads by reflection"
    )
    rows["scale"] = f"{trials.degradation.scale}"


def _bench(config: DictConfig, trials: Trials, chosen: Trial) -> Bench:
    """Set the network up to be measured: yardstick, engine, proof of its reach.

    Raises:
        MeasureError: where it cannot be measured, saying why.
    """
    from cem_bench.measuring.cell import Cell
    from cem_bench.measuring.prepared import Bench

    scene, model = build_scene(config.scene), trials.model(chosen.settings)
    pool = build_pool(config.donors, scene)
    cell = Cell(model, scene, trials.degradation, pool, instantiate(config.sampling), options_of(config))
    return Bench.of(cell)


def _facts(bench: Bench, rows: dict[str, str]) -> None:
    from cem_bench.measuring.outcome import psnr
    from cem_bench.measuring.prepared import to_tensor

    yardstick, scene, model = bench.yardstick, bench.cell.scene, bench.cell.model
    clean = to_tensor(scene.clean).double()
    restored = float(psnr(yardstick.answer, clean)[0])
    observed = bench.tensor[None]
    rows["PSNR, restored"] = f"{restored:.2f} dB"
    if observed.shape[1:] == clean.shape:
        before = float(psnr(observed, clean)[0])
        verdict = "" if restored > before else ": WORSE than its input, so it is fed something that it does not expect"
        rows["PSNR, restored"] += f" from {before:.2f} dB{verdict}"
    rows["the same twice"] = f"yes, to {yardstick.difference:.0e} of its largest value"
    rows["alone as in a batch"] = f"no: {yardstick.one_row}" if yardstick.one_row else "yes"
    rows["trained for"] = ", ".join(model.tasks) or "not said (tasks=[DN] says it)"
    if reason := model.unseen():
        rows["identity"] = f"cannot be seen ({reason}): give it identity=NAME, or its draws stay in one process"
    rows["engine"] = f"{bench.engine.kind}: {bench.engine.reason}"
    _reach(bench, rows)
    _time(bench, rows)


def _reach(bench: Bench, rows: dict[str, str]) -> None:
    scene = bench.cell.scene
    live = bench.status().ravel() == maps.MEASURED
    distance = ring_distance(scene.grid, scene.roi)
    far = f"{int(distance[live].max())} px" if live.any() else "none"
    rows["reach"] = (
        f"{far}, all of this image of {scene.size[0]}x{scene.size[1]}"
        if live.sum() and (distance[live].max() == distance.max())
        else f"at most {far}; {int((~live).sum())} blocks are out of reach or in the region"
    )


def _time(bench: Bench, rows: dict[str, str]) -> None:
    """Time draws on a few blocks, and say what a map of this size takes."""
    from cem_bench.sampling.rules import Request

    live = np.flatnonzero(bench.status().ravel() == maps.MEASURED)
    if not len(live):
        return
    seconds = []
    for block in live[np.linspace(0, len(live) - 1, TIMED_BLOCKS).astype(int)]:
        begun = time.perf_counter()
        bench.unit(Request(int(block), 0, TIMED_DRAWS), bench.run(Request(int(block), 0, TIMED_DRAWS)))
        seconds.append(time.perf_counter() - begun)
    each = float(np.mean(seconds)) / TIMED_DRAWS * len(live)
    low, high = each * COARSE, each * (COARSE + FINE)
    rows["time of a map here"] = (
        f"{_duration(low)} ({COARSE} draws of each of {len(live)} blocks) to {_duration(high)} ({FINE} more of each)"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _line(reference: str, task: str, settings: Mapping[str, Any]) -> str:
    options = "".join(f",{key}={value}" for key, value in settings.items())
    words = ["python", "-m", "cem_bench", "compare", f"{reference}{options}", "--photos", "FOLDER"]
    return shlex.join([*words, *([] if task == "auto" else ["--task", task])])


def _print(reference: str, rows: Mapping[str, str], line: str) -> None:
    table = Table(title=reference, show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    Console().print(table)
    print(f"Write: {line}")
