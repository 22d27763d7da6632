"""One browser and one scripted service for all tests of the widget."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from sartor.server.widget import router

CITED = {
    "citations": [
        {"number": 1, "title": "Delivery › Abroad", "source": "delivery.md",
         "quote": "Delivery abroad takes five to seven working days."},
        {"number": 2, "title": "Returns", "source": "terms.pdf#page=3", "quote": ""},
    ]
}  # fmt: skip
ANSWER = ("Five to seven ", "**working days** [1]. Returns: 30 days [2].", {"finish": CITED})


def beside(name: str) -> ModuleType:
    """A module of this folder."""
    full = f"widget_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


mockservice, browsing = beside("mockservice"), beside("browser")


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    browser = browsing.start(tmp_path_factory.mktemp("chromium"))
    mock, pages = mockservice.MockService(), {}
    try:
        with mockservice.serving(mockservice.mock_app(mock, router, pages=pages)) as port:
            yield browsing.Site(browser, mock, pages, port, mockservice.serving)
    finally:
        browser.quit()


@pytest.fixture
def site(sites: object) -> Iterator[object]:
    """The pages of a company, as if nobody had been there yet."""
    sites.mock.reset()
    sites.console()
    yield sites
    sites.network()
    sites.cdp("Emulation.setEmulatedMedia", features=[])
    sites.cdp("Emulation.clearDeviceMetricsOverride")
    sites.pages["empty"] = ("<!doctype html>", {})
    sites.browser.get(f"{sites.origin}/pages/empty")
    sites.browser.execute_script("sessionStorage.clear(); localStorage.clear()")


@pytest.fixture
def answer() -> tuple[object, ...]:
    """An answer with two citations."""
    return ANSWER


@pytest.fixture
def keys() -> object:
    return pytest.importorskip("selenium.webdriver").Keys
