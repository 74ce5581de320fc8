"""Checks the command line before Hydra runs, so that a typing error is answered with the nearest word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cem_bench.run.compose import CONF, loaded, parser
from cem_bench.run.config import check_config


def check_overrides(overrides: Sequence[str], conf: Path = CONF) -> str:
    """Compose the configuration once per choice on the command line, and check its values.

    Args:
        overrides: key=value, sweeps included, as on the command line.
        conf: the folder of the configuration.

    Returns:
        "" if all is well, else one line: what was given, what is wrong, and the nearest word.
    """
    with loaded(conf) as loader:
        parsed = []
        for text in overrides:
            try:
                parsed += parser(loader).parse_overrides([text])
            except HydraException as error:
                return f"cannot read {text!r}: {_first_line(error)}"
        known = _keys(loader)
        paths = [text for text in overrides if text.startswith("hydra.searchpath=")]
        for override in parsed:
            group = loader.get_group_options(override.key_or_group, config_name="config", overrides=paths)
            problem = _unknown(override, group, known)
            if problem:
                return problem
        return _values(parsed)


def _unknown(override: Override, options: Sequence[str], known: Sequence[str]) -> str:
    """Say what is wrong with the names of an override, given its group's options; "" if they are known."""
    key = override.key_or_group
    if key.startswith("hydra."):
        return ""
    if not options:
        # what begins with a known mapping is settled by composing: its keys depend on the choices made
        free = bool(override.is_add() or override.is_force_add()) or key.startswith("hydra/")
        inside = any(key == name or key.startswith(f"{name}.") for name in known)
        return "" if free or inside else f"unknown key {key!r}; {_nearest(key, known)}"
    if override.is_delete():
        return f"~{key} takes a group away that every run needs; choose one of {', '.join(options[:20])}"
    values = [text.strip() for text in _choices(override)]
    for value in values:
        if value not in options and not isinstance(override.value(), Glob):
            return f"there is no {key} {value!r}; {_nearest(value, options)}"
    return ""


def _choices(override: Override) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def _values(parsed: Sequence[Override]) -> str:
    """Compose once per value, and say what is wrong with the first that cannot be."""
    lines = [_lines(override) for override in parsed if not isinstance(override.value(), Glob)]
    first = [options[0] for options in lines]
    problem = _compose(first)
    for position, options in enumerate(lines):
        for option in options[1:]:
            problem = problem or _compose([*first[:position], option, *first[position + 1 :]])
    return problem


def _lines(override: Override) -> list[str]:
    text = str(override.input_line)
    if override.is_delete() or not override.is_sweep_override():
        return [text]
    key = text.partition("=")[0]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _compose(overrides: list[str]) -> str:
    try:
        config = compose("config", overrides=overrides)
        check_config(config)
        return ""
    except ValueError as error:
        return str(error)
    except AssertionError:  # Hydra's own, where a key lies below something that is empty
        below = [text for text in overrides if "." in text.partition("=")[0]]
        return f"cannot set {' '.join(below)}: what it belongs to is empty; choose that first, as task=dn50"
    except (HydraException, OmegaConfBaseException) as error:
        return _explain(error, overrides)
    except YAMLError as error:  # a file in the user's own folder
        words = " ".join(str(error).split())
        return f"a file that {' '.join(overrides)} names is not YAML: {words}; mend that line of it"


def _explain(error: Exception, overrides: list[str]) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    key = getattr(cause, "full_key", None)
    words = getattr(cause, "msg", None) or _first_line(cause)
    if key and getattr(cause, "parent_node", None) is not None and "not in" in str(words):
        keys = [".".join([*str(key).split(".")[:-1], str(name)]) for name in _children(cause)]
        return f"unknown key {key!r}; {_nearest(str(key), keys)}"
    given = f" (in {' '.join(overrides)})" if overrides else ""
    return f"{f'{key}: ' if key else ''}{str(words).strip().partition(chr(10))[0]}{given}"


def _children(error: Any) -> list[Any]:
    return list(error.parent_node) if isinstance(error.parent_node, DictConfig) else []


def _keys(loader: ConfigLoader) -> list[str]:
    groups = [name for name in loader.list_groups("") if name != "hydra"]
    content: Any = OmegaConf.to_container(compose("config"), resolve=False)
    return [*dict.fromkeys([*_names(content, ""), *groups])]


def _names(content: dict[Any, Any], prefix: str) -> Iterable[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _names(value, f"{prefix}{key}.")


def _nearest(word: str, known: Sequence[str]) -> str:
    low = {name.casefold(): name for name in known}
    near = [low[name] for name in difflib.get_close_matches(word.casefold(), low, n=4, cutoff=0.4)]
    return f"nearest: {', '.join(near)}" if near else f"one of: {', '.join(known[:20])}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
