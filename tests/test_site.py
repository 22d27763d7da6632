"""The documentation as a site: it builds strictly, every page is reached, nothing is loaded from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    """A script of `docs/`."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


flowchart, sitecheck, website = script("flowchart"), script("sitecheck"), script("website")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "site"
    assert website.build(folder) == []
    return folder


def test_every_page_is_in_it_with_its_title(site):
    for page in DOCS.rglob("*.md"):
        title = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)[1]
        html = (site / page.relative_to(DOCS)).with_suffix(".html").read_text(encoding="utf-8")
        assert re.search(rf"<h1 id=[^>]*>{re.escape(title)}<", html), page


def test_the_navigation_is_the_index(site):
    groups = [next(iter(entry)) for entry in website.navigation()]
    assert groups[:3] == ["Documentation", "Learn", "Build"] and groups[-1] == "Look up"
    html = (site / "how-to/embed.html").read_text(encoding="utf-8")
    assert all(re.search(rf"md-ellipsis\">\s*{group}\s*<", html) for group in groups)


def test_the_search_finds_pages(site):
    found = json.loads((site / "search.json").read_text(encoding="utf-8"))
    assert {item["location"].partition("#")[0] for item in found["items"]} >= {"tutorial.html", "reference/cli.html"}


def test_flowcharts_are_lists_and_code_is_highlighted(site):
    html = (site / "explanation/turn.html").read_text(encoding="utf-8")
    assert '<ol class="flow">' in html and "mermaid" not in html
    assert '<span class="kn">import</span>' in (site / "how-to/embed.html").read_text(encoding="utf-8")


NAVIGATION = '<nav class="md-nav md-nav--primary"><nav><a href="page.html">Page</a></nav></nav>'


def faults(folder: Path, body: str, pages: tuple[str, ...] = ("index.md", "page.md")) -> list[str]:
    """What is wrong with a site of two pages, of which one holds `body`."""
    folder.joinpath("index.html").write_text(f"{NAVIGATION}<h1 id=top>Index</h1>", encoding="utf-8")
    folder.joinpath("page.html").write_text(f"{NAVIGATION}<h1 id=here>Page</h1>{body}", encoding="utf-8")
    return sitecheck.faults(folder, list(map(Path, pages)))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="nowhere.html">x</a>', "its link nowhere.html leads nowhere"),
        ('<a href="index.html#nowhere">x</a>', "its link index.html#nowhere leads to no heading"),
        ('<a href="#nowhere">x</a>', "its link #nowhere leads to no heading"),
        ('<a href="../../../etc/passwd">x</a>', "its link ../../../etc/passwd leads nowhere"),
        ('<img src="https://elsewhere.example/x.png">', "it loads https://elsewhere.example/x.png from elsewhere"),
        ('<script src="//elsewhere.example/x.js"></script>', "it loads //elsewhere.example/x.js from elsewhere"),
        ('<img src="none.png">', "it loads none.png, which is not there"),
        ('<pre class="mermaid">flowchart TD</pre>', "it loads https://unpkg.com/mermaid from elsewhere"),
        ('<p style="background: url(https://a.example/b)">', "it loads https://a.example/b from elsewhere"),
    ],
)
def test_a_fault_of_a_page_is_told(tmp_path, body, fault):
    assert faults(tmp_path, body) == [f"page.html: {fault}"]


def test_what_is_well_is_no_fault(tmp_path):
    body = '<a href="https://a.example">x</a><a href="#here">x</a><a href="index.html#top">x</a><img src="data:,">'
    assert faults(tmp_path, body) == []


def test_a_page_that_is_missing_or_in_no_group_is_told(tmp_path):
    (tmp_path / "lonely.html").write_text("<h1 id=lonely>Lonely</h1>", encoding="utf-8")
    assert faults(tmp_path, "", ("page.md", "lonely.md", "missing.md")) == [
        "missing.md: it is not in the site",
        "lonely.md: the navigation does not lead to it; link it from docs/index.md",
        "missing.md: the navigation does not lead to it; link it from docs/index.md",
    ]


def test_a_style_that_loads_from_elsewhere_is_told(tmp_path):
    (tmp_path / "a.css").write_text("@import url(https://fonts.example/x.css); p { background: url(b.png) }", "utf-8")
    assert faults(tmp_path, "") == ["a.css: it loads https://fonts.example/x.css from elsewhere"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[x](nowhere.md)", "page does not exist"),
        ("[x](index.md#nowhere)", "anchor does not exist"),
        ("[x][y]\n\n[y]: no.md", "page does not exist"),
        ("![x](no.png)", "no.png"),
    ],
)
def test_a_broken_link_breaks_the_build(tmp_path, monkeypatch, text, fault):
    pages = tmp_path / "docs"
    shutil.copytree(DOCS / "site", pages / "site")
    (pages / "index.md").write_text("# Index\n\n## Learn\n\n[Page](page.md)\n", encoding="utf-8")
    (pages / "page.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    monkeypatch.setattr(website, "DOCS", pages)
    monkeypatch.setattr(website, "ROOT", tmp_path)
    (wrong,) = website.build(tmp_path / "build/site")
    assert fault in wrong and "page.md" in wrong.replace(".html", ".md")


def test_the_search_works_in_pages_from_a_disk(site, tmp_path):
    """In a browser, which asks nobody for anything."""
    spec = importlib.util.spec_from_file_location("browsing", ROOT / "tests/server/widget/browser.py")
    browsing = importlib.util.module_from_spec(spec)
    sys.modules["browsing"] = browsing
    spec.loader.exec_module(browsing)
    browser = browsing.start(tmp_path / "profile")
    try:
        browser.get((site / "how-to/embed.html").as_uri())
        browser.switch_to.active_element.send_keys("/")
        browser.switch_to.active_element.send_keys("canary")
        for _ in range(200):
            shown = "return [...document.querySelectorAll('*')].map(one => one.shadowRoot?.textContent ?? '').join('')"
            if "Test a bot" in (found := browser.execute_script(shown)):
                break
            time.sleep(0.05)
        assert "Test a bot" in found
        asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in asked if not name.startswith("file:")] == []
        assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    finally:
        browser.quit()


def test_links_out_of_the_pages_are_words(monkeypatch):
    page = DOCS / "how-to/mount.md"
    assert website.fit("[shop](../../examples/fastapi_shop/README.md)", page) == (
        "shop (`examples/fastapi_shop/README.md` in the repository)"
    )
    for same in ("[x](embed.md#sync)", "[x](https://a.example)", "[x](#here)", "```text\n[x](../../README.md)\n```"):
        assert website.fit(same, page) == same


def test_a_chart_as_a_list():
    made = flowchart.steps("flowchart TD\n A([start]) --> B{ok?}\n B -->|no| A\n B --> C[the <end>]\n")
    assert made == (
        '<ol class="flow"><li class="on"><strong>start</strong></li>'
        '<li class="on"><strong class=asks>ok?</strong><ul><li><em>no</em> → start</li></ul></li>'
        "<li><strong>the &lt;end&gt;</strong></li></ol>"
    )
    assert flowchart.steps("sequenceDiagram\n A->>B: hello\n") == ""
