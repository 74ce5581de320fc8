"""What git holds stays small: a clone takes seconds."""

import posixpath
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MB = 1_000_000
PICTURE = re.compile(r"""(?:\]\(|src=["'])([^)"'\s]+\.png)""")


@pytest.fixture(scope="module")
def tracked() -> dict[str, int]:
    """Bytes of every tracked file."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name: (ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).is_file()}


def below(tracked: dict[str, int], folder: str, suffix: str = "") -> dict[str, int]:
    return {name: size for name, size in tracked.items() if name.startswith(folder) and name.endswith(suffix)}


def test_the_tree_is_light(tracked: dict[str, int]):
    assert sum(tracked.values()) <= 90 * MB
    assert {name: size for name, size in tracked.items() if size > 5 * MB} == {}


@pytest.mark.parametrize(
    ("folder", "suffix", "most"), [("results/draws/", "", 30), ("model_zoo/weights/", ".safetensors", 40)]
)
def test_draws_and_weights_are_light(tracked: dict[str, int], folder: str, suffix: str, most: int):
    sizes = below(tracked, folder, suffix)
    assert sizes
    assert sum(sizes.values()) < most * MB


def test_pictures_are_small_png_that_a_page_shows(tracked: dict[str, int]):
    assert [name for name in tracked if name.endswith((".svg", ".pdf"))] == []
    shown = {
        posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        for page in tracked
        if page.endswith(".md")
        for link in PICTURE.findall((ROOT / page).read_text(encoding="utf-8"))
    }
    pictures = below(tracked, "", ".png")
    assert pictures
    assert {name: size for name, size in pictures.items() if size > 250_000} == {}
    assert sorted(set(pictures) - shown) == []
    assert sorted(shown - set(pictures)) == []


def test_nothing_of_shared_data_is_tracked(tracked: dict[str, int]):
    assert [name for name in tracked if "shared" in Path(name).parts[:-1]] == []
