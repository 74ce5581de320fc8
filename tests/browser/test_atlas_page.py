"""The atlas in a real browser: its numbers are those of the store, and keys reach what the mouse reaches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cem_bench.report import write_report
from cem_bench.stats.verdicts import NAMES
from cem_bench.store.cells import StoredCell
from tests.browser.conftest import Visit, visit_of
from tests.report.conftest import Make, live_blocks, make

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["make"]  # a fixture
SHOWN = {"positive": "helps", "negative": "harms", "none": "no effect", "undecided": "undecided"}
COLUMNS = 8


@pytest.fixture
def written(make: Make, rng: np.random.Generator, tmp_path: Path) -> dict[str, StoredCell]:
    """Report two networks on two scenes."""
    cells = {}
    for model in ("A", "B"):
        for image in ("coffee", "rocket"):
            effects = {block: rng.normal(0.3 * (block < 3), 0.02, 6) for block in live_blocks()}
            cells[f"{model} {image}"] = make(effects, model=model, image=image)
    write_report("denoise_ca", tmp_path)
    return cells


def open_atlas(visit: Visit, folder: Path) -> None:
    visit.page.goto((folder / "denoise_ca" / "atlas.html").as_uri())
    visit.page.wait_for_selector("#table tbody tr")


def place_of(visit: Visit, block: int) -> tuple[float, float]:
    """The middle of a block of the first map, in pixels of the window."""
    canvas = visit.page.locator(".panel canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    row, column = divmod(block, COLUMNS)
    return box["x"] + (column + 0.5) * box["width"] / COLUMNS, box["y"] + (row + 0.5) * box["height"] / COLUMNS


def numbers_in(text: str) -> list[float]:
    return [float(number.replace("\u2212", "-")) for number in re.findall(r"[+\u2212]\d+\.\d+", text)]


def test_hover_and_click_say_what_the_store_holds(visit: Visit, written: dict[str, StoredCell], tmp_path: Path) -> None:
    open_atlas(visit, tmp_path)
    title = visit.page.locator(".panel h3").first.inner_text()
    cell = written["A coffee"]
    assert title.startswith("A, DN, shipped_coffee_1")
    for block in (0, 2, 40):
        at = cell.table.block.tolist().index(block)
        visit.page.mouse.move(*place_of(visit, block))
        text = visit.page.locator(".panel .tip").first.inner_text()
        expected = [cell.table.mean[at], cell.table.low[at], cell.table.high[at]]
        assert numbers_in(text) == pytest.approx(expected, abs=5.1e-5)
        assert SHOWN[NAMES[int(cell.table.verdict[at])]] in text and "6 draws" in text
    visit.page.mouse.click(*place_of(visit, 2))
    visit.page.wait_for_selector(".donors tbody tr")
    shown = numbers_in(visit.page.locator(".donors").first.inner_text())
    assert shown == pytest.approx(sorted(cell.effects[2], key=lambda effect: -abs(effect)), abs=5.1e-5)
    assert (visit.complaints, visit.strangers()) == ([], [])


def test_sorting_and_filters(visit: Visit, written: dict[str, StoredCell], tmp_path: Path) -> None:
    open_atlas(visit, tmp_path)
    rows = visit.page.locator("#table tbody tr")
    assert rows.count() == 4
    visit.page.select_option("#scene", "shipped_rocket_1")
    assert rows.count() == 2 and all("rocket" in text for text in rows.all_inner_texts())
    visit.page.select_option("#scene", "")
    head = visit.page.locator("#table thead th").nth(4)
    for order, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        smallest = [float(row.locator("td").nth(4).inner_text()) for row in rows.all()]
        assert smallest == sorted(smallest, reverse=reverse)


def test_keys_reach_every_block(visit: Visit, written: dict[str, StoredCell], tmp_path: Path) -> None:
    open_atlas(visit, tmp_path)
    visit.page.locator(".panel canvas").first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        visit.page.keyboard.press(key)
    assert visit.page.locator(".panel .tip").first.inner_text().startswith("row 1, column 1: ")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".donors tbody tr")
    assert visit.page.locator(".donors tbody tr").count() == 6
    assert visit.complaints == []


def test_legible_on_a_telephone_in_the_dark(chromium: Browser, written: dict[str, StoredCell], tmp_path: Path) -> None:
    visit = visit_of(chromium, width=360, scheme="dark")
    open_atlas(visit, tmp_path)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    visit.page.locator("#theme").click()
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    visit.page.context.close()
