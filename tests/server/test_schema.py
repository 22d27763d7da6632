"""The description of the API is true: requests made from it are answered as it says, and never with an error of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from starlette.testclient import TestClient

NATIVE = r"^/v1/(sessions|conversations|turns|approvals|documents)"
CHECKED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, str]]:
    """A service that answers anything, and a key for all of it."""
    import sartor.asgi

    root = tmp_path_factory.mktemp("described")
    files = {
        "sartor.yaml": "model: m\nmodels: {m: {plugin: any}}\nembeddings: null\nindex: {plugin: none}\n",
        "plugins/any.py": ANY,
        "plugins/none.py": NONE,
        "tenants/acme/support/bot.yaml": "title: S\nweb: {origins: ['*'], anonymous: true}\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    app = sartor.asgi.app(root)
    with TestClient(app):
        loop = asyncio.new_event_loop()
        keys = app.state.sartor.keys
        key, _ = loop.run_until_complete(
            keys.create("acme", scopes=frozenset({"chat", "read", "approve", "documents"}))
        )
        loop.close()
        yield app, key


ANY = """
from sartor.plugin import Plugin, hookimpl

class Any(Plugin):
    @hookimpl
    def sartor_model(self):
        from sartor.testing import ScriptedModel
        return ScriptedModel(script=["Yes."] * 100_000)
"""
NONE = """
from sartor.plugin import Plugin, hookimpl

class Nothing:
    async def add(self, chunks): pass
    async def remove(self, ids): pass
    async def search(self, query, limit, audience="", *, before=""): return []
    async def ids(self): return frozenset()
    async def clear(self): pass
    async def close(self): pass

class NonePlugin(Plugin):
    @hookimpl
    def sartor_index(self, bot): return Nothing()
"""


@pytest.fixture
def api(described: tuple[object, str]) -> object:
    app, _ = described
    return schemathesis.openapi.from_asgi("/openapi.json", app)


schema = schemathesis.pytest.from_fixture("api").include(path_regex=NATIVE)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_requests_made_from_the_description(case: schemathesis.Case, described: tuple[object, str]) -> None:
    _, key = described
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
    response = case.call()
    case.validate_response(response, checks=[CHECKS.get_one(name) for name in CHECKED])
