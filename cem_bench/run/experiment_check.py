"""The file of an experiment, checked whole before the first draw."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cem_bench.run.build import known_models

# what `report` of an experiment may ask for: docs/how-to/own-experiment.md says what each adds
REPORT = ("pairs", "note", "networks", "verdicts", "lam_steps", "draws", "setting", "summary_figure")


def check_experiment(path: Path) -> str:
    """Return what is wrong with an experiment's file, in one line; "" if nothing is.

    Args:
        path: of the file.
    """
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    report, hydra = content.get("report") or {}, content.get("hydra") or {}
    params = (hydra.get("sweeper") or {}).get("params") or {}
    varied = {str(key): [value.strip() for value in str(values).split(",")] for key, values in params.items()}
    return next((f"experiment {path.stem}: {fault}" for fault in _faults(report, varied)), "")


def _faults(report: dict[str, Any], varied: dict[str, list[str]]) -> Iterator[str]:
    for key in report:
        if key not in REPORT:
            yield f"unknown setting report.{key}; {_nearest(str(key), REPORT)}"
    setting = report.get("setting")
    if setting and len(varied.get(str(setting), [])) < 2:
        yield f"report.setting is {setting}, which does not vary: give it two values or more in hydra.sweeper.params"
    models = [name for name in varied.get("model", []) if "(" not in name]  # not a glob
    own = not models or "custom" in models  # networks of one's own have names that the zoo does not know
    paired = [] if own else [str(name) for pair in report.get("pairs") or () for name in pair]
    known = known_models()
    for name in dict.fromkeys([*models, *paired]):
        if name not in known:
            yield f"there is no model {name!r}; {_nearest(name, known)}"


def _nearest(word: str, known: Collection[str]) -> str:
    near: Sequence[str] = difflib.get_close_matches(word, list(known), n=3, cutoff=0.4)
    return f"nearest: {', '.join(near)}" if near else f"one of: {', '.join(list(known)[:20])}"
