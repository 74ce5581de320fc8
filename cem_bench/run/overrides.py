"""Checks the command line before Hydra runs, so that a typing error is answered with the nearest word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

PASS_BY = ("--help", "--hydra-help", "--info", "--cfg", "-c", "--version")


def check_overrides(conf: Path, arguments: list[str]) -> str:
    """Compose the configuration once for every choice on the command line.

    Args:
        conf: the folder of the configuration.
        arguments: the command line without the program's name.

    Returns:
        "" if all is well, else one line: what was given, what is wrong, and the nearest word.
    """
    if any(argument.split("=")[0] in PASS_BY for argument in arguments):
        return ""
    given = [argument for argument in arguments if not argument.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(given)
    except HydraException as error:
        return f"cannot read the command line: {_first_line(error)}"
    # what a glob matches is known only to the sweep
    choices = [_choices(override) for override in parsed if not isinstance(override.value(), Glob)]
    first = [options[0] for options in choices]
    for position, options in enumerate(choices):
        for option in options if position == 0 else options[1:]:
            problem = _compose(conf, [*first[:position], option, *first[position + 1 :]])
            if problem:
                return problem
    return "" if choices else _compose(conf, [])


def _choices(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    key = str(override.input_line).partition("=")[0]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _compose(conf: Path, overrides: list[str]) -> str:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            compose("config", overrides=overrides)
            return ""
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        return _explain(conf, cause, overrides)
    finally:
        GlobalHydra.instance().clear()


def _explain(conf: Path, error: Exception, overrides: list[str]) -> str:
    text = str(error)
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing:
        group, _, name = missing[1].rpartition("/")
        return f"there is no {group or 'group'} {name!r}; {_nearest(name, _listed(text))}"
    key = re.search(r"full_key: (\S+)", text)
    unknown = re.search(r"Could not override '([^']+)'", text) or re.search(r"Key '([^']+)' (?:is )?not in", text)
    if unknown:
        name = key[1] if key else unknown[1]
        return f"unknown key {name!r}; {_nearest(name, _keys(conf))}"
    where = f"{key[1]}: " if key else ""
    given = f" (in {' '.join(overrides)})" if overrides else ""
    return f"{where}{_first_line(error)}{given}"


def _listed(text: str) -> list[str]:
    return [line.strip() for line in text.partition("Available options")[2].splitlines()[1:] if line.strip()]


def _keys(conf: Path) -> list[str]:
    with initialize_config_dir(str(conf), version_base="1.3"):
        composed = compose("config")
    groups = [path.name for path in conf.iterdir() if path.is_dir()]
    return [*_flat(composed), *groups, "model"]


def _flat(config: DictConfig, prefix: str = "") -> Iterable[str]:
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    for key in content:
        yield f"{prefix}{key}"
        if OmegaConf.is_dict(child := config._get_node(key)) and not child._is_none():  # pyright: ignore
            yield from _flat(child, f"{prefix}{key}.")  # pyright: ignore[reportArgumentType]


def _nearest(word: str, known: list[str]) -> str:
    low = {name.casefold(): name for name in known}
    near = [low[name] for name in difflib.get_close_matches(word.casefold(), low, n=4, cutoff=0.4)]
    return f"nearest: {', '.join(near)}" if near else f"one of: {', '.join(known[:20])}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
