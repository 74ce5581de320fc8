"""`--help` and `--version`: how to measure, every group and option, every sub-command. Loads no network."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from cem_bench.run.commands import app
from cem_bench.run.compose import CONF
from cem_bench.run.config import option_lines

ABOUT = """\
cem_bench: Causal Effect Maps of image restoration networks.

What in the input made this restored region better or worse? Every block of the input is replaced by donor patches that
carry the same degradation; the change in the outcome of the region of interest (ROI) is the block's effect.

Measure a map, or a sweep of them (KEY=VALUE, by Hydra):
  python -m cem_bench +experiment=quickstart                       one map from what is shipped, in a minute
  python -m cem_bench model=DnCNN scene=coffee seed=1              another model, scene, seed
  python -m cem_bench model=file.pth task=dn25                     a checkpoint that spandrel recognises
  python -m cem_bench model=mine.py:Net,weights=my.pth task=dn50   a class of your own (docs/how-to/compare.md)
  python -m cem_bench scene=file scene.source=photo.png 'scene.roi=[152,96,32,32]'
  python -m cem_bench --multirun model=DnCNN,FFDNet seed=0,1,2     a sweep; what is stored is not measured again
  python -m cem_bench --config-dir FOLDER +experiment=mine         FOLDER/experiment/mine.yaml, your own
"""
GROUPS = ("task", "scene", "donors", "sampling", "intervention", "experiment")
SCENE_SETS = "shipped_NAME_1, shipped_NAME_2, set_NAME_1, ... (conf/scene_table.csv)"


def print_overview(*, only_version: bool = False) -> None:
    """Print the version, or the whole help."""
    print(_version() if only_version else _help())


def _version() -> str:
    try:
        return f"cem_bench {version('cem-bench')}"
    except PackageNotFoundError:
        return "cem_bench (not installed)"


def _help() -> str:
    lines = [
        ABOUT,
        "Groups (choose one of each, as in scene=coffee):",
        "  model: `python -m cem_bench zoo list`, or custom",
    ]
    for group in GROUPS:
        names = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
        lines.append(f"  {group}: {names}{', ' + SCENE_SETS if group == 'scene' else ''}")
    lines += [
        "",
        "Options (as in tol=0.02; keys of a group as in task=dn50 task.degradation.sigma=25):",
        *option_lines(),
    ]
    lines += ["", "`--cfg job` prints the composed configuration, `--hydra-help` Hydra's own flags.", ""]
    lines += ["Sub-commands (each has --help):", *_commands()]
    lines += ["", "Real checkpoints are looked for in the folders of CEM_WEIGHTS, images in the folder of CEM_DATA."]
    return "\n".join(lines)


def _commands() -> list[str]:
    about = {function.__name__: function.__doc__ for item in app.registered_commands if (function := item.callback)}
    about |= {str(group.name): str(group.help) for group in app.registered_groups}
    return [f"  {name:10} {str(about[name]).strip().splitlines()[0]}" for name in sorted(about)]
