"""The one place that makes an older library importable beside today's torchvision and SciPy."""

import importlib
import sys
import warnings
from types import ModuleType

REMEDY = (
    "In a clone of cem_bench: pip install -c constraints.txt -e '.[train]' && "
    "pip install -c constraints.txt --no-deps basicsr. That brings the headless OpenCV; where another one asks for "
    "libGL, first pip uninstall opencv-python. basicsr 1.4.2 does not "
    "build on Python 3.13 and later: train on 3.11 or 3.12."
)


def training_library(module: str) -> ModuleType:
    """Import a module that only training and its metrics need.

    Raises:
        ImportError: where it, or something it needs, is missing, with the remedy.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        message = f"Training and its metrics need {library}, which did not import ({error}). {REMEDY}"
        raise ImportError(message) from error


def basicsr(module: str) -> ModuleType:
    """Import a module of basicsr (1.4.2, which asks for a torchvision module that was removed in 0.17).

    Args:
        module: name below basicsr, such as "losses".

    Returns:
        The module.

    Raises:
        ImportError: where basicsr or one of its own needs (OpenCV) is missing, with the remedy.
    """
    removed = "torchvision.transforms.functional_tensor"
    if removed not in sys.modules:
        from torchvision.transforms import functional

        stand_in = ModuleType(removed)
        stand_in.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
        sys.modules[removed] = stand_in
    with warnings.catch_warnings():  # it names moved parts of SciPy, and holds old escapes in its strings
        warnings.simplefilter("ignore")
        return training_library(f"basicsr.{module}")
