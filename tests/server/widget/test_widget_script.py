"""The script as it is served."""

from __future__ import annotations

import gzip

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sartor.server.widget import router, script


@pytest.fixture
def served() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


def test_the_script_is_small_enough():
    assert len(gzip.compress(script().plain, 9)) <= 25 * 1024
    assert gzip.decompress(script().packed) == script().plain


def test_the_script_is_served_for_any_page_to_embed(served):
    answer = served.get("/widget.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "max-age" in answer.headers["cache-control"] and answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == script().plain


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_browser_that_has_the_script_is_told_so(served, encoding):
    first = served.get("/widget.js", headers={"Accept-Encoding": encoding})
    tag = first.headers["etag"]
    assert tag.startswith('"')
    again = served.get("/widget.js", headers={"Accept-Encoding": encoding, "If-None-Match": f'"other", {tag}'})
    assert again.status_code == 304 and again.headers["etag"] == tag and not again.content


def test_the_compressed_script_has_an_etag_of_its_own(served):
    tags = {served.get("/widget.js", headers={"Accept-Encoding": kind}).headers["etag"] for kind in ("gzip", "br")}
    assert len(tags) == 2


def test_the_script_makes_no_html_of_text():
    text = script().plain.decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "cssText"):
        assert word not in text
    assert 'setAttribute("style"' not in text
