"""A real browser, which writes down what it complains of and whom it asks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 500_000  # of a page; a loaded machine takes minutes to import torch and measure


@dataclass
class Visit:
    """A page, what its console complained of, and the addresses that it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def strangers(self) -> list[str]:
        """Addresses outside this machine."""
        own = ("file:", "data:", "blob:", "http://127.0.0.1")
        return [address for address in self.asked if not address.startswith(own)]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM=PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET), headless=True)
        yield browser
        browser.close()


def visit_of(chromium: Browser, width: int = 1280, scheme: str = "light") -> Visit:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # pyright: ignore
    context.set_default_timeout(WAIT_MS)
    visit = Visit(context.new_page())
    visit.page.on("request", lambda request: visit.asked.append(request.url))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))

    def note(message: object) -> None:
        if getattr(message, "type", "") in ("error", "warning"):
            visit.complaints.append(getattr(message, "text", ""))

    visit.page.on("console", note)
    return visit


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    made = visit_of(chromium)
    yield made
    made.page.context.close()
