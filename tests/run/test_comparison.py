"""Networks compared on photographs of one's own: one folder, nothing overwritten, resumed from the store."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from cem_bench import as_model, compare
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.photos import Framing, fitted, photos_of, rect_in
from cem_bench.run.asked import quoted
from cem_bench.run.commands.comparing import print_comparison

FAST = ("sampling=uniform", "sampling.n=2", "donors.count=50")
NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, gain=0.1):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.gain = gain

    def forward(self, x):
        return {"image": x - self.gain * (x - nn.functional.avg_pool2d(x, 3, 1, 1)), "other": x}
"""


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my photos"
    folder.mkdir()
    for name, size in {"a": (53, 61), "b, c='d'": (49, 50)}.items():
        smooth = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1)))[: size[0], : size[1]]
        Image.fromarray(smooth.astype(np.uint8)).save(folder / f"{name}.png")
    (tmp_path / "nets.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "nets", raising=False)
    return folder


def test_one_folder_with_page_tables_and_figures(photos: Path, capsys: pytest.CaptureFixture):
    rest = {"output": Path("out"), "side": 16, "roi_seed": 3}
    first, *others = map(str, sorted(photos.iterdir()))  # as a shell makes of `--photos folder/*.png`
    words = [*others, "nets.py:Net,output=image,gain=0.5", "RCAN_DN_none", *FAST]
    assert print_comparison(words, [first], ["dn50"], rest)
    folder = next(Path("out").glob("compare_dn50_*"))
    assert "index.html is the page" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "index.html", "method.bib", "cells.csv", "summary.tex", "paired.tex"} <= names
    assert {"scene_a.png", "scene_a.pdf", "scene_a_column.pdf", "difference_a_1.png", "decay_column.pdf"} <= names
    page, html = (folder / "README.md").read_text(), (folder / "index.html").read_text()
    assert "48x56 at row 2, column 2: the largest of multiples of 8, centred" in page
    assert "With 2 photos nothing can be told beyond them" in page
    assert "output=image" in page and "@article" in page
    assert not re.search(r"\|\s*p\s*\|", page), "no test can answer, so none is shown"
    shown = [unquote(name) for name in re.findall(r'<img src="([^"]+)"', html)]
    assert shown and all((folder / name).is_file() for name in shown)
    entries = [json.loads(path.read_text()) for path in Path("out/store/experiments").rglob("*.json")]
    assert {entry["scene"] for entry in entries} == {"a", "b, c='d'"}
    assert {json.dumps(entry["variant"]) for entry in entries} == {"{}"}


def test_it_goes_on_from_the_store_and_overwrites_no_other(photos: Path):
    first = compare(["RCAN_DN_none"], photos, "dn50", output="out", side=16, overrides=FAST)
    before = {cell.scene: cell.entry["session"]["new_draws"] for cell in first.cells}
    again = compare(["RCAN_DN_none"], photos, "dn50", output="out", side=16, overrides=FAST)
    assert again.folder == first.folder
    assert {cell.scene: cell.entry["session"]["new_draws"] for cell in again.cells} == before
    other = compare(["RCAN_DN_none"], photos, "dn50", output="out", side=16, overrides=FAST, palette="safe")
    assert other.folder != first.folder
    with pytest.raises(ValueError, match="holds another run: choose another name"):
        compare(["RCAN_DN_none"], photos, "dn50", output="out", side=24, overrides=FAST, name=first.name)
    table = first.to_dataframe()
    assert len(table) == 2 and set(table["model"]) == {"RCAN_DN_none"}
    assert first.plot("a").axes
    with pytest.raises(ValueError, match=r"There is no scene x; one of .*a"):
        first.plot("x")


def test_models_made_in_python_several_regions_and_tasks(photos: Path):
    class Blend(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x + nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)) / 2

    mine = as_model(Blend(), name="blend")
    done = compare(
        [mine, "RCAN_DN_none"],
        photos / "a.png",
        ["dn50", "rain_medium"],
        output="out",
        rois=2,
        side=8,
        overrides=FAST,
    )
    assert done.failed == [] and len(done.left_out) == 1 and "trained for DN" in done.left_out[0]
    assert {(cell.model, cell.scene, cell.entry["task"]) for cell in done.cells} == {
        ("blend", "a_1", "DN"),
        ("blend", "a_2", "DN"),
        ("blend", "a_1", "DR"),
        ("blend", "a_2", "DR"),
        ("RCAN_DN_none", "a_1", "DN"),
        ("RCAN_DN_none", "a_2", "DN"),
    }
    assert "left out" not in (done.folder / "README.md").read_text()
    assert "trained for DN" in (done.folder / "README.md").read_text()


def test_a_forced_task_and_a_failed_cell_are_said(photos: Path):
    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such luck")

    networks = ["RCAN_DN_none", as_model(Breaks(), name="breaks")]
    done = compare(networks, photos / "a.png", "rain_medium", output="out", side=16, force=True, overrides=FAST)
    assert len(done.failed) == 1 and "no such luck" in done.failed[0]
    page = (done.folder / "README.md").read_text()
    assert "Measured under a task that they are not trained for" in page
    assert "RCAN\\_DN\\_none (trained for DN) under DR" in page or "RCAN_DN_none (trained for DN) under DR" in page
    assert "no such luck" in page
    held = yaml.safe_load((done.folder / "experiment.yaml").read_text())
    assert "--force" in held["report"]["command"]


@pytest.mark.parametrize(
    ("size", "framing", "expected"),
    [
        ((481, 321), Framing(), (0, 0, 480, 320)),
        ((481, 321), Framing(multiple=64), (16, 0, 448, 320)),
        ((1000, 700), Framing(largest=256), (372, 222, 256, 256)),
        ((1000, 703), Framing(largest=0), (0, 3, 1000, 696)),
        ((64, 64), Framing(crop=Rect(8, 3, 48, 32)), (8, 3, 48, 32)),
    ],
)
def test_the_largest_part_that_fits(size: tuple[int, int], framing: Framing, expected: tuple[int, ...]):
    part, how = fitted(size, framing, "photo")
    assert (part.top, part.left, part.height, part.width) == expected
    assert how


@pytest.mark.parametrize(
    ("framing", "words"),
    [
        (Framing(crop=Rect(0, 0, 50, 48)), r"give --crop 0,0,48,48"),
        (Framing(crop=Rect(40, 0, 48, 48)), "does not lie in the image of 53x61"),
        (Framing(multiple=64), "smaller than 64x64"),
        (Framing(rois=(Rect(40, 40, 32, 32),)), "give another --roi"),
        (Framing(count=9, side=24), r"ask for fewer \(--rois\) or smaller ones"),
    ],
)
def test_what_does_not_fit_says_which_option_mends_it(photos: Path, framing: Framing, words: str):
    with pytest.raises(ValueError, match=words):
        photos_of([str(photos / "a.png")], framing)


def test_regions_of_the_rule_depend_on_the_photo_and_the_seed_alone(photos: Path):
    framing = Framing(side=16, count=2)
    both = {photo.name: photo.rois for photo in photos_of([str(photos)], framing)}
    alone = photos_of([str(photos / "a.png")], framing)[0]
    assert alone.rois == both["a"]
    for roi in alone.rois:
        assert roi.top % 8 == roi.left % 8 == 0
    assert alone.rois[0].intersect(alone.rois[1]).area == 0
    seeds = {photos_of([str(photos / "a.png")], Framing(side=16, roi_seed=seed))[0].rois for seed in range(20)}
    assert len(seeds) > 1


@pytest.mark.parametrize("text", ["1,2", "1,2,0", "a,b,c", "1,2,3,4,5", "-1,2,3"])
def test_a_region_that_is_none(text: str):
    with pytest.raises(ValueError, match=r"--roi: got .* expected top,left,size"):
        rect_in(text, "--roi")


def test_any_name_of_a_file_passes_the_command_line():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for text in ("a b", "x,y=z", "it's", "back\\slash", "ends\\", "\\'", "[1]", "ä:ö"):
        override = OverridesParser.create().parse_override(f"scene.source={quoted(text)}")
        assert override.value() == text


@pytest.mark.parametrize(
    ("networks", "task", "words"),
    [
        (["DnCNNN"], "dn25", "there is no model 'DnCNNN'; nearest: DnCNN"),
        (["RCAN_DN_none"], "dn26", "there is no task 'dn26'"),
        (["RCAN_DN_none"], "auto", "depends on the network"),
        (["RCAN_DN_none"], "rain_medium", "force=true"),
        (["RCAN_DN_none"], "sr_x4", "enlarges by 1"),
        (["RCAN_DN_none", "RCAN_DN_none"], "dn50", "Two networks are called"),
        ([], "dn50", "needs networks and a task"),
    ],
)
def test_refusals(photos: Path, networks: list[str], task: str, words: str):
    with pytest.raises(ValueError, match=words):
        compare(networks, photos, task, output="out")


def test_the_lines_of_the_how_to_run_as_printed(photos: Path, capsys: pytest.CaptureFixture):
    text = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "compare.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code and len([line for line in code[1].splitlines() if line]) <= 8
    (photos / "b, c='d'.png").unlink()
    photos.rename("photos")
    exec(code[1], {})
    shown = capsys.readouterr().out
    assert "RCAN_DN_ca a (6, 7)" in shown and Path("panels.png").is_file()
