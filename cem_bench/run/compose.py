"""Configurations by Hydra's compose interface: what the command line would give, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from cem_bench.run.references import registered

PACKAGE = Path(__file__).resolve().parents[1]
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
FOLDER_FLAGS = ("--config-dir", "-cd")


@contextmanager
def loaded(conf: Path = CONF) -> Iterator[ConfigLoader]:
    """Give Hydra's loader on a folder of configurations, and leave no global state behind."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().clear()


def composed(overrides: Sequence[str], *, conf: Path = CONF, hydra: bool = False) -> DictConfig:
    """Compose the configuration of one cell.

    Args:
        overrides: as on the command line, no sweeps; `model=` may be a reference.
        conf: folder of configurations.
        hydra: keep Hydra's own part.
    """
    with loaded(conf):
        return compose("config", overrides=registered(overrides), return_hydra_config=hydra)


def parser(loader: ConfigLoader) -> OverridesParser:
    """Return Hydra's parser of overrides; it knows the groups, so that globs can be spelled out."""
    return OverridesParser.create(config_loader=loader)


def split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Split a command line into flags, overrides, and folders of one's own configurations.

    Args:
        arguments: without the program's name.

    Returns:
        Flags (with the value of `--config-dir` left out), overrides (with `hydra.searchpath` for those folders), and
        the folders.
    """
    flags, overrides, folders = [], [], []
    waiting = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if waiting:
            folders.append(argument)
            waiting = False
        elif name in FOLDER_FLAGS:
            folders += [value] if value else []
            waiting = not value
        elif argument.startswith("-"):
            flags.append(argument)
        else:
            overrides.append(argument)
    folders = [str(Path(folder).resolve()) for folder in folders]
    if folders:
        places = ",".join(f"file://{folder}" for folder in folders)
        overrides.append(f"hydra.searchpath=[{places}]")
    return flags, overrides, folders


def experiment_file(name: str, folders: Sequence[str] = ()) -> Path | None:
    """Return the file of an experiment, one's own folders first; None where there is none."""
    for folder in (*folders, str(CONF)):
        path = Path(folder) / "experiment" / f"{name}.yaml"
        if path.is_file():
            return path
    return None
