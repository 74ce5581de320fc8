"""What can be said of the pinned packages without a network: all are pinned, and the pins fit each other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")  # no range, no address, no local build
NO_DEPS = {"basicsr"}  # installed with --no-deps, see README


def pins() -> dict[str, str]:
    return {canonicalize_name(name): pin for name, _, pin in (line.partition("==") for line in LINES)}


def declared() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for group in project["optional-dependencies"].values() for text in group]
    own = canonicalize_name(project["name"])
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        if canonicalize_name(requirement.name) != own:
            yield requirement


def unfit(requirement: Requirement, pinned: dict[str, str]) -> str:
    pin = pinned.get(canonicalize_name(requirement.name))
    if pin is None:
        return f"{requirement} is not pinned"
    fits = requirement.specifier.contains(pin, prereleases=True)
    return "" if fits else f"{requirement} is not met by {pin}"


def test_every_line_pins_one_version_of_one_package() -> None:
    assert [line for line in LINES if not PINNED.fullmatch(line)] == []
    assert len(pins()) == len(LINES) and sorted(LINES, key=str.lower) == LINES


def test_what_the_project_asks_for_is_pinned() -> None:
    assert [line for requirement in declared() if (line := unfit(requirement, pins()))] == []


def test_what_pinned_packages_ask_for_is_pinned() -> None:
    """Of those that are installed here as they are pinned: nothing comes in beside the list."""
    pinned, looked_at, wrong = pins(), 0, []
    for name in sorted(pinned.keys() - NO_DEPS):
        try:
            if version(name).partition("+")[0] != pinned[name]:
                continue
        except PackageNotFoundError:
            continue
        looked_at += 1
        asked = [Requirement(text) for text in requires(name) or ()]
        needed = [item for item in asked if item.marker is None or item.marker.evaluate({"extra": ""})]
        wrong += [f"{name}: {line}" for requirement in needed if (line := unfit(requirement, pinned))]
    if looked_at < len(pinned) / 2:
        pytest.skip(f"{looked_at} of {len(pinned)} packages are installed as pinned")
    assert wrong == []


@pytest.mark.parametrize(("pinned", "words"), [({}, "is not pinned"), ({"numpy": "1.0"}, "is not met by 1.0")])
def test_what_does_not_fit_is_named(pinned: dict[str, str], words: str) -> None:
    assert unfit(Requirement("NumPy>=2"), pinned).endswith(words)
