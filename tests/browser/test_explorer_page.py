"""The explorer in a real browser, on a photograph that is uploaded: its map is what the command line finds stored."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from cem_bench.inputs.images import locate, read_rgb
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.opened import store_of
from cem_bench.sampling.rules import asked
from cem_bench.stats.blocks import block_table
from tests.browser.conftest import Visit, visit_of
from tests.browser.test_atlas_page import numbers_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest.importorskip("starlette", reason="needs the extra explore")
ROOT = Path(__file__).resolve().parents[2]
SIDE, COLUMNS = 96, 12
PLACE = (0.5, 0.5)


@dataclass
class Served:
    """A running explorer, the folder of its results, and photographs to upload."""

    address: str
    output: Path
    photo: Path
    small: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("explorer")
    cat = read_rgb(locate("skimage:data/chelsea.png"))
    photo, small = folder / "cat.png", folder / "small.png"
    Image.fromarray(np.ascontiguousarray(cat[100 : 100 + SIDE, 100 : 100 + SIDE])).save(photo)
    Image.fromarray(np.ascontiguousarray(cat[:40, :40])).save(small)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "cem_bench",
        "explore",
        "model=RCAN_DN_none",
        f"output={folder}",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield Served(address, folder, photo, small)
    finally:
        server.terminate()
        server.wait(30)


def wait_for(address: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(address + "/state", timeout=10).read()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no explorer at {address}")


@pytest.fixture(scope="module")
def tour(chromium: Browser, served: Served) -> Iterator[Visit]:
    """A page on which the uploaded photograph is set up and its middle was clicked."""
    visit = visit_of(chromium)
    page = visit.page
    page.goto(served.address)
    page.set_input_files("#upload", str(served.photo))
    page.locator("#scene option", has_text="cat.png").wait_for(state="attached")
    page.click("#load")
    page.get_by_text("Click a place in the photograph.").wait_for()
    page.locator("#view option").first.wait_for(state="attached")
    click(visit, "#photo", *PLACE)
    page.locator("#maps .panel[data-done=true]").wait_for()
    yield visit
    page.context.close()


def click(visit: Visit, name: str, across: float, down: float, *, hover: bool = False) -> None:
    canvas = visit.page.locator(name).first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    at = box["x"] + across * box["width"], box["y"] + down * box["height"]
    visit.page.mouse.move(*at) if hover else visit.page.mouse.click(*at)


def block_at(visit: Visit, block: int, *, hover: bool) -> None:
    row, column = divmod(block, COLUMNS)
    click(visit, "#maps canvas", (column + 0.5) / COLUMNS, (row + 0.5) / COLUMNS, hover=hover)


def commanded(visit: Visit) -> Cell:
    """The cell of the command that the page offers to copy."""
    from omegaconf import OmegaConf

    from cem_bench.run.build import build_cell, register
    from cem_bench.run.compose import composed

    words = shlex.split(visit.page.locator("#commands code").first.inner_text())
    assert words[:3] == ["python", "-m", "cem_bench"]
    register()
    config = composed(words[3:])
    OmegaConf.resolve(config)
    return build_cell(config)


def test_the_map_is_what_the_command_finds_in_the_store(tour: Visit, served: Served) -> None:
    cell = commanded(tour)
    assert cell.scene.roi.top == cell.scene.roi.left == 32
    store = store_of(cell, served.output / "store")
    blocks = sorted(store.rows["block"].unique().tolist())
    assert len(blocks) > 20
    taken, left = asked(cell.sampling, store.effects(blocks, "psnr"))
    assert left == []  # the command would draw nothing anew
    table = block_table(taken, looks=cell.sampling.looks)
    for at in np.argsort(-np.abs(table.mean))[[0, 1, 5, -1]]:
        block_at(tour, int(table.block[at]), hover=True)
        text = tour.page.locator("#maps .tip").first.inner_text()
        assert numbers_in(text) == pytest.approx([table.mean[at], table.low[at], table.high[at]], abs=5.1e-5)
        assert f"{table.n[at]} draw" in text
    assert (tour.complaints, tour.strangers()) == ([], [])


def test_donors_and_blinking(tour: Visit, served: Served) -> None:
    cell = commanded(tour)
    store = store_of(cell, served.output / "store")
    effects = store.effects(sorted(store.rows["block"].unique().tolist()), "psnr")
    block = max(effects, key=lambda name: abs(float(np.mean(effects[name]))))
    block_at(tour, block, hover=False)
    tour.page.locator("#blinking img").first.wait_for()
    shown = numbers_in(tour.page.locator("#donors").inner_text())
    assert shown == pytest.approx(sorted(effects[block], key=lambda effect: -abs(effect)), abs=5.1e-5)
    sources = []
    for expected in ("intervened", "untouched", "intervened"):
        assert tour.page.locator("#blink-state").inner_text().startswith(expected)
        sources.append([image.get_attribute("src") for image in tour.page.locator("#blinking img").all()])
        tour.page.keyboard.press("b")
    assert sources[0] == sources[2] and all(a != b for a, b in zip(*sources[:2], strict=True))
    tour.page.click("#everywhere")
    tour.page.locator("#rest canvas").wait_for()
    assert (tour.complaints, tour.strangers()) == ([], [])


@pytest.mark.parametrize(
    ("kind", "starts"), [("figure", b"\x89PNG"), ("draws", b"block,k,"), ("page", b"<!doctype html>")]
)
def test_downloads(tour: Visit, tmp_path: Path, kind: str, starts: bytes) -> None:
    with tour.page.expect_download() as download:
        tour.page.locator("#downloads button", has_text=kind).first.click()
    download.value.save_as(tmp_path / kind)
    assert (tmp_path / kind).read_bytes().startswith(starts)


def test_bad_input_is_a_sentence_and_the_server_lives_on(chromium: Browser, tour: Visit, served: Served) -> None:
    visit = visit_of(chromium)
    page, error = visit.page, visit.page.locator("#error")
    page.goto(served.address)
    page.set_input_files("#upload", str(served.small))
    error.get_by_text("small.png").or_(error).first.wait_for()
    page.wait_for_timeout(500)
    assert re.search(r"40x40 pixels; expected at least 64x64", error.inner_text())
    # a network that lacks its weights, as if the page offered it
    lacking = page.locator("#model option[disabled]").first.get_attribute("value")
    page.evaluate("name => ask('load', {models: [name], task: 'auto', scene: 'astronaut'})", lacking)
    error.get_by_text(str(lacking)).wait_for()
    # two clicks at once, the first before anything is set up, then a page closed in the middle
    page.select_option("#model", "RCAN_DN_none")
    page.set_input_files("#upload", str(served.photo))
    page.locator("#scene option", has_text="cat.png").wait_for(state="attached")
    page.click("#load")
    page.get_by_text("Click a place in the photograph.").wait_for()
    page.locator("#view option").first.wait_for(state="attached")
    click(visit, "#photo", 0.2, 0.2)
    click(visit, "#photo", 0.8, 0.8)
    page.locator("#maps canvas").wait_for()
    assert visit.complaints == []
    page.context.close()
    wait_for(served.address)


def test_other_names_of_this_machine_are_refused(served: Served) -> None:
    request = urllib.request.Request(served.address + "/", headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
