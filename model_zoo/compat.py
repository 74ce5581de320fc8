"""The one place that makes an older library importable beside today's torchvision and SciPy."""

import importlib
import sys
import warnings
from types import ModuleType

REMEDY = (
    "pip install --no-deps --no-build-isolation basicsr==1.4.2 && "
    "pip install opencv-python-headless pillow pyyaml requests scikit-image scipy tqdm"
)


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
    try:
        with warnings.catch_warnings():  # it names moved parts of SciPy, and holds old escapes in its strings
            warnings.simplefilter("ignore")
            return importlib.import_module(f"basicsr.{module}")
    except ImportError as error:
        raise ImportError(f"Training and its metrics need basicsr, which did not import ({error}). {REMEDY}") from error
