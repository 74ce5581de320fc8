"""The folder of images that are not shipped: one resolver, `${data:scenes/demo_1.png}` in a configuration."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import OmegaConf

VARIABLE = "CEM_DATA"


def data_path(place: str = "") -> str:
    """Return a path below the folder that CEM_DATA names.

    Args:
        place: relative to that folder, as scenes/demo_1.png.

    Raises:
        ValueError: if CEM_DATA is not set, or the place would leave its folder.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise ValueError(
            f"{place or 'the data folder'} is not shipped: set {VARIABLE} to the folder that holds it "
            "(results/README.md says where to get it), or choose what is shipped, as scene=coffee, donors=shipped"
        )
    path = (Path(folder) / place).resolve()
    if not path.is_relative_to(Path(folder).resolve()):
        raise ValueError(f"{place} leaves the folder that {VARIABLE} names: expected a path below it")
    return str(Path(folder) / place) if place else folder


def plain_words(error: BaseException) -> str:
    """Say an error of the configuration in the words of what raised it, where that was a resolver of ours."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause) is ValueError:
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error).partition("\n")[0]


def register_resolver() -> None:
    """Make `${data:...}` known to every configuration."""
    OmegaConf.register_new_resolver("data", data_path, replace=True)
